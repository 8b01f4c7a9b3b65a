"""open-instruct's code server: `/test_program` and `/test_program_stdio`, for its `CodeVerifier` unchanged.

Bodies and answers are those of `open_instruct/code_utils/api.py` (seen: November 2026). A request has a program, tests
and `max_execution_time`, the seconds that each test may take. The answer has for every test whether it passed, 1 or 0,
and the seconds it took, -1 if it failed:

    {"program": …, "tests": […], "max_execution_time": 1.0}  ->  {"results": [1, 0], "runtimes": [0.01, -1.0]}

Tests are statements that assert (`/test_program`), or `{"input": …, "output": …}` (`/test_program_stdio`): a list, its
JSON as a text, or `base64(zlib(pickle))` of it, as in open-instruct's datasets, which is read as data only
(`pickled_data`).

The original refuses programs that mention modules such as `os` without running them, executes the others without a
sandbox, and takes tests that it cannot read for no tests. Here every program runs in the sandbox, unreadable tests are
an error (400), and so is a failure of the evaluator (500). Its client scores every error as 0: it means to ask again
after 500 to 504, but urllib3's `Retry` leaves out POST unless told otherwise. So a request is not refused, but waits.
"""

import ast
import base64
import binascii
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from taco_stream.datasets.assertion_tests import statement_tests
from taco_stream.datasets.tests_text import TestsJson, tests_text
from taco_stream.errors import NOT_DECODED, UsageError
from taco_stream.evaluator.assertions import Assertions
from taco_stream.evaluator.protocol import Limits
from taco_stream.evaluator.settings import EvaluatorSettings, check_limits
from taco_stream.service.pickled_data import PickleError, read_pickle
from taco_stream.service.wire import MAX_TESTS, JudgeWork, Result, WireReply, WireRequest, WireRoute, decode_body
from taco_stream.types import Problem, Status, Verdict

MAX_TESTS_BYTES = 64 << 20
"""What tests may take when they are decoded. Zlib makes a thousand bytes of one."""

MARGIN_SECONDS = 2.0
"""How long before its caller gives up a request is answered that it came too late."""


class OpenInstructBody(msgspec.Struct, frozen=True):
    """The body of both requests."""

    program: str
    tests: Any
    max_execution_time: float = 1.0


class StdioTest(msgspec.Struct, frozen=True):
    """A test of a program that reads standard input."""

    input: str
    output: str


class OpenInstruct(NamedTuple):
    """The two routes under an evaluator's settings, which decide what a test may take besides time."""

    settings: EvaluatorSettings

    @property
    def routes(self) -> Sequence[WireRoute]:
        """What an application serves."""
        # Tests that were compressed are a thousand times as large as the body.
        return (
            WireRoute("/test_program", self.parse_assertions, reply, is_patient=True, is_slow=True),
            WireRoute("/test_program_stdio", self.parse_stdio, reply, is_patient=True, is_slow=True),
        )

    def parse_assertions(self, body: bytes) -> WireRequest:
        """The work of `/test_program`. Raises `UsageError` if the body is not such a request."""
        request = _decode(body)
        statements = _convert(decode_tests(request.tests), list[str])
        _check_size(statements, len(statements))
        if not statements:
            return WireRequest(())
        return self._judge(request, statement_tests(find_entry_point(statements), statements))

    def parse_stdio(self, body: bytes) -> WireRequest:
        """The work of `/test_program_stdio`. Raises `UsageError` if the body is not such a request."""
        request = _decode(body)
        tests = _convert(decode_tests(request.tests), list[StdioTest])
        _check_size([text for test in tests for text in (test.input, test.output)], len(tests))
        if not tests:
            return WireRequest(())
        return self._judge(request, TestsJson([test.input for test in tests], [test.output for test in tests]))

    def _judge(self, request: OpenInstructBody, tests: TestsJson) -> WireRequest:
        seconds = request.max_execution_time
        limits = Limits(
            cpu_seconds=seconds,
            wall_seconds=seconds,
            memory_bytes=self.settings.memory_limit_bytes,
            output_bytes=self.settings.output_limit_bytes,
        )
        check_limits(limits)
        try:
            text = tests_text(tests)
        except UnicodeEncodeError as error:
            raise UsageError(f"a test is not Unicode: {error.reason}") from error
        problem = Problem(problem_id="tests", position=0, question="", tests=text)
        work = JudgeWork(problem=problem, program=request.program, limits=limits, full_results=True)
        # The client's own: at least 30 seconds, at most 300, for all tests together.
        patience = max(30.0, min(300.0, 10 * seconds))
        return WireRequest((work,), deadline_seconds=patience - MARGIN_SECONDS, context=len(tests.inputs))


