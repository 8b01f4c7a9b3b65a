"""A cluster whose nodes are in this process: actors are objects here, and a node leaves when a test says so."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio

from taco_stream.cluster.nodes import Node, NodeGoneError, NodeUnfitError


class InProcessActor:
    """Calls an object's methods until it is killed."""

    def __init__(self, target: Any) -> None:
        self.target = target
        self.killed = anyio.Event()
        self.calls: list[str] = []

    async def call(self, method: str, *arguments: bytes) -> bytes:
        """As a call through a network: it ends in an error when the other side goes, even in the middle."""
        self.calls.append(method)
        if self.killed.is_set():
            raise NodeGoneError("it was killed")
        answers: list[bytes] = []
        raise_later: Exception | None = None

        async def give_up() -> None:
            await self.killed.wait()
            calling.cancel_scope.cancel()

        async with anyio.create_task_group() as calling:
            calling.start_soon(give_up)
            try:
                answers.append(await getattr(self.target, method)(*arguments))
            except Exception as error:
                raise_later = error
            calling.cancel_scope.cancel()
        if raise_later is not None:
            raise NodeUnfitError(f"{method} failed there: {raise_later}") from raise_later
        if not answers or self.killed.is_set():
            raise NodeGoneError("it was killed")
        return answers[0]

    def kill(self) -> None:
        """Ends the actor: calls under way fail."""
        self.killed.set()


class InProcessCluster:
    """Nodes that join and leave as a test wants. Made by `in_process_cluster`, which ends what its actors started."""

    def __init__(self, nodes: int = 2, *, cores: int = 1, gpus: int = 0) -> None:
        self._cores, self._gpus = cores, gpus
        self._number = 0
        self.alive: list[Node] = []
        self.actors: list[tuple[Node, InProcessActor]] = []
        for _ in range(nodes):
            self.join()

    def join(self) -> Node:
        """Adds a node."""
        self._number += 1
        node = Node(f"id-{self._number}", f"node-{self._number}", self._cores, self._gpus)
        self.alive.append(node)
        return node

    def leave(self, node: Node) -> None:
        """Takes a node out, with its actors."""
        self.alive.remove(node)
        for place, actor in self.actors:
            if place == node:
                actor.kill()

    async def nodes(self) -> list[Node]:
        """The nodes that are alive."""
        return [*self.alive]

    def place(self, kind: type[Any], blueprint: object, node: Node, *, cores: int = 0, gpus: int = 0) -> InProcessActor:
        """Makes a `kind(blueprint)` here."""
        actor = InProcessActor(kind(blueprint))
        self.actors.append((node, actor))
        return actor


@asynccontextmanager
async def in_process_cluster(nodes: int = 2, *, cores: int = 1, gpus: int = 0) -> AsyncIterator[InProcessCluster]:
    """A cluster with so many nodes, each with so many cores and GPUs."""
    cluster = InProcessCluster(nodes, cores=cores, gpus=gpus)
    try:
        yield cluster
    finally:
        for _, actor in cluster.actors:
            await actor.target.stop()


async def until(condition: Callable[[], bool]) -> None:
    """Waits for something that nobody announces."""
    while not condition():  # noqa: ASYNC110
        await anyio.sleep(0.01)
