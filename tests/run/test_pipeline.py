"""The pipeline with a scripted engine, a judge that is told its verdicts and a store in memory."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Self

import anyio
import anyio.lowlevel
import msgspec
import pytest
from anyio.abc import ObjectReceiveStream, ObjectSendStream, TaskStatus

from taco_stream.engine.scripted import Script, ScriptedEngine
from taco_stream.errors import DatasetError, EngineError, EvaluatorError, ModelError, StoreError, TacoStreamError
from taco_stream.events import CoresDivided, EvaluatorRestarted, Event, RunGauges, WorkerRestarted
from taco_stream.extraction import Extraction, extract_base
from taco_stream.run import pipeline as pipeline_module
from taco_stream.run.existing import Existing
from taco_stream.run.pipeline import Pipeline, entry_stream
from taco_stream.run.task import Entry, Task
from taco_stream.run.watching import interruptible, under_signals
from taco_stream.statistics import EngineStatistics, EvaluatorStatistics
from taco_stream.types import (
    ComparisonMode,
    Completion,
    FinishReason,
    Problem,
    Record,
    Request,
    SampleKey,
    SamplingParameters,
    Status,
    TextPrompt,
    Verdict,
)

pytestmark = [pytest.mark.anyio, pytest.mark.both_loops]


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Signals are for the tests alone: what they do is put back."""
    with interruptible():
        yield


class ToldJudge:
    """Gives the verdict it is told after a set time."""

    def __init__(self, status: Status = Status.PASSED, seconds: float = 0.0, error: TacoStreamError | None = None):
        self.status, self.seconds, self.error = status, seconds, error
        self.busy = self.most_busy = self.judged = 0
        self.concurrency = 4

    async def judge_all_modes(self, problem: Problem, program: str) -> Mapping[ComparisonMode, Verdict]:
        if self.error:
            raise self.error
        self.busy += 1
        self.most_busy = max(self.busy, self.most_busy)
        await anyio.sleep(self.seconds)
        self.busy -= 1
        self.judged += 1
        return dict.fromkeys(ComparisonMode, Verdict(status=self.status))

    def statistics(self) -> EvaluatorStatistics:
        return EvaluatorStatistics(workers=2, busy=self.busy)


class MemoryStore:
    """Keeps entries in a list; `fail_after` entries it behaves like a full disk."""

    def __init__(self, on_disk: Sequence[Entry] = (), fail_after: int | None = None):
        self.entries: list[Entry] = list(on_disk)
        self.fail_after = fail_after
        self.on_append: Callable[[], None] = lambda: None

    def keys(self, kind: type) -> list[SampleKey]:
        return [entry.key for entry in self.entries if isinstance(entry, kind)]

    def is_generated(self, key: SampleKey) -> bool:
        return key in self.keys(Completion) or key in self.keys(Record)

    def unjudged(self, problem_id: str) -> list[Completion]:
        judged = set(self.keys(Record))
        return [
            entry
            for entry in self.entries
            if isinstance(entry, Completion) and entry.problem_id == problem_id and entry.key not in judged
        ]

    async def append(self, entries: Sequence[Entry]) -> None:
        await anyio.lowlevel.checkpoint()
        if self.fail_after is not None and len(self.entries) + len(entries) > self.fail_after:
            raise StoreError("the disk is full; 3 completions are safe")
        self.entries += entries
        self.on_append()


def problem(number: int) -> Problem:
    return Problem(problem_id=f"p{number}", position=number, question="q", tests='{"inputs": [], "outputs": []}')


def task(problems: int = 3, samples: int = 4, source: Callable[[], Iterator[Problem]] | None = None) -> Task:
    def whole_text(completion: Completion, _: Problem) -> Extraction:
        return extract_base(completion.text)

    return Task(
        problems=source or (lambda: iter([problem(number) for number in range(problems)])),
        sample_indices=lambda _: range(samples),
        prompt=lambda each: TextPrompt(each.question),
        extract=whole_text,
        sampling=SamplingParameters(),
    )


def expected_keys(problems: int = 3, samples: int = 4) -> Counter[SampleKey]:
    return Counter(SampleKey(f"p{number}", index) for number in range(problems) for index in range(samples))


def completed(number: int, index: int) -> Completion:
    return Completion(problem_id=f"p{number}", sample_index=index, text="x", finish_reason=FinishReason.STOP)


def events_in(store: MemoryStore) -> list[Event]:
    return [entry for entry in store.entries if isinstance(entry, Event)]


