"""The server engine: a model behind one or several OpenAI-compatible servers, here or elsewhere.

Who runs: `ServerEngine` in the event loop of the caller, which has to be asyncio's (aiohttp's only one), a task for
each sample that is in flight or waits to be tried again, and the tasks that take care of the servers (`supervisor`). A
server is spoken to over HTTP alone (`connection`), is asked for one sample with one request (`body`), and is believed
only what an answer proves (`answer`).

A sample waits for its turn until a server has room (`turns`, `fleet`, `concurrency`), the prompt's own server first,
whose cache has the prompt; it is sent, and the answer decides (`sampler`). Samples not handed over yet stop new
ones from being sent. A run ends early if a key, model or address is wrong, or if all servers have been of no use for
`server_patience`; finished samples are handed over first.

Promised, whatever the servers do: each sample is answered exactly once, with a text that a server completed under the
sampling asked for, or with an error. Its seed is a hash of (seed, problem, index), so where servers respect seeds it
does not depend on who shares its batch. Before a server is asked for samples of a kind the first time, it is tried:
which fields it rejects, whether it samples, whether seeds hold; what it does without is in each sample's `engine`.
Leaving, or cancelling a run, closes the connections, upon which servers stop generating.

Not covered: a prompt that kills its server while others are in flight is tried without end, each time with a pause; a
server that takes a field it does not know and says nothing (vLLM does), if the field is not one that is tried; a model
that was exchanged under its name without the server being down.
"""

import asyncio
import os
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Self

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream
from anyio.streams.memory import MemoryObjectSendStream

from taco_stream.engine.server.body import DROPPABLE
from taco_stream.engine.server.concurrency import ConcurrencyLimit
from taco_stream.engine.server.connection import Connection, default_timeout, open_session
from taco_stream.engine.server.description import split_urls
from taco_stream.engine.server.fleet import ServerState
from taco_stream.engine.server.remote import RemoteServer
from taco_stream.engine.server.sampler import PendingSample, Sampler
from taco_stream.engine.server.server import Server
from taco_stream.engine.server.supervisor import Supervisor
from taco_stream.engine.server.turns import Prompt, Turns
from taco_stream.engine.settings import ServerSettings
from taco_stream.engine.stream import completions
from taco_stream.errors import EngineError, TacoStreamError, UsageError
from taco_stream.events import EngineEvent
from taco_stream.statistics import EngineStatistics
from taco_stream.types import Completion, Request


