"""The pipeline: the stages of a run, the streams between them, and the course of events when one of them ends early.

```
problems ─▶ feed ─requests─▶ engine ─generated─▶ journal ─▶ to_judge ─▶ judge ─▶ entries ─▶ record ─▶ disk
              ├─────── completions that exist ──▶ ┘   │         ▲                  ▲
              └─────── unjudged completions of an earlier start ┘                  │
                                                      └──────── completions ───────┘
```

Who runs: one task per stage in one task group, plus one that takes gauges and one that divides the cores. Signals come
from outside (`stop`). Every stream is finite, and the sum of their sizes limits memory. `journal` puts a completion
on its way to the disk before it hands it to the evaluator, and one writer takes both kinds of line in order, so a
completion is always on disk before its verdict. What engine and evaluator have to report they send straight to that
writer, from the moment that they are entered: `entries` exists before the pipeline, which closes it when nothing runs
any more.

How it ends:

* *End of input* travels as closure: feed closes requests, the engine then closes generated, and so on to the writer.
* *First Ctrl-C, SIGTERM or SIGHUP*: feed is cancelled and the engine drained; samples that decode are finished and
  written, and judged within `JUDGING_SECONDS`. The latter two allow `TERMINATION_SECONDS` for all of that.
* *Second Ctrl-C*: everything is cancelled; the writer still writes the lines that it has.
* *The engine or the dataset fails*: the error is kept, everything generated before it is judged and written, then it is
  raised.
* *The evaluator or the disk fails*: everything is cancelled and the error raised; the writer writes as much as it can.

Without an evaluator completions are only written, as after a kill between the two lines, and a later start that judges
takes them up from there. Without an engine completions exist already (`existing`), and feed hands them to `journal`.

The engine is opened when the first request is there for it, so a start with nothing to generate loads no model, and
faults of the problems are found before one is loaded.

Not covered: a completion that was decoding when the process is killed is generated again by the next start.
"""

import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import anyio
from anyio import to_thread
from anyio.abc import ObjectReceiveStream, ObjectSendStream
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from taco_stream.device_gauges import DeviceGauges
from taco_stream.engine.base import Engine
from taco_stream.errors import TacoStreamError
from taco_stream.events import RunGauges
from taco_stream.machine import read_process_tree
from taco_stream.metrics import Tally
from taco_stream.run.balance import keep_balance
from taco_stream.run.feed import feed
from taco_stream.run.judge import judge, leave_unjudged
from taco_stream.run.progress import Progress
from taco_stream.run.record import journal, record
from taco_stream.run.task import Entry, Judge, ProblemsInFlight, Store, Task
from taco_stream.run.watching import count, raising_ours
from taco_stream.statistics import RunStatistics
from taco_stream.types import Completion, Request

TERMINATION_SECONDS = 10.0
"""How long SIGTERM leaves for finishing the samples in flight: under the 30 s after which most supervisors kill."""

JUDGING_SECONDS = 10.0
"""How long a drained run goes on judging. A file of completions, or a backlog of an earlier start, may hold thousands
more, which are safe on disk."""

GAUGE_SECONDS = 5.0
"""The longest time between two gauges. They begin a second apart, and a tenth of the time that the start has taken, so
that a start that is killed loses at most a second or a tenth of its figures."""

FIRST_GAUGE_SECONDS = 1.0
TICK_SECONDS = 0.25
"""How often it is looked whether a stage is busy, for the time since its last finished sample."""

FIRST_TICK_SECONDS = 0.05
"""The same until the first token is there, whose time is known as exactly as this."""

EntryStream = tuple[MemoryObjectSendStream[Entry], MemoryObjectReceiveStream[Entry]]


def entry_stream() -> EntryStream:
    """The way to the writer of a run, as wide as one write should be."""
    return anyio.create_memory_object_stream[Entry](1024)


