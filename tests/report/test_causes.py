"""Failures of one kind have one cause."""

import json

import pytest

from taco_stream.evaluator.difference import text_difference, value_difference
from taco_stream.evaluator.tagged_values import tagged
from taco_stream.report.causes import find_cause, share_of_tests_passed
from taco_stream.types import Status, Verdict


@pytest.mark.parametrize(
    ("detail", "cause"),
    [
        ("ZeroDivisionError: division by zero (line 7)", "ZeroDivisionError"),
        ("AssertionError", "AssertionError"),
        ("decimal.InvalidOperation: [<class 'decimal.ConversionSyntax'>]", "InvalidOperation"),
        ("EOFError (line 3)", "EOFError"),
        ("exit code 3", ""),
        ("killed by signal 11", ""),
        ("", ""),
        ("<script>alert(1)</script>", ""),
    ],
)
def test_the_cause_of_an_error_is_the_name_of_its_exception(detail: str, cause: str) -> None:
    assert find_cause(Verdict(status=Status.RUNTIME_ERROR, detail=detail)) == cause


@pytest.mark.parametrize(
    ("output", "expected", "cause"),
    [
        (b"", "5", "nothing is printed"),
        (b"4", "5", "wrong from the first line on"),
        (b"1\n4", "1\n5", "wrong from a later line on"),
        (b"1\n", "1\n5", "the output ends too early"),
        (b"1\n5\n9", "1\n5", "the output does not end"),
    ],
)
def test_a_wrong_output_says_in_what_way(output: bytes, expected: str, cause: str) -> None:
    """With the evaluator's own sentences, so that the two cannot drift apart."""
    difference = text_difference(output, expected)
    verdict = Verdict(status=Status.WRONG_ANSWER, detail=difference.sentence, output_head=difference.head)
    assert find_cause(verdict) == cause


@pytest.mark.parametrize(
    ("result", "cause"),
    [(None, "nothing is returned"), (4, "the value returned is wrong"), ([1, 2], "an element is wrong")],
)
def test_a_wrong_value_says_in_what_way(result: object, cause: str) -> None:
    difference = value_difference(json.dumps(tagged(result)).encode(), [1, 3])
    verdict = Verdict(status=Status.WRONG_ANSWER, detail=difference.sentence, output_head=difference.head)
    assert find_cause(verdict) == cause


def test_other_statuses_speak_for_themselves() -> None:
    assert find_cause(Verdict(status=Status.TIME_LIMIT, detail="ran for 8.0 s")) == ""


@pytest.mark.parametrize(
    ("verdict", "share"),
    [
        (Verdict(status=Status.WRONG_ANSWER, failed_test=3, tests_run=4, tests_total=10), 0.3),
        (Verdict(status=Status.PASSED, tests_run=10, tests_total=10), 1.0),
        (Verdict(status=Status.COMPILE_ERROR, tests_total=10), 0.0),
        (Verdict(status=Status.NO_PROGRAM), None),
        (
            Verdict(
                status=Status.WRONG_ANSWER,
                failed_test=0,
                tests_run=2,
                tests_total=2,
                test_statuses=(Status.WRONG_ANSWER, Status.PASSED),
            ),
            0.5,
        ),
    ],
)
def test_how_far_a_program_came_is_the_share_of_tests_that_passed(verdict: Verdict, share: float | None) -> None:
    assert share_of_tests_passed(verdict) == share
