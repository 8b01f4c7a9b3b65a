"""The evaluator end to end: every status from a real program, and what happens when a worker fails."""

import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import msgspec
import pytest

from taco_stream.errors import EvaluatorError
from taco_stream.evaluator import worker_handle
from taco_stream.evaluator.pool import MAX_PROGRAM_BYTES, Evaluator, EvaluatorSettings
from taco_stream.events import EvaluatorEvent, EvaluatorRestarted
from taco_stream.types import ComparisonMode, Problem, SpecialJudge, Status

pytestmark = pytest.mark.anyio


def stdin_problem(*tests: tuple[str, str], problem_id: str = "p", seconds: float = 1.0) -> Problem:
    text = json.dumps({"inputs": [given for given, _ in tests], "outputs": [expected for _, expected in tests]})
    return Problem(problem_id=problem_id, position=0, question="", tests=text, time_limit_seconds=seconds)


def call_problem(fn_name: str, *tests: tuple[list[object], object]) -> Problem:
    given, expected = [list(test[0]) for test in tests], [[test[1]] for test in tests]
    text = json.dumps({"fn_name": fn_name, "inputs": given, "outputs": expected})
    return Problem(problem_id=fn_name, position=0, question="", tests=text, fn_name=fn_name, time_limit_seconds=1.0)


SUM = stdin_problem(("1 2\n", "3\n"), ("3 4\n", "7\n"), ("5 6\n", "11\n"))
RIGHT = "print(sum(map(int, input().split())))\n"


SETTINGS = EvaluatorSettings(
    workers=1,
    time_limit_factor=0.5,
    memory_limit=128,
    output_limit_bytes=1 << 20,
    unsafe_no_sandbox=True,
)


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """One loop for the file, in which the shared evaluator can live."""
    return ("asyncio", {"use_uvloop": True})


@pytest.fixture(scope="module")
async def shared(anyio_backend: object) -> AsyncIterator[Evaluator]:
    """An evaluator for the tests that ask only for verdicts."""
    async with Evaluator(SETTINGS) as opened:
        yield opened


@pytest.fixture
async def evaluator(anyio_backend: object) -> AsyncIterator[Evaluator]:
    """A fresh one, which has counted and remembered nothing."""
    async with Evaluator(SETTINGS) as opened:
        yield opened


@pytest.mark.parametrize(
    ("program", "status"),
    [
        (RIGHT, Status.PASSED),
        ("print(3)", Status.WRONG_ANSWER),
        ("print(sum(map(int, input().split()))); raise SystemExit(0)", Status.PASSED),
        ("import sys; sys.stdout.write(str(sum(map(int, input().split())))); exit()", Status.PASSED),
        ("print(1/0)", Status.RUNTIME_ERROR),
        ("import os; os._exit(3)", Status.RUNTIME_ERROR),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", Status.RUNTIME_ERROR),
        ("def f(:\n", Status.COMPILE_ERROR),
        ("\0", Status.COMPILE_ERROR),
        ("while True: pass", Status.TIME_LIMIT),
        ("import time; time.sleep(1000)", Status.TIME_LIMIT),
        ("x = []\nwhile True: x.append(bytearray(1 << 20))", Status.MEMORY_LIMIT),
        ("while True: print('x' * 1000)", Status.OUTPUT_LIMIT),
        ("", Status.WRONG_ANSWER),
    ],
)
async def test_every_status_comes_from_what_the_program_does(shared: Evaluator, program: str, status: Status) -> None:
    verdict = await shared.judge(SUM, program)
    assert verdict.status is status, verdict


async def test_a_failing_test_is_named_by_its_index(shared: Evaluator) -> None:
    verdict = await shared.judge(SUM, "a, b = map(int, input().split())\nprint(a + b if a < 3 else 0)")
    assert (verdict.failed_test, verdict.tests_total) == (1, 3)


async def test_an_error_is_told_in_one_sentence(shared: Evaluator) -> None:
    verdict = await shared.judge(SUM, "x = 1\nprint(x / 0)")
    assert "ZeroDivisionError: division by zero" in verdict.detail
    frames = [line for line in verdict.stderr_tail.splitlines() if line.startswith("  File")]
    assert frames == ['  File "program.py", line 2, in <module>'], "a frame of the evaluator's own"
    assert verdict.stderr_tail.splitlines()[-1] == "ZeroDivisionError: division by zero"


