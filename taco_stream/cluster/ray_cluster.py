"""A Ray cluster behind the seam of `nodes`: the only file that imports ray.

Ray places actors, carries bytes and says which nodes are alive. It is asked for nothing else: no object store, for
messages are small enough to come inline; no restarts and no retries, for Ray gives a retry to the restarted actor and
thus waits for a replacement of its node, while the callers here give the work to whoever is there.

When the driver ends, however it does, Ray ends its actors.
"""

import importlib.util
import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from anyio import to_thread

from taco_stream.cluster.nodes import Node, NodeGoneError, NodeUnfitError
from taco_stream.errors import UsageError

LOCAL = "local"
"""The address of a cluster that is started on this machine, for the time of the run."""

CONNECT_SECONDS = 10.0
"""How long the head of a cluster may take to accept a connection."""

CONCURRENT_CALLS = 1000
"""Calls of one actor that may wait in it: one for each report and each request that waits for room."""


class RayCluster:
    """The cluster that the driver is connected to."""

    async def nodes(self) -> list[Node]:
        """The nodes that are alive and have something to offer: often a head has not."""
        import ray
        from ray.exceptions import RayError

        try:
            found = await to_thread.run_sync(ray.nodes)
        except RayError as error:
            raise NodeGoneError(f"the cluster's head does not answer: {error}") from error
        return [
            Node(
                node_id=node["NodeID"],
                address=f"{node['NodeManagerHostname']} ({node['NodeID'][:8]})",
                cores=int(node["Resources"].get("CPU", 0)),
                gpus=int(node["Resources"].get("GPU", 0)),
            )
            for node in found
            if node["Alive"] and (node["Resources"].get("CPU", 0) >= 1 or node["Resources"].get("GPU", 0) >= 1)
        ]

    def place(self, kind: type[Any], blueprint: object, node: Node, *, cores: int = 0, gpus: int = 0) -> "RayActor":
        """Makes a `kind(blueprint)` on the node. Waits for nothing."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(node_id=node.node_id, soft=False)
        made = ray.remote(kind).options(
            num_cpus=cores,
            num_gpus=gpus,
            max_restarts=0,
            max_task_retries=0,
            max_concurrency=CONCURRENT_CALLS,
            scheduling_strategy=here,
        )
        return RayActor(made.remote(blueprint))


class RayActor:
    """An actor of Ray's."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    async def call(self, method: str, *arguments: bytes) -> bytes:
        """Calls a method. Raises `NodeGoneError` if the actor is gone, `NodeUnfitError` if the method raises."""
        from ray.exceptions import RayError, RayTaskError

        try:
            answer: bytes = await getattr(self._handle, method).remote(*arguments)
        except RayTaskError as error:
            raise NodeUnfitError(f"{method} failed there: {error.cause}") from error
        except RayError as error:
            raise NodeGoneError(str(error).strip().splitlines()[0]) from error
        return answer

    def kill(self) -> None:
        """Ends the actor's process."""
        import ray

        ray.kill(self._handle)


@contextmanager
def connected(address: str) -> Iterator[RayCluster]:
    """Inside, this process is the driver of a job in the cluster.

    `address` is `local`, `auto` (the cluster that this machine belongs to) or HOST:PORT. Raises `UsageError` if there
    is no such cluster.
    """
    if importlib.util.find_spec("ray") is None:
        raise UsageError("--ray needs ray, which is not installed: pip install 'taco-stream[ray]'")
    if "://" in address:
        raise UsageError(
            f"--ray cannot be {address!r}: Ray's client is not supported; run on a node of the cluster, or submit the "
            "command with `ray job submit`, and give auto, local or HOST:PORT"
        )
    if address != LOCAL:
        check_reachable(os.environ.get("RAY_ADDRESS", address) if address == "auto" else address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    # Ray puts a handler of its own in place of the run's, which would drain it.
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            address=address,
            include_dashboard=False if address == LOCAL else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
        raise UsageError(f"no Ray cluster can be reached at {address}: {error}") from error
    finally:
        signal.signal(signal.SIGTERM, before)
    try:
        yield RayCluster()
    finally:
        ray.shutdown()


def check_reachable(address: str) -> None:
    """Raises `UsageError` if nobody answers at HOST:PORT, which Ray would try again for ten minutes, with messages."""
    host, _, port = address.rpartition(":")
    if address == "auto":
        return  # Ray looks for a cluster on this machine, and knows at once
    if not host or not port.isdecimal():
        raise UsageError(f"--ray cannot be {address!r}: it is auto, local or HOST:PORT")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UsageError(f"no Ray cluster can be reached at {address}: {error}") from error
