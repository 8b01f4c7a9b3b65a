"""The server engine: a model behind one or several OpenAI-compatible servers, here or elsewhere.

Who runs: `ServerEngine` in the event loop of the caller, which has to be asyncio's (aiohttp's only one), and a task
for each sample that is in flight or waits to be tried again. A server is spoken to over HTTP alone (`connection`), is
asked for one sample with one request (`body`), and is believed only what an answer proves (`answer`).

A sample's way: it waits until a server has room (`fleet`, `concurrency`), the prompt's own server first, whose cache
has the prompt; it is sent; what comes back decides.

* A whole sample is handed over. Samples not handed over yet stop new ones from being sent.
* Refused for load: it waits for room again, which there is less of now. That costs it nothing.
* Failed: it waits a random time, longer with each attempt, and is sent again; after eight attempts it is an error.
* No answer: the server is asked how it is. If it is well, the attempt failed. If not, the server is down, its samples
  wait or go to another, and it is asked again, after 0.5 to 30 seconds, until it is well *and serves the same model*.
  An attempt on a server that is down costs nothing, except a sample that was alone on it: it may be what kills it.
* A key, model or address that is wrong ends the run, and so do servers that have all been of no use for
  `server_patience`; what was generated is handed over first.

Promised, whatever the servers do: each sample is answered exactly once, with a text that a server completed under the
sampling asked for, or with an error. Its seed is a hash of (seed, problem, index), so where servers respect seeds it
does not depend on who shares its batch. Before a server is asked for samples of a kind the first time, it is tried:
which fields it rejects, whether it samples, whether seeds hold; what it does without is in each sample's `engine`.
Leaving, or cancelling a run, closes the connections, upon which servers stop generating.

Not covered: a prompt that kills its server while others are in flight is tried without end, each time with a pause; a
server that takes a field it does not know and says nothing (vLLM does), if the field is not one that is tried; a model
that was exchanged under its name without the server being down.
"""

import math
import os
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Self

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream, TaskGroup

from taco_stream.engine.server.answer import (
    Answered,
    Failed,
    Outcome,
    Overloaded,
    PromptRefused,
    SampleRefused,
    ServerUnusable,
    Unreachable,
)
from taco_stream.engine.server.body import DROPPABLE
from taco_stream.engine.server.concurrency import ConcurrencyLimit
from taco_stream.engine.server.connection import Connection, is_loopback, open_session
from taco_stream.engine.server.description import Description, split_urls
from taco_stream.engine.server.fleet import (
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    ServerState,
    are_hopeless,
    backoff_seconds,
    choose_server,
    retry_seconds,
)
from taco_stream.engine.server.occupancy import Occupancy
from taco_stream.engine.server.remote import Dialect, RemoteServer
from taco_stream.engine.settings import ServerSettings
from taco_stream.engine.stream import completions
from taco_stream.errors import EngineError, TacoStreamError, UsageError
from taco_stream.events import (
    EngineEvent,
    PromptTooLong,
    ServerChanged,
    ServerDown,
    ServerLimit,
    ServerOverloaded,
    ServerUp,
)
from taco_stream.statistics import EngineStatistics
from taco_stream.types import Completion, FinishReason, Request

MAX_ATTEMPTS = 8
REMOTE_TIMEOUT_SECONDS = 3600.0
LIMIT_EVENT_SECONDS, LIMIT_EVENT_CHANGE = 1.0, 0.1


@dataclass(eq=False, slots=True)
class _Server:
    """A server of a run: how to ask it, whether it can be asked, and what was reported of it."""

    remote: RemoteServer
    state: ServerState
    problem: str = "it has not been asked"
    fingerprint: str = ""
    checked_at: float = -math.inf
    checking: anyio.Lock = field(default_factory=anyio.Lock)
    went_down: anyio.Event = field(default_factory=anyio.Event)
    is_overload_new: bool = False
    reported_limit: int = 0
    reported_at: float = -math.inf

    @property
    def url(self) -> str:
        return self.remote.url


