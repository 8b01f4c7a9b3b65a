"""The actors of one kind, one at each place, while nodes come and go.

`kept` looks at the cluster every `LOOK_SECONDS`. A place that has no actor is given one, which is greeted and then is a
member; one that refuses is reported and left alone for as long as its node lives, because another actor there would
refuse too. `attend` runs a caller's coroutine for each member, those there are and those to come. When it ends with
`NodeGoneError`, or the node is gone from the cluster, the member is lost: it is killed and reported, the coroutine
cancelled, and its place is free again.

Work is not known here. Whoever gives a member work remembers it, and gives it to others if the member is lost.

An actor may be a second slow and is not lost for it. One that does not answer for `SILENCE_SECONDS`, although its loop
does nothing but pass messages on, is on a machine that is of no use.
"""

import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import anyio

from taco_stream import __version__
from taco_stream.background import in_background
from taco_stream.cluster.nodes import Actor, Cluster, Node, NodeGoneError, NodeUnfitError
from taco_stream.cluster.protocol import Greeting, Refusal, Welcome, decode
from taco_stream.events import ClusterEvent, NodeJoined, NodeLost, NodeRefused

LOOK_SECONDS = 1.0
"""How soon a node that joins is used."""

START_SECONDS = 1800.0
"""How long an actor may take to load its model, or wait for the cores that it reserves."""

SILENCE_SECONDS = 60.0
"""How long an actor may take to answer anything else."""

STOP_SECONDS = 15.0
"""How long an actor may take to end by itself."""

AGAIN_SECONDS = 5.0
"""How soon a place is tried again whose actor was lost although the node lives."""


MAX_LOST_STARTS = 3
"""How often an actor may be lost while it starts before its place is refused."""

PATIENCE_SECONDS = 300.0
"""How long to wait for a node if there is none."""

PlaceKey = tuple[str, int]


class ActorPlace(NamedTuple):
    """Room for one actor on a node; `number` tells those of one node apart."""

    node: Node
    number: int = 0
    cores: int = 0
    gpus: int = 0

    @property
    def key(self) -> PlaceKey:
        """Tells the place apart from all others of its kind."""
        return self.node.node_id, self.number


class NoMembersError(Exception):
    """There is no actor, and none is to be expected; the message says why."""


@dataclass(eq=False)
class Member:
    """An actor that has been greeted."""

    place: ActorPlace
    actor: Actor
    greeting: Greeting = field(default_factory=Greeting)
    attending: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    async def call(self, method: str, *arguments: bytes, seconds: float = SILENCE_SECONDS) -> bytes:
        """Calls a method of the actor. Raises `NodeGoneError`, also if it does not answer in time."""
        try:
            with anyio.fail_after(seconds):
                return await self.actor.call(method, *arguments)
        except TimeoutError:
            raise NodeGoneError(f"it has not answered for {seconds:g} s") from None

    async def ask(self, method: str, kind: Any, *arguments: bytes, seconds: float = SILENCE_SECONDS) -> Any:
        """Calls a method whose result is a message. Raises `NodeUnfitError` if it is none, else as `call` does."""
        answer = await self.call(method, *arguments, seconds=seconds)
        try:
            return decode(answer, kind)
        except ValueError as error:
            raise NodeUnfitError(str(error)) from error


