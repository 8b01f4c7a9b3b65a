"""The evaluator: a pool of spawned workers that give verdicts on programs.

Who runs: one worker (`worker_process`) per core, each with a zygote of its own. A caller of `judge` waits for a free
worker; any number may wait. A worker is given programs of a problem whose tests it already has where there is a choice.

Promised: exactly one verdict for each call. A worker that dies, or says nothing for longer than one test can take, is
killed and replaced, and the program is tried once more; the second failure is the verdict `infrastructure_error`. A
loaded machine makes no verdict, for a test's clock stands while it waits for a core (`idle_clock`), and a program that
sleeps holds up its own worker alone. Identical programs of a problem are judged once. Leaving the context ends every
process, within bounded time.

Runs under asyncio and trio.
"""

import os
import platform
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
import msgspec
from anyio.abc import ObjectSendStream

from taco_stream.cores import available_cores
from taco_stream.errors import EvaluatorError
from taco_stream.evaluator.judged_problem import JudgedProblem, judged_problem
from taco_stream.evaluator.protocol import Judged
from taco_stream.evaluator.sandbox.plan import SandboxPlan
from taco_stream.evaluator.settings import EvaluatorSettings, refusal
from taco_stream.evaluator.verdict_cache import VerdictCache, Verdicts, cache_key
from taco_stream.evaluator.worker_process import WorkerError, WorkerProcess
from taco_stream.types import ComparisonMode, Event, Problem, Status, Verdict

__all__ = ["Evaluator", "EvaluatorSettings", "EvaluatorStatistics"]


MAX_PROGRAM_BYTES = 1 << 20
"""A longer program does not compile. The longest of TACO's solutions has a tenth of it, and a model writes less."""


CLOCK_COUNTS_LOAD = (
    "this kernel does not count how long a process waits for a core (/proc/PID/schedstat): on a busy machine a slow "
    "program may run out of time on the clock"
)


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