@dataclass(eq=False, slots=True)
class _Prompt:
    """What the samples of a request share: the server that has their prompt in its cache."""

    request: Request
    arrived_at: float
    home: _Server | None = None
    is_counted: bool = False


@dataclass(eq=False, slots=True)
class _Sample:
    prompt: _Prompt
    index: int
    attempts: int = 0
    sent_at: float = 0.0


@dataclass(eq=False, slots=True)
class _Turn:
    """A sample's wait for a server; without one when it is over, no sample is sent any more."""

    prompt: _Prompt
    is_over: bool = False
    server: _Server | None = None
    over: anyio.Event | None = None  # made only for those who have to wait


class ServerEngine(anyio.AsyncContextManagerMixin):
    """Generates with a model that OpenAI-compatible servers serve: vLLM, SGLang, llama.cpp, transformers, hosted ones.

    `servers` are the settings, or an address or several, separated by commas. `model` is the name that it is served
    under, by default the only one there is. What happens to the servers is sent to `events`, and dropped once that is
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
        self._servers: list[_Server] = []
        self._description: Description | None = None
        self._retrying: deque[_Turn] = deque()
        self._starting: deque[_Turn] = deque()
        self._occupancy = Occupancy(time.monotonic())
        self._finished: deque[Completion] = deque()  # not handed over yet
        self._noted: set[str] = set()
        self._draining = self._is_open = self._is_running = False
        self._failure: TacoStreamError | None = None

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        """A server answers, and serves the model. Entering waits up to `server_patience` for it.

        Raises `UsageError` if none does, or if two serve different models; servers that do not answer yet may join
        later. Leaving closes the connections.
        """
        async with open_session(self._api_key) as session:
            timeout = self._settings.server_timeout
            for url in self._urls:
                seconds = timeout or (None if is_loopback(url) else REMOTE_TIMEOUT_SECONDS)
                remote = RemoteServer(
                    url,
                    Connection(session, url, seconds),
                    model=self._model,
                    may_ignore=frozenset(self._settings.server_may_ignore),
                    secret=self._api_key,
                    send_event=self._send_event,
                )
                limit = ConcurrencyLimit(time.monotonic(), ceiling=self._settings.server_concurrency)
                self._servers.append(_Server(remote, ServerState(url, limit), reported_limit=limit.limit))
            try:
                await self._connect()
                self._is_open = True
                yield self
            finally:
                self._is_open = False
                self._servers = []

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
            self._drained, self._alarm = anyio.Event(), anyio.Event()
            if self._draining:
                self._drained.set()
            self._has_finished, self._has_asked = anyio.Event(), False
            self._asking = anyio.CancelScope()
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._hand_over, completions)
                    with self._asking:
                        await self._generate(requests)
                    self._has_asked = True
                    self._has_finished.set()
            finally:
                self._retrying.clear()
                self._starting.clear()
                self._finished.clear()
                self._observe()
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
        self._draining = True
        if self._is_running:
            self._drained.set()
            self._assign()

    def statistics(self) -> EngineStatistics:
        """Requests in flight as rows, of the present limits; tokens as the servers count them."""
        if self._is_running:
            self._observe()
        return self._occupancy.statistics((server.state for server in self._servers), waiting=len(self._retrying))

    async def _generate(self, requests: ObjectReceiveStream[Request]) -> None:
        async with anyio.create_task_group() as caring:
            for server in self._servers:
                caring.start_soon(self._care_for, server)
            caring.start_soon(self._wake_after_pauses)
            async with anyio.create_task_group() as samples:
                await self._accept(requests, samples)
            caring.cancel_scope.cancel()

    async def _accept(self, requests: ObjectReceiveStream[Request], samples: TaskGroup) -> None:
        """Takes a request when there is room for its first sample."""
        async for request in requests:
            prompt = _Prompt(request, time.monotonic())
            for index in request.sample_indices:
                sample = _Sample(prompt, index)
                server = await self._wait_for_turn(prompt, self._starting)
                if server is None:
                    self._finish(self._cancelled(sample))
                else:
                    samples.start_soon(self._work_on, sample, server)

    async def _work_on(self, sample: _Sample, server: _Server | None) -> None:
        """Has a sample generated, by this server or, after a failure, by whichever has room."""
        while server is not None:
            try:
                completion = await self._attempt(sample, server)
            except TacoStreamError as failure:
                self._end(failure)
                return
            if completion is not None:
                self._finish(completion)
                return
            server = None
            if not self._draining:
                server = await self._wait_for_turn(sample.prompt, self._retrying)
        self._finish(self._cancelled(sample))

    async def _attempt(self, sample: _Sample, server: _Server) -> Completion | None:
        """Asks a server for a sample; None if it is to be asked for again."""
        state, request = server.state, sample.prompt.request
        sample.sent_at = time.monotonic()
        is_released = False
        try:
            learnt = await server.remote.learn(request)
            dialect = learnt if isinstance(learnt, Dialect) else Dialect()
            outcome = learnt
            if isinstance(outcome, Dialect):
                outcome = await server.remote.sample(request, sample.index, dialect)
            now, is_alone = time.monotonic(), state.limit.busy == 1
            is_well = isinstance(outcome, Unreachable) and await self._is_well(server, outcome, now)
            self._observe()
            is_released = True
            failure = self._release(server, outcome, now, is_well=is_well, is_alone=is_alone)
        finally:
            if not is_released:  # cancelled, or the server cannot do what is asked for
                state.limit.fail()
        self._assign()
        await self._report(server, outcome)
        match outcome:
            case Answered():
                return await self._completion(sample, server, dialect, outcome)
            case PromptRefused():
                return await self._too_long(sample, server, dialect, outcome)
            case SampleRefused(message):
                return self._error(sample, server, dialect, f"{server.url} refuses the sample: {message}")
            case ServerUnusable(message):
                raise EngineError(f"{server.url} can no longer be used: {message}")
        if failure is not None:
            sample.attempts += 1
            if sample.attempts >= MAX_ATTEMPTS:
                message = f"{MAX_ATTEMPTS} attempts failed, the last on {server.url}: {failure}"
                return self._error(sample, server, dialect, message)
            with anyio.move_on_after(retry_seconds(sample.attempts)):
                await self._drained.wait()
        return None

    def _release(self, server: _Server, outcome: Outcome, now: float, *, is_well: bool, is_alone: bool) -> str | None:
        """Books the outcome of a request; what is to be said of an attempt that counts against the sample."""
        state = server.state
        match outcome:
            case Answered():
                state.complete(now, outcome.completion_tokens)
            case PromptRefused() | SampleRefused() | ServerUnusable():
                state.answer()
            case Overloaded(message, delay_seconds):
                server.problem = message
                server.is_overload_new = state.refuse(now, delay_seconds)
                self._alarm.set()  # it may be paused now, as below
            case Unreachable(message, was_connected) if not is_well:
                state.limit.fail()
                return message if was_connected and is_alone else None
            case Failed(message) | Unreachable(message, _):
                server.problem = message
                counts = state.fail(now)
                self._alarm.set()
                return message if counts else None
        return None

    async def _is_well(self, server: _Server, outcome: Unreachable, failed_at: float) -> bool:
        """Whether a server that gave no answer is well all the same; if not, it is down.

        Of many requests that failed at once the first asks for all. Meanwhile nobody is sent there.
        """
        if server.went_down.is_set():
            return False
        server.state.is_up = False
        try:
            async with server.checking:
                if server.checked_at < failed_at and not server.went_down.is_set():
                    problem = await self._check(server)
                    if problem is not None:
                        await self._go_down(server, f"{outcome.message}; {problem}")
        finally:  # also if the run is left meanwhile
            server.state.is_up = not server.went_down.is_set()
        return server.state.is_up

    async def _check(self, server: _Server) -> str | None:
        """Asks a server how it is; None if it is well and serves what it should, else a few words."""
        began_at = time.monotonic()
        try:
            described = await server.remote.describe()
        except UsageError as error:
            return str(error)
        server.checked_at = began_at
        if not isinstance(described, Description):
            return described.message
        if self._description is not None and described != self._description:
            return f"it serves {_words(described)}, and the run asks for {_words(self._description)}"
        server.remote.description = described
        return None

    async def _connect(self) -> None:
        """Waits until a server answers. Raises `UsageError` if none does in time, or one will never be of use."""
        deadline = time.monotonic() + self._settings.server_patience
        times = 0
        while True:
            described: dict[_Server, Description | Unreachable | ServerUnusable | UsageError] = {}

            async def describe(
                server: _Server, into: dict[_Server, Description | Unreachable | ServerUnusable | UsageError]
            ) -> None:
                try:
                    into[server] = await server.remote.describe()
                except UsageError as error:  # raised in here, a task group would wrap it
                    into[server] = error

            async with anyio.create_task_group() as tasks:
                for server in self._servers:
                    tasks.start_soon(describe, server, described)
            for server, result in described.items():
                if isinstance(result, UsageError):
                    raise result
                if isinstance(result, ServerUnusable):
                    raise UsageError(f"{server.url} cannot be used: {result.message}")
            up = {server: result for server, result in described.items() if isinstance(result, Description)}
            if up:
                break
            if time.monotonic() >= deadline:
                reasons = "; ".join(
                    f"{server.url}: {getattr(described[server], 'message', '')}" for server in described
                )
                raise UsageError(f"no server answers ({reasons}): start it, or give another --server")
            await anyio.sleep(min(backoff_seconds(times, 0.5, 5.0), max(0.0, deadline - time.monotonic())))
            times += 1
        if len(set(up.values())) > 1:
            models = ", ".join(f"{server.url} {_words(description)}" for server, description in up.items())
            raise UsageError(f"the servers do not serve the same model: {models}")
        for server in self._servers:
            if server in up:
                self._description = server.remote.description = up[server]
                await self._come_up(server)
            else:
                await self._go_down(server, getattr(described[server], "message", ""))

    async def _care_for(self, server: _Server) -> None:
        """Asks a server that is down how it is until it is well."""
        while True:
            await server.went_down.wait()
            times = 0
            while True:
                self._end_if_hopeless()
                await anyio.sleep(backoff_seconds(times, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS))
                problem = await self._check(server)
                if problem is None:
                    break
                server.problem = problem
                times += 1
            server.went_down = anyio.Event()
            self._occupancy.restarts += 1
            await self._come_up(server)
            self._assign()

    async def _come_up(self, server: _Server) -> None:
        server.state.come_up(time.monotonic())
        described = server.remote.description
        assert described is not None
        await self._send_event(
            ServerUp(
                message=f"{server.url} serves {_words(described)}",
                url=server.url,
                model=described.model,
                root=described.root,
                context_length=described.context_length,
            )
        )

    async def _go_down(self, server: _Server, problem: str) -> None:
        server.problem = problem
        server.state.go_down(time.monotonic())
        server.went_down.set()
        await self._send_event(ServerDown(message=f"{server.url} does not answer: {problem}", url=server.url))

    async def _wake_after_pauses(self) -> None:
        """Hands out turns when a server's pause is over, and gives up when nothing is to be hoped for."""
        while True:
            self._alarm = anyio.Event()
            now = time.monotonic()
            pauses = [server.state.paused_until - now for server in self._servers if server.state.paused_until > now]
            with anyio.move_on_after(min(pauses, default=math.inf)):
                await self._alarm.wait()
                self._end_if_hopeless()
                continue
            self._assign()

    def _end_if_hopeless(self) -> None:
        patience = self._settings.server_patience
        if are_hopeless((server.state for server in self._servers), time.monotonic(), patience):
            reasons = "; ".join(f"{server.url}: {server.problem}" for server in self._servers)
            self._end(
                EngineError(
                    f"no server was of use for {patience:g} seconds ({reasons}): the same command resumes when one is"
                )
            )

    def _end(self, failure: TacoStreamError) -> None:
        """Asks for nothing more; what is finished is handed over, and then the failure raised."""
        self._failure = self._failure or failure
        self._asking.cancel()

    async def _wait_for_turn(self, prompt: _Prompt, queue: deque[_Turn]) -> _Server | None:
        """Waits until a server has room, and takes it; None if no sample is to be sent any more."""
        turn = _Turn(prompt)
        queue.append(turn)
        self._assign()
        if turn.is_over:
            return turn.server
        turn.over = anyio.Event()
        try:
            await turn.over.wait()
        except BaseException:
            if turn.server is not None:
                turn.server.state.limit.fail()
            elif turn in queue:
                queue.remove(turn)
            raise
        return turn.server

    def _assign(self) -> None:
        """Gives servers' room to those that wait: first those that were sent before, then new ones.

        New ones wait while a finished sample has not been handed over: whoever takes completions sets the pace.
        """
        if not self._retrying and (not self._starting or self._finished):
            return
        now = time.monotonic()
        states = {server.state: server for server in self._servers}
        for queue in (self._retrying, self._starting):
            while queue and not (queue is self._starting and self._finished):
                turn = queue[0]
                if not self._draining:
                    home = turn.prompt.home.state if turn.prompt.home else None
                    chosen = choose_server(states, home, now)
                    if chosen is None:
                        return
                    self._observe()
                    chosen.limit.send()
                    turn.server = turn.prompt.home = states[chosen]
                queue.popleft()
                turn.is_over = True
                if turn.over is not None:
                    turn.over.set()

    def _observe(self) -> None:
        """Books the time since the last change; called before each."""
        self._occupancy.observe(time.monotonic(), (server.state for server in self._servers))

    def _finish(self, completion: Completion) -> None:
        self._finished.append(completion)
        self._has_finished.set()

    async def _hand_over(self, completions: ObjectSendStream[Completion]) -> None:
        """Passes on what is finished. That is at most as much as was in flight: while some is left, nothing is sent."""
        while self._finished or not self._has_asked:
            if not self._finished:
                self._has_finished = anyio.Event()
                await self._has_finished.wait()
                continue
            await completions.send(self._finished[0])
            self._finished.popleft()
            self._occupancy.samples_finished += 1
            if not self._finished:
                self._assign()

    async def _report(self, server: _Server, outcome: Outcome) -> None:
        """Sends what an outcome says about its server."""
        now, limit = time.monotonic(), server.state.limit.limit
        if isinstance(outcome, Overloaded) and server.is_overload_new:
            server.is_overload_new = False
            message = f"{server.url} refuses requests ({outcome.message}); it is sent {limit} at once"
            await self._send_event(ServerOverloaded(message=message, url=server.url, limit=limit))
        change = abs(limit - server.reported_limit)
        if change > LIMIT_EVENT_CHANGE * server.reported_limit and server.reported_at < now - LIMIT_EVENT_SECONDS:
            server.reported_limit, server.reported_at = limit, now
            await self._send_event(ServerLimit(url=server.url, limit=limit))
        if isinstance(outcome, Answered) and outcome.fingerprint != server.fingerprint:
            before, server.fingerprint = server.fingerprint, outcome.fingerprint
            if before and outcome.fingerprint:
                message = f"{server.url} answers as {outcome.fingerprint}, before as {before}"
                await self._send_event(ServerChanged(message=message, url=server.url, fingerprint=outcome.fingerprint))

    async def _send_event(self, event: EngineEvent) -> None:
        if self._events is not None:
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                await self._events.send(event)

    async def _completion(self, sample: _Sample, server: _Server, dialect: Dialect, answered: Answered) -> Completion:
        request, longest = sample.prompt.request, server.remote.description and server.remote.description.context_length
        self._occupancy.count(answered, is_first=not sample.prompt.is_counted)
        sample.prompt.is_counted = True
        if longest is not None and answered.prompt_tokens + request.sampling.max_new_tokens > longest:
            await self._note_long_prompt(request, answered.prompt_tokens, longest)
        return Completion(
            problem_id=request.problem_id,
            sample_index=sample.index,
            text=answered.text,
            finish_reason=answered.finish_reason,
            prompt_tokens=answered.prompt_tokens,
            completion_tokens=answered.completion_tokens,
            seed=request.seed,
            engine=_identity(server, dialect, answered.fingerprint),
            queue_seconds=sample.sent_at - sample.prompt.arrived_at,
            generate_seconds=time.monotonic() - sample.sent_at,
            finished_at=time.time(),
            reasoning=answered.reasoning,
            reasoning_tokens=answered.reasoning_tokens,
        )

    async def _too_long(self, sample: _Sample, server: _Server, dialect: Dialect, refused: PromptRefused) -> Completion:
        if refused.prompt_tokens is None or refused.context_length is None:
            return self._error(sample, server, dialect, f"{server.url} refuses the prompt: {refused.message}")
        await self._note_long_prompt(sample.prompt.request, refused.prompt_tokens, refused.context_length)
        length = refused.context_length
        message = f"the prompt has {refused.prompt_tokens} tokens, which leaves no room in a context of {length}"
        return self._error(sample, server, dialect, message, prompt_tokens=refused.prompt_tokens)

    async def _note_long_prompt(self, request: Request, prompt_tokens: int, context_length: int) -> None:
        if request.problem_id in self._noted:
            return
        self._noted.add(request.problem_id)
        wanted, left = request.sampling.max_new_tokens, max(0, context_length - prompt_tokens)
        await self._send_event(
            PromptTooLong(
                problem_id=request.problem_id,
                message=f"the prompt has {prompt_tokens} tokens, which leaves {left} of the {wanted} new tokens asked "
                f"for in a context of {context_length}",
                prompt_tokens=prompt_tokens,
                context_length=context_length,
                new_tokens_wanted=wanted,
                new_tokens_left=left,
            )
        )

    def _error(
        self, sample: _Sample, server: _Server, dialect: Dialect, message: str, *, prompt_tokens: int = 0
    ) -> Completion:
        request = sample.prompt.request
        return Completion(
            problem_id=request.problem_id,
            sample_index=sample.index,
            text="",
            finish_reason=FinishReason.ERROR,
            prompt_tokens=prompt_tokens,
            seed=request.seed,
            engine=_identity(server, dialect, ""),
            error=message,
        )

    def _cancelled(self, sample: _Sample) -> Completion:
        request = sample.prompt.request
        return Completion(
            problem_id=request.problem_id,
            sample_index=sample.index,
            text="",
            finish_reason=FinishReason.CANCELLED,
            seed=request.seed,
        )


async def find_served_model(servers: ServerSettings) -> str:
    """The name of the only model that the servers serve. Raises `UsageError` if it has to be named, or none answers."""
    async with ServerEngine(servers) as engine:
        assert engine._description is not None
        return engine._description.model


def _read_key(name: str | None, environ: Mapping[str, str]) -> str | None:
    if name is None:
        return None
    key = environ.get(name, "").strip()
    if not key:
        raise UsageError(f"--api-key-env names {name}, which is not set")
    return key


def _identity(server: _Server, dialect: Dialect, fingerprint: str) -> str:
    """What stands in every completion: the model, what serves it, and which fields it was sampled without."""
    described = server.remote.description
    assert described is not None
    parts = [f"server:{described.model}"]
    parts += [f"root={described.root}"] if described.root else []
    parts += [f"without={','.join(dialect.without)}"] if dialect.without else []
    parts += [fingerprint] if fingerprint else []
    return " ".join(parts)


def _words(described: Description) -> str:
    context = f", context {described.context_length}" if described.context_length else ""
    return f"{described.model}{f' ({described.root})' if described.root else ''}{context}"
