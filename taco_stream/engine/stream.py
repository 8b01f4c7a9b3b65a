"""Completions of any engine as an asynchronous iterator, for a caller who has requests in a plain iterable."""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial

import anyio
from anyio.abc import ObjectSendStream

from taco_stream.background import in_background
from taco_stream.engine.base import Engine
from taco_stream.errors import TacoStreamError
from taco_stream.types import Completion, Request

BUFFERED_COMPLETIONS = 32
"""Enough that the engine goes on while the caller looks at one; a caller who stops taking stops the engine soon."""


@asynccontextmanager
async def completions(
    engine: Engine, requests: Iterable[Request] | AsyncIterable[Request]
) -> AsyncGenerator[AsyncIterator[Completion]]:
    """Has an open engine generate for an iterable: `async with completions(engine, requests) as stream`.

    Inside, `stream` yields completions as they finish, and ends after the last, or where the engine fails; requests are
    read as fast as the engine takes them. Leaving gives up samples not received, and the engine is free for the next
    iteration. An asynchronous generator of requests is closed in the end. Raises the engine's error (an
    `EngineError`, mostly) once everything that it handed over has been received.
    """
    feed, incoming = anyio.create_memory_object_stream[Request](0)
    outgoing, received = anyio.create_memory_object_stream[Completion](BUFFERED_COMPLETIONS)
    failure: TacoStreamError | None = None

    async def run() -> None:
        nonlocal failure
        with outgoing:
            try:
                # A clone, so that the stream ends for the caller only when the failure is stored.
                await engine.run(incoming, outgoing.clone())
            except TacoStreamError as error:
                failure = error

    async with received, in_background(partial(send_all, requests, feed), run):
        yield received
    if failure is not None:
        raise failure


async def send_all(requests: Iterable[Request] | AsyncIterable[Request], feed: ObjectSendStream[Request]) -> None:
    """Sends every request and closes `feed`; ends early if the run does, which makes the rest useless."""
    with suppress(anyio.BrokenResourceError):
        async with feed, AsyncExitStack() as ending:
            # Left to the garbage collector, a generator would be closed in another task, or never.
            if isinstance(requests, AsyncGenerator):
                ending.push_async_callback(requests.aclose)
            if isinstance(requests, AsyncIterable):
                async for request in requests:
                    await feed.send(request)
            else:
                for request in requests:
                    await feed.send(request)