async def test_a_wrong_answer_is_shown_with_where_it_differs(shared: Evaluator) -> None:
    verdict = await shared.judge(SUM, "print(7)")
    assert (verdict.output_head, verdict.status) == ("7\n", Status.WRONG_ANSWER)
    assert verdict.detail == "line 1: printed 7, expected 3"


async def test_all_modes_come_from_one_execution(shared: Evaluator) -> None:
    """`3 3` is the set {3}, which the original takes for `3`."""
    verdicts = await shared.judge_all_modes(stdin_problem(("", "3\n")), "print(3, 3)")
    assert verdicts[ComparisonMode.OFFICIAL].status is Status.PASSED
    assert verdicts[ComparisonMode.STRICT].status is Status.WRONG_ANSWER


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("def add(a, b): return a + b", Status.PASSED),
        ("class Solution:\n    def add(self, a, b): return a + b", Status.PASSED),
        ("def add(a, b): return a - b", Status.WRONG_ANSWER),
        ("def add(a, b): raise ValueError('no')", Status.RUNTIME_ERROR),
        ("def subtract(a, b): return a - b", Status.RUNTIME_ERROR),
        (
            "class Always:\n    def __eq__(self, other): return True\ndef add(a, b): return Always()",
            Status.WRONG_ANSWER,
        ),
        (
            "class Three(int):\n    def __eq__(self, other): return True\ndef add(a, b): return Three(9)",
            Status.WRONG_ANSWER,
        ),
        ("def add(a, b):\n    x = []\n    x.append(x)\n    return x", Status.RUNTIME_ERROR),
    ],
)
async def test_functions_are_called_and_their_values_compared(shared: Evaluator, program: str, status: Status) -> None:
    verdict = await shared.judge(call_problem("add", ([1, 2], 3), ([5, 5], 10)), program)
    assert verdict.status is status, verdict


async def test_the_headers_names_are_there_without_an_import(shared: Evaluator) -> None:
    verdict = await shared.judge(stdin_problem(("", "2\n")), "print(Counter('aab').most_common(1)[0][1], end='\\n')")
    assert verdict.status is Status.PASSED, verdict


async def test_tests_do_not_see_each_other(shared: Evaluator) -> None:
    program = "import builtins\nprint(getattr(builtins, 'mark', 0))\nbuiltins.mark = 1"
    verdict = await shared.judge(stdin_problem(("", "0"), ("", "0"), ("", "0")), program)
    assert verdict.status is Status.PASSED, verdict


async def test_random_numbers_are_the_same_every_time(shared: Evaluator) -> None:
    program = "import random\nprint(random.random() == 0.8444218515250481, hash('x') == hash('x'))"
    verdict = await shared.judge(stdin_problem(("", "True True"), ("", "True True")), program)
    assert verdict.status is Status.PASSED, verdict


async def test_unflushed_output_counts(shared: Evaluator) -> None:
    verdict = await shared.judge(stdin_problem(("", "done")), "f = open(1, 'w', closefd=False)\nf.write('done')")
    assert verdict.status is Status.PASSED, verdict


async def test_numbers_of_any_size_are_exact(shared: Evaluator) -> None:
    problem = call_problem("power", ([2, 4000], 2**4000))
    assert (await shared.judge(problem, "def power(a, b): return a ** b")).status is Status.PASSED
    assert (await shared.judge(problem, "def power(a, b): return a ** b + 1")).status is Status.WRONG_ANSWER


async def test_broken_tests_are_the_datasets_fault(shared: Evaluator) -> None:
    broken = Problem(problem_id="broken", position=0, question="", tests="{")
    verdict = await shared.judge(broken, RIGHT)
    assert verdict.status is Status.INFRASTRUCTURE_ERROR
    assert "broken" in verdict.detail


async def test_full_results_run_every_test(anyio_backend: object) -> None:
    async with Evaluator(EvaluatorSettings(workers=1, full_results=True, unsafe_no_sandbox=True)) as evaluator:
        verdict = await evaluator.judge(SUM, "a, b = map(int, input().split())\nprint(a + b if a != 3 else 0)")
    assert verdict.test_statuses == (Status.PASSED, Status.WRONG_ANSWER, Status.PASSED)


