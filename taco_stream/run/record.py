"""The second stage and the last: they write to disk, a completion before it is judged and a record after it."""

import time

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from taco_stream.metrics import Tally
from taco_stream.run.progress import Progress
from taco_stream.run.streams import hand_on, received, take_queued
from taco_stream.run.task import Entry, ProblemsInFlight, Store
from taco_stream.types import Completion, FinishReason, Record

GATHERING_SECONDS = 0.1
"""How long the writer lets entries come together. A write is a trip to a thread, 0.16 ms of processor time however many
entries it takes: at a hundred samples a second, without this, several times the cost of all else."""


async def journal(
    generated: MemoryObjectReceiveStream[Completion],
    entries: MemoryObjectSendStream[Entry],
    to_judge: MemoryObjectSendStream[Completion],
    *,
    in_flight: ProblemsInFlight,
    progress: Progress,
) -> None:
    """Puts each completion on its way to the disk and then hands it to the evaluator."""
    async with generated, entries, to_judge:
        async for completion in received(generated):
            progress.add_generated(completion)
            # Not on disk, so that the next start generates it.
            if completion.finish_reason is FinishReason.CANCELLED:
                in_flight.leave(completion.problem_id)
                continue
            # Before it is judged: entries are written in order, so a record never comes before its completion.
            await hand_on(entries, completion)
            progress.generated += 1
            progress.reused += bool(completion.reused_from)
            progress.waiting.change(+1)
            try:
                to_judge.send_nowait(completion)
            except anyio.WouldBlock:
                held_back_at = time.monotonic()
                await to_judge.send(completion)
                progress.held_back_seconds += time.monotonic() - held_back_at


async def record(
    entries: MemoryObjectReceiveStream[Entry], *, store: Store, tally: Tally, is_last: anyio.Event
) -> None:
    """Writes every entry and counts the records: one batch for all that is queued, so a slow disk costs fewer writes.

    Entries come together for a moment, until `is_last` says that no more will come. When the run is cancelled, what is
    queued by then is still written.
    """

    async def write(batch: list[Entry]) -> None:
        await store.append(batch)
        for entry in batch:
            if isinstance(entry, Record):
                tally.add(entry)

    async with entries:
        try:
            async for entry in entries:
                await write([entry, *take_queued(entries)])
                with anyio.move_on_after(GATHERING_SECONDS):
                    await is_last.wait()
        except anyio.get_cancelled_exc_class():
            # Bounded: the queue is finite and a local write is short; a dead disk is given up after ten seconds.
            with anyio.move_on_after(10, shield=True):
                if left := take_queued(entries):
                    await write(left)
            raise