async def test_every_sample_is_generated_judged_and_written_once() -> None:
    store = MemoryStore()
    await Pipeline(task(), engine=ScriptedEngine(), evaluator=ToldJudge(), store=store).run()
    assert Counter(store.keys(Completion)) == expected_keys()
    assert Counter(store.keys(Record)) == expected_keys()


async def test_a_completion_is_written_before_its_verdict() -> None:
    store = MemoryStore()
    await Pipeline(task(), engine=ScriptedEngine(), evaluator=ToldJudge(), store=store).run()
    for key in expected_keys():
        kinds = [type(entry) for entry in store.entries if not isinstance(entry, Event) and entry.key == key]
        assert kinds == [Completion, Record]


async def test_judging_overlaps_generating() -> None:
    """The first verdict is written while later samples are still being generated."""
    store = MemoryStore()
    engine = ScriptedEngine(Script(rows=1, seconds=0.02))
    pipeline = Pipeline(task(), engine=engine, evaluator=ToldJudge(), store=store)
    await pipeline.run()
    kinds = [type(entry) for entry in store.entries]
    assert kinds.index(Record) < len(kinds) - 1 - kinds[::-1].index(Completion)
    assert pipeline.statistics().generating_seconds > 0


async def test_samples_on_disk_are_not_generated_again() -> None:
    store = MemoryStore()
    await Pipeline(task(samples=2), engine=ScriptedEngine(), evaluator=ToldJudge(), store=store).run()
    again = Pipeline(task(samples=4), engine=(engine := ScriptedEngine()), evaluator=ToldJudge(), store=store)
    await again.run()
    assert engine.statistics().samples_finished == 6
    assert again.statistics().samples_resumed == 6
    assert Counter(store.keys(Record)) == expected_keys()


async def test_completions_without_a_verdict_are_judged_not_generated() -> None:
    store = MemoryStore([completed(0, 0), completed(2, 3)])
    engine = ScriptedEngine()
    await Pipeline(task(), engine=engine, evaluator=ToldJudge(), store=store).run()
    assert engine.statistics().samples_finished == 10
    assert Counter(store.keys(Completion)) == expected_keys()
    assert Counter(store.keys(Record)) == expected_keys()


async def test_without_a_judge_completions_are_written_and_left_for_a_later_start() -> None:
    store = MemoryStore()
    generating = Pipeline(task(), engine=ScriptedEngine(), evaluator=None, store=store)
    await generating.run()
    assert Counter(store.keys(Completion)) == expected_keys()
    assert not store.keys(Record)
    assert generating.statistics().evaluator is None
    engine = ScriptedEngine()
    await Pipeline(task(), engine=engine, evaluator=ToldJudge(), store=store).run()
    assert engine.statistics().samples_finished == 0
    assert Counter(store.keys(Record)) == expected_keys()


async def test_without_a_judge_what_is_generated_already_counts_as_complete() -> None:
    store = MemoryStore([completed(0, 0), completed(2, 3)])
    pipeline = Pipeline(task(), engine=ScriptedEngine(), evaluator=None, store=store)
    await pipeline.run()
    assert pipeline.statistics().samples_resumed == 2
    assert Counter(store.keys(Completion)) == expected_keys()


async def test_completions_that_exist_are_written_and_judged_without_an_engine() -> None:
    store = MemoryStore([completed(0, 1)])
    existing = Existing(lambda each: (1, 3), lambda each, index: completed(each.position, index))
    given = task()._replace(existing=existing, sample_indices=existing.sample_indices)
    pipeline = Pipeline(given, engine=None, evaluator=ToldJudge(), store=store)
    await pipeline.run()
    wanted = Counter(SampleKey(f"p{number}", index) for number in range(3) for index in (1, 3))
    assert Counter(store.keys(Completion)) == wanted
    assert Counter(store.keys(Record)) == wanted
    assert pipeline.statistics().engine is None


class Recorded(ScriptedEngine):
    """Says how often it was opened, and takes a while to open."""

    def __init__(self, seconds: float = 0.0, error: TacoStreamError | None = None) -> None:
        super().__init__()
        self.opened = 0
        self.is_opening = anyio.Event()
        self._seconds, self._error = seconds, error

    async def __aenter__(self) -> Self:
        self.opened += 1
        self.is_opening.set()
        await anyio.sleep(self._seconds)
        if self._error is not None:
            raise self._error
        return await super().__aenter__()


