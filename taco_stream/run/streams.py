"""Memory streams without a turn of the event loop for each item.

anyio's `send` and `receive` let other tasks run each time, which costs several microseconds and is needed only if there
is something to wait for.
"""

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TypeVar

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

T = TypeVar("T")


ITEMS_PER_TURN = 16
"""Items that are received one after the other before other tasks run: a millisecond's worth of samples."""


async def received(stream: MemoryObjectReceiveStream[T]) -> AsyncIterator[T]:
    """Yields the items until the stream ends; other tasks run when none waits, and every `ITEMS_PER_TURN` items."""
    with suppress(anyio.EndOfStream):
        while True:
            yield await stream.receive()
            with suppress(anyio.WouldBlock):
                for _ in range(ITEMS_PER_TURN):
                    yield stream.receive_nowait()


async def hand_on(stream: MemoryObjectSendStream[T], item: T) -> None:
    """Sends an item; other tasks run only if there is no room for it."""
    try:
        stream.send_nowait(item)
    except anyio.WouldBlock:
        await stream.send(item)


def take_queued(stream: MemoryObjectReceiveStream[T]) -> list[T]:
    """Everything that waits in the stream now, without waiting for more."""
    return [stream.receive_nowait() for _ in range(stream.statistics().current_buffer_used)]
