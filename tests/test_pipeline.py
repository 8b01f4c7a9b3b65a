"""The pipeline with a scripted engine, a judge that is told its verdicts and a journal in memory."""

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import anyio
import pytest
from anyio.abc import TaskStatus

from taco_stream.engine.scripted import Script, ScriptedEngine
from taco_stream.errors import DatasetError, EngineError, EvaluatorError, StoreError, TacoStreamError
from taco_stream.evaluator.pool import EvaluatorStatistics
from taco_stream.extraction import Extraction, extract_base
from taco_stream.pipeline.pipeline import Pipeline
from taco_stream.pipeline.plan import Entry, OpenProblems, Plan
from taco_stream.types import (
    ComparisonMode,
    Completion,
    Event,
    FinishReason,
    Problem,
    Record,
    SampleKey,
    SamplingParameters,
    Status,
    TextPrompt,
    Verdict,
)

pytestmark = [pytest.mark.anyio, pytest.mark.both_loops]


class ToldJudge:
    """Gives the verdict it is told after a set time."""

    def __init__(self, status: Status = Status.PASSED, seconds: float = 0.0, error: TacoStreamError | None = None):
        self.status, self.seconds, self.error = status, seconds, error
        self.busy = self.most_busy = self.judged = 0

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


class MemoryJournal:
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


def plan(problems: int = 3, samples: int = 4, source: Callable[[], Iterator[Problem]] | None = None) -> Plan:
    def whole_text(completion: Completion, _: Problem) -> Extraction:
        return extract_base(completion.text)

    return Plan(
        problems=source or (lambda: iter([problem(number) for number in range(problems)])),
        sample_indices=lambda _: range(samples),
        prompt=lambda each: TextPrompt(each.question),
        extract=whole_text,
        sampling=SamplingParameters(),
        completions_buffer=8,
    )


def expected_keys(problems: int = 3, samples: int = 4) -> Counter[SampleKey]:
    return Counter(SampleKey(f"p{number}", index) for number in range(problems) for index in range(samples))


def completed(number: int, index: int) -> Completion:
    return Completion(problem_id=f"p{number}", sample_index=index, text="x", finish_reason=FinishReason.STOP)


async def test_every_sample_is_generated_judged_and_written_once() -> None:
    journal = MemoryJournal()
    await Pipeline(plan(), engine=ScriptedEngine(), judge=ToldJudge(), journal=journal).run()
    assert Counter(journal.keys(Completion)) == expected_keys()
    assert Counter(journal.keys(Record)) == expected_keys()


async def test_a_completion_is_written_before_its_verdict() -> None:
    journal = MemoryJournal()
    await Pipeline(plan(), engine=ScriptedEngine(), judge=ToldJudge(), journal=journal).run()
    for key in expected_keys():
        kinds = [type(entry) for entry in journal.entries if not isinstance(entry, Event) and entry.key == key]
        assert kinds == [Completion, Record]


async def test_judging_overlaps_generating() -> None:
    """The first verdict is written while later samples are still being generated."""
    journal = MemoryJournal()
    engine = ScriptedEngine(Script(rows=1, seconds=0.02))
    pipeline = Pipeline(plan(), engine=engine, judge=ToldJudge(), journal=journal)
    await pipeline.run()
    kinds = [type(entry) for entry in journal.entries]
    assert kinds.index(Record) < len(kinds) - 1 - kinds[::-1].index(Completion)
    assert pipeline.statistics().generating_seconds > 0


async def test_samples_on_disk_are_not_generated_again() -> None:
    journal = MemoryJournal()
    await Pipeline(plan(samples=2), engine=ScriptedEngine(), judge=ToldJudge(), journal=journal).run()
    again = Pipeline(plan(samples=4), engine=(engine := ScriptedEngine()), judge=ToldJudge(), journal=journal)
    await again.run()
    assert engine.statistics().samples_finished == 6
    assert again.statistics().samples_resumed == 6
    assert Counter(journal.keys(Record)) == expected_keys()


async def test_completions_without_a_verdict_are_judged_not_generated() -> None:
    journal = MemoryJournal([completed(0, 0), completed(2, 3)])
    engine = ScriptedEngine()
    await Pipeline(plan(), engine=engine, judge=ToldJudge(), journal=journal).run()
    assert engine.statistics().samples_finished == 10
    assert Counter(journal.keys(Completion)) == expected_keys()
    assert Counter(journal.keys(Record)) == expected_keys()


async def test_without_a_judge_completions_are_written_and_left_for_a_later_start() -> None:
    journal = MemoryJournal()
    generating = Pipeline(plan(), engine=ScriptedEngine(), judge=None, journal=journal)
    await generating.run()
    assert Counter(journal.keys(Completion)) == expected_keys()
    assert not journal.keys(Record)
    assert generating.statistics().evaluator is None
    engine = ScriptedEngine()
    await Pipeline(plan(), engine=engine, judge=ToldJudge(), journal=journal).run()
    assert engine.statistics().samples_finished == 0
    assert Counter(journal.keys(Record)) == expected_keys()


async def test_without_a_judge_what_is_generated_already_counts_as_complete() -> None:
    journal = MemoryJournal([completed(0, 0), completed(2, 3)])
    pipeline = Pipeline(plan(), engine=ScriptedEngine(), judge=None, journal=journal)
    await pipeline.run()
    assert pipeline.statistics().samples_resumed == 2
    assert Counter(journal.keys(Completion)) == expected_keys()


async def test_without_a_judge_no_problem_stays_open() -> None:
    open_problems = OpenProblems()
    journal = MemoryJournal()
    await Pipeline(plan(), engine=ScriptedEngine(), judge=None, journal=journal, open_problems=open_problems).run()
    assert len(open_problems) == 0


