"""The seam to a cluster: its nodes, and actors on them. `ray_cluster` has Ray behind it, tests have this process.

An actor is an object on a node, in a process of its own, whose methods take and return bytes. A method may fail in one
way only: `NodeGoneError`, which says that the actor has ended or cannot be reached. Anything else that goes wrong on
the node is in the bytes. Whoever is told so kills the actor and gives its work to others: nothing here tries again.
"""

from typing import Any, NamedTuple, Protocol


class NodeGoneError(Exception):
    """An actor has ended or does not answer; the message says which, in a sentence."""


class NodeUnfitError(NodeGoneError):
    """An actor is of no use, and another one on its node would not be either."""


class Node(NamedTuple):
    """A machine of the cluster. `cores` and `gpus` are how many the cluster may use of it."""

    node_id: str
    address: str
    cores: int
    gpus: int


class Actor(Protocol):
    """An object on a node."""

    async def call(self, method: str, *arguments: bytes) -> bytes:
        """Calls a method. Raises `NodeGoneError`."""
        ...

    def kill(self) -> None:
        """Ends the actor's process, whatever it does."""
        ...


class Cluster(Protocol):
    """The machines that take part now, and the means to use them."""

    async def nodes(self) -> list[Node]:
        """The nodes that are alive. Raises `NodeGoneError` if that cannot be found out."""
        ...

    def place(self, kind: type[Any], blueprint: object, node: Node, *, cores: int = 0, gpus: int = 0) -> Actor:
        """Makes a `kind(blueprint)` on a node and reserves what it takes of the node. Waits for nothing."""
        ...
