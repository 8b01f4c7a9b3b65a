"""The `strict` mode: equal tokens; call-based, equal values.

Standard input: the tokens of the output (separated by white space) must equal the expected tokens, in order and to
the letter; how they are spread over lines does not matter, as in the default checkers of Kattis and Codeforces. (Of the
446 real reference solutions in TACO's examples one prints its numbers on other lines than expected, and is right.)

Call-based: the returned value, rebuilt from plain built-in types, must equal the expected one by `==`, with a
tuple standing for a list, since JSON has no tuples. A text never equals a number, but 44.0 equals 44, False equals 0:
two of the same reference solutions return such values, and are right. So do the values of other types that Python finds
equal (numpy's scalars, `Fraction`, `Decimal`; `tagged_values` lists them): TACO's answers say nothing of types, and a
program that sums with numpy returns `np.int64` without its author's noticing.
"""

from typing import Any


def same_output(output: str, expected: str) -> bool:
    """Whether two texts hold the same tokens in the same order."""
    # Equal texts first: comparing them costs far less than splitting them.
    return output == expected or output.split() == expected.split()


def same_value(value: Any, expected: Any) -> bool:
    """Whether two plain values are equal; tuples count as lists, all the way down."""
    if isinstance(value, (list, tuple)) and isinstance(expected, (list, tuple)):
        return len(value) == len(expected) and all(map(same_value, value, expected))
    if isinstance(value, dict) and isinstance(expected, dict):
        return value.keys() == expected.keys() and all(same_value(value[key], expected[key]) for key in expected)
    return bool(value == expected)