async def test_a_completion_without_a_program_is_not_judged() -> None:
    journal, judge = MemoryJournal(), ToldJudge()
    await Pipeline(plan(), engine=ScriptedEngine(Script(texts=("",))), judge=judge, journal=journal).run()
    records = [entry for entry in journal.entries if isinstance(entry, Record)]
    assert judge.judged == 0
    assert {record.verdicts[ComparisonMode.STRICT].status for record in records} == {Status.NO_PROGRAM}


async def test_no_more_programs_are_at_the_judge_than_two_per_worker() -> None:
    judge = ToldJudge(seconds=0.01)
    await Pipeline(plan(), engine=ScriptedEngine(), judge=judge, journal=MemoryJournal()).run()
    assert judge.most_busy <= 4


async def test_an_engine_failure_writes_what_was_generated_first() -> None:
    journal = MemoryJournal()
    engine = ScriptedEngine(Script(rows=1, fail_after=5))
    with pytest.raises(EngineError):
        await Pipeline(plan(), engine=engine, judge=ToldJudge(seconds=0.01), journal=journal).run()
    assert len(journal.keys(Completion)) == len(journal.keys(Record)) == 5


async def test_a_dataset_failure_finishes_what_was_fed_first() -> None:
    def source() -> Iterator[Problem]:
        yield problem(0)
        raise DatasetError("row 2 is broken")

    journal = MemoryJournal()
    with pytest.raises(DatasetError, match="row 2"):
        await Pipeline(plan(source=source), engine=ScriptedEngine(), judge=ToldJudge(), journal=journal).run()
    assert Counter(journal.keys(Record)) == expected_keys(problems=1)


async def test_two_problems_of_one_id_are_refused() -> None:
    with pytest.raises(DatasetError, match="two problems with the id 'p0'"):
        await Pipeline(
            plan(source=lambda: iter([problem(0), problem(0)])),
            engine=ScriptedEngine(),
            judge=ToldJudge(),
            journal=MemoryJournal(),
        ).run()


async def test_an_evaluator_failure_ends_the_run_and_keeps_the_completions() -> None:
    journal = MemoryJournal()
    judge = ToldJudge(error=EvaluatorError("no zygote"))
    with anyio.fail_after(10), pytest.raises(EvaluatorError, match="no zygote"):
        await Pipeline(plan(), engine=ScriptedEngine(), judge=judge, journal=journal).run()
    assert journal.keys(Completion)


async def test_a_full_disk_ends_the_run_with_the_count_that_is_safe() -> None:
    journal = MemoryJournal(fail_after=3)
    with anyio.fail_after(10), pytest.raises(StoreError, match="3 completions are safe"):
        await Pipeline(plan(), engine=ScriptedEngine(), judge=ToldJudge(), journal=journal).run()


async def test_a_drained_run_is_complete_as_far_as_it_went() -> None:
    journal = MemoryJournal()
    engine = ScriptedEngine(Script(rows=2, seconds=0.01))
    pipeline = Pipeline(plan(problems=50), engine=engine, judge=ToldJudge(), journal=journal)
    journal.on_append = pipeline.drain
    with anyio.fail_after(10):
        await pipeline.run()
    assert pipeline.interrupted
    assert 0 < len(journal.keys(Completion)) < 200
    assert sorted(journal.keys(Completion)) == sorted(journal.keys(Record))


async def interrupt(times: int, journal: MemoryJournal, *, task_status: TaskStatus[None]) -> None:
    written = anyio.Event()
    journal.on_append = written.set
    task_status.started()
    for _ in range(times):
        await written.wait()
        os.kill(os.getpid(), signal.SIGINT)
        written = anyio.Event()
        journal.on_append = written.set


async def test_the_first_interrupt_finishes_what_is_in_flight() -> None:
    journal = MemoryJournal()
    engine = ScriptedEngine(Script(rows=2, seconds=0.01))
    pipeline = Pipeline(plan(problems=50), engine=engine, judge=ToldJudge(), journal=journal)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            await tasks.start(lambda task_status: interrupt(1, journal, task_status=task_status))
            await pipeline.run()
    assert pipeline.interrupted
    assert sorted(journal.keys(Completion)) == sorted(journal.keys(Record))


async def test_the_second_interrupt_stops_at_once() -> None:
    journal = MemoryJournal()
    engine = ScriptedEngine(Script(rows=2, seconds=0.01))
    pipeline = Pipeline(plan(problems=50), engine=engine, judge=ToldJudge(seconds=3600), journal=journal)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            await tasks.start(lambda task_status: interrupt(2, journal, task_status=task_status))
            await pipeline.run()
    assert pipeline.interrupted
    assert journal.keys(Completion)


async def test_events_of_the_engine_are_written() -> None:
    journal = MemoryJournal()
    send, receive = anyio.create_memory_object_stream[Event](8)
    async with send, receive:
        await send.send(Event(kind="worker_restarted", at=0.0))
        await Pipeline(plan(), engine=ScriptedEngine(), judge=ToldJudge(), journal=journal, events=receive).run(
            watch_signals=False
        )
    assert [entry.kind for entry in journal.entries if isinstance(entry, Event)] == ["worker_restarted"]


async def test_the_samples_of_the_whole_run_are_counted_beside_it() -> None:
    pipeline = Pipeline(plan(), engine=ScriptedEngine(Script(seconds=0.05)), judge=ToldJudge(), journal=MemoryJournal())
    await pipeline.run()
    assert pipeline.statistics().samples_expected == 12