async def test_a_start_with_nothing_to_generate_opens_no_engine() -> None:
    store, engine = MemoryStore(), Recorded()
    await Pipeline(task(), engine=engine, evaluator=None, store=store).run()
    await Pipeline(task(), engine=engine, evaluator=ToldJudge(), store=store).run()
    assert engine.opened == 1
    assert Counter(store.keys(Record)) == expected_keys()


async def test_what_is_wrong_with_the_problems_is_found_before_an_engine_is_opened() -> None:
    def nothing() -> Iterator[Problem]:
        raise DatasetError("the selection leaves no problem")
        yield

    engine = Recorded()
    with pytest.raises(DatasetError):
        await Pipeline(task(source=nothing), engine=engine, evaluator=ToldJudge(), store=MemoryStore()).run()
    assert engine.opened == 0


async def test_an_engine_that_does_not_open_ends_the_run_with_its_error() -> None:
    engine = Recorded(error=ModelError("there is no such model"))
    with anyio.fail_after(200), pytest.raises(ModelError, match="no such model"):
        await Pipeline(task(problems=50), engine=engine, evaluator=ToldJudge(), store=MemoryStore()).run()


async def test_an_engine_may_keep_a_task_group_open_while_it_is_open() -> None:
    class WithTasks(ScriptedEngine):
        async def __aenter__(self) -> Self:
            self.tasks = anyio.create_task_group()
            await self.tasks.__aenter__()
            return await super().__aenter__()

        async def __aexit__(self, *error: object) -> None:
            await self.tasks.__aexit__(None, None, None)

    store = MemoryStore()
    await Pipeline(task(), engine=WithTasks(), evaluator=ToldJudge(), store=store).run()
    assert Counter(store.keys(Record)) == expected_keys()


async def test_an_interrupt_while_the_engine_opens_does_not_wait_for_it() -> None:
    engine = Recorded(seconds=3600)
    pipeline = Pipeline(task(problems=50), engine=engine, evaluator=ToldJudge(), store=MemoryStore())
    with anyio.fail_after(200):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(under_signals, pipeline.run, pipeline.stop)
            await engine.is_opening.wait()
            assert pipeline.statistics().loading
            os.kill(os.getpid(), signal.SIGINT)
    assert pipeline.interrupted


