"""The pipeline: four stages, the streams between them, and what happens when one of them ends early.

```
problems ─▶ feed ─requests─▶ engine ─generated─▶ journal ─▶ to_judge ─▶ evaluate ─▶ entries ─▶ record ─▶ disk
              └────────────── unjudged completions of an earlier start ──▶ ┘            ▲
                                                     └──────── completions ─────────────┘
```

Who runs: one task per stage in one task group, plus one that watches for signals and one that takes gauges. Every
stream is finite; what limits memory is the sum of their sizes. `journal` puts a completion on its way to the disk
before it hands it to the evaluator, and one writer takes both kinds of line in order, so a completion is always on disk
before its verdict.

How it ends:

* *End of input* travels as closure: feed closes requests, the engine then closes generated, and so on to the writer.
* *First Ctrl-C, or SIGTERM*: feed is cancelled and the engine drained; what is decoding is finished, judged and
  written. SIGTERM allows `TERMINATION_SECONDS` for that.
* *Second Ctrl-C*: everything is cancelled; the writer still writes what it was handed.
* *The engine or the dataset fails*: the error is kept, everything generated before it is judged and written, then it is
  raised.
* *The evaluator or the disk fails*: everything is cancelled and the error raised; the writer writes what it can.

Without a judge the fourth stage only lets completions go: they are on disk without a verdict, as after a kill between
the two lines, and a later start with a judge takes them up from there.

Not covered: a completion that was decoding when the process is killed is generated again by the next start.
"""

import signal
import time
from collections.abc import Iterable

import anyio
from anyio import from_thread, to_thread
from anyio.abc import ObjectReceiveStream, ObjectSendStream
from anyio.streams.memory import MemoryObjectReceiveStream

from taco_stream.engine.base import Engine
from taco_stream.errors import DatasetError, TacoStreamError
from taco_stream.memory import process_tree_bytes
from taco_stream.pipeline.gauges import Overlap, PipelineStatistics, gauges
from taco_stream.pipeline.plan import Entry, Journal, Judge, OpenProblems, Plan
from taco_stream.pipeline.stages import judge_completion, record
from taco_stream.types import Completion, Event, FinishReason, Request, SampleKey, Status

TERMINATION_SECONDS = 10.0
"""How long SIGTERM leaves for finishing what is in flight: under the 30 s after which most supervisors kill."""

GAUGE_SECONDS = 5.0
OVERLAP_TICK_SECONDS = 0.05


