"""Why a program failed, in few enough words that failures of one kind come together. Pure.

A verdict's `detail` is a sentence about one execution (`ZeroDivisionError: division by zero (line 7)`, `line 2: printed
4, expected 5`). Its cause is the part that other failing programs share: the name of the exception, or the way in which
the answer was wrong. Text from programs and datasets is not part of it, except the name of an exception.
"""

import re

from taco_stream.types import Status, Verdict

EXCEPTION = re.compile(r"(?:\w+\.)*([A-Z]\w{2,60})(?=$|: | \()")
"""The name that a traceback's last line begins with; Python's own names and most others begin with a capital."""

WRONG_ANSWERS = (
    (re.compile(r"line \d+: the output ends; "), "the output ends too early"),
    (re.compile(r"line \d+: printed .*, expected the end$", re.S), "the output does not end"),
    (re.compile(r"line 1: printed "), "wrong from the first line on"),
    (re.compile(r"line \d+: printed "), "wrong from a later line on"),
    (re.compile(r"element \d+: returned "), "an element is wrong"),
    (re.compile(r"returned None, "), "nothing is returned"),
    (re.compile(r"returned "), "the value returned is wrong"),
)
"""The sentences of `evaluator.difference`, and their common part."""

PRINTED_NOTHING = "nothing is printed"


def find_cause(verdict: Verdict) -> str:
    """The cause of a failure; empty if there is nothing to say beyond its status."""
    if verdict.status is Status.WRONG_ANSWER:
        if not verdict.output_head.strip() and "the output ends" in verdict.detail:
            return PRINTED_NOTHING
        return next((cause for pattern, cause in WRONG_ANSWERS if pattern.match(verdict.detail)), "")
    if verdict.status in (Status.RUNTIME_ERROR, Status.COMPILE_ERROR):
        found = EXCEPTION.match(verdict.detail)
        return found[1] if found else ""
    return ""


def share_of_tests_passed(verdict: Verdict) -> float | None:
    """How far a program came, from 0 to 1: the tests that passed before one failed; None if it had no tests."""
    if not verdict.tests_total:
        return None
    if verdict.test_statuses is not None:
        return verdict.test_statuses.count(Status.PASSED) / verdict.tests_total
    failed = verdict.failed_test is not None
    return max(0, verdict.tests_run - failed) / verdict.tests_total
