"""Executing a program without a comparison, and judging with a mode, limits and full results of the caller's."""

import math
import os
import signal
from collections.abc import AsyncIterator

import anyio
import msgspec
import pytest

from taco_stream.errors import UsageError
from taco_stream.evaluator.blocking import open_evaluator
from taco_stream.evaluator.pool import Evaluator, EvaluatorSettings
from taco_stream.evaluator.protocol import Limits
from taco_stream.evaluator.worker_handle import LARGE_LENGTH
from taco_stream.types import ComparisonMode, Status
from tests.evaluator.test_pool import RIGHT, SETTINGS, SUM, stdin_problem

pytestmark = pytest.mark.anyio

LIMITS = Limits(cpu_seconds=1.0, wall_seconds=2.0, memory_bytes=128 << 20, output_bytes=1 << 20)
ECHO = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())"


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """One loop for the file, in which the shared evaluator can live."""
    return ("asyncio", {"use_uvloop": True})


@pytest.fixture(scope="module")
async def evaluator(anyio_backend: object) -> AsyncIterator[Evaluator]:
    async with Evaluator(SETTINGS) as opened:
        yield opened


@pytest.mark.parametrize(
    ("program", "status", "exit_code", "stdout"),
    [
        (RIGHT, Status.PASSED, 0, b"3\n"),
        ("\ufeff" + RIGHT, Status.PASSED, 0, b"3\n"),
        ("print(7); raise SystemExit(3)", Status.RUNTIME_ERROR, 3, b"7\n"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", Status.RUNTIME_ERROR, -signal.SIGSEGV, b""),
        ("print(1, flush=True)\nwhile True: pass", Status.TIME_LIMIT, -signal.SIGKILL, b"1\n"),
        ("import time; print(1, flush=True); time.sleep(1000)", Status.TIME_LIMIT, -signal.SIGKILL, b"1\n"),
        ("x = bytearray(1 << 30)", Status.MEMORY_LIMIT, 1, b""),
        ("def f(:\n", Status.COMPILE_ERROR, None, b""),
        ("x = '\ud800'", Status.COMPILE_ERROR, None, b""),
    ],
)
async def test_an_execution_says_what_the_program_did(
    evaluator: Evaluator, program: str, status: Status, exit_code: int | None, stdout: bytes
) -> None:
    result = await evaluator.execute(program, b"1 2\n", LIMITS)
    assert (result.status, result.exit_code, result.stdout) == (status, exit_code, stdout), result
    assert result.sandbox_tier == evaluator.sandbox_tier
    assert bool(result.detail) == (status is Status.COMPILE_ERROR)


async def test_an_execution_returns_standard_error_and_what_it_took(evaluator: Evaluator) -> None:
    result = await evaluator.execute("x = sum(range(3_000_000)); print(1 / 0)", b"", LIMITS)
    assert result.stderr.endswith(b"ZeroDivisionError: division by zero\n")
    assert 0 < result.cpu_seconds < 1
    assert result.wall_seconds > 0
    assert result.peak_memory_bytes > 1 << 20


async def test_output_is_cut_at_the_limit_of_the_call(evaluator: Evaluator) -> None:
    limits = msgspec.structs.replace(LIMITS, output_bytes=1000)
    result = await evaluator.execute("while True: print('x' * 99)", b"", limits)
    assert result.status is Status.OUTPUT_LIMIT
    assert len(result.stdout) == 1000


@pytest.mark.parametrize("length", [0, LARGE_LENGTH, LARGE_LENGTH + 1])
async def test_input_and_output_are_any_bytes_of_any_length(evaluator: Evaluator, length: int) -> None:
    given = (bytes(range(256)) * (length // 256 + 1))[:length]
    assert (await evaluator.execute(ECHO, given, LIMITS)).stdout == given


async def test_an_execution_is_run_each_time(evaluator: Evaluator) -> None:
    before = evaluator.statistics().tests_run
    await evaluator.execute(RIGHT, b"1 2\n", LIMITS)
    await evaluator.execute(RIGHT, b"1 2\n", LIMITS)
    assert evaluator.statistics().tests_run == before + 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"cpu_seconds": 0.0},
        {"cpu_seconds": math.nan},
        {"wall_seconds": math.inf},
        {"memory_bytes": 1 << 20},
        {"output_bytes": 1 << 40},
    ],
)
async def test_limits_that_nothing_can_run_under_are_refused(evaluator: Evaluator, wrong: dict[str, float]) -> None:
    limits = msgspec.structs.replace(LIMITS, **wrong)
    with pytest.raises(UsageError, match=next(iter(wrong))):
        await evaluator.execute(RIGHT, b"", limits)
    with pytest.raises(UsageError, match=next(iter(wrong))):
        await evaluator.judge(SUM, RIGHT, limits=limits)


