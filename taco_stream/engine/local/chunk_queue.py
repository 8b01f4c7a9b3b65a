"""The one queue that all workers of an engine take chunks from, by demand.

A chunk is out from the moment that a worker takes it until all its samples are answered. A worker that is given up puts
what it has not answered back in front, for the others, so none of them may leave before nothing is out any more: `take`
waits for that, and returns None only then.

A worker takes more than its slots hold, so that none stays empty. Once the queue is closed that would leave samples
waiting for one worker's slots while another's are empty, and the run waiting for the slower one: no worker takes more
than it has room for then, and one that has room is given samples that wait for others, which are asked to give them
back (`WorkerHandle.withdraw`).

A chunk that was condemned by the worker that died of it comes back as well, while there is another worker. A device
that fails at everything would condemn whatever it is given; a request that is at fault kills the second worker too.
"""

from collections import deque

import anyio

from taco_stream.engine.local.worker_handle import Chunk, WorkerHandle


class ChunkQueue:
    """Holds the chunks that wait for one of `workers`."""

    def __init__(self, workers: list[WorkerHandle]) -> None:
        self._workers = workers
        self._waiting: deque[Chunk] = deque()
        self._is_closed = False
        self._changed = anyio.Event()

    def notify(self) -> None:
        """Wakes all tasks that wait; called when chunks were answered, and when a worker has left."""
        self._changed.set()
        self._changed = anyio.Event()

    async def put(self, chunk: Chunk) -> None:
        """Offers a chunk, and waits until a worker has taken it: demand pulls, and nothing heaps up here."""
        self._waiting.append(chunk)
        self.notify()
        try:
            while chunk in self._waiting:
                await self._changed.wait()
        except BaseException:
            if chunk in self._waiting:
                self._waiting.remove(chunk)
            raise

    def put_back(self, chunks: list[Chunk]) -> None:
        """Offers chunks again, before all others, without waiting."""
        self._waiting.extendleft(reversed(chunks))
        self.notify()

    @property
    def is_closed(self) -> bool:
        """Whether no further chunk is put."""
        return self._is_closed

    def close(self) -> None:
        """Says that no further chunk is put."""
        self._is_closed = True
        self.notify()

    async def take(self, worker: WorkerHandle) -> Chunk | None:
        """The next chunk for a worker; None when it is dropped, or the queue is closed and all is answered."""
        while not worker.is_dropped:
            has_room = not self._is_closed or worker.empty_slots > 0 or not self.has_others(worker)
            for chunk in self._waiting if has_room else ():
                if chunk.condemned_by is not worker or not self.has_others(worker):
                    self._waiting.remove(chunk)
                    self.notify()
                    return chunk
            if self._is_closed and not self._waiting:
                if not any(each.chunks for each in self._workers):
                    return None
                if await self._take_from_others(worker):
                    continue
            await self._changed.wait()
        return None

    async def _take_from_others(self, worker: WorkerHandle) -> bool:
        """Asks for samples that wait for the slots of another, as many as this worker has room for.

        Returns whether any were asked for. Nobody is asked while an answer is out, which would change how many there
        are to ask for.
        """
        # One that is being replaced, or on trial, has none to give.
        able = [each for each in self._workers if each is not worker and not each.writing.locked() and not each.trials]
        holder = min(able, key=lambda each: each.empty_slots, default=None)
        if holder is None or not self._spare(holder, worker):
            return False
        async with holder.writing:
            # Half of what waits: some of it begins before the holder reads this, and cannot be given back then.
            return await holder.withdraw(self._spare(holder, worker))

    def _spare(self, holder: WorkerHandle, worker: WorkerHandle) -> int:
        """How many samples one worker is to give to another."""
        if any(each.withdrawn for each in self._workers):
            return 0
        waiting = max(0, -holder.empty_slots)
        return max(0, min(worker.empty_slots, (waiting + 1) // 2))

    def has_others(self, worker: WorkerHandle) -> bool:
        """Whether another worker is left."""
        return any(not each.is_dropped for each in self._workers if each is not worker)