def read_children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.both_loops
async def test_a_worker_crash_costs_one_retry_and_no_verdict(anyio_backend: object) -> None:
    send, receive = anyio.create_memory_object_stream[EvaluatorEvent](8)
    before = set(read_children(os.getpid()))
    async with send, receive, Evaluator(EvaluatorSettings(workers=1, unsafe_no_sandbox=True), events=send) as evaluator:
        (worker,) = set(read_children(os.getpid())) - before
        async with anyio.create_task_group() as tasks:
            verdicts = []

            async def judge() -> None:
                verdicts.append(await evaluator.judge(SUM, "import time; time.sleep(0.3)\n" + RIGHT))

            tasks.start_soon(judge)
            await anyio.wait_all_tasks_blocked()
            os.kill(worker, signal.SIGKILL)
        assert verdicts[0].status is Status.PASSED
        assert evaluator.statistics().restarts == 1
        event = await receive.receive()
        assert isinstance(event, EvaluatorRestarted)
        assert event.problem_id == SUM.problem_id


async def test_a_worker_crash_costs_no_verdict_when_nobody_reads_the_events_any_more(anyio_backend: object) -> None:
    send, receive = anyio.create_memory_object_stream[EvaluatorEvent](8)
    before = set(read_children(os.getpid()))
    async with send, Evaluator(EvaluatorSettings(workers=1, unsafe_no_sandbox=True), events=send) as evaluator:
        receive.close()
        (worker,) = set(read_children(os.getpid())) - before
        os.kill(worker, signal.SIGKILL)
        assert (await evaluator.judge(SUM, RIGHT)).status is Status.PASSED
        assert evaluator.statistics().restarts == 1


DYING = """
from taco_stream.workers.frames import FrameDecoder

read = FrameDecoder.read

def read_or_die(self, stream):
    frame = read(self, stream)
    if type(frame).__name__ == "JudgeProgram":
        raise SystemError("the disk is gone")
    return frame

FrameDecoder.read = read_or_die
"""