class _JudgingFailed(Exception):  # noqa: N818 (it says that judging failed, and is never seen outside)
    """A worker, or its zygote, failed on a program; the message says how."""


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
        self._free: list[WorkerProcess] = []
        self._workers: list[WorkerProcess] = []
        self._places = anyio.Semaphore(settings.workers or available_cores())
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
        """How long a test may take at the most, in words."""
        settings = self._settings
        cpu_seconds = settings.time_limit_seconds * settings.time_limit_factor
        return (
            f"a test may take {settings.time_limit_factor:g} times its problem's CPU time limit "
            f"({cpu_seconds:g} s where it states none), and may be idle for {settings.wall_multiple:g} times that"
        )

    async def __aenter__(self) -> Self:
        """Starts the workers. Raises `EvaluatorError` where one does not come up, or the sandbox is below the floor."""
        _check_platform()
        for _ in range(self._settings.workers or available_cores()):
            worker = WorkerProcess(self._settings)
            self._workers.append(worker)
            self._free.append(worker)
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the workers."""
        await self._stop()

    async def judge(self, problem: Problem, program: str) -> Verdict:
        """The verdict on one program under the mode of the settings."""
        return (await self.judge_all_modes(problem, program))[self._settings.mode]

    async def judge_all_modes(self, problem: Problem, program: str, *, afresh: bool = False) -> Verdicts:
        """The verdicts on one program under every comparison mode.

        A program that is being judged, or has been, is not run again: whoever asks for it meanwhile waits for the same
        verdict. `afresh` runs it although it has been.
        """
        if (reason := unfit(program)) is not None:
            verdict = Verdict(status=Status.COMPILE_ERROR, detail=reason, sandbox_tier=self.sandbox_tier)
            return dict.fromkeys(ComparisonMode, verdict)
        judged = judged_problem(problem, self._settings)
        key = cache_key(judged, program, sweep=self._settings.sweep, tier=self.sandbox_tier)
        while (under_way := self._under_way.get(key)) is not None:
            await under_way.wait()
        verdicts = None if afresh else self._cache.find(key)
        if verdicts is None:
            self._under_way[key] = anyio.Event()
            try:
                verdicts = await self._judge_anew(judged, program)
                self._cache.keep(key, verdicts)
            finally:
                self._under_way.pop(key).set()
        else:
            self._cache_hits += 1
        self._judged += 1
        await self._tell_of_cache()
        return verdicts

    async def judge_batch(self, items: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        """The verdicts on many programs, in their order, under the mode of the settings."""
        verdicts: dict[int, Verdict] = {}

        async def judge(number: int) -> None:
            verdicts[number] = await self.judge(*items[number])

        try:
            async with anyio.create_task_group() as tasks:
                for number in range(len(items)):
                    tasks.start_soon(judge, number)
        except* EvaluatorError as group:
            raise group.exceptions[0] from None
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

    async def _judge_anew(self, problem: JudgedProblem, program: str) -> Verdicts:
        """A worker's verdicts, at the second attempt if need be."""
        try:
            try:
                return self._counted((await self._asked(problem, program)).verdicts)
            except _JudgingFailed:
                return self._counted((await self._asked(problem, program)).verdicts)
        except _JudgingFailed as failure:
            reason = f"the evaluator failed twice on this program: {failure}"
        broken = Verdict(status=Status.INFRASTRUCTURE_ERROR, detail=reason, sandbox_tier=self.sandbox_tier)
        return self._counted(dict.fromkeys(ComparisonMode, broken))

    async def _asked(self, problem: JudgedProblem, program: str) -> Judged:
        """One worker's answer. Raises `_JudgingFailed`, with the worker replaced, if there is none."""
        async with self._worker_for(problem) as worker:
            try:
                judged = await worker.judge(problem, program)
            except WorkerError as error:
                self._restarts += 1
                await self._tell("evaluator_restarted", f"problem {problem.problem_id}: {error}")
                await worker.restart()
                raise _JudgingFailed(str(error)) from error
        self._tests_run += judged.tests_run
        if judged.failure:
            await self._tell("judging_failed", f"problem {problem.problem_id}: {judged.failure}")
            raise _JudgingFailed(judged.failure)
        return judged

    def _counted(self, verdicts: Verdicts) -> Verdicts:
        self._infrastructure_errors += verdicts[self._settings.mode].status is Status.INFRASTRUCTURE_ERROR
        return verdicts

    @asynccontextmanager
    async def _worker_for(self, problem: JudgedProblem) -> AsyncIterator[WorkerProcess]:
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        try:
            worker = next((each for each in self._free if each.knows(problem)), self._free[0])
            async with self._in_step(worker):
                yield worker
        finally:
            self._places.release()

    @asynccontextmanager
    async def _in_step(self, worker: WorkerProcess) -> AsyncIterator[WorkerProcess]:
        """Takes a free worker. One that is left in the middle of an answer is killed; it starts again when needed."""
        self._free.remove(worker)
        started_at = time.monotonic()
        try:
            yield worker
        except _JudgingFailed:
            raise
        except BaseException:
            with anyio.CancelScope(shield=True):
                await worker.kill()
            raise
        finally:
            self._busy_seconds += time.monotonic() - started_at
            self._free.append(worker)

    async def _start(self) -> None:
        try:
            async with anyio.create_task_group() as starting:
                for worker in self._workers:
                    starting.start_soon(worker.start)
        except* WorkerError as group:
            raise EvaluatorError(f"an evaluator worker did not start: {group.exceptions[0]}") from group
        if reason := refusal(SandboxPlan.from_tier(self.sandbox_tier), self._settings):
            raise EvaluatorError(reason)
        if not self._workers[0].clock_knows_load:
            await self._tell("clock_counts_load", CLOCK_COUNTS_LOAD)

    async def _stop(self) -> None:
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as stopping:
                for worker in self._workers:
                    stopping.start_soon(worker.stop)
        self._cache.close()

    async def _tell_of_cache(self) -> None:
        """Says once that the verdict cache is no longer used."""
        trouble, self._cache.trouble = self._cache.trouble, ""
        if trouble:
            await self._tell("verdict_cache_closed", trouble)

    async def _tell(self, kind: str, message: str) -> None:
        if self._events is not None:
            await self._events.send(Event(kind=kind, at=time.time(), message=message))


def unfit(program: str) -> str | None:
    """Why a text is no program, in one sentence, before anybody tries to compile it; None if it may be one."""
    try:
        size = len(program.encode())
    except UnicodeEncodeError as error:
        return f"the text is not Unicode: {error.reason}"
    if size > MAX_PROGRAM_BYTES:
        return f"the program has {size:,} bytes, and the limit is {MAX_PROGRAM_BYTES:,}"
    return None


def _check_platform() -> None:
    """Raises `EvaluatorError` where the system lacks what every test needs: files in memory, handles of processes."""
    missing = [name for name in ("memfd_create", "pidfd_open") if not hasattr(os, name)]
    if missing:
        raise EvaluatorError(
            f"programs cannot be judged on {platform.system()} {platform.release()}, which has no "
            f"{' and no '.join(missing)}: use Linux 5.3 or later, in a virtual machine or container if need be"
        )
