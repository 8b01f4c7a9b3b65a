"""The second stage and the last: they write to disk, a completion before it is judged and a record after it."""

import time

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from taco_stream.metrics import Tally
from taco_stream.run.progress import Progress
from taco_stream.run.task import Entry, ProblemsInFlight, Store
from taco_stream.types import Completion, FinishReason, Record


async def journal(
    generated: ObjectReceiveStream[Completion],
    entries: ObjectSendStream[Entry],
    to_judge: MemoryObjectSendStream[Completion],
    *,
    in_flight: ProblemsInFlight,
    progress: Progress,
) -> None:
    """Puts each completion on its way to the disk and then hands it to the evaluator."""
    async with generated, entries, to_judge:
        async for completion in generated:
            progress.add_generated(completion)
            # Not on disk, so that the next start generates it.
            if completion.finish_reason is FinishReason.CANCELLED:
                in_flight.leave(completion.problem_id)
                continue
            # Before it is judged: entries are written in order, so a record never comes before its completion.
            await entries.send(completion)
            progress.generated += 1
            progress.waiting.change(+1)
            try:
                to_judge.send_nowait(completion)
            except anyio.WouldBlock:
                held_back_at = time.monotonic()
                await to_judge.send(completion)
                progress.held_back_seconds += time.monotonic() - held_back_at


async def record(entries: MemoryObjectReceiveStream[Entry], *, store: Store, tally: Tally) -> None:
    """Writes every entry and counts the records: one batch for all that is queued, so a slow disk costs fewer writes.

    When the run is cancelled, what is queued by then is still written.
    """

    async def write(batch: list[Entry]) -> None:
        await store.append(batch)
        for entry in batch:
            if isinstance(entry, Record):
                tally.add(entry)

    async with entries:
        try:
            async for entry in entries:
                await write([entry, *_take_queued(entries)])
        except anyio.get_cancelled_exc_class():
            # Bounded: the queue is finite and a local write is short; a dead disk is given up after ten seconds.
            with anyio.move_on_after(10, shield=True):
                if left := _take_queued(entries):
                    await write(left)
            raise


def _take_queued(stream: MemoryObjectReceiveStream[Entry]) -> list[Entry]:
    """Everything that waits in the stream now, without waiting for more."""
    return [stream.receive_nowait() for _ in range(stream.statistics().current_buffer_used)]
