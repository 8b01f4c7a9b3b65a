"""The queue that an engine's workers take chunks from."""

import anyio
import pytest

from taco_stream.engine.local.chunk_queue import ChunkQueue
from taco_stream.engine.local.worker_handle import Chunk, WorkerHandle
from taco_stream.engine.protocol import Load
from taco_stream.types import Request, SamplingParameters, TextPrompt

pytestmark = pytest.mark.anyio


def chunk(name: str = "a") -> Chunk:
    request = Request(problem_id=name, prompt=TextPrompt("x"), sample_indices=(0,), sampling=SamplingParameters())
    return Chunk(request, 0.0, {0})


@pytest.fixture
def workers() -> list[WorkerHandle]:
    return [WorkerHandle(Load(model="none")) for _ in range(2)]


async def test_nobody_leaves_while_another_holds_what_may_come_back(workers: list[WorkerHandle]) -> None:
    queue, (one, other) = ChunkQueue(workers), workers
    held = chunk()
    one.chunks[1] = held
    queue.close()
    taken: list[Chunk | None] = []

    async def take() -> None:
        taken.append(await queue.take(other))
        taken.append(await queue.take(other))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(take)
        await anyio.wait_all_tasks_blocked()
        assert not taken
        one.is_dropped = True
        one.abandon()
        queue.put_back([held])
    assert taken == [held, None]


async def test_a_dropped_worker_that_waits_does_not_take_back_what_it_gave(workers: list[WorkerHandle]) -> None:
    """It may be the first in the line of those who wait, and nobody reads its answers any more."""
    queue, (one, other) = ChunkQueue(workers), workers
    held = chunk()
    one.chunks[1] = held
    queue.close()
    taken: dict[str, Chunk | None] = {}

    async def take(name: str, worker: WorkerHandle) -> None:
        taken[name] = await queue.take(worker)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(take, "dropped", one)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(take, "other", other)
        await anyio.wait_all_tasks_blocked()
        one.is_dropped = True
        one.abandon()
        queue.put_back([held])
    assert taken == {"dropped": None, "other": held}


async def test_putting_waits_for_a_taker_and_a_chunk_that_is_not_taken_is_withdrawn(
    workers: list[WorkerHandle],
) -> None:
    queue = ChunkQueue(workers)
    with anyio.move_on_after(0.01):
        await queue.put(chunk())
        raise AssertionError("nobody took it")
    queue.close()
    assert await queue.take(workers[0]) is None


async def test_a_condemned_chunk_is_for_another_worker_while_there_is_one(workers: list[WorkerHandle]) -> None:
    queue, (one, other) = ChunkQueue(workers), workers
    bad, good = chunk("bad"), chunk("good")
    bad.condemned_by = one
    queue.put_back([bad, good])
    assert await queue.take(one) is good
    assert await queue.take(other) is bad
    queue.put_back([bad])
    other.is_dropped = True
    assert await queue.take(one) is bad