class Pipeline:
    """One start of a run: `await run()` once, `statistics()` at any time. Without a `judge` it only generates."""

    def __init__(
        self,
        plan: Plan,
        *,
        engine: Engine,
        judge: Judge | None,
        journal: Journal,
        events: MemoryObjectReceiveStream[Event] | None = None,
        open_problems: OpenProblems | None = None,
    ) -> None:
        self._plan = plan
        self._engine = engine
        self._judge = judge
        self._journal = journal
        self._events = events
        self._open_problems = OpenProblems() if open_problems is None else open_problems
        self._feeding = anyio.CancelScope()
        self._everything = anyio.CancelScope()
        self._failure: TacoStreamError | None = None
        self._started_at = time.monotonic()
        self._expected: int | None = None
        self._waiting: MemoryObjectReceiveStream[Completion] | None = None
        self._draining = False
        self._resumed = self._generated = self._judged = self._infrastructure_errors = 0
        self._overlap = Overlap()
        self._peak_memory_bytes = 0

    @property
    def is_judging(self) -> bool:
        """Whether completions are judged, or only generated."""
        return self._judge is not None

    @property
    def interrupted(self) -> bool:
        """Whether the run was asked to stop before it was complete."""
        return self._draining

    def statistics(self) -> PipelineStatistics:
        """The run as it is now."""
        return PipelineStatistics(
            elapsed_seconds=time.monotonic() - self._started_at,
            samples_expected=self._expected,
            samples_resumed=self._resumed,
            generated=self._generated,
            judged=self._judged,
            infrastructure_errors=self._infrastructure_errors,
            completions_waiting=self._waiting.statistics().current_buffer_used if self._waiting else 0,
            draining=self._draining,
            generating_seconds=self._overlap.generating_seconds,
            judging_seconds=self._overlap.judging_seconds,
            overlapped_seconds=self._overlap.overlapped_seconds,
            peak_memory_bytes=self._peak_memory_bytes,
            engine=self._engine.statistics(),
            evaluator=self._judge.statistics() if self._judge else None,
        )

    async def run(self, *, watch_signals: bool = True) -> None:
        """Generates and judges whatever the run still lacks; without a judge, only generates.

        Returns when everything is on disk, or, with `interrupted` true, when everything that was finished is. Raises
        the `TacoStreamError` that ended the run early, after writing what could be written.
        """
        self._started_at = time.monotonic()
        try:
            with self._everything:
                async with anyio.create_task_group() as watchers:
                    if watch_signals:
                        watchers.start_soon(self._watch_signals)
                    watchers.start_soon(self._count)
                    await self._run_stages()
                    watchers.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise _first_failure(group) from group
        if self._failure is not None:
            raise self._failure

    def drain(self) -> None:
        """Stops feeding; what is decoding is finished, judged (where there is a judge) and written."""
        self._draining = True
        self._feeding.cancel()
        self._engine.drain()

    async def _run_stages(self) -> None:
        # Requests: one ahead of the engine is enough, it takes what it can place. Generated: a handful, the journal
        # never waits for the disk. Entries: as many as one write should carry. To judge: deep, so that a burst of slow
        # programs does not idle the accelerator; it holds texts, a few KB each.
        requests, asked = anyio.create_memory_object_stream[Request](1)
        generated, finished = anyio.create_memory_object_stream[Completion](16)
        entries, to_write = anyio.create_memory_object_stream[Entry](1024)
        to_judge, self._waiting = anyio.create_memory_object_stream[Completion](self._plan.completions_buffer)
        async with anyio.create_task_group() as writer:
            writer.start_soon(record, to_write, self._journal)
            async with entries:
                async with anyio.create_task_group() as gauge:
                    gauge.start_soon(self._gauge, entries)
                    async with anyio.create_task_group() as producers:
                        producers.start_soon(self._feed, requests, to_judge.clone())
                        producers.start_soon(self._generate, asked, generated)
                        producers.start_soon(self._journal_completions, finished, entries.clone(), to_judge)
                        if self._judge is None:
                            producers.start_soon(self._leave_unjudged, self._waiting)
                        else:
                            producers.start_soon(self._evaluate, self._waiting, entries.clone(), self._judge)
                    gauge.cancel_scope.cancel()
                await self._forward_events(entries)

    async def _feed(self, requests: ObjectSendStream[Request], backlog: ObjectSendStream[Completion]) -> None:
        async with requests, backlog:
            try:
                with self._feeding:
                    await self._feed_all(requests, backlog)
            except TacoStreamError as error:
                self._failure = error
            except anyio.BrokenResourceError:
                pass  # the engine has ended and says why itself

    async def _feed_all(self, requests: ObjectSendStream[Request], backlog: ObjectSendStream[Completion]) -> None:
        problems = iter(self._plan.problems())
        seen: set[str] = set()
        while (problem := await to_thread.run_sync(next, problems, None)) is not None:
            if problem.problem_id in seen:
                raise DatasetError(f"the dataset holds two problems with the id {problem.problem_id!r}")
            seen.add(problem.problem_id)
            wanted = set(self._plan.sample_indices(problem))
            unjudged = self._unjudged(problem.problem_id, wanted) if self._judge else []
            missing = tuple(
                index
                for index in sorted(wanted)
                if not self._journal.is_generated(SampleKey(problem.problem_id, index))
            )
            self._resumed += len(wanted) - len(missing) - len(unjudged)
            if not missing and not unjudged:
                continue
            self._open_problems.open(problem, len(missing) + len(unjudged))
            for completion in unjudged:
                await backlog.send(completion)
            if missing:
                await requests.send(
                    Request(
                        problem_id=problem.problem_id,
                        prompt=self._plan.prompt(problem),
                        sample_indices=missing,
                        sampling=self._plan.sampling,
                        seed=self._plan.seed,
                    )
                )

    def _unjudged(self, problem_id: str, wanted: set[int]) -> list[Completion]:
        return [each for each in self._journal.unjudged(problem_id) if each.sample_index in wanted]

    async def _generate(self, asked: ObjectReceiveStream[Request], generated: ObjectSendStream[Completion]) -> None:
        try:
            await self._engine.run(asked, generated)
        except TacoStreamError as error:
            self._failure = error
            self._feeding.cancel()

    async def _journal_completions(
        self,
        finished: ObjectReceiveStream[Completion],
        entries: ObjectSendStream[Entry],
        to_judge: ObjectSendStream[Completion],
    ) -> None:
        async with finished, entries, to_judge:
            async for completion in finished:
                if completion.finish_reason is FinishReason.CANCELLED:
                    self._open_problems.leave(completion.problem_id)
                    continue
                await entries.send(completion)
                self._generated += 1
                await to_judge.send(completion)

    async def _leave_unjudged(self, waiting: ObjectReceiveStream[Completion]) -> None:
        async with waiting:
            async for completion in waiting:
                self._open_problems.leave(completion.problem_id)

    async def _evaluate(
        self, waiting: ObjectReceiveStream[Completion], entries: ObjectSendStream[Entry], judge: Judge
    ) -> None:
        # Two per worker: while one is judged the next is already there.
        width = 2 * max(1, judge.statistics().workers)
        async with waiting, entries, anyio.create_task_group() as judges:
            for _ in range(width):
                judges.start_soon(self._judge_each, waiting, entries, judge)

    async def _judge_each(
        self, waiting: ObjectReceiveStream[Completion], entries: ObjectSendStream[Entry], judge: Judge
    ) -> None:
        async for completion in waiting:
            problem = self._open_problems[completion.problem_id]
            judged = await judge_completion(completion, problem, extract=self._plan.extract, judge=judge)
            await entries.send(judged)
            self._open_problems.leave(completion.problem_id)
            self._judged += 1
            self._infrastructure_errors += any(
                verdict.status is Status.INFRASTRUCTURE_ERROR for verdict in judged.verdicts.values()
            )

    async def _count(self) -> None:
        """Counts the samples of the whole run beside it, so that the time left can be told."""
        await to_thread.run_sync(self._count_in_thread, abandon_on_cancel=True)

    def _count_in_thread(self) -> None:
        expected = 0
        try:
            for problem in self._plan.problems():
                expected += len(self._plan.sample_indices(problem))
                from_thread.check_cancelled()
        except TacoStreamError:
            return  # feed meets the same error and reports it
        self._expected = expected

    async def _watch_signals(self) -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for number in signals:
                if self._draining:
                    self._everything.cancel()
                    return
                self.drain()
                if number == signal.SIGTERM:
                    self._everything.deadline = anyio.current_time() + TERMINATION_SECONDS

    async def _gauge(self, entries: ObjectSendStream[Entry]) -> None:
        """Measures overlap, writes the events of engine and evaluator, and every few seconds a gauges event.

        An engine waits where its events are not taken: 1,500 at once took 20 s when they were only taken with gauges.
        """
        last_gauge = time.monotonic()
        while True:
            await anyio.sleep(OVERLAP_TICK_SECONDS)
            generating = self._engine.statistics().rows_busy > 0
            judging = self._judge is not None and self._judge.statistics().busy > 0
            self._overlap.observe(generating=generating, judging=judging)
            await self._forward_events(entries)
            if time.monotonic() - last_gauge >= GAUGE_SECONDS:
                last_gauge = time.monotonic()
                self._peak_memory_bytes = max(self._peak_memory_bytes, process_tree_bytes())
                await entries.send(gauges(self.statistics()))

    async def _forward_events(self, entries: ObjectSendStream[Entry]) -> None:
        while self._events is not None and self._events.statistics().current_buffer_used:
            await entries.send(self._events.receive_nowait())


def _first_failure(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error to tell the user: the first of ours, else the first of all."""
    leaves = list(_leaves(group))
    return next((error for error in leaves if isinstance(error, TacoStreamError)), leaves[0])


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterable[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