class Pipeline:
    """One start of a run: `await run()` once, `statistics()` at any time.

    `engine` is entered and left in here. Without one nothing is generated, without an `evaluator` nothing is judged.
    Records are counted in `tally`. `completions_buffer` is how many completions may wait for the evaluator before
    generation pauses. With `use_workers`, which sets how many of the evaluator's workers are in use, the cores are
    divided between the stages (`balance`). `started_at` is when the start began, by the monotonic clock, if that was
    earlier than now. A caller whose engine or evaluator sends events gives them the sending end of an `entry_stream`,
    and the pipeline both ends as `entries`; `run` closes them.
    """

    def __init__(
        self,
        task: Task,
        *,
        engine: Engine | None,
        evaluator: Judge | None,
        store: Store,
        tally: Tally | None = None,
        entries: EntryStream | None = None,
        completions_buffer: int = 4096,
        use_workers: Callable[[int], None] | None = None,
        started_at: float | None = None,
    ) -> None:
        self._task = task
        self._engine = engine
        self._evaluator = evaluator
        self._store = store
        self._tally = Tally() if tally is None else tally
        self._entries = entries
        self._completions_buffer = completions_buffer
        self._use_workers = use_workers
        self._progress = Progress(started_at)
        self._feeding = anyio.CancelScope()
        self._loading = anyio.CancelScope()
        self._everything = anyio.CancelScope()
        self._failure: TacoStreamError | None = None
        self._waiting: MemoryObjectReceiveStream[Completion] | None = None
        self._draining = False
        self._has_loaded = False
        self._devices = DeviceGauges()
        # Since when each stage has been seen busy, which its samples tell only when they are over.
        self._generating_since: float | None = None
        self._judging_since: float | None = None

    @property
    def is_judging(self) -> bool:
        """Whether completions are judged, or only generated."""
        return self._evaluator is not None

    @property
    def interrupted(self) -> bool:
        """Whether the run was asked to stop, and did so before it was complete."""
        progress = self._progress
        done = progress.judged if self.is_judging else progress.generated
        return self._draining and not (progress.is_fed and done == progress.asked)

    def statistics(self) -> RunStatistics:
        """The run as it is now."""
        progress, now = self._progress, time.monotonic()
        seconds = progress.times.totals(now, generating_since=self._generating_since, judging_since=self._judging_since)
        generating_began_at, judging_began_at = progress.times.generating.began_at, progress.times.judging.began_at
        began_at = min(
            (each for each in (generating_began_at, judging_began_at, self._generating_since) if each is not None),
            default=None,
        )
        return RunStatistics(
            elapsed_seconds=now - progress.started_at,
            samples_expected=progress.expected,
            samples_resumed=progress.resumed,
            samples_left_over=progress.left_over,
            generated=progress.generated,
            reused=progress.reused,
            judged=progress.judged,
            infrastructure_errors=progress.infrastructure_errors,
            completions_waiting=self._waiting.statistics().current_buffer_used if self._waiting else 0,
            draining=self._draining,
            loading=progress.is_loading,
            generating_seconds=seconds.generating,
            judging_seconds=seconds.judging,
            overlapped_seconds=seconds.overlapped,
            generating_idle_seconds=seconds.generating_idle,
            judging_idle_seconds=seconds.judging_idle,
            held_back_seconds=progress.held_back_seconds,
            completion_seconds_waiting=progress.waiting.seconds(),
            startup_seconds=progress.since_start(began_at),
            first_token_seconds=progress.since_start(progress.first_token_at),
            first_verdict_seconds=progress.since_start(progress.first_verdict_at),
            tail=progress.tail.tail(),
            peak_memory_bytes=progress.peak_memory_bytes,
            peak_process_bytes=dict(progress.peak_process_bytes),
            devices=self._devices.statistics(),
            engine=self._engine.statistics() if self._engine else None,
            evaluator=self._evaluator.statistics() if self._evaluator else None,
        )

    async def run(self) -> None:
        """Generates and judges whatever the run still lacks.

        Returns when everything is on disk, or, with `interrupted` true, when everything that was finished is. Raises
        the `TacoStreamError` that ended the run early, after writing what could be written.
        """

        async def everything() -> None:
            with self._everything:
                async with anyio.create_task_group() as watchers:
                    watchers.start_soon(self._count)
                    await self._run_stages()
                    watchers.cancel_scope.cancel()

        await raising_ours(everything)
        if self._failure is not None:
            raise self._failure

    def stop(self, number: int) -> None:
        """Handles a signal: the first one drains, also before `run`, and the second one stops at once."""
        if self._draining:
            self._everything.cancel()
            return
        self.drain()
        if number != signal.SIGINT:
            self._everything.deadline = anyio.current_time() + TERMINATION_SECONDS

    def drain(self) -> None:
        """Stops feeding; samples that are decoding are finished and written, and judged within `JUDGING_SECONDS`."""
        self._draining = True
        self._progress.judging_ends_at = time.monotonic() + JUDGING_SECONDS
        self._feeding.cancel()
        # Loading a model takes minutes in which nothing is generated that would be worth waiting for.
        if not self._has_loaded:
            self._loading.cancel()
        if self._engine is not None:
            self._engine.drain()

    async def _run_stages(self) -> None:
        # Requests: one ahead of the engine is enough, which takes as many as it can place. Generated: a handful, the
        # journal never waits for the disk. To judge: deep, so that a burst of slow programs does not idle the
        # accelerator; it holds texts, a few KB each.
        requests, asked = anyio.create_memory_object_stream[Request](1)
        generated, finished = anyio.create_memory_object_stream[Completion](16)
        entries, to_write = self._entries or entry_stream()
        to_judge, self._waiting = anyio.create_memory_object_stream[Completion](self._completions_buffer)
        in_flight, progress = ProblemsInFlight(), self._progress
        feeding = partial(
            feed,
            self._task,
            requests,
            generated.clone(),
            to_judge.clone(),
            store=self._store,
            in_flight=in_flight,
            progress=progress,
            is_judged=self.is_judging,
        )
        journalling = partial(journal, finished, entries.clone(), to_judge, in_flight=in_flight, progress=progress)
        if self._evaluator is None:
            judging = partial(leave_unjudged, self._waiting, in_flight=in_flight, progress=progress)
        else:
            judging = partial(
                judge,
                self._waiting,
                entries.clone(),
                task=self._task,
                evaluator=self._evaluator,
                in_flight=in_flight,
                progress=progress,
            )
        # Nested, so that they end in this order: the stages, then the gauges, and the writer when all that could send
        # to it has closed its end.
        async with anyio.create_task_group() as writer:
            is_last = anyio.Event()
            writer.start_soon(partial(record, to_write, store=self._store, tally=self._tally, is_last=is_last))
            async with entries, anyio.create_task_group() as gauging:
                gauging.start_soon(self._gauge, entries)
                if self._use_workers is not None:
                    gauging.start_soon(keep_balance, self._use_workers, self.statistics, entries)
                async with anyio.create_task_group() as stages:
                    stages.start_soon(self._feed, feeding)
                    stages.start_soon(self._generate, asked, generated)
                    stages.start_soon(journalling)
                    stages.start_soon(judging)
                gauging.cancel_scope.cancel()
            is_last.set()
        self._generating_since = self._judging_since = None

    async def _feed(self, feeding: Callable[[], Awaitable[None]]) -> None:
        """Runs the feed. If it fails, the samples asked for before are still generated, judged and written."""
        try:
            with self._feeding:
                await feeding()
        except TacoStreamError as error:
            self._failure = error
        except anyio.BrokenResourceError:
            pass  # the engine has ended and says why itself

    async def _generate(self, asked: ObjectReceiveStream[Request], generated: ObjectSendStream[Completion]) -> None:
        """Runs the engine, if there is one and there is something for it to do.

        If it fails, the samples generated before are still judged and written.
        """
        async with asked, generated:
            if self._engine is None:
                return
            # A start that has nothing to generate loads no model.
            try:
                first = await asked.receive()
            except anyio.EndOfStream:
                return
            self._progress.is_loading = True
            try:
                # Around all of the engine's life: the engine may hold scopes of its own from entry to exit.
                with self._loading:
                    async with self._engine:
                        self._has_loaded, self._progress.is_loading = True, False
                        await self._run_engine(self._engine, first, asked, generated)
            except TacoStreamError as error:
                self._fail(error)
            finally:
                self._progress.is_loading = False

    async def _run_engine(
        self,
        engine: Engine,
        first: Request,
        rest: ObjectReceiveStream[Request],
        generated: ObjectSendStream[Completion],
    ) -> None:
        offered, taken = anyio.create_memory_object_stream[Request](0)

        async def offer() -> None:
            with suppress(anyio.BrokenResourceError):  # the engine has ended and says why itself
                async with offered:
                    await offered.send(first)
                    async for request in rest:
                        await offered.send(request)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(offer)
            try:
                await engine.run(taken, generated)
            except TacoStreamError as error:
                self._fail(error)
            tasks.cancel_scope.cancel()

    def _fail(self, error: TacoStreamError) -> None:
        """Keeps the error that ends the run and asks for nothing more."""
        self._failure = error
        self._feeding.cancel()

    async def _count(self) -> None:
        """Counts the samples of the whole run beside it, so that the time left can be shown."""
        task = self._task
        self._progress.expected = await count(lambda: (len(task.sample_indices(each)) for each in task.problems()))

    async def _gauge(self, entries: ObjectSendStream[Entry]) -> None:
        """Writes every few seconds how far the run is."""
        started_at = last_gauge = time.monotonic()
        while True:
            has_token = self._progress.first_token_at is not None
            await anyio.sleep(TICK_SECONDS if has_token else FIRST_TICK_SECONDS)
            now = time.monotonic()
            self._observe(now)
            if now - last_gauge >= min(GAUGE_SECONDS, max(FIRST_GAUGE_SECONDS, (now - started_at) / 10)):
                last_gauge = now
                self._progress.add_memory(read_process_tree())
                await to_thread.run_sync(self._devices.observe, now)
                await entries.send(RunGauges(statistics=self.statistics()))

    def _observe(self, now: float) -> None:
        """Looks whether the stages are busy, and whether the first token is there."""
        engine = self._engine.statistics() if self._engine is not None else None
        is_generating = engine is not None and engine.rows_busy > 0
        is_judging = self._evaluator is not None and self._evaluator.statistics().busy > 0
        self._generating_since = (self._generating_since or now) if is_generating else None
        self._judging_since = (self._judging_since or now) if is_judging else None
        if engine is not None and engine.completion_tokens and self._progress.first_token_at is None:
            self._progress.first_token_at = now
