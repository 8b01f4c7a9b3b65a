"""The last two stages' work: a completion becomes a record, and entries are written in batches."""

import time
from collections.abc import Mapping

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream

from taco_stream.pipeline.plan import Entry, Extract, Journal, Judge
from taco_stream.types import ComparisonMode, Completion, Problem, Record, Status, Verdict


async def judge_completion(completion: Completion, problem: Problem, *, extract: Extract, judge: Judge) -> Record:
    """Finds the program in a completion and judges it. A completion without a program is `no_program` in every mode."""
    started_at = time.monotonic()
    found = extract(completion, problem)
    program = found.program
    if program is None:
        missing = Verdict(status=Status.NO_PROGRAM, detail=completion.error or "")
        verdicts: Mapping[ComparisonMode, Verdict] = dict.fromkeys(ComparisonMode, missing)
    else:
        verdicts = await judge.judge_all_modes(problem, program)
    return Record(
        problem_id=completion.problem_id,
        sample_index=completion.sample_index,
        program=program,
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


async def record(inbound: MemoryObjectReceiveStream[Entry], journal: Journal) -> None:
    """Writes every entry: one batch for all that is queued, so a slow disk costs fewer, larger writes.

    When the run is cancelled, what is queued by then is still written.
    """
    async with inbound:
        try:
            async for entry in inbound:
                await journal.append([entry, *_queued(inbound)])
        except anyio.get_cancelled_exc_class():
            # Bounded: the queue is finite and a local write is short; a dead disk is given up after ten seconds.
            with anyio.move_on_after(10, shield=True):
                if left := _queued(inbound):
                    await journal.append(left)
            raise


def _queued(inbound: MemoryObjectReceiveStream[Entry]) -> list[Entry]:
    """Everything that waits in the stream now, without waiting for more."""
    return [inbound.receive_nowait() for _ in range(inbound.statistics().current_buffer_used)]
