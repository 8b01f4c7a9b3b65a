"""A server of a run: how to ask it, whether it can be asked, and what is to be reported of it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import anyio

from taco_stream.engine.server.answer import Answered, Outcome, Overloaded
from taco_stream.engine.server.fleet import ServerState
from taco_stream.engine.server.remote import Dialect, RemoteServer
from taco_stream.events import EngineEvent, ServerChanged, ServerDown, ServerLimit, ServerOverloaded, ServerUp

LIMIT_EVENT_SECONDS, LIMIT_EVENT_CHANGE = 1.0, 0.1


@dataclass(eq=False, slots=True)
class Server:
    """What is known of a server. `problem` is why it was of no use the last time."""

    remote: RemoteServer
    state: ServerState
    problem: str = "it has not been asked"
    checked_at: float = -math.inf
    checking: anyio.Lock = field(default_factory=anyio.Lock)
    went_down: anyio.Event = field(default_factory=anyio.Event)
    is_overload_new: bool = False
    _fingerprint: str = ""
    _reported_limit: int = 0
    _reported_at: float = -math.inf

    def __post_init__(self) -> None:
        self._reported_limit = self.state.limit.limit

    @property
    def url(self) -> str:
        """Its base URL."""
        return self.remote.url

    def identity(self, dialect: Dialect, fingerprint: str) -> str:
        """What stands in every completion: the model, what serves it, and which fields it was sampled without."""
        described = self.remote.description
        assert described is not None
        parts = [f"server:{described.model}"]
        parts += [f"root={described.root}"] if described.root else []
        parts += [f"without={','.join(dialect.without)}"] if dialect.without else []
        parts += [fingerprint] if fingerprint else []
        return " ".join(parts)

    def news_of(self, outcome: Outcome, now: float) -> Iterator[EngineEvent]:
        """The events that an outcome gives rise to, once it has been booked."""
        limit = self.state.limit.limit
        if isinstance(outcome, Overloaded) and self.is_overload_new:
            self.is_overload_new = False
            message = f"{self.url} refuses requests ({outcome.message}); it is sent {limit} at once"
            yield ServerOverloaded(message=message, url=self.url, limit=limit)
        change = abs(limit - self._reported_limit)
        if change > LIMIT_EVENT_CHANGE * self._reported_limit and self._reported_at < now - LIMIT_EVENT_SECONDS:
            self._reported_limit, self._reported_at = limit, now
            yield ServerLimit(url=self.url, limit=limit)
        if isinstance(outcome, Answered) and outcome.fingerprint != self._fingerprint:
            before, self._fingerprint = self._fingerprint, outcome.fingerprint
            if before and outcome.fingerprint:
                message = f"{self.url} answers as {outcome.fingerprint}, before as {before}"
                yield ServerChanged(message=message, url=self.url, fingerprint=outcome.fingerprint)

    def come_up(self, now: float) -> ServerUp:
        """It is well; the news of it."""
        self.state.come_up(now)
        described = self.remote.description
        assert described is not None
        return ServerUp(
            message=f"{self.url} serves {described}",
            url=self.url,
            model=described.model,
            root=described.root,
            context_length=described.context_length,
        )

    def go_down(self, now: float, problem: str) -> ServerDown:
        """It does not answer, or serves another model; the news of it."""
        self.problem = problem
        self.state.go_down(now)
        self.went_down.set()
        return ServerDown(message=f"{self.url} does not answer: {problem}", url=self.url)
