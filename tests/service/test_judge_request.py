"""The service's own format: what is understood, what is refused, and what a verdict is worth."""

import json
import math
from typing import Any

import msgspec
import pytest
from service.fake_evaluator import SUM, SUM_TESTS

from taco_stream.errors import UsageError
from taco_stream.evaluator.protocol import Limits
from taco_stream.evaluator.settings import EvaluatorSettings, limits_per_test
from taco_stream.service.judge_request import JudgeRequest, Submission, parse_request, reply_to
from taco_stream.service.wire import JudgeWork
from taco_stream.types import ComparisonMode, ExtractionMethod, Status, Verdict

SETTINGS = EvaluatorSettings()
TESTS = json.loads(SUM_TESTS)


def parse(value: object) -> JudgeRequest:
    return parse_request(json.dumps(value).encode(), {"sum": SUM}, SETTINGS)


def parse_one(**item: Any) -> tuple[Submission, JudgeWork]:
    (submission,) = parse(item).submissions
    assert submission.work is not None
    return submission, submission.work


def test_a_problem_of_the_dataset_is_found_by_its_id() -> None:
    submission, work = parse_one(problem_id="sum", program="print(3)", id="mine")
    assert (submission.id, work.problem, work.program) == ("mine", SUM, "print(3)")
    assert (work.mode, work.limits, work.full_results) == (None, None, None)


@pytest.mark.parametrize("tests", [TESTS, SUM_TESTS], ids=["an object", "its text"])
def test_tests_come_as_an_object_or_as_its_text(tests: object) -> None:
    _, work = parse_one(tests=tests, program="p")
    assert json.loads(work.problem.tests) == TESTS
    assert work.problem.fn_name is None


def test_tests_may_be_calls() -> None:
    _, work = parse_one(tests={"fn_name": "add", "inputs": [[1, 2]], "outputs": [[3]]}, program="p")
    assert work.problem.fn_name == "add"


def test_starter_code_says_that_bare_lists_are_not_wrapped() -> None:
    tests = {"fn_name": "f", "inputs": [[1]], "outputs": [[3]]}
    _, work = parse_one(tests=tests, starter_code="def f(n: int) -> List[int]:", program="p")
    assert json.loads(work.problem.tests)["wrapped"] is False


def test_assertions_call_the_function_that_is_named() -> None:
    _, work = parse_one(asserts=["assert add(1, 2) == 3"], entry_point="add", program="p")
    tests = json.loads(work.problem.tests)
    assert tests["assertions"]["statements"] == ["assert add(1, 2) == 3"]
    assert tests["assertions"]["entry_point"] == "add"


def test_the_program_of_a_completion_is_found() -> None:
    submission, work = parse_one(problem_id="sum", completion="So:\n```python\nprint(3)\n```\n")
    assert work.program == "print(3)\n"
    assert submission.extraction is ExtractionMethod.FENCED_BLOCK


def test_a_completion_without_a_program_is_worth_nothing_and_is_not_judged() -> None:
    (submission,) = parse({"problem_id": "sum", "completion": "I do not know."}).submissions
    assert submission.work is None
    reply = reply_to(submission, None)
    assert reply.verdict == Verdict(status=Status.NO_PROGRAM)
    assert reply.reward == 0.0


def test_items_of_a_list_are_named_by_their_place_unless_they_have_an_id() -> None:
    item = {"problem_id": "sum", "program": "p"}
    request = parse([item, {**item, "id": "x"}, {**item, "id": 7}, {**item, "id": None}])
    assert request.is_list
    assert [each.id for each in request.submissions] == [0, "x", 7, None]
    assert parse([]).submissions == ()


def test_limits_that_are_given_are_exact_and_the_others_are_the_problems() -> None:
    _, work = parse_one(problem_id="sum", program="p", limits={"cpu_seconds": 2.5, "memory_bytes": 64 << 20})
    usual = limits_per_test(SUM, SETTINGS)
    assert work.limits == Limits(
        cpu_seconds=2.5, wall_seconds=9, memory_bytes=64 << 20, output_bytes=usual.output_bytes
    )
    _, work = parse_one(problem_id="sum", program="p", limits={"cpu_seconds": 2.5, "wall_seconds": 3.0})
    assert work.limits is not None
    assert work.limits.wall_seconds == 3.0


def test_mode_and_full_results_are_passed_on() -> None:
    _, work = parse_one(problem_id="sum", program="p", mode="spj", full_results=True)
    assert (work.mode, work.full_results) == (ComparisonMode.SPJ, True)


