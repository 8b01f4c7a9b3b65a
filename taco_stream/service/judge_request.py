"""The service's own format: what `/v1/judge` is sent, and what it answers.

A body is one item or a list of them: a completion or a program, to be judged on a problem of the service's dataset, on
tests in TACO's columns, or on assertions. Keys that are not known are refused, for a limit that was misspelt would be a
limit that is not there.
"""

import json
import math
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from taco_stream.datasets import taco
from taco_stream.datasets.assertion_tests import statement_tests
from taco_stream.datasets.rows import RowError
from taco_stream.datasets.tests_text import tests_text
from taco_stream.errors import NOT_DECODED, UsageError
from taco_stream.evaluator.protocol import Limits
from taco_stream.evaluator.settings import EvaluatorSettings, check_limits, clock_limit, limits_per_test
from taco_stream.extraction import extract_chat
from taco_stream.metrics import reward
from taco_stream.service.wire import MAX_TESTS, JudgeWork
from taco_stream.types import ComparisonMode, ExtractionMethod, Problem, Status, Verdict

ItemId = str | int | None


class GivenLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The limits of each test that a caller sets itself; they are exact, and the others are as for the problem."""

    cpu_seconds: float | None = None
    wall_seconds: float | None = None
    memory_bytes: int | None = None
    output_bytes: int | None = None


class JudgeItem(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One program to judge, as it is sent.

    `problem_id`, `tests` or `asserts` say on what: a problem of the dataset, TACO's `input_output` (an object, or its
    JSON text), or statements that call the function `entry_point`. `completion` is an answer that holds a program
    somewhere, `program` is one. With `share_of_tests` every test is run, and the reward is the share that passes.
    """

    id: ItemId | msgspec.UnsetType = msgspec.UNSET
    problem_id: str | None = None
    tests: msgspec.Raw = msgspec.Raw()
    starter_code: str = ""
    asserts: tuple[str, ...] | None = None
    entry_point: str | None = None
    completion: str | None = None
    program: str | None = None
    mode: ComparisonMode | None = None
    limits: GivenLimits | None = None
    full_results: bool | None = None
    share_of_tests: bool = False

    def __post_init__(self) -> None:
        # While the list is read: a body of megabytes may have millions of empty items.
        if (self.completion is None) == (self.program is None):
            raise ValueError("there has to be a completion or a program, one of them")


class Submission(NamedTuple):
    """One item, understood. `work` is None if the completion holds no program."""

    id: ItemId
    work: JudgeWork | None
    extraction: ExtractionMethod | None
    share_of_tests: bool


