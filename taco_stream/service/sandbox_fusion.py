"""SandboxFusion's `/run_code` and `/submit`, for verl and for the `sandbox-fusion` SDK (0.3.7) unchanged.

`/run_code` executes one program with one standard input and compares nothing: verl sends a request for each test and
compares by itself. `/submit` takes a problem of the kind `CommonOJDataset` in the request, and an answer with a program
in it. Fields and values are those of `sandbox/server/sandbox_api.py` and `sandbox/datasets/types.py` (seen: November
2026).

An answer's `status` is `Success`, `Failed` if the program is to blame, or `SandboxError` if it has not been run: its
language is not Python, it needs files, or the evaluator failed. Both clients take a `SandboxError` for a program that
failed once they give up, and verl gives up at once, unless the HTTP status is 504. So that is the status if the
evaluator failed, and asking again may help; what is not supported is answered with 200.

Where the original differs: its clock also runs while a program waits for a core, `/submit` compares by a rule of its
own (letter case is ignored, numbers may differ by 1e-5) and not by a comparison mode, and files can be sent and
fetched.
"""

import signal
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from taco_stream.datasets.tests_text import TestsJson, tests_text
from taco_stream.errors import NOT_DECODED, UsageError
from taco_stream.evaluator.protocol import Limits
from taco_stream.evaluator.settings import EvaluatorSettings, check_limits
from taco_stream.extraction import extract_chat
from taco_stream.service.wire import (
    MAX_TESTS,
    Body,
    ExecuteWork,
    JudgeWork,
    Result,
    WireReply,
    WireRequest,
    WireRoute,
    decode_body,
)
from taco_stream.types import ExecutionResult, Problem, Status, Verdict

PING_PATH, PONG = "/v1/ping", "pong"
"""A path to GET, and the answer, as JSON."""

MAX_OUTPUT_BYTES = 16 << 20
"""Where an output is cut, and its program with it: it comes back in one answer. The original reads 1 MiB."""

CALLER_SECONDS, MARGIN_SECONDS = 10.0, 2.0
"""How long verl waits beyond the time-outs that it sends, and how long before that it is answered."""

SUBMIT_SECONDS = 20.0
"""The time limit of a submitted program's tests if none is given: the original's, for Python."""


class RunStatus(StrEnum):
    """How a request went."""

    SUCCESS = "Success"
    FAILED = "Failed"
    SANDBOX_ERROR = "SandboxError"


class CommandStatus(StrEnum):
    """How a program went. (`Error`, the third of the original, is a failure of its sandbox.)"""

    FINISHED = "Finished"
    TIME_LIMIT_EXCEEDED = "TimeLimitExceeded"


class CommandRunResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a program did; the original leaves the code out after a time-out."""

    status: CommandStatus
    execution_time: float | None = None
    cpu_time: float | None = None
    return_code: int | None = None
    stdout: str | None = None
    stderr: str | None = None


class RunCodeReply(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to `/run_code`; Python has no compilation, so an error of syntax is in the `run_result`."""

    status: RunStatus
    message: str = ""
    compile_result: CommandRunResult | None = None
    run_result: CommandRunResult | None = None
    executor_pod_name: str | None = None
    files: dict[str, str] = {}


class RunCodeBody(msgspec.Struct, frozen=True):
    """The body of `/run_code`. A memory limit that is not positive is none."""

    code: str
    language: str
    compile_timeout: float = 10.0
    run_timeout: float = 10.0
    memory_limit_MB: int = -1  # noqa: N815 (the format's)
    stdin: str | None = None
    files: dict[str, str | None] = {}
    fetch_files: list[str] = []


class StdioCase(msgspec.Struct, frozen=True):
    """A test of `CommonOJDataset`: `stdin` and `stdout`; other names are files."""

    input: dict[str, str]
    output: dict[str, str]


class SubmitExtra(msgspec.Struct, frozen=True):
    """The part of `extra` that is understood: whether tests are run after one that fails."""

    run_all_cases: bool = False


class SubmitConfig(msgspec.Struct, frozen=True):
    """The part of a submission's `config` that is understood."""

    language: str | None = None
    dataset_type: str | None = None
    run_timeout: float | None = None
    custom_extract_logic: str | None = None
    provided_data: dict[str, Any] | None = None
    extra: SubmitExtra = SubmitExtra()


