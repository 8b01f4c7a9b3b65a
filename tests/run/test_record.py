"""The writer, and the streams between the stages."""

from functools import partial

import anyio
import anyio.lowlevel
import pytest
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from sample_values import completion

from taco_stream.metrics import Tally
from taco_stream.run.record import record
from taco_stream.run.streams import ITEMS_PER_TURN, hand_on, received
from taco_stream.run.task import Entry
from taco_stream.types import Completion, SampleKey

pytestmark = [pytest.mark.anyio, pytest.mark.both_loops]


class CountingStore:
    """Keeps the sizes of the batches."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def is_generated(self, key: SampleKey) -> bool:
        return False

    def unjudged(self, problem_id: str) -> list[Completion]:
        return []

    async def append(self, entries: list[Entry]) -> None:
        await anyio.lowlevel.checkpoint()
        self.batches.append(len(entries))


async def test_entries_that_come_one_by_one_are_written_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taco_stream.run.record.GATHERING_SECONDS", 0.5)
    outbound, inbound = anyio.create_memory_object_stream[Entry](100)
    store, is_last = CountingStore(), anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(record, inbound, store=store, tally=Tally(), is_last=is_last))
        async with outbound:
            for number in range(20):
                await outbound.send(completion("p", number))
                await anyio.wait_all_tasks_blocked()
    assert store.batches == [1, 19]


async def test_the_last_entries_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taco_stream.run.record.GATHERING_SECONDS", 3600)
    outbound, inbound = anyio.create_memory_object_stream[Entry](100)
    store, is_last = CountingStore(), anyio.Event()
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(record, inbound, store=store, tally=Tally(), is_last=is_last))
            async with outbound:
                for number in range(20):
                    await outbound.send(completion("p", number))
                    await anyio.wait_all_tasks_blocked()
            is_last.set()
    assert store.batches == [1, 19]


async def test_a_cancelled_writer_writes_what_it_was_letting_come_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taco_stream.run.record.GATHERING_SECONDS", 3600)
    outbound, inbound = anyio.create_memory_object_stream[Entry](100)
    store, is_last = CountingStore(), anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(record, inbound, store=store, tally=Tally(), is_last=is_last))
        async with outbound:
            for number in range(20):
                await outbound.send(completion("p", number))
                await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
    assert store.batches == [1, 19]


async def test_items_arrive_in_order_and_end_with_the_stream() -> None:
    outbound, inbound = anyio.create_memory_object_stream[int](3)

    async def send() -> None:
        async with outbound:
            for number in range(50):
                await hand_on(outbound, number)

    async with inbound, anyio.create_task_group() as tasks:
        tasks.start_soon(send)
        assert [item async for item in received(inbound)] == list(range(50))


async def test_whoever_has_much_to_receive_lets_others_run() -> None:
    outbound: MemoryObjectSendStream[int]
    inbound: MemoryObjectReceiveStream[int]
    outbound, inbound = anyio.create_memory_object_stream[int](1000)
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    async with outbound, inbound, anyio.create_task_group() as tasks:
        tasks.start_soon(take_turns)
        for number in range(1000):
            outbound.send_nowait(number)
        await outbound.aclose()
        async for _ in received(inbound):
            pass
        tasks.cancel_scope.cancel()
    assert turns >= 1000 // (ITEMS_PER_TURN + 1)
