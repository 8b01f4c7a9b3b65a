"""What the original accepts, its oddities included."""

import pytest

from taco_stream.evaluator.comparators.official import same_output, same_value


@pytest.mark.parametrize(
    ("output", "expected", "accepted"),
    [
        ("1 2\n", "1 2", True),
        ("12\n", "1 2", True),  # the characters of a token are taken for the tokens of a line
        ("1 2", "1  2", False),
        ("1\n2\n", "1 2", False),
        ("1 2", "2 1", False),
        ("1 2", "2\n1\n", True),  # order and lines do not matter where every token is one character
        ("11 2", "1 2", False),
        ("2\n1\n", "1\n2\n", True),
        ("12", "1\n2\n", True),  # characters close to lines
        ("3\n3\n3\n", "3\n", True),  # sets do not count
        ("1.0", "1", False),
        ("", "", True),
        ("abc", "abd", False),
        ("Yes", "yes", False),
    ],
)
def test_outputs(output: str, expected: str, accepted: bool) -> None:
    assert same_output(output, expected) is accepted


@pytest.mark.parametrize(
    ("value", "expected", "accepted"),
    [
        (3, 3, True),
        (3, [3], True),
        ([3], [3], True),
        ((1, 2), [1, 2], True),
        ([(1, 2)], [[[1, 2]]], True),
        ([(1, (2,))], [[[1, [2]]]], False),  # tuples count as lists only two levels deep
        (4, [3], False),
        (True, [1], True),
    ],
)
def test_values(value: object, expected: object, accepted: bool) -> None:
    assert same_value(value, expected) is accepted
