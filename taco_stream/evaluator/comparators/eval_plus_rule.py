"""EvalPlus' rule for returned values, in every mode: it is part of the benchmark, not of a way to compare.

Source: `unsafe_execute` in EvalPlus' `eval/__init__.py`. Equal is right. Otherwise, if the problem has a tolerance or
the expected value is a float or a list of floats, a value of the same type is right whose numbers differ by that (1e-6
if it is zero) and 1e-7 of the expected one. One oddity is left out: there, once a problem has expected floats, its
later tests have a tolerance too. The problem `find_zero` asks whether the answer is a zero of the polynomial given.
"""

import math
from typing import Any

import msgspec


class Rule(msgspec.Struct, frozen=True):
    """How a problem's results are compared; with `is_zero` the expected value is a polynomial's coefficients."""

    tolerance: float = 0.0
    is_zero: bool = False


def same_value(found: Any, expected: Any, rule: Rule) -> bool:
    """Whether a returned value is right. Raises `TypeError` or `ArithmeticError` if it is nothing to compare."""
    if rule.is_zero:
        values = (coefficient * math.pow(found, power) for power, coefficient in enumerate(expected))
        return bool(abs(sum(values)) <= (rule.tolerance or 1e-4))
    if found == expected:
        return True
    tolerance = rule.tolerance or (1e-6 if _is_floats(expected) else 0.0)
    return bool(tolerance) and type(found) is type(expected) and _is_close(found, expected, tolerance)


def _is_floats(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return bool(value) and all(isinstance(each, float) for each in value)
    return isinstance(value, float)


def _is_close(found: Any, expected: Any, tolerance: float) -> bool:
    if isinstance(expected, (list, tuple)):
        if not isinstance(found, (list, tuple)) or len(found) != len(expected):
            return False
        return all(_is_close(*pair, tolerance) for pair in zip(found, expected, strict=True))
    allowed = tolerance + 1e-7 * abs(expected)
    return bool(found == expected or abs(found - expected) <= allowed < math.inf)