class Members:
    """Keeps an actor of the `kind`, made from its `blueprint`, at each of the places that `find_places` sees.

    `role` is its name in reports, such as "evaluator".
    """

    def __init__(
        self,
        cluster: Cluster,
        kind: type[Any],
        blueprint: Callable[[ActorPlace], Any],
        *,
        find_places: Callable[[list[Node]], list[ActorPlace]],
        role: str,
        report: Callable[[ClusterEvent], Awaitable[None]],
    ) -> None:
        self._cluster = cluster
        self._kind = kind
        self._blueprint = blueprint
        self._find_places = find_places
        self._role = role
        self._report = report
        self._members: list[Member] = []
        self._starting = 0
        self._taken: set[PlaceKey] = set()
        self._refused: dict[PlaceKey, str] = {}
        self._lost_starts: Counter[PlaceKey] = Counter()
        self._free_at: dict[PlaceKey, float] = {}
        self._last_reason = "the cluster has no node that can be used"
        self._hopeful_at = time.monotonic()
        self._failure: str | None = None
        self._changed = anyio.Event()

    @property
    def present(self) -> list[Member]:
        """The members there are now."""
        return self._members

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Inside there are members, one at first. Entering raises `NoMembersError` if there will be none."""
        try:
            async with in_background(self._keep):
                await self._wait_for_one()
                yield
        finally:
            with anyio.CancelScope(shield=True):
                await self._stop()

    async def _keep(self) -> None:
        """Looks at the cluster and fills its places, until cancelled."""
        async with anyio.create_task_group() as starting:
            nodes: list[Node] = []
            while True:
                with suppress(NodeGoneError):  # its members will say so themselves if the cluster is gone
                    nodes = await self._cluster.nodes()
                alive = {node.node_id for node in nodes}
                for member in [each for each in self._members if each.place.node.node_id not in alive]:
                    await self._lose(member, NodeGoneError("it has left the cluster"))
                # A node that comes back has another id.
                self._refused = {key: reason for key, reason in self._refused.items() if key[0] in alive}
                now = time.monotonic()
                places = self._find_places(nodes)
                for place in places:
                    if place.key not in self._taken | self._refused.keys() and now >= self._free_at.get(place.key, 0.0):
                        self._taken.add(place.key)
                        self._starting += 1
                        starting.start_soon(self._start, place)
                self._failure = self._hopelessness(places)
                if self._failure is not None:
                    self._notify()
                await anyio.sleep(LOOK_SECONDS)

    async def _wait_for_one(self) -> None:
        """Returns when there is a member. Raises `NoMembersError` if there will be none."""
        while not self._members:
            if self._failure is not None:
                raise NoMembersError(self._failure)
            await self._changed.wait()

    async def attend(
        self, serve: Callable[[Member], Awaitable[None]], give_back: Callable[[Member], None], done: anyio.Event
    ) -> None:
        """Runs `serve` for each member until it returns, and for those to come until `done` is set.

        `serve` raises `NodeGoneError` if the member is lost, and is cancelled if somebody else finds that out; either
        way `give_back` is called afterwards. Raises `NoMembersError` when nobody is left and nobody comes.
        """
        attended: set[Member] = set()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._notify_when, done)
            while not done.is_set() and self._failure is None:
                for member in [each for each in self._members if each not in attended]:
                    attended.add(member)
                    tasks.start_soon(self._attend, member, serve, give_back)
                await self._changed.wait()
            if not done.is_set():
                tasks.cancel_scope.cancel()
        if not done.is_set():
            raise NoMembersError(self._failure)

    async def _stop(self) -> None:
        """Ends all members: asks, waits up to `STOP_SECONDS`, kills."""

        async def stop(member: Member) -> None:
            with suppress(NodeGoneError):
                await member.call("stop", seconds=STOP_SECONDS)
            member.actor.kill()

        async with anyio.create_task_group() as stopping:
            for member in self._members:
                stopping.start_soon(stop, member)

    async def _start(self, place: ActorPlace) -> None:
        actor = self._cluster.place(self._kind, self._blueprint(place), place.node, cores=place.cores, gpus=place.gpus)
        member = Member(place, actor)
        is_member = False
        try:
            welcome: Welcome = await member.ask("start", Welcome, __version__.encode(), seconds=START_SECONDS)
            if isinstance(welcome, Refusal):
                raise NodeUnfitError(welcome.reason)
            member.greeting = welcome
            self._members.append(member)
            is_member = True
            await self._report(self._joined(member))
        except NodeGoneError as error:
            self._lost_starts[place.key] += 1
            await self._free(place, error, is_refused=self._lost_starts[place.key] == MAX_LOST_STARTS)
        finally:
            self._starting -= 1
            if not is_member:
                actor.kill()
            self._notify()

    async def _attend(
        self, member: Member, serve: Callable[[Member], Awaitable[None]], give_back: Callable[[Member], None]
    ) -> None:
        gone: NodeGoneError | None = None
        member.attending = anyio.CancelScope()
        with member.attending:
            try:
                await serve(member)
                return
            except* NodeGoneError as group:
                gone = first_error(group)
        give_back(member)
        if gone is not None:
            await self._lose(member, gone)

    async def _lose(self, member: Member, error: NodeGoneError) -> None:
        if member not in self._members:
            return  # its calls may fail in the moment in which its node is missed
        self._members.remove(member)
        member.actor.kill()
        member.attending.cancel()
        await self._free(member.place, error)
        self._notify()

    async def _free(self, place: ActorPlace, error: NodeGoneError, *, is_refused: bool = False) -> None:
        """Marks the place as one to try again later, or never, and says why."""
        self._taken.discard(place.key)
        self._free_at[place.key] = time.monotonic() + AGAIN_SECONDS
        self._last_reason = f"the {self._role} on node {place.node.address}: {error}"
        if is_refused or isinstance(error, NodeUnfitError):
            self._refused[place.key] = self._last_reason
            message = f"the {self._role} on node {place.node.address} cannot be used: {error}"
            await self._report(NodeRefused(message=message, node=place.node.address, role=self._role))
        else:
            message = f"the {self._role} on node {place.node.address} is lost: {error}; others take over its work"
            await self._report(NodeLost(message=message, node=place.node.address, role=self._role))

    def _hopelessness(self, places: list[ActorPlace]) -> str | None:
        """Why it is not worth waiting for a member; None if there is one, or may yet be."""
        now = time.monotonic()
        if self._members or self._starting:
            self._hopeful_at = now
            return None
        if places and all(place.key in self._refused for place in places):
            return self._last_reason
        if now - self._hopeful_at > PATIENCE_SECONDS:
            return f"no node of the cluster could be used for {PATIENCE_SECONDS:g} s: {self._last_reason}"
        return None

    def _joined(self, member: Member) -> NodeJoined:
        node, greeting = member.place.node, member.greeting
        return NodeJoined(
            message=f"node {node.address} joined as {self._role}",
            node=node.address,
            role=self._role,
            workers=greeting.workers,
            sandbox_tier=greeting.sandbox_tier,
            versions=greeting.versions,
        )

    async def _notify_when(self, done: anyio.Event) -> None:
        await done.wait()
        self._notify()

    def _notify(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()


def first_error(group: BaseExceptionGroup[NodeGoneError]) -> NodeGoneError:
    """The first error in the group and the groups in it."""
    error = group.exceptions[0]
    return first_error(error) if isinstance(error, BaseExceptionGroup) else error
