"""Whose turn it is: servers' room is handed to the samples that wait for it, in the order in which they came.

Samples that were sent before go first, then new ones. New ones wait while a finished sample has not been handed over:
whoever takes completions sets the pace. Nothing here waits but `wait_to_start` and `wait_to_retry`; whoever changes a
server's room calls `observe` before and `assign` after.
"""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import anyio

from taco_stream.engine.server.fleet import choose_server
from taco_stream.engine.server.occupancy import Occupancy
from taco_stream.engine.server.server import Server
from taco_stream.types import Request


@dataclass(eq=False, slots=True)
class Prompt:
    """What the samples of a request share: the server that has their prompt in its cache."""

    request: Request
    arrived_at: float
    home: Server | None = None
    is_counted: bool = False


@dataclass(eq=False, slots=True)
class _Turn:
    """A sample's wait for a server; without one when it is over, no sample is sent any more."""

    prompt: Prompt
    is_over: bool = False
    server: Server | None = None
    over: anyio.Event | None = None  # made only for those who have to wait


class Turns:
    """The samples that wait for the servers, which may be added later.

    `is_held` keeps new samples from being sent. `closed` is set when no sample is sent any more.
    """

    def __init__(self, servers: Sequence[Server]) -> None:
        self.is_held = False
        self.closed = anyio.Event()
        self.occupancy = Occupancy(time.monotonic())
        self._servers = servers
        self._retrying: deque[_Turn] = deque()
        self._starting: deque[_Turn] = deque()

    @property
    def retrying(self) -> int:
        """How many samples wait that were sent before."""
        return len(self._retrying)

    async def wait_to_start(self, prompt: Prompt) -> Server | None:
        """Waits until a server has room for a new sample, and takes it; None if no sample is to be sent any more."""
        return await self._wait(prompt, self._starting)

    async def wait_to_retry(self, prompt: Prompt) -> Server | None:
        """The same for a sample that was sent before."""
        return await self._wait(prompt, self._retrying)

    def assign(self) -> None:
        """Gives servers' room to those that wait."""
        if not self._retrying and (not self._starting or self.is_held):
            return
        now = time.monotonic()
        states = {server.state: server for server in self._servers}
        for queue in (self._retrying, self._starting):
            while queue and not (queue is self._starting and self.is_held):
                turn = queue[0]
                if not self.closed.is_set():
                    home = turn.prompt.home.state if turn.prompt.home else None
                    chosen = choose_server(states, home, now)
                    if chosen is None:
                        return
                    self.observe()
                    chosen.limit.send()
                    turn.server = turn.prompt.home = states[chosen]
                queue.popleft()
                turn.is_over = True
                if turn.over is not None:
                    turn.over.set()

    def close(self) -> None:
        """Ends every wait, now and later: no sample is sent any more."""
        self.closed.set()
        self.assign()

    def clear(self) -> None:
        """Forgets those that wait, of a run that was left."""
        self._retrying.clear()
        self._starting.clear()
        self.is_held = False
        self.observe()

    def observe(self) -> None:
        """Books the time since the last change of a server's room; called before each."""
        self.occupancy.observe(time.monotonic(), (server.state for server in self._servers))

    async def _wait(self, prompt: Prompt, queue: deque[_Turn]) -> Server | None:
        turn = _Turn(prompt)
        queue.append(turn)
        self.assign()
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
