"""The evaluator: a pool of spawned workers that give verdicts on programs.

Who runs: one `python -m taco_stream.evaluator.worker` per core, each with a zygote of its own, spoken to in frames over
its standard input and output. A caller of `judge` waits for a free worker; any number may wait. A worker is told a
problem's tests once and is given programs of the problem whose tests it already has where there is a choice.

Promised: exactly one verdict for each call. A worker that dies, or answers nothing within the time that its tests can
take, is killed and replaced, and the program is tried once more; the second failure is the verdict
`infrastructure_error`. A program that the wall clock stopped while it had CPU time left is judged again with every
other worker idle, so that a loaded machine makes no verdict. Identical programs of a problem are judged once. Leaving
the context ends every process, within bounded time.

Runs under asyncio and trio.
"""

import contextlib
import functools
import math
import os
import platform
import sys
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
import msgspec
from anyio.abc import ObjectSendStream, Process

from taco_stream.errors import EvaluatorError
from taco_stream.evaluator.checkers.several_answers import checker_text
from taco_stream.evaluator.execution import memory_file
from taco_stream.evaluator.protocol import Forget, FromWorker, Judge, Judged, Limits, Ready, Sweep, Tests, ToWorker
from taco_stream.evaluator.sandbox.plan import SandboxPlan
from taco_stream.evaluator.sandbox.rlimits import ProgramLimits, shortfall
from taco_stream.evaluator.verdict_cache import VerdictCache, Verdicts, cache_key
from taco_stream.frames import FrameDecoder, FrameError, encode_frame
from taco_stream.types import ComparisonMode, Event, Problem, SpecialJudge, Status, Verdict

START_SECONDS = 30.0
STOP_SECONDS = 5.0
ANSWER_MARGIN_SECONDS = 60.0
LEAST_MEMORY_BYTES = 32 << 20
PROBLEMS_KEPT = 8
"""Problems whose tests a worker keeps: a run works through few problems at a time, and tests can be megabytes."""

LARGE_TESTS_LENGTH = 1 << 18
"""Tests of more characters go to a worker in a memory file that a thread writes, so that the event loop goes on."""


class EvaluatorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How programs are run and which verdict counts.

    The CPU limit of a test is the problem's own (`time_limit_seconds` where it states none) times `time_limit_factor`;
    its wall limit `wall_multiple` times that and a second more. Limits stated for compiled languages are tight for
    CPython, hence a factor over 1.

    `failures_first` refuses failing programs sooner, at a price that `failure_order` tells. `checkers_folder` is the
    registry that `checkers.several_answers` describes. `cache_folder` keeps verdicts between runs.
    """

    workers: int = 0
    mode: ComparisonMode = ComparisonMode.STRICT
    time_limit_factor: float = 2.0
    time_limit_seconds: float = 4.0
    memory_limit_bytes: int = 4 << 30
    output_limit_bytes: int = 64 << 20
    wall_multiple: float = 3.0
    full_results: bool = False
    failures_first: bool = False
    unsafe_no_sandbox: bool = False
    checkers_folder: str | None = None
    cache_folder: str | None = None

    @property
    def sweep(self) -> Sweep:
        """Which tests of a program are run."""
        if self.full_results:
            return Sweep.FULL
        return Sweep.FAILURES_FIRST if self.failures_first else Sweep.FIRST_FAILURE


class EvaluatorStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """A glance at the evaluator. `busy_seconds` is the sum over workers of the time each was judging."""

    workers: int = 0
    busy: int = 0
    waiting: int = 0
    judged: int = 0
    tests_run: int = 0
    restarts: int = 0
    infrastructure_errors: int = 0
    cache_hits: int = 0
    busy_seconds: float = 0.0


class WorkerError(Exception):
    """A worker died, or did not answer in time."""


class Evaluator:
    """Judges programs; an asynchronous context manager."""

    def __init__(
        self,
        settings: EvaluatorSettings = EvaluatorSettings(),  # noqa: B008 (immutable)
        *,
        events: ObjectSendStream[Event] | None = None,
    ) -> None:
        self._settings = settings
        self._events = events
        self._free: list[_Worker] = []
        self._workers: list[_Worker] = []
        self._places = anyio.Semaphore(settings.workers or _cores())
        self._one_alone = anyio.Lock()
        self._cache = VerdictCache(None if settings.cache_folder is None else Path(settings.cache_folder))
        self._under_way: dict[bytes, anyio.Event] = {}
        self._cache_hits = 0
        self._waiting = self._judged = self._tests_run = self._restarts = self._infrastructure_errors = 0
        self._busy_seconds = 0.0

    @property
    def sandbox_tier(self) -> str:
        """How programs are confined."""
        return self._workers[0].sandbox_tier

    @property
    def worst_case(self) -> str:
        """How long a test may take at the most where its problem states no limit of its own, in words."""
        settings = self._settings
        cpu_seconds = settings.time_limit_seconds * settings.time_limit_factor
        return (
            f"a test may take {settings.time_limit_factor:g} times its problem's CPU time limit "
            f"({cpu_seconds:g} s where it states none) and {settings.wall_multiple:g} times that on the clock"
        )

    async def __aenter__(self) -> Self:
        """Starts the workers. Raises `EvaluatorError` where one does not come up, or the sandbox is below the floor."""
        _check_platform()
        if self._settings.memory_limit_bytes < LEAST_MEMORY_BYTES:
            raise EvaluatorError(
                f"memory_limit_bytes cannot be below {LEAST_MEMORY_BYTES}: an interpreter takes as much"
            )
        for _ in range(self._settings.workers or _cores()):
            worker = _Worker(self._settings)
            self._workers.append(worker)
            self._free.append(worker)
        try:
            async with anyio.create_task_group() as starting:
                for worker in self._workers:
                    starting.start_soon(worker.start)
        except* (WorkerError, OSError) as group:
            await self._stop()
            raise EvaluatorError(f"an evaluator worker did not start: {group.exceptions[0]}") from group
        if refusal := _refusal(SandboxPlan.from_tier(self.sandbox_tier), self._settings):
            await self._stop()
            raise EvaluatorError(refusal)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the workers."""
        await self._stop()
        self._cache.__exit__(kind, error, trace)

    async def judge(self, problem: Problem, program: str) -> Verdict:
        """The verdict on one program under the mode of the settings."""
        return (await self.judge_all_modes(problem, program))[self._settings.mode]

    async def judge_all_modes(self, problem: Problem, program: str) -> Verdicts:
        """The verdicts on one program under every comparison mode.

        A program that is being judged, or has been, is not run again: whoever asks for it meanwhile waits for the same
        verdict.
        """
        try:
            program.encode()
        except UnicodeEncodeError as error:
            detail = f"the text is not Unicode: {error.reason}"
            verdict = Verdict(status=Status.COMPILE_ERROR, detail=detail, sandbox_tier=self.sandbox_tier)
            return dict.fromkeys(ComparisonMode, verdict)
        limits = limits_of(problem, self._settings)
        checker = checker_of(problem, self._settings)
        key = cache_key(problem, program, limits, checker, sweep=self._settings.sweep, tier=self.sandbox_tier)
        while (under_way := self._under_way.get(key)) is not None:
            await under_way.wait()
        verdicts = self._cache.find(key)
        if verdicts is None:
            self._under_way[key] = anyio.Event()
            try:
                verdicts = await self._judge_anew(problem, program)
                self._cache.keep(key, verdicts)
            finally:
                self._under_way.pop(key).set()
        else:
            self._cache_hits += 1
        self._judged += 1
        return verdicts

    async def judge_batch(self, items: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        """The verdicts on many programs, in their order, under the mode of the settings."""
        verdicts: dict[int, Verdict] = {}

        async def judge(number: int) -> None:
            verdicts[number] = await self.judge(*items[number])

        async with anyio.create_task_group() as tasks:
            for number in range(len(items)):
                tasks.start_soon(judge, number)
        return [verdicts[number] for number in range(len(items))]

    def statistics(self) -> EvaluatorStatistics:
        """The evaluator as it is now."""
        return EvaluatorStatistics(
            workers=len(self._workers),
            busy=len(self._workers) - len(self._free),
            waiting=self._waiting,
            judged=self._judged,
            tests_run=self._tests_run,
            restarts=self._restarts,
            infrastructure_errors=self._infrastructure_errors,
            cache_hits=self._cache_hits,
            busy_seconds=self._busy_seconds,
        )

    async def _judge_anew(self, problem: Problem, program: str) -> Verdicts:
        """Judges: again where a worker failed, and alone where the clock stopped a program that had CPU time left."""
        for _ in range(2):
            async with self._worker_for(problem.problem_id) as worker:
                judged = await self._judge_with(worker, problem, program)
            if judged is not None:
                break
        else:
            self._infrastructure_errors += 1
            broken = Verdict(
                status=Status.INFRASTRUCTURE_ERROR,
                detail="the evaluator's worker failed twice on this program",
                sandbox_tier=self.sandbox_tier,
            )
            return dict.fromkeys(ComparisonMode, broken)
        if judged.ran_out_of_wall:
            async with self._alone() as worker:
                judged = await self._judge_with(worker, problem, program) or judged
        if judged.verdicts[ComparisonMode.STRICT].status is Status.INFRASTRUCTURE_ERROR:
            self._infrastructure_errors += 1
        return judged.verdicts

    async def _judge_with(self, worker: "_Worker", problem: Problem, program: str) -> Judged | None:
        """The worker's answer; None, with the worker replaced, where it failed."""
        try:
            judged = await worker.judge(problem, program)
        except WorkerError as error:
            self._restarts += 1
            await self._tell("evaluator_restarted", f"problem {problem.problem_id}: {error}")
            await worker.restart()
            return None
        self._tests_run += judged.tests_run
        if judged.zygote_failed:
            await self._tell("zygote_restarted", f"problem {problem.problem_id}: its zygote failed")
            return None
        return judged

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator["_Worker"]:
        """Waits until every worker is free and keeps the others idle, so that load cannot stop the clock again."""
        async with self._one_alone:
            for _ in self._workers:
                await self._places.acquire()
            try:
                async with self._in_step(self._free[0]) as worker:
                    yield worker
            finally:
                for _ in self._workers:
                    self._places.release()

    @asynccontextmanager
    async def _worker_for(self, problem_id: str) -> AsyncIterator["_Worker"]:
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        try:
            worker = next((each for each in self._free if each.knows(problem_id)), self._free[0])
            async with self._in_step(worker):
                yield worker
        finally:
            self._places.release()

    @asynccontextmanager
    async def _in_step(self, worker: "_Worker") -> AsyncIterator["_Worker"]:
        """Takes a free worker. One that is left in the middle of an answer is stopped; it starts again when needed."""
        self._free.remove(worker)
        started_at = time.monotonic()
        try:
            yield worker
        except BaseException:
            with anyio.CancelScope(shield=True):
                await worker.stop()
            raise
        finally:
            self._busy_seconds += time.monotonic() - started_at
            self._free.append(worker)

    async def _stop(self) -> None:
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as stopping:
                for worker in self._workers:
                    stopping.start_soon(worker.stop)

    async def _tell(self, kind: str, message: str) -> None:
        if self._events is not None:
            await self._events.send(Event(kind=kind, at=time.time(), message=message))


class _Worker:
    """One worker process and what it has been told."""

    def __init__(self, settings: EvaluatorSettings) -> None:
        self._settings = settings
        self._process: Process | None = None
        self._decoder: FrameDecoder[FromWorker] = FrameDecoder(FromWorker)
        self._keys: OrderedDict[str, int] = OrderedDict()
        self._next = 0
        self.sandbox_tier = ""

    def knows(self, problem_id: str) -> bool:
        """Whether the worker has the problem's tests."""
        return problem_id in self._keys

    async def start(self) -> None:
        """Spawns the process and waits until it is ready."""
        self._process = await anyio.open_process(
            [sys.executable, "-m", "taco_stream.evaluator.worker", self._settings.sweep],
            stderr=None,
            start_new_session=True,
        )
        self._decoder = FrameDecoder(FromWorker)
        self._keys.clear()
        ready = await self._receive(START_SECONDS)
        if not isinstance(ready, Ready):
            raise WorkerError("the worker's first word is not that it is ready")
        self.sandbox_tier = ready.sandbox_tier

    async def stop(self) -> None:
        """Ends the process: asks, waits, kills."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        await process.stdin.aclose()
        with anyio.move_on_after(STOP_SECONDS):
            await process.wait()
        if process.returncode is None:
            process.kill()
            with anyio.move_on_after(STOP_SECONDS):
                await process.wait()
        await process.aclose()

    async def restart(self) -> None:
        """Replaces the process. Raises `EvaluatorError` where that fails."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await self.stop()
        try:
            await self.start()
        except (WorkerError, OSError) as error:
            raise EvaluatorError(f"an evaluator worker does not start again: {error}") from error

    async def judge(self, problem: Problem, program: str) -> Judged:
        """Sends the tests, where the worker lacks them, and the program; waits for the answer."""
        if self._process is None:
            await self.start()
        limits = limits_of(problem, self._settings)
        async with self._tests_of(problem, limits) as key:
            self._next += 1
            await self._send(Judge(ticket=self._next, key=key, program=program))
            answer = await self._receive(limits.wall_seconds * most_tests(problem.tests) + ANSWER_MARGIN_SECONDS)
        if not isinstance(answer, Judged) or answer.ticket != self._next:
            raise WorkerError("the worker answered something else than was asked")
        return answer

    @asynccontextmanager
    async def _tests_of(self, problem: Problem, limits: Limits) -> AsyncIterator[int]:
        """Sends the tests where the worker lacks them; a memory file they go in stays open within."""
        key = self._keys.get(problem.problem_id)
        if key is not None:
            self._keys.move_to_end(problem.problem_id)
            yield key
            return
        self._next += 1
        key = self._keys[problem.problem_id] = self._next
        while len(self._keys) > PROBLEMS_KEPT:
            await self._send(Forget(key=self._keys.popitem(last=False)[1]))
        message = Tests(
            key=key,
            problem_id=problem.problem_id,
            tests=problem.tests,
            limits=limits,
            special_judge=problem.special_judge,
            checker=checker_of(problem, self._settings),
        )
        if len(problem.tests) <= LARGE_TESTS_LENGTH:
            await self._send(message)
            yield key
            return
        file = await anyio.to_thread.run_sync(lambda: memory_file(problem.tests.encode("utf-8", "surrogatepass")))
        try:
            path = f"/proc/{os.getpid()}/fd/{file}"
            await self._send(msgspec.structs.replace(message, tests="", tests_path=path))
            yield key
        finally:
            os.close(file)

    async def _send(self, message: ToWorker) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            await self._process.stdin.send(encode_frame(message))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise WorkerError("the worker has ended") from error

    async def _receive(self, seconds: float) -> FromWorker:
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            with anyio.fail_after(seconds):
                while True:
                    for message in self._decoder.feed(await self._process.stdout.receive()):
                        return message
        except TimeoutError as error:
            raise WorkerError(f"the worker does not answer within {seconds:.0f} s") from error
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise WorkerError("the worker has ended") from error
        except FrameError as error:
            raise WorkerError(f"the worker sent what is no answer: {error}") from error


def limits_of(problem: Problem, settings: EvaluatorSettings) -> Limits:
    """What one test of the problem may use."""
    cpu_seconds = (problem.time_limit_seconds or settings.time_limit_seconds) * settings.time_limit_factor
    return Limits(
        cpu_seconds=cpu_seconds,
        wall_seconds=math.ceil(cpu_seconds * settings.wall_multiple + 1),
        memory_bytes=max(problem.memory_limit_bytes or 0, settings.memory_limit_bytes),
        output_bytes=settings.output_limit_bytes,
    )


def checker_of(problem: Problem, settings: EvaluatorSettings) -> str | None:
    """The text of the problem's checker, where the registry has one. Raises `EvaluatorError` where it is unreadable."""
    if settings.checkers_folder is None or problem.special_judge is not SpecialJudge.SEVERAL_ANSWERS:
        return None
    try:
        return checker_text(Path(settings.checkers_folder), problem.problem_id)
    except (OSError, UnicodeDecodeError) as error:
        raise EvaluatorError(f"the checker of problem {problem.problem_id} cannot be read: {error}") from error


@functools.lru_cache(maxsize=PROBLEMS_KEPT)
def most_tests(tests: str) -> int:
    """No fewer than the tests in this JSON text; it may be megabytes long, and is asked for with every program."""
    return max(1, tests.count(","))


def _check_platform() -> None:
    """Raises `EvaluatorError` where the system lacks what every test needs: files in memory, handles of processes."""
    missing = [name for name in ("memfd_create", "pidfd_open") if not hasattr(os, name)]
    if missing:
        raise EvaluatorError(
            f"programs cannot be judged on {platform.system()} {platform.release()}, which has no "
            f"{' and no '.join(missing)}: use Linux 5.3 or later, in a virtual machine or container if need be"
        )


def _refusal(plan: SandboxPlan, settings: EvaluatorSettings) -> str:
    """Why programs must not be judged under this plan, and what to do about it; empty where they may."""
    if plan.lacks and not settings.unsafe_no_sandbox:
        return (
            f"programs cannot be confined here: the sandbox ({plan.tier}) lacks {plan.lacks}; `taco-stream doctor` "
            "says what would help, --unsafe-no-sandbox (unsafe_no_sandbox) runs them all the same"
        )
    granted = ProgramLimits(settings.memory_limit_bytes, settings.output_limit_bytes)
    cpu_seconds = settings.time_limit_seconds * settings.time_limit_factor
    if reason := shortfall(granted, cpu_seconds, user_is_ours=plan.has_own_user):
        return f"{reason}; raise it (`ulimit -H`, `sudo prlimit --pid $$`), or lower what a test gets"
    return ""


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
