"""Completions as an asynchronous iterator, for a caller who has requests in a plain iterable and wants no streams."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from typing import Self

import anyio
from anyio.abc import ObjectSendStream
from anyio.streams.memory import MemoryObjectReceiveStream

from taco_stream.types import Completion, Request


class CompletionStream:
    """What `LocalEngine.generate` returns: an asynchronous iterator over completions as they finish.

    The engine generates inside `scope`, and sets `ended` when it has stopped and left nothing behind.
    """

    def __init__(self, completions: MemoryObjectReceiveStream[Completion]) -> None:
        self._completions = completions
        self._has_ended = False
        self.scope = anyio.CancelScope()
        self.ended = anyio.Event()
        self.failure: BaseException | None = None

    def __aiter__(self) -> Self:
        """Iterates over itself, once."""
        return self

    async def __anext__(self) -> Completion:
        """The next completion. Raises `EngineError` in the place of the end if the engine failed."""
        if self._has_ended:
            raise StopAsyncIteration
        try:
            return await self._completions.receive()
        except anyio.EndOfStream:
            self._has_ended = True
            self._completions.close()
            if self.failure is not None:
                raise self.failure from None
            raise StopAsyncIteration from None

    def cancel(self) -> None:
        """Stops generating; samples not received yet are given up."""
        self.scope.cancel()
        self._completions.close()

    async def aclose(self) -> None:
        """Stops generating, and returns when another iteration may begin."""
        self.cancel()
        await self.ended.wait()


async def send_all(requests: Iterable[Request] | AsyncIterable[Request], feed: ObjectSendStream[Request]) -> None:
    """Sends every request and closes `feed`; ends early where the run does, for nobody wants the rest then."""
    with contextlib.suppress(anyio.BrokenResourceError):
        async with feed, contextlib.AsyncExitStack() as ending:
            if isinstance(requests, AsyncGenerator):
                ending.push_async_callback(requests.aclose)
            if isinstance(requests, AsyncIterable):
                async for request in requests:
                    await feed.send(request)
            else:
                for request in requests:
                    await feed.send(request)
