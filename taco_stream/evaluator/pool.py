"""The evaluator: a pool of spawned workers that give verdicts on programs.

Who runs: one worker (`worker_handle`) per core, each with a zygote of its own. A caller of `judge` or `execute` waits
for a free worker; any number may wait. How many workers are in use may change at any time (`use_workers`): all
processes stay, and those beyond the number are given nothing. A worker is given programs of a problem whose tests it
already has if there is a choice.

Promised: exactly one verdict for each call. A worker that dies, or says nothing for longer than one test can take, is
killed and replaced, and the program is tried once more; the second failure is the verdict `infrastructure_error`. Load
changes no verdict: a test's clock is paused while it waits for a core (`idle_clock`), and a program that sleeps holds
up its own worker alone. Identical programs of a problem are judged once. Leaving the context ends every
process, within bounded time.

Runs under asyncio and trio.
"""

import os
import platform
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Self, TypeVar

import anyio
from anyio import to_thread
from anyio.abc import ObjectSendStream

from taco_stream.errors import EvaluatorError, NoCheckersError
from taco_stream.evaluator.judge_spec import JudgeSpec, judge_spec
from taco_stream.evaluator.protocol import Executed, Judged, Limits, Sweep
from taco_stream.evaluator.sandbox.plan import SandboxPlan
from taco_stream.evaluator.settings import EvaluatorSettings, check_limits, refusal
from taco_stream.evaluator.verdict_cache import VerdictCache, Verdicts, cache_key
from taco_stream.evaluator.worker_handle import EvaluatorWorker
from taco_stream.events import ClockCountsLoad, EvaluatorEvent, EvaluatorRestarted, JudgingFailed, VerdictCacheClosed
from taco_stream.machine import available_cores
from taco_stream.statistics import EvaluatorStatistics
from taco_stream.types import ComparisonMode, ExecutionResult, Problem, Status, Verdict
from taco_stream.workers.process import WorkerGoneError

__all__ = ["Evaluator", "EvaluatorSettings"]


MAX_PROGRAM_BYTES = 1 << 20
"""A longer program does not compile. The longest of TACO's solutions has a tenth of it, and a model writes less."""


ATTEMPTS = 2
"""How often a program is tried if the evaluator fails on it."""

MAX_SPECS = 16
"""Problems kept ready to judge, with their tests, which may be megabytes: a run works through few at a time."""

INFRASTRUCTURE_ERROR = Status.INFRASTRUCTURE_ERROR

Answer = TypeVar("Answer", Judged, Executed)

CLOCK_COUNTS_LOAD = (
    "this kernel does not count how long a process waits for a core (/proc/PID/schedstat): on a busy machine a slow "
    "program may run out of time on the clock"
)