async def test_a_killed_worker_is_replaced_and_the_program_runs_again(evaluator: Evaluator) -> None:
    worker = evaluator._workers[0]
    process = worker._process or await worker.start()
    restarts = evaluator.statistics().restarts
    os.kill(process.pid, signal.SIGKILL)
    result = await evaluator.execute(RIGHT, b"1 2\n", LIMITS)
    assert (result.status, result.stdout) == (Status.PASSED, b"3\n")
    assert evaluator.statistics().restarts == restarts + 1


async def test_a_withdrawn_execution_ends_and_the_next_gets_its_own_answer(evaluator: Evaluator) -> None:
    limits = msgspec.structs.replace(LIMITS, cpu_seconds=60.0, wall_seconds=60.0)
    with anyio.move_on_after(0.3) as scope:
        await evaluator.execute("while True: pass", b"", limits)
    assert scope.cancelled_caught
    assert (await evaluator.execute(RIGHT, b"3 4\n", LIMITS)).stdout == b"7\n"


async def test_full_results_are_the_callers_to_ask_for(evaluator: Evaluator) -> None:
    """One program, asked both ways and again: the cache must not give one way's verdict for the other's."""
    program = "print(7)"
    for _ in range(2):
        first = await evaluator.judge(SUM, program)
        assert (first.tests_run, first.test_statuses) == (1, None)
        full = await evaluator.judge(SUM, program, full_results=True)
        assert full.test_statuses == (Status.WRONG_ANSWER, Status.PASSED, Status.WRONG_ANSWER)


async def test_full_results_have_the_seconds_of_each_test(evaluator: Evaluator) -> None:
    program = "import time\nend = time.process_time() + float(input())\nwhile time.process_time() < end: pass"
    problem = stdin_problem(("0\n", ""), ("0.2\n", ""), ("0\n", "1\n"))
    verdict = await evaluator.judge(problem, program, full_results=True)
    assert verdict.test_cpu_seconds is not None
    quick, slow, wrong = verdict.test_cpu_seconds
    assert slow > 0.15 > max(quick, wrong) > 0
    assert sum(verdict.test_cpu_seconds) == pytest.approx(verdict.cpu_seconds, abs=1e-5)
    assert (await evaluator.judge(problem, program)).test_cpu_seconds is None


async def test_the_mode_is_the_callers_to_choose(evaluator: Evaluator) -> None:
    """`3 3` is the set {3}, which the original takes for `3`."""
    program = "print(sum(map(int, input().split())), 3)"
    problem = stdin_problem(("1 2\n", "3\n"))
    assert (await evaluator.judge(problem, program)).status is Status.WRONG_ANSWER
    assert (await evaluator.judge(problem, program, mode=ComparisonMode.OFFICIAL)).status is Status.PASSED


async def test_limits_of_a_call_are_exact_and_have_verdicts_of_their_own(evaluator: Evaluator) -> None:
    problem = stdin_problem(("", "1\n"), seconds=4.0)  # times the factor 0.5 of the settings
    program = "import time\nwhile time.process_time() < 0.6: pass\nprint(1)"
    tight = msgspec.structs.replace(LIMITS, cpu_seconds=0.2)
    for _ in range(2):
        assert (await evaluator.judge(problem, program)).status is Status.PASSED
        assert (await evaluator.judge(problem, program, limits=tight)).status is Status.TIME_LIMIT


def test_a_caller_that_is_not_asynchronous_can_execute_and_choose() -> None:
    settings = EvaluatorSettings(workers=1, memory_limit=128, unsafe_no_sandbox=True)
    with open_evaluator(settings) as opened:
        assert opened.execute(RIGHT, b"1 2\n", LIMITS).stdout == b"3\n"
        verdict = opened.judge(SUM, "print(7)", limits=LIMITS, full_results=True)
        assert verdict.test_statuses is not None
        assert len(verdict.test_statuses) == 3