class JudgeReply(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one item: the reward is None if the verdict says nothing about the program, and if there is none.

    `error` then says why.
    """

    id: ItemId
    reward: float | None
    verdict: Verdict | None
    extraction: ExtractionMethod | msgspec.UnsetType = msgspec.UNSET
    error: str = ""


class JudgeRequest(NamedTuple):
    """The items of a body, and whether they came as a list."""

    submissions: tuple[Submission, ...]
    is_list: bool


def parse_request(body: bytes, problems: Mapping[str, Problem], settings: EvaluatorSettings) -> JudgeRequest:
    """The items of a body. Raises `UsageError` that names the first that cannot be judged as given."""
    try:
        items = _decode(body)
    except (*NOT_DECODED, ValueError) as error:
        raise UsageError(f"the body is not an item or a list of items: {error}") from error
    if isinstance(items, JudgeItem):
        return JudgeRequest((_read_submission(items, None, problems, settings),), is_list=False)
    submissions = []
    for number, item in enumerate(items):
        try:
            submissions.append(_read_submission(item, number, problems, settings))
        except UsageError as error:
            raise UsageError(f"item {number}: {error}") from error
    if len({each.id for each in submissions}) < len(submissions):
        raise UsageError("two items have one id, or one has the place of another: answers come in any order")
    return JudgeRequest(tuple(submissions), is_list=True)


def _decode(body: bytes) -> tuple[JudgeItem, ...] | JudgeItem:
    try:
        return msgspec.json.decode(body, type=tuple[JudgeItem, ...] | JudgeItem)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        # Python's own writer writes NaN, which tests may have, and halves of characters, which a model may.
        given = json.loads(body)
        for item in given if isinstance(given, list) else [given]:
            if isinstance(item, dict) and "tests" in item:
                item["tests"] = msgspec.Raw(json.dumps(item["tests"]).encode())
        return msgspec.convert(given, tuple[JudgeItem, ...] | JudgeItem)


def reply_to(submission: Submission, verdict: Verdict | None, *, error: str = "") -> JudgeReply:
    """The answer to one item; `error` says why there is no verdict."""
    if submission.work is None:
        verdict = Verdict(status=Status.NO_PROGRAM)
    if verdict is not None and not verdict.status.is_scored:
        error = verdict.detail or verdict.status
    return JudgeReply(
        id=submission.id,
        reward=None if verdict is None else reward(verdict, share_of_tests=submission.share_of_tests),
        verdict=verdict,
        extraction=submission.extraction or msgspec.UNSET,
        error=error,
    )


def _read_submission(
    item: JudgeItem, number: int | None, problems: Mapping[str, Problem], settings: EvaluatorSettings
) -> Submission:
    try:
        problem = _read_problem(item, problems)
        str(item.id).encode()  # it is sent back
    except UnicodeEncodeError as error:
        raise UsageError(f"a text beside the program is not Unicode: {error.reason}") from error
    extraction, program = None, item.program
    if item.completion is not None:
        found = extract_chat(item.completion, entry_point=item.entry_point or problem.fn_name)
        extraction, program = found.method, found.program
    work = None
    if program is not None:
        work = JudgeWork(
            problem=problem,
            program=program,
            mode=item.mode,
            limits=None if item.limits is None else _read_limits(item.limits, problem, settings),
            full_results=True if item.share_of_tests else item.full_results,
        )
    name = number if item.id is msgspec.UNSET else item.id
    return Submission(name, work, extraction, item.share_of_tests)


def _read_problem(item: JudgeItem, problems: Mapping[str, Problem]) -> Problem:
    has_tests = bytes(item.tests) not in (b"", b"null")
    if [item.problem_id is not None, has_tests, item.asserts is not None].count(True) != 1:
        raise UsageError("there has to be a problem_id, tests or asserts, one of them")
    if item.problem_id is not None:
        if item.problem_id not in problems:
            raise UsageError(f"there is no problem {item.problem_id!r} among the {len(problems)} of this service")
        return problems[item.problem_id]
    if item.asserts is not None:
        return _read_asserts(item.asserts, item.entry_point)
    return _read_inline_tests(bytes(item.tests), item.starter_code)


def _read_inline_tests(tests: bytes, starter_code: str) -> Problem:
    text = msgspec.json.decode(tests, type=str) if tests.startswith(b'"') else tests.decode()
    try:
        problem = taco.ADAPTER.parse_problem({"id": "tests", "input_output": text, "starter_code": starter_code}, 0)
        count = len(taco.parse_outline(text).inputs)
    except (RowError, RecursionError) as error:
        raise UsageError(f"tests cannot be read: {error}") from error
    _check_count(count)
    return problem


def _read_asserts(statements: tuple[str, ...], entry_point: str | None) -> Problem:
    if not statements or not entry_point:
        raise UsageError("asserts need an entry_point, the function that they call, and there has to be one at least")
    _check_count(len(statements))
    tests = tests_text(statement_tests(entry_point, statements))
    return Problem(problem_id="asserts", position=0, question="", tests=tests, fn_name=entry_point)


def _check_count(count: int) -> None:
    if count > MAX_TESTS:
        raise UsageError(f"there are {count:,} tests; at most {MAX_TESTS:,} are judged")


def _read_limits(given: GivenLimits, problem: Problem, settings: EvaluatorSettings) -> Limits:
    limits = limits_per_test(problem, settings)
    if given.cpu_seconds is not None and math.isfinite(given.cpu_seconds):
        limits = msgspec.structs.replace(limits, wall_seconds=clock_limit(given.cpu_seconds, settings))
    changed = {name: value for name, value in msgspec.structs.asdict(given).items() if value is not None}
    limits = msgspec.structs.replace(limits, **changed)
    check_limits(limits)
    return limits
