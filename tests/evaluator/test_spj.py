"""The published special-judge cases as rules."""

import pytest

from taco_stream.evaluator.comparators.spj import same_output, same_value
from taco_stream.types import SpecialJudge


@pytest.mark.parametrize(
    ("output", "expected", "judge", "right"),
    [
        ("YES", "Yes", SpecialJudge.LETTER_CASE, True),
        ("YES", "Yes", SpecialJudge.NONE, False),
        ("YES", "No", SpecialJudge.LETTER_CASE, False),
        ("0.3000001", "0.3", SpecialJudge.FLOAT_TOLERANCE, True),
        ("0.30001", "0.3", SpecialJudge.FLOAT_TOLERANCE, False),
        ("1000000.5", "1000000", SpecialJudge.FLOAT_TOLERANCE, True),
        ("1 2", "1 2 3", SpecialJudge.FLOAT_TOLERANCE, False),
        ("Case 1.0", "Case 1", SpecialJudge.FLOAT_TOLERANCE, True),
        ("nan", "1", SpecialJudge.FLOAT_TOLERANCE, False),
        ("inf", "1", SpecialJudge.FLOAT_TOLERANCE, False),
        ("0.3000001", "0.3", SpecialJudge.NONE, False),
        ("2 1", "1 2", SpecialJudge.SEVERAL_ANSWERS, False),
    ],
)
def test_outputs(output: str, expected: str, judge: SpecialJudge, right: bool) -> None:
    assert same_output(output, expected, judge) is right


@pytest.mark.parametrize(
    ("value", "expected", "judge", "right"),
    [
        (0.1 + 0.2, 0.3, SpecialJudge.FLOAT_TOLERANCE, True),
        ([0.1 + 0.2, "a"], [0.3, "a"], SpecialJudge.FLOAT_TOLERANCE, True),
        (0.1 + 0.2, 0.3, SpecialJudge.NONE, False),
        ("abc", "ABC", SpecialJudge.LETTER_CASE, True),
        ("abc", ["ABC"], SpecialJudge.LETTER_CASE, False),
    ],
)
def test_values(value: object, expected: object, judge: SpecialJudge, right: bool) -> None:
    assert same_value(value, expected, judge) is right
