"""What the strict mode takes for the same answer."""

import pytest

from taco_stream.evaluator.comparators.strict import same_output, same_value


@pytest.mark.parametrize(
    ("output", "expected", "same"),
    [
        ("1 2\n", "1 2", True),
        ("1  2 \n\n", "1 2\n", True),
        ("1\n2\n", "1 2", True),
        ("", "", True),
        ("1 2", "2 1", False),
        ("1 2", "1 2 3", False),
        ("Yes", "YES", False),
        ("1.0", "1", False),
        ("0.30000001", "0.3", False),
        ("12", "1 2", False),
    ],
)
def test_outputs_are_compared_by_tokens(output: str, expected: str, same: bool) -> None:
    assert same_output(output, expected) is same


@pytest.mark.parametrize(
    ("value", "expected", "same"),
    [
        ([1, 2], [1, 2], True),
        ((1, (2, 3)), [1, [2, 3]], True),
        (44.0, 44, True),
        (False, 0, True),
        ("1", 1, False),
        ({"a": (1,)}, {"a": [1]}, True),
        ({"a": 1}, {"b": 1}, False),
        ([1, 2], [2, 1], False),
        (None, 0, False),
        (float("nan"), float("nan"), False),
        (10**400, 10**400, True),
        (10**400, float("inf"), False),
    ],
)
def test_values_are_compared_by_equality(value: object, expected: object, same: bool) -> None:
    assert same_value(value, expected) is same
