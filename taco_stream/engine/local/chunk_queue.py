"""The one queue that all workers of an engine take chunks from, by demand.

A chunk is out from the moment that a worker takes it until all its samples are answered. A worker that is given up puts
what it has not answered back in front, for the others, so none of them may leave before nothing is out any more: `take`
waits for that, and returns None only then.

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

    def close(self) -> None:
        """Says that no further chunk is put."""
        self._is_closed = True
        self.notify()

    async def take(self, worker: WorkerHandle) -> Chunk | None:
        """The next chunk for a worker; None when it is dropped, or the queue is closed and all is answered."""
        while not worker.is_dropped:
            for chunk in self._waiting:
                if chunk.condemned_by is not worker or not self.has_others(worker):
                    self._waiting.remove(chunk)
                    self.notify()
                    return chunk
            if self._is_closed and not self._waiting and not any(each.chunks for each in self._workers):
                return None
            await self._changed.wait()
        return None

    def has_others(self, worker: WorkerHandle) -> bool:
        """Whether another worker is left."""
        return any(not each.is_dropped for each in self._workers if each is not worker)
