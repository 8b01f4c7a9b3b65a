"""The `spj` mode: `strict`, with the rule of the published special-judge list applied to the problems it names.

`output_spj.jsonl` of FlagOpen/TACO gives each of the 1,000 test problems a case: 2 compares without regard to letter
case, 3 lets numbers differ by 1e-6, absolute or relative to the expected one. Case 1 has several right answers and
needs a checker of the problem's own; a problem without one is `no_checker`, unless the answer is the expected one.
"""

import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

from taco_stream.evaluator.comparators import strict
from taco_stream.types import SpecialJudge

TOLERANCE = 1e-6


def same_output(output: str, expected: str, judge: SpecialJudge) -> bool:
    """Whether a text is right under the problem's case."""
    if strict.same_output(output, expected):
        return True
    if judge is SpecialJudge.LETTER_CASE:
        return strict.same_output(output.casefold(), expected.casefold())
    if judge is SpecialJudge.FLOAT_TOLERANCE:
        return _all(same_number_or_token, output.split(), expected.split())
    return False


def same_value(value: Any, expected: Any, judge: SpecialJudge) -> bool:
    """Whether a returned value is right under the problem's case."""
    if strict.same_value(value, expected):
        return True
    if isinstance(value, (list, tuple)) and isinstance(expected, (list, tuple)):
        return _all(lambda one, other: same_value(one, other, judge), list(value), list(expected))
    if isinstance(value, str) and isinstance(expected, str):
        return same_output(value, expected, judge)
    if judge is SpecialJudge.FLOAT_TOLERANCE and _is_number(value) and _is_number(expected):
        return is_close(float(value), float(expected))
    return False


def same_number_or_token(token: str, expected: str) -> bool:
    """Whether two tokens are equal, or both are numbers that are close."""
    if token == expected:
        return True
    try:
        return is_close(float(token), float(expected))
    except ValueError:
        return False


def is_close(value: float, expected: float) -> bool:
    """Whether a number is within 1e-6 of the expected one, absolutely or relative to it. Infinities are not close."""
    if not (math.isfinite(value) and math.isfinite(expected)):
        return value == expected
    return abs(value - expected) <= TOLERANCE * max(1.0, abs(expected))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, Fraction, Decimal)) and not isinstance(value, bool)  # a bool is an int


def _all(same: Callable[[Any, Any], bool], values: list[Any], expected: list[Any]) -> bool:
    return len(values) == len(expected) and all(map(same, values, expected))