def reply(request: WireRequest, results: Sequence[Result]) -> WireReply:
    """The answer to either request."""
    if not results:
        return WireReply({"results": [], "runtimes": []})
    (verdict,) = results
    assert isinstance(verdict, Verdict)
    # Of a program that did not compile no test was run.
    statuses = verdict.test_statuses or (verdict.status,) * request.context
    if unscored := next((status for status in statuses if not status.is_scored), None):
        return WireReply({"detail": verdict.detail or f"a test could not be judged: {unscored}"}, status=500)
    seconds = verdict.test_cpu_seconds or (0.0,) * request.context
    passed = [status is Status.PASSED for status in statuses]
    runtimes = [taken if is_right else -1.0 for taken, is_right in zip(seconds, passed, strict=True)]
    return WireReply({"results": [int(is_right) for is_right in passed], "runtimes": runtimes})


def decode_tests(tests: Any) -> Any:
    """The tests behind one of their three forms, of no known shape yet.

    Raises `UsageError` if a text is none of the forms, or a pickle holds more than plain values.
    """
    if not isinstance(tests, str):
        return tests or []
    try:
        return msgspec.json.decode(tests) if tests else []
    except NOT_DECODED:
        pass
    inflate = zlib.decompressobj()
    try:
        data = inflate.decompress(base64.b64decode(tests, validate=True), MAX_TESTS_BYTES + 1)
    except (binascii.Error, ValueError, zlib.error) as error:
        raise UsageError(f"the tests are neither JSON nor base64 of zlib of a pickle: {error}") from error
    if len(data) > MAX_TESTS_BYTES:
        raise UsageError(f"the tests take more than {MAX_TESTS_BYTES >> 20} MiB when they are decompressed")
    if not inflate.eof:
        raise UsageError("the tests end in the middle of their compressed data")
    try:
        return read_pickle(data)
    except PickleError as error:
        raise UsageError(f"the tests cannot be read: {error}") from error


def find_entry_point(statements: Sequence[str]) -> str:
    """The function that the statements test, so that they can be run apart from the program; empty if they cannot.

    It is the only name that nothing but the program can define, if it is called wherever it occurs and its results can
    be plain values for all that the statements show: they ask no attribute of one, and the name is not capitalised like
    a class's. The statements alone decide, never the program. Raises `UsageError` if they are not Python.
    """
    text = "\n".join(statements)
    try:
        wanted = Assertions(entry_point="", statements=(text,)).other_names()
        nodes = list(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise UsageError(f"the tests are not Python: {error}") from error
    if len(wanted) != 1:
        return ""
    (name,) = wanted
    assigned = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    # A result, or a variable that may hold one, whose attribute is asked: it is an instance, for all that is known.
    asked = [node.value for node in nodes if isinstance(node, ast.Attribute)]
    is_instance = any(
        isinstance(node, ast.Name) and node.id in {name, *assigned} for value in asked for node in ast.walk(value)
    )
    calls = sum(isinstance(node, ast.Call) and _is_name(node.func, name) for node in nodes)
    is_passed_on = calls < sum(_is_name(node, name) for node in nodes)
    return "" if is_instance or is_passed_on or name[0].isupper() else name


def _is_name(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _decode(body: bytes) -> OpenInstructBody:
    try:
        return decode_body(body, OpenInstructBody)
    except (*NOT_DECODED, ValueError) as error:
        raise UsageError(f"the body is not a request of open-instruct's: {error}") from error


def _convert(tests: Any, kind: Any) -> Any:
    try:
        return msgspec.convert(tests, kind)
    except msgspec.ValidationError as error:
        raise UsageError(f"the tests are of another form: {error}") from error


def _check_size(texts: Sequence[str], count: int) -> None:
    """Raises `UsageError` if there are too many tests, or they are too large, which a pickle's memo hides."""
    if count > MAX_TESTS:
        raise UsageError(f"there are {count:,} tests; the limit is {MAX_TESTS:,}")
    if sum(map(len, texts)) > MAX_TESTS_BYTES:
        raise UsageError(f"the tests take more than {MAX_TESTS_BYTES >> 20} MiB")