class SubmitBody(msgspec.Struct, frozen=True):
    """The body of `/submit`."""

    dataset: str
    id: str | int
    completion: str
    config: SubmitConfig


class EvalTestCase(msgspec.Struct, frozen=True):
    """One test of a submission."""

    passed: bool
    exec_info: RunCodeReply
    test_info: dict[str, Any] | None = None


class EvalResult(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to `/submit`. Unless all cases were run, `tests` of a failed program has the one that failed."""

    id: str | int
    accepted: bool
    extracted_code: str
    tests: list[EvalTestCase]


class Submitted(NamedTuple):
    """What the answer to a submission needs of it."""

    id: str | int
    program: str
    tests: int


class SandboxFusion(NamedTuple):
    """The routes under an evaluator's settings, which decide what a request leaves open."""

    settings: EvaluatorSettings

    @property
    def routes(self) -> Sequence[WireRoute]:
        """What an application serves, besides `PING_PATH`."""
        return (
            WireRoute("/run_code", self.parse_run_code, reply_to_run_code, is_patient=True),
            WireRoute("/submit", self.parse_submit, reply_to_submit),
        )

    def parse_run_code(self, body: bytes) -> WireRequest:
        """The work of `/run_code`, none if it is not supported. Raises `UsageError` if the body is no such request."""
        asked = _decode(body, RunCodeBody)
        deadline_seconds = max(0.0, asked.compile_timeout) + asked.run_timeout + CALLER_SECONDS - MARGIN_SECONDS
        sent = any(content is not None for content in asked.files.values())
        reason = ""
        if asked.language != "python":
            reason = f"the language {asked.language} is not supported: this service runs python"
        elif sent or asked.fetch_files:
            reason = "files are not supported: a program has its standard input and output here"
        if reason:
            return WireRequest((), deadline_seconds, context=reason)
        limits = self._limits(asked.run_timeout, asked.memory_limit_MB)
        try:
            stdin = (asked.stdin or "").encode()
        except UnicodeEncodeError as error:
            raise UsageError(f"stdin is not Unicode: {error.reason}") from error
        return WireRequest((ExecuteWork(program=asked.code, stdin=stdin, limits=limits),), deadline_seconds)

    def parse_submit(self, body: bytes) -> WireRequest:
        """The work of `/submit`. Raises `UsageError` for a body of another form, or a problem of another kind."""
        asked = _decode(body, SubmitBody)
        config = asked.config
        if config.language != "python":
            raise UsageError(f"config.language is {config.language}; this service runs python")
        if config.dataset_type not in (None, "CommonOJDataset"):
            raise UsageError(f"config.dataset_type is {config.dataset_type}; only CommonOJDataset is supported")
        if config.custom_extract_logic:
            raise UsageError("config.custom_extract_logic is code, which this service does not run")
        if config.provided_data is None:
            raise UsageError(f"there is no dataset {asked.dataset} here: give the problem as config.provided_data")
        cases = _read_cases(config.provided_data.get("test"))
        limits = self._limits(config.run_timeout or SUBMIT_SECONDS)
        tests = TestsJson([case.input["stdin"] for case in cases], [case.output["stdout"] for case in cases])
        program = extract_chat(asked.completion).program or ""
        context = Submitted(asked.id, program, len(cases))
        if not program:
            return WireRequest((), context=context)
        problem = Problem(problem_id=str(asked.id), position=0, question="", tests=tests_text(tests))
        all_cases = config.extra.run_all_cases
        work = JudgeWork(problem=problem, program=program, limits=limits, full_results=all_cases)
        return WireRequest((work,), context=context)

    def _limits(self, seconds: float, memory_mib: int = -1) -> Limits:
        """The limits of a request. Raises `UsageError` if no program can be run under them."""
        limits = Limits(
            cpu_seconds=seconds,
            wall_seconds=seconds,
            memory_bytes=memory_mib << 20 if memory_mib > 0 else self.settings.memory_limit_bytes,
            output_bytes=min(MAX_OUTPUT_BYTES, self.settings.output_limit_bytes),
        )
        check_limits(limits)
        return limits


def reply_to_run_code(request: WireRequest, results: Sequence[Result]) -> WireReply:
    """The answer to `/run_code`."""
    if not results:
        return WireReply(RunCodeReply(status=RunStatus.SANDBOX_ERROR, message=request.context))
    (result,) = results
    assert isinstance(result, ExecutionResult)
    if not result.status.is_scored:
        return WireReply(RunCodeReply(status=RunStatus.SANDBOX_ERROR, message=result.detail), status=504)
    did = CommandRunResult(
        status=_command_status(result.status),
        execution_time=result.wall_seconds,
        cpu_time=result.cpu_seconds,
        return_code=_return_code(result),
        stdout=_readable(result.stdout),
        # Nothing ran, and an interpreter would say there why.
        stderr=_readable(result.stderr) if result.exit_code is not None else f"{result.detail}\n",
    )
    status = RunStatus.SUCCESS if result.status is Status.PASSED else RunStatus.FAILED
    return WireReply(RunCodeReply(status=status, run_result=did))


def reply_to_submit(request: WireRequest, results: Sequence[Result]) -> WireReply:
    """The answer to `/submit`."""
    asked: Submitted = request.context
    if not results:
        return WireReply(EvalResult(id=asked.id, accepted=False, extracted_code="", tests=[]))
    (verdict,) = results
    assert isinstance(verdict, Verdict)
    statuses = verdict.test_statuses
    if statuses is None:
        is_right = verdict.status is Status.PASSED
        statuses = (Status.PASSED,) * asked.tests if is_right else (verdict.status,)
    if unscored := next((status for status in statuses if not status.is_scored), None):
        return WireReply({"detail": verdict.detail or f"a test could not be judged: {unscored}"}, status=500)
    seconds = verdict.test_cpu_seconds or (None,) * len(statuses)
    tests = [
        EvalTestCase(status is Status.PASSED, _exec_info(status, taken))
        for status, taken in zip(statuses, seconds, strict=True)
    ]
    accepted = all(test.passed for test in tests)
    return WireReply(EvalResult(id=asked.id, accepted=accepted, extracted_code=asked.program, tests=tests))


def _exec_info(status: Status, cpu_seconds: float | None) -> RunCodeReply:
    """What the status of a test tells of its execution. A verdict has no exit code: 1 stands for any but 0."""
    has_run_well = status in (Status.PASSED, Status.WRONG_ANSWER)
    did = CommandRunResult(
        status=_command_status(status),
        execution_time=cpu_seconds,
        cpu_time=cpu_seconds,
        return_code=None if status is Status.TIME_LIMIT else int(not has_run_well),
    )
    return RunCodeReply(status=RunStatus.SUCCESS if has_run_well else RunStatus.FAILED, run_result=did)


def _command_status(status: Status) -> CommandStatus:
    return CommandStatus.TIME_LIMIT_EXCEEDED if status is Status.TIME_LIMIT else CommandStatus.FINISHED


def _return_code(result: ExecutionResult) -> int | None:
    """The exit code of a program, never 0 for one that failed: clients call that an unknown failure."""
    if result.status is Status.TIME_LIMIT:
        return None
    if result.exit_code is None:
        return 1  # an interpreter's, for a program that does not compile
    if result.status is Status.OUTPUT_LIMIT and result.exit_code == 0:
        return -signal.SIGXFSZ  # it took no notice of having written too much
    return result.exit_code


def _readable(written: bytes) -> str:
    """What was written as a text that every client can store: NUL and what is not UTF-8 are replaced."""
    return written.decode("utf-8", "replace").replace("\0", "\ufffd")


def _read_cases(given: Any) -> list[StdioCase]:
    """The tests of a problem, which may be JSON text. Raises `UsageError` if they are of another form."""
    try:
        cases = msgspec.json.decode(given, type=list[StdioCase]) if isinstance(given, str) else given
        cases = msgspec.convert(cases, list[StdioCase])
    except NOT_DECODED as error:
        raise UsageError(f"config.provided_data.test is not that of a CommonOJDataset: {error}") from error
    if not 0 < len(cases) <= MAX_TESTS:
        raise UsageError(
            f"config.provided_data.test has {len(cases):,} tests; it has to be at least 1 and at most {MAX_TESTS:,}"
        )
    for case in cases:
        if case.input.keys() != {"stdin"} or case.output.keys() != {"stdout"}:
            raise UsageError("config.provided_data.test has files: only stdin and stdout are supported")
    return cases


def _decode(body: bytes, kind: type[Body]) -> Body:
    try:
        return decode_body(body, kind)
    except (*NOT_DECODED, ValueError) as error:
        raise UsageError(f"the body is not a request of SandboxFusion's: {error}") from error