def test_a_program_that_is_not_unicode_is_judged_as_one_and_refuses_nobody_elses() -> None:
    items = [{"problem_id": "sum", "program": "print('\ud800')"}, {"tests": TESTS, "program": "p"}]
    first, second = (submission.work for submission in parse(items).submissions)
    assert first is not None
    assert first.program == "print('\ud800')"
    assert second is not None
    assert json.loads(second.problem.tests) == TESTS


def test_tests_may_have_the_numbers_that_json_lacks() -> None:
    _, work = parse_one(tests={"fn_name": "f", "inputs": [[1]], "outputs": [math.inf]}, program="p")
    assert json.loads(work.problem.tests)["outputs"] == [math.inf]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"", "the body is not an item"),
        (b"[" * 100_000, "the body is not an item"),
        (b'{"problem_id": "sum", "program": "\xff"}', "the body is not an item"),
        ({"problem_id": "sum"}, "a completion or a program, one of them"),
        ({"problem_id": "sum", "program": "p", "completion": "c"}, "a completion or a program, one of them"),
        ({"program": "p"}, "a problem_id, tests or asserts, one of them"),
        ({"program": "p", "problem_id": "sum", "tests": TESTS}, "a problem_id, tests or asserts, one of them"),
        ({"program": "p", "problem_id": "other"}, "no problem 'other' among the 1 of this service"),
        ({"program": "p", "problem_id": "sum", "time_limit": 3}, "unknown field `time_limit`"),
        ({"program": "p", "problem_id": "sum", "mode": "strikt"}, "strikt"),
        ({"program": "p", "problem_id": "sum", "limits": {"cpu": 3}}, "unknown field `cpu`"),
        ({"program": "p", "problem_id": "sum", "limits": {"cpu_seconds": 0}}, "cpu_seconds is 0"),
        ({"program": "p", "problem_id": "sum", "limits": {"memory_bytes": 1}}, "memory_bytes is 1;"),
        ({"program": "p", "tests": {"inputs": ["1"]}}, "tests cannot be read"),
        ({"program": "p", "tests": {"inputs": ["1", "2"], "outputs": ["1"]}}, "2 inputs and 1 outputs"),
        ({"program": "p", "tests": "{"}, "tests cannot be read"),
        ({"program": "p", "tests": {"inputs": ["1"] * 10_001, "outputs": ["1"] * 10_001}}, "there are 10,001 tests"),
        ({"program": "p", "asserts": ["assert f() == 1"]}, "asserts need an entry_point"),
        ({"program": "p", "asserts": [], "entry_point": "f"}, "asserts need an entry_point"),
        ({"program": "p", "asserts": ["\ud800"], "entry_point": "f"}, "a text beside the program is not Unicode"),
        ({"program": "p", "problem_id": "sum", "id": "\ud800"}, "a text beside the program is not Unicode"),
        ({"program": "\ud800", "problem_id": "sum", "time_limit": 3}, "unknown field `time_limit`"),
        ([{"program": "p", "problem_id": "sum"}, {"program": "p", "problem_id": 3}], r"\$\[1\]"),
        ([{"program": "p", "problem_id": "sum"}, {"program": "p", "problem_id": "x"}], "item 1: there is no problem"),
    ],
    ids=str,
)
def test_what_cannot_be_judged_is_refused_by_name(value: object, message: str) -> None:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    with pytest.raises(UsageError, match=message):
        parse_request(body, {"sum": SUM}, SETTINGS)


@pytest.mark.parametrize(
    ("verdict", "worth", "error"),
    [
        (Verdict(status=Status.PASSED), 1.0, ""),
        (Verdict(status=Status.WRONG_ANSWER, detail="line 1"), 0.0, ""),
        (Verdict(status=Status.INFRASTRUCTURE_ERROR, detail="a worker died"), None, "a worker died"),
        (Verdict(status=Status.NO_CHECKER), None, "no_checker"),
        (None, None, "too late"),
    ],
)
def test_a_verdict_is_worth_one_nothing_or_no_number(verdict: Verdict | None, worth: float | None, error: str) -> None:
    submission, _ = parse_one(problem_id="sum", program="p")
    reply = reply_to(submission, verdict, error="" if verdict else "too late")
    assert (reply.reward, reply.error) == (worth, error)
    written = json.loads(msgspec.json.encode(reply))
    assert written["reward"] == worth
    assert "extraction" not in written


def test_the_share_of_tests_needs_all_results() -> None:
    submission, work = parse_one(problem_id="sum", program="p", share_of_tests=True)
    assert work.full_results
    statuses = (Status.PASSED, Status.WRONG_ANSWER, Status.TIME_LIMIT, Status.PASSED)
    assert reply_to(submission, Verdict(status=Status.WRONG_ANSWER, test_statuses=statuses)).reward == 0.5