class ServerEngine(anyio.AsyncContextManagerMixin):
    """Generates with a model that OpenAI-compatible servers serve: vLLM, SGLang, llama.cpp, transformers, hosted ones.

    `servers` are the settings, or an address or several, separated by commas. `model` is the name that it is served
    under, by default the only one there is. News of the servers is sent to `events`, and dropped once that is
    closed. Needs the extra `server`, and asyncio. Raises `UsageError` if the settings cannot be meant.
    """

    def __init__(
        self,
        servers: ServerSettings | str,
        *,
        model: str | None = None,
        events: ObjectSendStream[EngineEvent] | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        settings = servers if isinstance(servers, ServerSettings) else ServerSettings(server=servers)
        self._settings = settings
        self._urls = split_urls(settings.server or "")
        self._model = model
        self._api_key = _read_key(settings.api_key_env, environ)
        unknown = sorted(set(settings.server_may_ignore) - DROPPABLE)
        if unknown:
            raise UsageError(
                f"--server-may-ignore cannot be {unknown[0]!r}: it is one of {', '.join(sorted(DROPPABLE))}"
            )
        self._events = events
        self._servers: list[Server] = []
        self._turns = Turns(self._servers)
        self._supervisor = Supervisor(
            self._servers,
            self._turns,
            patience_seconds=settings.server_patience,
            send_event=self._send_event,
            give_up=self._end,
        )
        self._sampler = Sampler(self._turns, self._supervisor, self._send_event)
        self._finished: deque[Completion] = deque()  # not handed over yet
        self._is_open = self._is_running = False
        self._failure: TacoStreamError | None = None

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        """A server answers, and serves the model. Entering waits up to `server_patience` for it.

        Raises `UsageError` if none does, or if two serve different models; servers that do not answer yet may join
        later. Leaving closes the connections.
        """
        async with open_session(self._api_key) as session:
            for url in self._urls:
                remote = RemoteServer(
                    url,
                    Connection(session, url, self._settings.server_timeout or default_timeout(url)),
                    model=self._model,
                    may_ignore=frozenset(self._settings.server_may_ignore),
                    secret=self._api_key,
                    send_event=self._send_event,
                )
                limit = ConcurrencyLimit(time.monotonic(), ceiling=self._settings.server_concurrency)
                self._servers.append(Server(remote, ServerState(url, limit)))
            try:
                await self._supervisor.connect()
                self._is_open = True
                yield self
            finally:
                self._is_open = False
                self._servers.clear()

    async def run(self, requests: ObjectReceiveStream[Request], completions: ObjectSendStream[Completion]) -> None:
        """Generates every sample of every request. Raises `EngineError` after handing over what was generated.

        One at a time: raises `EngineError` if the engine is not open, or is generating. Raises `UsageError` if a server
        cannot do what a request asks for.
        """
        async with requests, completions:
            if not self._is_open:
                raise EngineError("the engine is not open: use it inside `async with`")
            if self._is_running:
                raise EngineError("the engine is generating: finish the other iteration first")
            self._is_running = True
            self._failure = None
            self._has_finished, self._has_asked = anyio.Event(), False
            self._completions = completions
            self._asking = anyio.CancelScope()
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._hand_over, completions)
                    with self._asking:
                        await self._generate(requests)
                    self._has_asked = True
                    self._has_finished.set()
            finally:
                self._finished.clear()
                self._turns.clear()
                self._is_running = False
        if self._failure is not None:
            raise self._failure

    def generate(
        self, requests: Iterable[Request] | AsyncIterable[Request]
    ) -> AbstractAsyncContextManager[AsyncIterator[Completion]]:
        """Generates for a plain iterable: `async with engine.generate(requests) as completions` (`completions`)."""
        return completions(self, requests)

    def drain(self) -> None:
        """Starts no further sample: those in flight are finished, those waiting come back as `cancelled`."""
        self._turns.close()

    def statistics(self) -> EngineStatistics:
        """Requests in flight as rows, of the present limits; tokens as the servers count them."""
        if self._is_running:
            self._turns.observe()
        return self._turns.occupancy.statistics(
            (server.state for server in self._servers), waiting=self._turns.retrying
        )

    async def _generate(self, requests: ObjectReceiveStream[Request]) -> None:
        async with anyio.create_task_group() as caring:
            caring.start_soon(self._supervisor.supervise)
            # asyncio's own: a task of anyio's costs as much as a tenth of all that a sample costs.
            async with asyncio.TaskGroup() as samples:
                await self._accept(requests, samples)
            caring.cancel_scope.cancel()

    async def _accept(self, requests: ObjectReceiveStream[Request], samples: asyncio.TaskGroup) -> None:
        """Takes a request when there is room for its first sample."""
        async for request in requests:
            prompt = Prompt(request, time.monotonic())
            for index in request.sample_indices:
                server = await self._turns.wait_to_start(prompt)
                samples.create_task(self._work_on(PendingSample(prompt, index), server))

    async def _work_on(self, sample: PendingSample, server: Server | None) -> None:
        try:
            completion = await self._sampler.complete(sample, server)
        except TacoStreamError as failure:
            self._end(failure)
            return
        if not self._finished and self._is_taken(completion):
            return
        self._finished.append(completion)
        self._turns.is_held = True
        self._has_finished.set()

    def _is_taken(self, completion: Completion) -> bool:
        """Hands a completion over if that needs no waiting, which costs less than waking `_hand_over`."""
        if not isinstance(self._completions, MemoryObjectSendStream):
            return False
        try:
            self._completions.send_nowait(completion)
        except anyio.WouldBlock:
            return False
        self._turns.occupancy.samples_finished += 1
        return True

    async def _hand_over(self, completions: ObjectSendStream[Completion]) -> None:
        """Passes on what is finished. That is at most as much as was in flight: while some is left, nothing is sent."""
        while self._finished or not self._has_asked:
            if not self._finished:
                self._has_finished = anyio.Event()
                await self._has_finished.wait()
                continue
            await completions.send(self._finished[0])
            self._finished.popleft()
            self._turns.occupancy.samples_finished += 1
            if not self._finished:
                self._turns.is_held = False
                self._turns.assign()

    def _end(self, failure: TacoStreamError) -> None:
        """Asks for nothing more; what is finished is handed over, and then the failure raised."""
        self._failure = self._failure or failure
        self._asking.cancel()

    async def _send_event(self, event: EngineEvent) -> None:
        if self._events is not None:
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                await self._events.send(event)


async def find_served_model(servers: ServerSettings) -> str:
    """The name of the only model that the servers serve. Raises `UsageError` if it has to be named, or none answers."""
    async with ServerEngine(servers) as engine:
        description = engine._supervisor.description
        assert description is not None
        return description.model


def _read_key(name: str | None, environ: Mapping[str, str]) -> str | None:
    if name is None:
        return None
    key = environ.get(name, "").strip()
    if not key:
        raise UsageError(f"--api-key-env names {name}, which is not set")
    return key
