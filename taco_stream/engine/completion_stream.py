"""Completions as an asynchronous iterator, for a caller who has requests in a plain iterable and wants no streams."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from typing import Self

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream

from taco_stream.types import Completion, Request


class CompletionStream:
    """What `LocalEngine.generate` returns: an asynchronous iterator over completions as they finish."""

    def __init__(self, completions: ObjectReceiveStream[Completion]) -> None:
        self._completions = completions
        self._has_ended = False
        self.scope = anyio.CancelScope()
        self.failure: BaseException | None = None

    def __aiter__(self) -> Self:
        """Iterates over itself, once."""
        return self

    async def __anext__(self) -> Completion:
        """The next completion. Raises `EngineError` in the place of the end where the engine failed."""
        if self._has_ended:
            raise StopAsyncIteration
        try:
            return await self._completions.receive()
        except anyio.EndOfStream:
            self._has_ended = True
            await self._completions.aclose()
            if self.failure is not None:
                raise self.failure from None
            raise StopAsyncIteration from None

    async def aclose(self) -> None:
        """Stops generating; samples not received yet are given up."""
        self.scope.cancel()
        await self._completions.aclose()


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