class Evaluator(anyio.AsyncContextManagerMixin):
    """Judges programs; an asynchronous context manager."""

    def __init__(
        self,
        settings: EvaluatorSettings = EvaluatorSettings(),  # noqa: B008 (immutable)
        *,
        events: ObjectSendStream[EvaluatorEvent] | None = None,
    ) -> None:
        self._settings = settings
        self._events = events
        self._workers = [EvaluatorWorker() for _ in range(settings.workers or available_cores())]
        self._free = list(self._workers)
        self._places = anyio.CapacityLimiter(len(self._workers))
        self._cache = VerdictCache(None if settings.verdict_cache is None else Path(settings.verdict_cache))
        self._under_way: dict[bytes, anyio.Event] = {}
        self._specs: dict[tuple[Problem, Limits | None], JudgeSpec] = {}
        self._cache_hits = 0
        self._waiting = self._judged = self._tests_run = self._restarts = self._infrastructure_errors = 0
        self._busy_seconds = 0.0
        self._counted_at = time.monotonic()

    @property
    def settings(self) -> EvaluatorSettings:
        """How programs are run and which verdict counts."""
        return self._settings

    @property
    def sandbox_tier(self) -> str:
        """How programs are confined."""
        return self._workers[0].sandbox_tier

    @property
    def concurrency(self) -> int:
        """How many programs it does well to have at once: while one is judged the next is already there."""
        return 2 * self._used

    @property
    def _used(self) -> int:
        return int(self._places.total_tokens)

    def use_workers(self, number: int) -> None:
        """Gives programs to so many workers from now on, or to all if there are fewer; at least to one.

        A worker that is judging finishes.
        """
        self._places.total_tokens = max(1, min(number, len(self._workers)))

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        """The workers are ready. Entering raises `EvaluatorError` if one does not come up, the sandbox is below the
        floor, or there is no such folder of checkers. Leaving ends them.
        """
        # Every test needs files in memory and handles of processes.
        missing = [name for name in ("memfd_create", "pidfd_open") if not hasattr(os, name)]
        if missing:
            raise EvaluatorError(
                f"programs cannot be judged on {platform.system()} {platform.release()}, which has no "
                f"{' and no '.join(missing)}: use Linux 5.3 or later, in a virtual machine or container if need be"
            )
        if (folder := self._settings.checkers_folder) is not None and not Path(folder).is_dir():
            raise NoCheckersError(f"the folder of checkers {folder} does not exist")
        try:
            await self._start()
            yield self
        finally:
            await self._stop()

    async def judge(
        self,
        problem: Problem,
        program: str,
        *,
        mode: ComparisonMode | None = None,
        limits: Limits | None = None,
        full_results: bool | None = None,
    ) -> Verdict:
        """The verdict on one program. What is None is as the settings and the problem have it.

        Raises `UsageError` for `limits` that no test can be run under.
        """
        verdicts = await self.judge_all_modes(problem, program, limits=limits, full_results=full_results)
        return verdicts[mode or self._settings.mode]

    async def judge_all_modes(
        self,
        problem: Problem,
        program: str,
        *,
        limits: Limits | None = None,
        full_results: bool | None = None,
        use_cache: bool = True,
    ) -> Verdicts:
        """The verdicts on one program under every comparison mode. What is None is as the settings have it.

        `limits` are exact: no factor of the settings is applied to them. Raises `UsageError` if no test can be run
        under them.

        A program that has been judged is not run again unless `use_cache` is False, and one that is being judged is
        not run twice: other callers wait for the same verdict.
        """
        if limits is not None:
            check_limits(limits)
        if (reason := unfit(program)) is not None:
            verdict = Verdict(status=Status.COMPILE_ERROR, detail=reason, sandbox_tier=self.sandbox_tier)
            return dict.fromkeys(ComparisonMode, verdict)
        spec = await self._spec(problem, limits)
        full = self._settings.full_results if full_results is None else full_results
        sweep = self._settings.choose_sweep(full_results=full)
        key = cache_key(spec, program, sweep=sweep, tier=self.sandbox_tier)
        # `while`: of several that wait for one program that failed, the first to wake judges it and the others wait.
        while (under_way := self._under_way.get(key)) is not None:
            await under_way.wait()
        verdicts = self._cache.find(key) if use_cache else None
        if verdicts is not None:
            self._cache_hits += 1
        else:
            self._under_way[key] = anyio.Event()
            try:
                verdicts = await self._judge(spec, program, sweep)
                self._cache.keep(key, verdicts)
            finally:
                self._under_way.pop(key).set()
        self._judged += 1
        if self._cache.trouble:
            trouble, self._cache.trouble = self._cache.trouble, ""  # reported once
            await self._report(VerdictCacheClosed(message=trouble))
        return verdicts

    async def execute(self, program: str, stdin: bytes, limits: Limits) -> ExecutionResult:
        """What a program does with a standard input, in the sandbox and the pool in which programs are judged.

        Every call runs it. Raises `UsageError` for limits that no program can be run under.
        """
        check_limits(limits)
        if (reason := unfit(program)) is not None:
            return ExecutionResult(status=Status.COMPILE_ERROR, detail=reason, sandbox_tier=self.sandbox_tier)
        executed, failure = await self._ask("", None, lambda worker: worker.execute(program, stdin, limits))
        if executed is None:
            detail = f"the evaluator failed twice on this program: {failure}"
            return ExecutionResult(status=INFRASTRUCTURE_ERROR, detail=detail, sandbox_tier=self.sandbox_tier)
        self._tests_run += executed.result.exit_code is not None
        self._infrastructure_errors += executed.result.status is INFRASTRUCTURE_ERROR
        return executed.result

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
            raise group.exceptions[0] from None  # callers catch the error, not a group of it
        return [verdicts[number] for number in range(len(items))]

    def statistics(self) -> EvaluatorStatistics:
        """The evaluator as it is now."""
        self._count_busy_seconds()
        return EvaluatorStatistics(
            workers=self._used,
            busy=len(self._workers) - len(self._free),
            waiting=self._waiting,
            judged=self._judged,
            tests_run=self._tests_run,
            restarts=self._restarts,
            infrastructure_errors=self._infrastructure_errors,
            cache_hits=self._cache_hits,
            busy_seconds=self._busy_seconds,
        )

    def _count_busy_seconds(self) -> None:
        """Counts the time since the last count for each worker that is busy; called before their number changes."""
        now = time.monotonic()
        self._busy_seconds += (len(self._workers) - len(self._free)) * (now - self._counted_at)
        self._counted_at = now

    async def _judge(self, spec: JudgeSpec, program: str, sweep: Sweep) -> Verdicts:
        """A worker's verdicts: the second worker's if the first one fails, and if that fails too, that it did."""
        judged, failure = await self._ask(spec.problem_id, spec, lambda worker: worker.judge(spec, program, sweep))
        if judged is not None:
            self._tests_run += judged.tests_run
            # The tests of a problem may be broken, or its checker: that is nobody's failure to judge.
            self._infrastructure_errors += judged.verdicts[self._settings.mode].status is INFRASTRUCTURE_ERROR
            return judged.verdicts
        detail = f"the evaluator failed twice on this program: {failure}"
        verdict = Verdict(status=INFRASTRUCTURE_ERROR, detail=detail, sandbox_tier=self.sandbox_tier)
        return dict.fromkeys(ComparisonMode, verdict)

    async def _ask(
        self, problem_id: str, spec: JudgeSpec | None, ask: Callable[[EvaluatorWorker], Awaitable[Answer]]
    ) -> tuple[Answer | None, str]:
        """A worker's answer, a second one's if the first fails; None and the reason if that fails too."""
        reason = ""
        for _ in range(ATTEMPTS):
            async with self._checked_out(spec) as worker:
                try:
                    answer = await ask(worker)
                except WorkerGoneError as error:
                    reason = str(error)
                    self._restarts += 1
                    await self._report(EvaluatorRestarted(problem_id=problem_id, message=reason))
                    await worker.restart()
                    continue
            if not answer.failure:
                return answer, ""
            reason = answer.failure
            await self._report(JudgingFailed(problem_id=problem_id, message=reason))
        self._infrastructure_errors += 1
        return None, reason

    async def _spec(self, problem: Problem, limits: Limits | None) -> JudgeSpec:
        """How the problem is judged, found out once for all of its programs under the same limits."""
        spec = self._specs.get((problem, limits))
        if spec is None:
            spec = await to_thread.run_sync(judge_spec, problem, self._settings, limits)
            self._specs[problem, limits] = spec
            while len(self._specs) > MAX_SPECS:
                del self._specs[next(iter(self._specs))]
        return spec

    @asynccontextmanager
    async def _checked_out(self, spec: JudgeSpec | None) -> AsyncIterator[EvaluatorWorker]:
        """Waits for a free worker, if possible one that has the tests, and gives it back."""
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        # Any free worker would do, but it would have to be sent the tests, which may be megabytes, and parse them.
        worker = next((each for each in self._free if spec and each.knows(spec)), self._free[0])
        self._count_busy_seconds()
        self._free.remove(worker)
        try:
            yield worker
        except BaseException:
            # Cancelled in the middle of an answer, which the next caller would take for its own. A killed worker starts
            # again when it is needed.
            with anyio.CancelScope(shield=True):
                await worker.kill()
            raise
        finally:
            self._count_busy_seconds()
            self._free.append(worker)
            self._places.release()

    async def _start(self) -> None:
        try:
            async with anyio.create_task_group() as starting:
                for worker in self._workers:
                    starting.start_soon(worker.start)
        except* WorkerGoneError as group:
            raise EvaluatorError(f"an evaluator worker did not start: {group.exceptions[0]}") from group
        if reason := refusal(SandboxPlan.from_tier(self.sandbox_tier), self._settings):
            raise EvaluatorError(reason)
        if not self._workers[0].clock_knows_load:
            await self._report(ClockCountsLoad(message=CLOCK_COUNTS_LOAD))

    async def _stop(self) -> None:
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as stopping:
                for worker in self._workers:
                    stopping.start_soon(worker.stop)
        self._cache.close()

    async def _report(self, event: EvaluatorEvent) -> None:
        if self._events is not None:
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):  # nobody reads any more
                await self._events.send(event)


def unfit(program: str) -> str | None:
    """Why a text cannot be a program, in one sentence, without compiling it; None if it may be one."""
    try:
        size = len(program.encode())
    except UnicodeEncodeError as error:
        return f"the text is not Unicode: {error.reason}"
    if size > MAX_PROGRAM_BYTES:
        return f"the program has {size:,} bytes; the limit is {MAX_PROGRAM_BYTES:,}"
    return None