async def test_the_exception_that_a_worker_ends_with_is_reported_and_not_printed(
    anyio_backend: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sitecustomize.py").write_text(DYING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    send, receive = anyio.create_memory_object_stream[EvaluatorEvent](8)
    async with send, receive, Evaluator(EvaluatorSettings(workers=1, unsafe_no_sandbox=True), events=send) as evaluator:
        verdict = await evaluator.judge(SUM, RIGHT)
        event = await receive.receive()
    reason = "the worker has ended: exit code 1, SystemError: the disk is gone"
    assert event == EvaluatorRestarted(problem_id="p", message=reason, at=event.at)
    assert verdict.detail == f"the evaluator failed twice on this program: {reason}"
    assert capfd.readouterr().err == ""


@pytest.mark.both_loops
async def test_many_programs_are_judged_at_once(anyio_backend: object) -> None:
    async with (
        Evaluator(EvaluatorSettings(workers=2, unsafe_no_sandbox=True)) as evaluator,
        anyio.create_task_group() as tasks,
    ):
        statuses: dict[int, Status] = {}

        async def judge(number: int) -> None:
            program = RIGHT if number % 2 else "print('no')"
            statuses[number] = (await evaluator.judge(SUM, program)).status

        for number in range(20):
            tasks.start_soon(judge, number)
    assert statuses == {number: Status.PASSED if number % 2 else Status.WRONG_ANSWER for number in range(20)}


@pytest.mark.both_loops
async def test_cancelling_a_judgement_frees_its_worker(evaluator: Evaluator) -> None:
    with anyio.move_on_after(0.2):
        await evaluator.judge(SUM, "import time; time.sleep(1000)")
    with anyio.fail_after(200):
        assert (await evaluator.judge(SUM, RIGHT)).status is Status.PASSED


@pytest.mark.both_loops
async def test_leaving_the_evaluator_leaves_no_process(anyio_backend: object) -> None:
    before = set(read_children(os.getpid()))
    async with Evaluator(EvaluatorSettings(workers=2, unsafe_no_sandbox=True)) as evaluator:
        await evaluator.judge(SUM, RIGHT)
        assert len(set(read_children(os.getpid())) - before) == 2
    assert set(read_children(os.getpid())) <= before


async def test_identical_programs_are_judged_once(evaluator: Evaluator) -> None:
    verdicts = await evaluator.judge_batch([(SUM, RIGHT)] * 10 + [(SUM, "print(3)")] * 10)
    assert [verdict.status for verdict in verdicts] == [Status.PASSED] * 10 + [Status.WRONG_ANSWER] * 10
    assert evaluator.statistics().tests_run == len("123") + 2
    assert evaluator.statistics().cache_hits == 18


NAPS = """
import time
a, b = map(int, input().split())
time.sleep(1000 if a == 5 else 0)
print(a + b)
"""


async def test_a_test_that_the_clock_stopped_is_not_run_again(evaluator: Evaluator) -> None:
    verdict = await evaluator.judge(SUM, NAPS)
    assert (verdict.status, verdict.failed_test) == (Status.TIME_LIMIT, 2)
    assert evaluator.statistics().tests_run == 3


@pytest.mark.both_loops
async def test_a_sleeper_stalls_nobody_but_its_own_worker(anyio_backend: object) -> None:
    """One that sleeps whenever it is judged, beside a hundred programs that the other worker judges meanwhile."""
    settings = EvaluatorSettings(workers=2, wall_multiple=400.0, unsafe_no_sandbox=True)
    done: list[str] = []
    async with Evaluator(settings) as evaluator, anyio.create_task_group() as tasks:

        async def judge(name: str, program: str) -> None:
            await evaluator.judge(SUM, program)
            done.append(name)

        tasks.start_soon(judge, "sleeper", NAPS)
        await anyio.wait_all_tasks_blocked()
        async with anyio.create_task_group() as others:
            for number in range(100):
                others.start_soon(judge, "other", f"{RIGHT}# {number}")
        assert done == ["other"] * 100
        tasks.cancel_scope.cancel()


@pytest.mark.both_loops
async def test_workers_that_are_not_in_use_are_given_nothing(anyio_backend: object) -> None:
    def at_work() -> tuple[int, int, int]:
        now = evaluator.statistics()
        return now.workers, now.busy, now.waiting

    settings = EvaluatorSettings(workers=2, wall_multiple=400.0, unsafe_no_sandbox=True)
    async with Evaluator(settings) as evaluator, anyio.create_task_group() as tasks:
        evaluator.use_workers(1)
        assert evaluator.concurrency == 2
        for number in range(3):
            tasks.start_soon(evaluator.judge, SUM, f"import time\ntime.sleep(1000)\n# {number}")
        while at_work() != (1, 1, 2):  # noqa: ASYNC110
            await anyio.sleep(0.01)
        evaluator.use_workers(99)
        while at_work() != (2, 2, 1):  # noqa: ASYNC110
            await anyio.sleep(0.01)
        evaluator.use_workers(0)  # the one that is judging finishes
        assert at_work() == (1, 2, 1)
        tasks.cancel_scope.cancel()
    assert evaluator.statistics().busy == 0


async def test_a_program_cannot_choose_to_be_the_evaluators_fault(shared: Evaluator) -> None:
    """It sleeps in the whole run, and would answer at once if it were the first test of its process."""
    dodge = "import os, time\ntime.sleep(0 if os.getpid() - os.getppid() == 1 else 1000)\n" + RIGHT
    assert (await shared.judge(SUM, dodge)).status is Status.TIME_LIMIT


async def test_a_program_of_any_length_is_answered(shared: Evaluator) -> None:
    verdict = await shared.judge(SUM, "import os\n" * (MAX_PROGRAM_BYTES // 10 + 1))
    assert verdict.status is Status.COMPILE_ERROR
    assert "1,048,57" in verdict.detail
    imports = "import os\n" * 100_000
    assert (await shared.judge(SUM, imports + RIGHT)).status is Status.PASSED


async def test_identical_programs_that_are_stopped_are_judged_once(evaluator: Evaluator) -> None:
    verdicts = await evaluator.judge_batch([(SUM, NAPS)] * 3)
    assert {verdict.status for verdict in verdicts} == {Status.TIME_LIMIT}
    assert evaluator.statistics().cache_hits == 2


@pytest.mark.both_loops
async def test_a_worker_that_says_nothing_is_replaced(anyio_backend: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that is at work is not, however long the whole takes."""
    monkeypatch.setattr(worker_handle, "SILENCE_SECONDS", 1.0)
    problem = stdin_problem(*[("1 2\n", "3\n")] * 12, seconds=1.0)
    before = set(read_children(os.getpid()))
    async with Evaluator(SETTINGS) as evaluator:
        (worker,) = set(read_children(os.getpid())) - before
        assert (await evaluator.judge(problem, "import time; time.sleep(0.5)\n" + RIGHT)).status is Status.PASSED
        os.kill(worker, signal.SIGSTOP)
        assert (await evaluator.judge(problem, RIGHT)).status is Status.PASSED
        assert evaluator.statistics().restarts == 1


async def test_other_tests_under_the_same_name_are_not_taken_for_these(shared: Evaluator) -> None:
    other = stdin_problem(("1 2\n", "4\n"))
    assert (await shared.judge(SUM, RIGHT)).status is Status.PASSED
    assert (await shared.judge(other, RIGHT)).status is Status.WRONG_ANSWER


async def test_the_second_failure_is_reported(evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = stdin_problem(("1 2\n", "3\n"), seconds=1.0)
    monkeypatch.setattr(worker_handle, "SILENCE_SECONDS", -7.0)  # less than nothing beside the limit on the clock
    verdict = await evaluator.judge(problem, RIGHT)
    assert verdict.status is Status.INFRASTRUCTURE_ERROR
    assert "failed twice on this program: the worker did not reply" in verdict.detail
    assert evaluator.statistics().restarts == 2


async def test_a_batch_raises_what_the_evaluator_does(evaluator: Evaluator, tmp_path: Path) -> None:
    (tmp_path / "p.py").write_bytes(b"\xff")
    settings = EvaluatorSettings(workers=1, checkers_folder=str(tmp_path), unsafe_no_sandbox=True)
    problem = msgspec.structs.replace(SUM, special_judge=SpecialJudge.SEVERAL_ANSWERS)
    async with Evaluator(settings) as opened:
        with pytest.raises(EvaluatorError, match="the checker of problem p cannot be read"):
            await opened.judge_batch([(problem, RIGHT)])


async def test_verdicts_are_kept_between_runs_where_asked(anyio_backend: object, tmp_path: Path) -> None:
    settings = EvaluatorSettings(workers=1, unsafe_no_sandbox=True, verdict_cache=str(tmp_path))
    for hits in (0, 1):
        async with Evaluator(settings) as evaluator:
            assert (await evaluator.judge(SUM, RIGHT)).status is Status.PASSED
            assert evaluator.statistics().cache_hits == hits


@pytest.mark.parametrize(("depth", "status"), [(998, Status.PASSED), (999, Status.RUNTIME_ERROR)])
async def test_a_program_recurses_as_deep_as_by_itself(shared: Evaluator, depth: int, status: Status) -> None:
    """Python's own limit of 1,000 frames: one for the module, one for the last call."""
    program = f"def f(n):\n    return 0 if n == 0 else f(n - 1)\nprint(f({depth}))"
    assert (await shared.judge(stdin_problem(("", "0")), program)).status is status


async def test_a_system_without_what_tests_need_is_named(
    anyio_backend: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    with pytest.raises(EvaluatorError, match="no pidfd_open: use Linux"):
        await Evaluator().__aenter__()


async def test_a_memory_limit_that_no_interpreter_fits_in_is_refused(anyio_backend: object) -> None:
    with pytest.raises(EvaluatorError, match="memory_limit"):
        async with Evaluator(EvaluatorSettings(workers=1, memory_limit=1)):
            pass


async def test_a_problem_under_other_limits_is_judged_under_those(shared: Evaluator) -> None:
    slow = "import time\nwhile time.process_time() < 0.7: pass\n" + RIGHT
    longer = msgspec.structs.replace(SUM, time_limit_seconds=4.0)
    statuses = [(await shared.judge(problem, slow)).status for problem in (SUM, longer, SUM)]
    assert statuses == [Status.TIME_LIMIT, Status.PASSED, Status.TIME_LIMIT]


async def test_a_program_is_run_again_where_that_is_asked_for(evaluator: Evaluator) -> None:
    for _ in range(2):
        await evaluator.judge_all_modes(SUM, RIGHT, use_cache=False)
    statistics = evaluator.statistics()
    assert (statistics.cache_hits, statistics.tests_run) == (0, 6)


async def test_the_slowest_test_is_told(shared: Evaluator) -> None:
    verdict = await shared.judge(
        SUM,
        "import time\ndata = input()\nwhile data[0] == '3' and time.process_time() < 0.3: pass\nprint(sum(map(int, data.split())))",
    )
    assert verdict.status is Status.PASSED
    assert 0.3 <= verdict.peak_cpu_seconds <= verdict.cpu_seconds


async def test_the_time_of_a_program_counts_while_it_runs(evaluator: Evaluator) -> None:
    """Not only when it has ended, which would be a peak of minutes in a second."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(evaluator.judge, SUM, "while True: pass")
        with anyio.fail_after(200):
            while not (evaluator.statistics().busy and evaluator.statistics().busy_seconds > 0.1):
                assert not evaluator.statistics().judged
                await anyio.sleep(0.01)
    assert evaluator.statistics().busy == 0
