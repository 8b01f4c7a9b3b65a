"""Which of several servers is asked next, and which are left alone for now. A pure state machine.

A server is *up*, or *down* until a check finds it well again. One that is up may be *paused* until a time of its
choosing (`Retry-After`) or ours, and is *broken* after four failures in a row: then it is paused for longer and longer,
and asked for one sample at a time until one succeeds. Times are of any monotonic clock, and are passed in.
"""

import random
from collections.abc import Callable, Iterable

from taco_stream.engine.server.concurrency import ConcurrencyLimit

BROKEN_AFTER = 4
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 30.0
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.25, 20.0

Uniform = Callable[[float, float], float]
"""A random number between two."""


class ServerState:
    """What is known about whether a server can take a request."""

    def __init__(self, url: str, limit: ConcurrencyLimit, uniform: Uniform = random.uniform) -> None:
        self.url = url
        self.limit = limit
        self.is_up = False
        self.paused_until = 0.0
        self.useless_since: float | None = None
        self._failures = 0  # in a row
        self._uniform = uniform

    @property
    def is_broken(self) -> bool:
        """Whether it has failed so often in a row that it is only tried."""
        return self._failures >= BROKEN_AFTER

    def room(self, now: float) -> int:
        """How many requests it can take now."""
        if not self.is_up or now < self.paused_until:
            return 0
        return self.limit.room if not self.is_broken else int(self.limit.busy == 0)

    def complete(self, now: float, tokens: int) -> None:
        """A sample came back."""
        self._failures = 0
        self.useless_since = None
        self.limit.complete(now, tokens)

    def answer(self) -> None:
        """A request was answered in earnest, without a sample: the request was wrong, not the server."""
        self._failures = 0
        self.useless_since = None
        self.limit.fail()

    def refuse(self, now: float, delay_seconds: float | None) -> bool:
        """A request was refused for load; whether this is the first of a burst.

        A server that names a time is left alone until then, all of it. One that does not is asked again when a request
        of ours comes back; if none is in flight, after a pause that grows.
        """
        is_first = self.limit.refuse(now)
        if delay_seconds is None and self.limit.busy == 0:
            delay_seconds = backoff_seconds(
                self.limit.refusals, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, self._uniform
            )
        self.paused_until = max(self.paused_until, now + (delay_seconds or 0.0))
        if self.limit.busy == 0:
            self._is_useless(now)
        return is_first

    def fail(self, now: float) -> bool:
        """A request failed although the server is there; whether that counts against the request.

        Not if the server fails everybody: of those in flight when it broke nobody is at fault, and of those that try it
        later only one at a time.
        """
        self.limit.fail()
        counts = not self.is_broken or self.limit.busy == 0
        self._failures += 1
        if self.is_broken:
            times = self._failures - BROKEN_AFTER
            self.paused_until = now + backoff_seconds(times, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, self._uniform)
            self._is_useless(now)
        return counts

    def go_down(self, now: float) -> bool:
        """It does not answer; whether that is news."""
        was_up, self.is_up = self.is_up, False
        self._is_useless(now)
        return was_up

    def come_up(self, now: float) -> None:
        """It answers, and serves what it served."""
        self.is_up = True
        self._failures = 0
        self.paused_until = now
        self.useless_since = None
        self.limit.restart(now)

    def _is_useless(self, now: float) -> None:
        self.useless_since = now if self.useless_since is None else self.useless_since


def choose_server(servers: Iterable[ServerState], home: ServerState | None, now: float) -> ServerState | None:
    """The server for the next request: `home`, with the prompt in its cache, or the one with most of its limit free.

    None if no server has room.
    """
    if home is not None and home.room(now):
        return home
    free = [server for server in servers if server.room(now)]
    return min(free, key=lambda server: server.limit.busy / server.limit.limit, default=None)


def are_hopeless(servers: Iterable[ServerState], now: float, patience_seconds: float) -> bool:
    """Whether no server has been of any use for that long, and none is at work on a request."""
    return all(
        server.limit.busy == 0 and server.useless_since is not None and now - server.useless_since >= patience_seconds
        for server in servers
    )


def retry_seconds(attempts: int, uniform: Uniform = random.uniform) -> float:
    """How long a request waits before its next attempt: full jitter, so that requests that failed together part."""
    return uniform(0.0, min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2.0 ** min(attempts, 16)))


def backoff_seconds(times: int, first: float, longest: float, uniform: Uniform = random.uniform) -> float:
    """A pause that doubles, between half of it and all of it."""
    pause = min(longest, first * 2.0 ** min(max(times, 0), 16))
    return uniform(pause / 2, pause)
