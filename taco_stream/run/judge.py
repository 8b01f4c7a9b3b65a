"""The third stage: a completion becomes a record. And its replacement in a run that judges nothing."""

import time
from collections.abc import Callable, Mapping

import anyio
from anyio.abc import ObjectReceiveStream
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from taco_stream.extraction import Extraction
from taco_stream.run.progress import Progress
from taco_stream.run.streams import hand_on, received
from taco_stream.run.task import Entry, Judge, ProblemsInFlight, Task
from taco_stream.types import ComparisonMode, Completion, Problem, Record, Status, Verdict


async def judge(
    to_judge: MemoryObjectReceiveStream[Completion],
    entries: MemoryObjectSendStream[Entry],
    *,
    task: Task,
    evaluator: Judge,
    in_flight: ProblemsInFlight,
    progress: Progress,
) -> None:
    """Judges completions, as many at once as keep every worker of the evaluator busy."""
    judging = 0

    def start() -> None:
        nonlocal judging
        while judging < max(1, evaluator.concurrency):
            judging += 1
            judges.start_soon(judge_each)

    async def judge_each() -> None:
        async for completion in received(to_judge):
            progress.waiting.change(-1)
            start()  # an evaluator may have become larger
            if time.monotonic() > progress.judging_ends_at:
                in_flight.leave(completion.problem_id)  # it is on disk, and the next start judges it
                continue
            started_at = time.monotonic()
            record = await judge_completion(
                completion, in_flight[completion.problem_id], extract=task.extract, evaluator=evaluator
            )
            progress.add_judged(started_at, time.monotonic())
            # Sent before it is counted, so that a run is not reported complete while its last record is still here.
            await hand_on(entries, record)
            in_flight.leave(completion.problem_id)
            progress.judged += 1
            failed = Status.INFRASTRUCTURE_ERROR in {verdict.status for verdict in record.verdicts.values()}
            progress.infrastructure_errors += failed

    async with to_judge, entries, anyio.create_task_group() as judges:
        start()


async def leave_unjudged(
    to_judge: ObjectReceiveStream[Completion], *, in_flight: ProblemsInFlight, progress: Progress
) -> None:
    """Lets completions go: they are on disk without a verdict, for a later start to judge."""
    async with to_judge:
        async for completion in to_judge:
            progress.waiting.change(-1)
            in_flight.leave(completion.problem_id)


async def judge_completion(
    completion: Completion,
    problem: Problem,
    *,
    extract: Callable[[Completion, Problem], Extraction],
    evaluator: Judge,
) -> Record:
    """The record of a completion. One without a program is `no_program` in every mode."""
    started_at = time.monotonic()
    found = extract(completion, problem)
    if found.program is None:
        missing = Verdict(status=Status.NO_PROGRAM, detail=completion.error or "")
        verdicts: Mapping[ComparisonMode, Verdict] = dict.fromkeys(ComparisonMode, missing)
    else:
        verdicts = await evaluator.judge_all_modes(problem, found.program)
    return Record(
        problem_id=completion.problem_id,
        sample_index=completion.sample_index,
        program=found.program,
        extraction=found.method,
        finish_reason=completion.finish_reason,
        verdicts=verdicts,
        difficulty=problem.difficulty,
        skills=problem.skills,
        prompt_tokens=completion.prompt_tokens,
        completion_tokens=completion.completion_tokens,
        generate_seconds=completion.generate_seconds,
        judge_seconds=time.monotonic() - started_at,
        engine=completion.engine,
        cut_before=found.cut_before,
        cut_after=found.cut_after,
    )
