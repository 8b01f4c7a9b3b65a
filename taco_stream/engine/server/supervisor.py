"""Whether the servers are of use: which answer, which are down, and which are back with the same model.

Who runs: a task for each server, which sleeps while its server is up, and one that waits for the ends of pauses. A
server is checked before it is first asked for a sample, when one of its samples got no answer, and while it is down:
after pauses of 0.5 to 30 seconds, until it is well *and serves the model of the run*. Of many requests that failed at
once the first checks for all; meanwhile nobody is sent there.

The run is given up when all servers have been of no use for as long as the user's patience.
"""

import math
import time
from collections.abc import Callable, Sequence

import anyio

from taco_stream.engine.server.answer import ServerUnusable, Unreachable
from taco_stream.engine.server.description import Description
from taco_stream.engine.server.fleet import (
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    are_hopeless,
    backoff_seconds,
)
from taco_stream.engine.server.remote import EventSender
from taco_stream.engine.server.server import Server
from taco_stream.engine.server.turns import Turns
from taco_stream.errors import EngineError, UsageError

LONGEST_CONNECT_PAUSE_SECONDS = 5.0


class Supervisor:
    """Takes care of the servers. `description` is the run's model, as all that are up describe it.

    `give_up` is called with the failure of a run that has no server to hope for.
    """

    def __init__(
        self,
        servers: Sequence[Server],
        turns: Turns,
        *,
        patience_seconds: float,
        send_event: EventSender,
        give_up: Callable[[EngineError], None],
    ) -> None:
        self.description: Description | None = None
        self._servers = servers
        self._turns = turns
        self._patience_seconds = patience_seconds
        self._send_event = send_event
        self._give_up = give_up
        self._may_be_paused = anyio.Event()

    async def connect(self) -> None:
        """Waits until a server answers. Raises `UsageError` if none does in time, or one will never be of use."""
        deadline = time.monotonic() + self._patience_seconds
        times = 0
        while True:
            described = await self._describe_all()
            up = {server: result for server, result in described.items() if isinstance(result, Description)}
            if up:
                break
            if time.monotonic() >= deadline:
                reasons = "; ".join(
                    f"{server.url}: {getattr(result, 'message', '')}" for server, result in described.items()
                )
                raise UsageError(f"no server answers ({reasons}): start it, or give another --server")
            pause = backoff_seconds(times, FIRST_PAUSE_SECONDS, LONGEST_CONNECT_PAUSE_SECONDS)
            await anyio.sleep(min(pause, max(0.0, deadline - time.monotonic())))
            times += 1
        if len(set(up.values())) > 1:
            models = ", ".join(f"{server.url} {description}" for server, description in up.items())
            raise UsageError(f"the servers do not serve the same model: {models}")
        for server in self._servers:
            if server in up:
                self.description = server.remote.description = up[server]
                await self._send_event(server.come_up(time.monotonic()))
            else:
                problem = getattr(described[server], "message", "")
                await self._send_event(server.go_down(time.monotonic(), problem))

    async def supervise(self) -> None:
        """Brings back servers that go down, and ends pauses, until it is cancelled."""
        async with anyio.create_task_group() as tasks:
            for server in self._servers:
                tasks.start_soon(self._bring_back, server)
            tasks.start_soon(self._end_pauses)

    def look_at_pauses(self) -> None:
        """To be called when a server may have been paused."""
        self._may_be_paused.set()

    async def is_well(self, server: Server, problem: str, failed_at: float) -> bool:
        """Whether a server that gave no answer is well all the same; if not, it is down."""
        if server.went_down.is_set():
            return False
        server.state.is_up = False
        try:
            async with server.checking:
                if server.checked_at < failed_at and not server.went_down.is_set():
                    found = await self._check(server)
                    if found is not None:
                        await self._send_event(server.go_down(time.monotonic(), f"{problem}; {found}"))
        finally:  # also if the run is left meanwhile
            server.state.is_up = not server.went_down.is_set()
        return server.state.is_up

    async def _check(self, server: Server) -> str | None:
        """Asks a server how it is; None if it is well and serves what it should, else a few words."""
        began_at = time.monotonic()
        try:
            described = await server.remote.describe()
        except UsageError as error:
            return str(error)
        server.checked_at = began_at
        if not isinstance(described, Description):
            return described.message
        if self.description is not None and described != self.description:
            return f"it serves {described}, and the run asks for {self.description}"
        server.remote.description = described
        return None

    async def _describe_all(self) -> dict[Server, Description | Unreachable]:
        """Asks all servers at once. Raises `UsageError` if one is not what it should be."""
        described: dict[Server, Description | Unreachable] = {}
        failures: list[UsageError] = []  # raised in a task, the task group would wrap it

        async def describe(server: Server) -> None:
            try:
                result = await server.remote.describe()
            except UsageError as error:
                failures.append(error)
                return
            if isinstance(result, ServerUnusable):
                failures.append(UsageError(f"{server.url} cannot be used: {result.message}"))
            else:
                described[server] = result

        async with anyio.create_task_group() as tasks:
            for server in self._servers:
                tasks.start_soon(describe, server)
        if failures:
            raise failures[0]
        return described

    async def _bring_back(self, server: Server) -> None:
        """Asks a server that is down how it is until it is well."""
        while True:
            await server.went_down.wait()
            times = 0
            while True:
                self._give_up_if_hopeless()
                await anyio.sleep(backoff_seconds(times, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS))
                problem = await self._check(server)
                if problem is None:
                    break
                server.problem = problem
                times += 1
            server.went_down = anyio.Event()
            self._turns.occupancy.restarts += 1
            await self._send_event(server.come_up(time.monotonic()))
            self._turns.assign()

    async def _end_pauses(self) -> None:
        """Hands out turns when a server's pause is over, and gives up when nothing is to be hoped for."""
        while True:
            self._may_be_paused = anyio.Event()
            now = time.monotonic()
            pauses = [server.state.paused_until - now for server in self._servers if server.state.paused_until > now]
            with anyio.move_on_after(min(pauses, default=math.inf)):
                await self._may_be_paused.wait()
                self._give_up_if_hopeless()
                continue
            self._turns.assign()

    def _give_up_if_hopeless(self) -> None:
        if are_hopeless((server.state for server in self._servers), time.monotonic(), self._patience_seconds):
            reasons = "; ".join(f"{server.url}: {server.problem}" for server in self._servers)
            seconds = f"{self._patience_seconds:g} seconds"
            self._give_up(
                EngineError(f"no server was of use for {seconds} ({reasons}): the same command resumes when one is")
            )