async def test_an_interrupted_run_leaves_a_long_backlog_unjudged(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is on disk is judged by the next start; nobody waits for thousands of programs after Ctrl-C."""
    monkeypatch.setattr(pipeline_module, "JUDGING_SECONDS", 0.0)
    store = MemoryStore([completed(number, index) for number in range(3) for index in range(4)])
    evaluator = ToldJudge(seconds=0.2)
    pipeline = Pipeline(task(), engine=ScriptedEngine(), evaluator=evaluator, store=store)
    store.on_append = pipeline.drain
    with anyio.fail_after(200):
        await pipeline.run()
    assert pipeline.interrupted
    assert 0 < evaluator.judged <= 8  # those under way at the first verdict, and those handed over meanwhile
    again = Pipeline(task(), engine=ScriptedEngine(), evaluator=ToldJudge(), store=store)
    store.on_append = lambda: None
    await again.run()
    assert Counter(store.keys(Record)) == expected_keys()


async def test_a_run_that_was_complete_when_it_was_interrupted_is_complete() -> None:
    store = MemoryStore()
    pipeline = Pipeline(task(), engine=ScriptedEngine(), evaluator=ToldJudge(), store=store)
    store.on_append = lambda: pipeline.drain() if len(store.keys(Record)) == 12 else None
    await pipeline.run()
    assert not pipeline.interrupted


async def test_a_run_that_was_complete_before_it_was_counted_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    async def count(things: object) -> None:
        await anyio.sleep_forever()

    monkeypatch.setattr(pipeline_module, "count", count)
    store = MemoryStore()
    pipeline = Pipeline(task(), engine=ScriptedEngine(), evaluator=ToldJudge(), store=store)
    store.on_append = lambda: pipeline.drain() if len(store.keys(Record)) == 12 else None
    await pipeline.run()
    assert not pipeline.interrupted


async def test_signals_are_ignored_once_the_work_is_done() -> None:
    """A command that has only to end would otherwise end as interrupted, or by the signal."""

    async def work() -> str:
        return "done"

    assert await under_signals(work, lambda _: None) == "done"
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(os.getpid(), number)
    await anyio.lowlevel.checkpoint()


async def test_a_hang_up_finishes_what_is_in_flight() -> None:
    store = MemoryStore()
    engine = ScriptedEngine(Script(rows=2, seconds=0.01))
    pipeline = Pipeline(task(problems=50), engine=engine, evaluator=ToldJudge(), store=store)
    with anyio.fail_after(200):
        async with anyio.create_task_group() as tasks:
            await tasks.start(lambda task_status: interrupt(1, store, signal.SIGHUP, task_status=task_status))
            await under_signals(pipeline.run, pipeline.stop)
    assert pipeline.interrupted
    assert 0 < len(store.keys(Record)) < 200
    assert sorted(store.keys(Completion)) == sorted(store.keys(Record))


async def test_a_completion_without_a_program_is_not_judged() -> None:
    store, judge = MemoryStore(), ToldJudge()
    await Pipeline(task(), engine=ScriptedEngine(Script(texts=("",))), evaluator=judge, store=store).run()
    records = [entry for entry in store.entries if isinstance(entry, Record)]
    assert judge.judged == 0
    assert {record.verdicts[ComparisonMode.STRICT].status for record in records} == {Status.NO_PROGRAM}


async def test_no_more_programs_are_at_the_judge_than_two_per_worker() -> None:
    judge = ToldJudge(seconds=0.01)
    await Pipeline(task(), engine=ScriptedEngine(), evaluator=judge, store=MemoryStore()).run()
    assert judge.most_busy <= 4


async def test_an_engine_failure_writes_what_was_generated_first() -> None:
    store = MemoryStore()
    engine = ScriptedEngine(Script(rows=1, fail_after=5))
    with pytest.raises(EngineError):
        await Pipeline(task(), engine=engine, evaluator=ToldJudge(seconds=0.01), store=store).run()
    assert len(store.keys(Completion)) == len(store.keys(Record)) == 5


async def test_a_dataset_failure_finishes_what_was_fed_first() -> None:
    def source() -> Iterator[Problem]:
        yield problem(0)
        raise DatasetError("row 2 is broken")

    store = MemoryStore()
    with pytest.raises(DatasetError, match="row 2"):
        await Pipeline(task(source=source), engine=ScriptedEngine(), evaluator=ToldJudge(), store=store).run()
    assert Counter(store.keys(Record)) == expected_keys(problems=1)


async def test_an_evaluator_failure_ends_the_run_and_keeps_the_completions() -> None:
    store = MemoryStore()
    judge = ToldJudge(error=EvaluatorError("no zygote"))
    with anyio.fail_after(200), pytest.raises(EvaluatorError, match="no zygote"):
        await Pipeline(task(), engine=ScriptedEngine(), evaluator=judge, store=store).run()
    assert store.keys(Completion)


async def test_a_full_disk_ends_the_run_with_the_count_that_is_safe() -> None:
    store = MemoryStore(fail_after=3)
    with anyio.fail_after(200), pytest.raises(StoreError, match="3 completions are safe"):
        await Pipeline(task(), engine=ScriptedEngine(), evaluator=ToldJudge(), store=store).run()


async def test_a_drained_run_is_complete_as_far_as_it_went() -> None:
    store = MemoryStore()
    engine = ScriptedEngine(Script(rows=2, seconds=0.01))
    pipeline = Pipeline(task(problems=50), engine=engine, evaluator=ToldJudge(), store=store)
    store.on_append = pipeline.drain
    with anyio.fail_after(200):
        await pipeline.run()
    assert pipeline.interrupted
    assert 0 < len(store.keys(Completion)) < 200
    assert sorted(store.keys(Completion)) == sorted(store.keys(Record))


async def interrupt(
    times: int, store: MemoryStore, number: int = signal.SIGINT, *, task_status: TaskStatus[None]
) -> None:
    written = anyio.Event()
    store.on_append = written.set
    task_status.started()
    for _ in range(times):
        await written.wait()
        os.kill(os.getpid(), number)
        written = anyio.Event()
        store.on_append = written.set


async def test_the_first_interrupt_finishes_what_is_in_flight() -> None:
    store = MemoryStore()
    engine = ScriptedEngine(Script(rows=2, seconds=0.01))
    pipeline = Pipeline(task(problems=50), engine=engine, evaluator=ToldJudge(), store=store)
    with anyio.fail_after(200):
        async with anyio.create_task_group() as tasks:
            await tasks.start(lambda task_status: interrupt(1, store, task_status=task_status))
            await under_signals(pipeline.run, pipeline.stop)
    assert pipeline.interrupted
    assert sorted(store.keys(Completion)) == sorted(store.keys(Record))


async def test_the_second_interrupt_stops_at_once() -> None:
    store = MemoryStore()
    engine = ScriptedEngine(Script(rows=2, seconds=0.01))
    pipeline = Pipeline(task(problems=50), engine=engine, evaluator=ToldJudge(seconds=3600), store=store)
    with anyio.fail_after(200):
        async with anyio.create_task_group() as tasks:
            await tasks.start(lambda task_status: interrupt(2, store, task_status=task_status))
            await under_signals(pipeline.run, pipeline.stop)
    assert pipeline.interrupted
    assert store.keys(Completion)


async def test_events_of_the_engine_are_written() -> None:
    store = MemoryStore()
    entries = entry_stream()
    event = WorkerRestarted(message="the worker died")
    await entries[0].send(event)
    await Pipeline(task(), engine=ScriptedEngine(), evaluator=ToldJudge(), store=store, entries=entries).run()
    assert events_in(store) == [event]


async def test_an_event_that_the_last_verdict_brings_is_written() -> None:
    """Nothing is judged after it, so nothing else keeps the writer waiting for it."""
    store = MemoryStore()
    entries = entry_stream()

    class Reporting(ToldJudge):
        async def judge_all_modes(self, problem: Problem, program: str) -> Mapping[ComparisonMode, Verdict]:
            verdicts = await super().judge_all_modes(problem, program)
            await entries[0].send(EvaluatorRestarted(message=f"after {self.judged}"))
            return verdicts

    await Pipeline(task(), engine=ScriptedEngine(), evaluator=Reporting(), store=store, entries=entries).run()
    assert sorted(event.message for event in events_in(store)) == sorted(f"after {count}" for count in range(1, 13))


async def test_what_was_reported_before_a_failure_is_written() -> None:
    """The reason why the evaluator failed is among it."""
    store = MemoryStore()
    entries = entry_stream()

    class Failing(ToldJudge):
        async def judge_all_modes(self, problem: Problem, program: str) -> Mapping[ComparisonMode, Verdict]:
            await entries[0].send(EvaluatorRestarted(message="the worker died"))
            raise EvaluatorError("no zygote")

    with anyio.fail_after(200), pytest.raises(EvaluatorError):
        await Pipeline(task(), engine=ScriptedEngine(), evaluator=Failing(), store=store, entries=entries).run()
    assert "the worker died" in [event.message for event in events_in(store)]


async def test_a_flood_of_events_does_not_wait_for_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine waits until its events are taken; it is not the next look at the gauges that takes them."""
    monkeypatch.setattr("taco_stream.run.pipeline.FIRST_TICK_SECONDS", 3600)
    store = MemoryStore()
    entries = entry_stream()

    class Telling(ScriptedEngine):
        async def run(self, requests: ObjectReceiveStream[Request], completions: ObjectSendStream[Completion]) -> None:
            for number in range(5000):
                await entries[0].send(WorkerRestarted(message=str(number)))
            await super().run(requests, completions)

    with anyio.fail_after(200):
        await Pipeline(task(), engine=Telling(), evaluator=ToldJudge(), store=store, entries=entries).run()
    assert [event.message for event in events_in(store)] == [str(number) for number in range(5000)]


async def test_gauges_hold_the_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taco_stream.run.pipeline.GAUGE_SECONDS", 0)
    store = MemoryStore()
    engine = ScriptedEngine(Script(rows=1, seconds=0.02))
    await Pipeline(task(), engine=engine, evaluator=ToldJudge(), store=store).run()
    last = [entry.statistics for entry in store.entries if isinstance(entry, RunGauges)][-1]
    assert (
        last.samples_expected,
        last.engine and last.engine.rows_total,
        last.evaluator and last.evaluator.workers,
    ) == (
        12,
        1,
        2,
    )


class Claiming(ScriptedEngine):
    """Needs a core of the machine while it plays."""

    def statistics(self) -> EngineStatistics:
        return msgspec.structs.replace(super().statistics(), cores=1)


async def test_cores_that_generating_needs_are_taken_from_judging(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taco_stream.run.balance.TICK_SECONDS", 0.0)
    store, used = MemoryStore(), list[int]()
    engine = Claiming(Script(rows=1, seconds=0.01))
    await Pipeline(task(), engine=engine, evaluator=ToldJudge(), store=store, use_workers=used.append).run()
    assert used == [1]
    assert [each.workers for each in events_in(store) if isinstance(each, CoresDivided)] == used


async def test_a_given_number_of_workers_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taco_stream.run.balance.TICK_SECONDS", 0.0)
    store = MemoryStore()
    await Pipeline(task(), engine=Claiming(Script(rows=1, seconds=0.01)), evaluator=ToldJudge(), store=store).run()
    assert not any(isinstance(each, CoresDivided) for each in events_in(store))


async def test_a_start_that_is_killed_soon_has_left_gauges(monkeypatch: pytest.MonkeyPatch) -> None:
    """They come often at first; five seconds apart, a start that is killed before the first would count for nothing."""
    monkeypatch.setattr("taco_stream.run.pipeline.FIRST_GAUGE_SECONDS", 0.05)
    store = MemoryStore()
    engine = ScriptedEngine(Script(rows=1, seconds=0.1))
    await Pipeline(task(), engine=engine, evaluator=ToldJudge(), store=store).run()
    assert sum(isinstance(entry, RunGauges) for entry in store.entries) > 1


async def test_the_samples_of_the_whole_run_are_counted_beside_it() -> None:
    pipeline = Pipeline(task(), engine=ScriptedEngine(Script(seconds=0.05)), evaluator=ToldJudge(), store=MemoryStore())
    await pipeline.run()
    assert pipeline.statistics().samples_expected == 12


async def test_the_statistics_say_what_the_stages_did_with_their_time() -> None:
    """One row, 0.1 s a sample, judged in 0.02 s: judging is hidden but for the last verdict."""
    started_at = time.monotonic() - 1.0
    pipeline = Pipeline(
        task(problems=2, samples=3),
        engine=ScriptedEngine(Script(rows=1, seconds=0.1)),
        evaluator=ToldJudge(seconds=0.02),
        store=MemoryStore(),
        started_at=started_at,
    )
    await pipeline.run()
    wall = time.monotonic() - started_at
    seen = pipeline.statistics()
    # Less than 0.6 if the process had to wait between looking at two clocks.
    assert 0.5 <= seen.generating_seconds <= wall - 1.0
    assert seen.judging_seconds >= 0.12
    assert seen.overlapped_seconds < seen.judging_seconds
    assert seen.generating_idle_seconds + seen.generating_seconds <= wall - 1.0
    assert seen.judging_idle_seconds > 0
    assert seen.startup_seconds is not None
    assert seen.first_token_seconds is not None
    assert seen.first_verdict_seconds is not None
    assert 1.0 <= seen.startup_seconds <= seen.first_token_seconds <= seen.first_verdict_seconds <= wall
    assert seen.tail is not None
    assert (seen.tail.problem_id, seen.tail.sample_index) == ("p1", 2)


async def test_time_for_which_a_full_buffer_holds_completions_back_is_known() -> None:
    pipeline = Pipeline(
        task(problems=1, samples=12),
        engine=ScriptedEngine(Script(rows=4)),
        evaluator=ToldJudge(seconds=0.05),
        store=MemoryStore(),
        completions_buffer=1,
    )
    await pipeline.run()
    seen = pipeline.statistics()
    assert seen.held_back_seconds >= 0.05
    assert seen.completion_seconds_waiting >= 0.05


async def test_a_run_that_nothing_holds_back_says_so() -> None:
    pipeline = Pipeline(task(), engine=ScriptedEngine(), evaluator=ToldJudge(), store=MemoryStore())
    await pipeline.run()
    assert pipeline.statistics().held_back_seconds == 0.0


async def test_completions_of_another_run_take_no_time_to_generate() -> None:
    def finished_before(problem: Problem, index: int) -> Completion:
        completion = completed(problem.position, index)
        return msgspec.structs.replace(completion, generate_seconds=5.0, finished_at=time.time() - 60.0)

    existing = Existing(lambda _: range(2), finished_before)
    pipeline = Pipeline(
        task(problems=2)._replace(sample_indices=lambda _: range(2), existing=existing),
        engine=None,
        evaluator=ToldJudge(),
        store=MemoryStore(),
    )
    await pipeline.run()
    seen = pipeline.statistics()
    assert (seen.generating_seconds, seen.first_token_seconds, seen.tail) == (0.0, None, None)
    assert seen.judging_seconds > 0
