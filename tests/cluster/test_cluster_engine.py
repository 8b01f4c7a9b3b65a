"""The engine of a cluster beside the contract of all engines: nodes that leave, join, hang and cannot be used."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import pytest
from cluster.in_process import InProcessActor, InProcessCluster, in_process_cluster, until

from taco_stream.cluster import actors, engine, members
from taco_stream.cluster.engine import ClusterEngine, engine_places
from taco_stream.cluster.nodes import Node, NodeGoneError
from taco_stream.cluster.protocol import ModelBlueprint, ScriptBlueprint
from taco_stream.engine.scripted import Script
from taco_stream.engine.settings import ModelSettings
from taco_stream.engine.stream import completions
from taco_stream.errors import EngineError, ModelError
from taco_stream.events import ClusterEvent, EngineEvent, NodeJoined, NodeLost, NodeRefused
from taco_stream.types import Completion, FinishReason, Request, SamplingParameters, TextPrompt

pytestmark = pytest.mark.anyio

SLOW = ScriptBlueprint(Script(seconds=0.05, rows=4))


@pytest.fixture(autouse=True)
def look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(members, "AGAIN_SECONDS", 0.1)


def requests(problems: int = 8, samples: int = 40) -> list[Request]:
    return [
        Request(
            problem_id=f"problem/{number}",
            prompt=TextPrompt("say"),
            sample_indices=tuple(range(samples)),
            sampling=SamplingParameters(),
            seed=0,
        )
        for number in range(problems)
    ]


@contextmanager
def collecting() -> Iterator[tuple[anyio.streams.memory.MemoryObjectSendStream[EngineEvent | ClusterEvent], list]]:
    outbound, inbound = anyio.create_memory_object_stream[EngineEvent | ClusterEvent](1000)
    events: list[EngineEvent | ClusterEvent] = []
    with outbound, inbound:
        yield outbound, events
        while inbound.statistics().current_buffer_used:
            events.append(inbound.receive_nowait())


def engines(cluster: InProcessCluster) -> list[InProcessActor]:
    return [actor for _, actor in cluster.actors]


async def test_a_node_that_leaves_loses_and_repeats_nothing_and_one_that_joins_takes_work() -> None:
    counted: Counter[object] = Counter()
    with collecting() as (outbound, events):
        async with (
            in_process_cluster(2) as cluster,
            ClusterEngine(cluster, SLOW, events=outbound) as opened,
            completions(opened, requests()) as stream,
        ):
            async for completion in stream:
                counted[completion.key] += 1
                if counted.total() == 40:
                    cluster.leave(cluster.alive[0])
                if counted.total() == 80:
                    cluster.join()
            assert "feed" in engines(cluster)[2].calls
    assert len(counted) == counted.total() == 8 * 40
    assert opened.statistics().samples_finished == 8 * 40
    assert Counter(map(type, events)) == {NodeJoined: 3, NodeLost: 1}


async def test_an_actor_that_ends_on_a_node_that_stays_is_replaced() -> None:
    counted: Counter[object] = Counter()
    async with (
        in_process_cluster(1) as cluster,
        ClusterEngine(cluster, SLOW) as opened,
        completions(opened, requests(2)) as stream,
    ):
        async for completion in stream:
            counted[completion.key] += 1
            if counted.total() == 10:
                engines(cluster)[0].kill()
    assert len(counted) == counted.total() == 80
    assert len(cluster.actors) == 2


async def test_an_actor_that_does_not_answer_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "SILENCE_SECONDS", 3.0)
    monkeypatch.setattr(members.Member.call, "__kwdefaults__", {"seconds": 3.0})
    counted: Counter[object] = Counter()
    async with in_process_cluster(2) as cluster, ClusterEngine(cluster, SLOW) as opened:
        await until(lambda: len(opened._members.present) == 2)
        engines(cluster)[0].target.take = anyio.sleep_forever
        async with completions(opened, requests(2)) as stream:
            async for completion in stream:
                counted[completion.key] += 1
    assert len(counted) == counted.total() == 80


async def test_a_node_that_is_missed_while_its_calls_fail_is_lost_once() -> None:
    with collecting() as (outbound, events):
        async with in_process_cluster(1) as cluster, ClusterEngine(cluster, SLOW, events=outbound) as opened:
            (member,) = opened._members.present
            await opened._members._lose(member, NodeGoneError("it has left the cluster"))
            await opened._members._lose(member, NodeGoneError("its call failed"))
            await until(lambda: len(opened._members.present) == 1)
    assert Counter(map(type, events)) == {NodeJoined: 2, NodeLost: 1}


async def test_a_node_whose_messages_cannot_be_read_is_refused() -> None:
    async with in_process_cluster(1) as cluster:

        def place(*arguments: Any, **others: Any) -> InProcessActor:
            actor = InProcessCluster.place(cluster, *arguments, **others)
            start = actor.target.start

            async def start_strangely(version: bytes) -> bytes:
                await start(version)
                return b"what a newer version says"

            actor.target.start = start_strangely
            return actor

        cluster.place = place  # type: ignore[method-assign]
        with pytest.raises(ModelError, match="node-1: a node sent what cannot be read"):
            async with ClusterEngine(cluster, SLOW):
                pass


async def test_a_cluster_that_does_not_say_which_nodes_live_goes_on_with_those_there_were() -> None:
    async with in_process_cluster(1) as cluster, ClusterEngine(cluster, SLOW) as opened:
        looks = 0

        async def fail() -> list[Node]:
            nonlocal looks
            looks += 1
            raise NodeGoneError("the head does not answer")

        cluster.nodes = fail  # type: ignore[method-assign]
        await until(lambda: looks >= 2)
        async with completions(opened, requests(1, 3)) as stream:
            assert len([completion async for completion in stream]) == 3


async def test_a_failing_engine_is_not_used_again_and_others_take_its_work() -> None:
    with collecting() as (outbound, events):
        received: list[Completion] = []

        async def iterate() -> None:
            async with (
                in_process_cluster(2) as cluster,
                ClusterEngine(cluster, ScriptBlueprint(Script(rows=1, fail_after=30)), events=outbound) as opened,
                completions(opened, requests(2)) as stream,
            ):
                async for completion in stream:
                    received.append(completion)

        with pytest.raises(EngineError, match="after 30 completions"):
            await iterate()
    assert len(received) == 60
    assert Counter(map(type, events))[NodeRefused] == 2


async def test_a_chunk_that_nodes_are_lost_with_is_answered_as_an_error() -> None:
    received: list[Completion] = []
    async with (
        in_process_cluster(1) as cluster,
        ClusterEngine(cluster, ScriptBlueprint(Script(seconds=1000, rows=4))) as opened,
        anyio.create_task_group() as tasks,
    ):

        async def lose_each() -> None:
            for number in range(engine.MAX_LOSSES):
                await until(lambda number=number: len(cluster.actors) > number)
                await until(lambda: "feed" in engines(cluster)[-1].calls)
                engines(cluster)[-1].kill()

        tasks.start_soon(lose_each)
        async with completions(opened, requests(1, 3)) as stream:
            received += [completion async for completion in stream]
    assert {(each.finish_reason, each.error) for each in received} == {
        (FinishReason.ERROR, "3 nodes were lost while they generated this")
    }
    assert len(received) == 3


async def test_samples_are_cancelled_even_while_no_node_is_there() -> None:
    async with in_process_cluster(1) as cluster, ClusterEngine(cluster, SLOW) as opened:
        cluster.leave(cluster.alive[0])
        async with completions(opened, requests(2)) as stream:
            opened.drain()
            received = [completion async for completion in stream]
    assert Counter(each.finish_reason for each in received) == {FinishReason.CANCELLED: 80}


async def test_a_node_of_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actors, "__version__", "0.0.1")
    async with in_process_cluster(2) as cluster:
        with pytest.raises(ModelError, match=r"node-\d: it has taco-stream 0\.0\.1, and the driver has"):
            async with ClusterEngine(cluster, SLOW):
                pass


async def test_a_model_that_no_node_has_is_the_models_error() -> None:
    async with in_process_cluster(1) as cluster:
        blueprint = ModelBlueprint(ModelSettings(model="/nowhere/model", devices="cpu"), is_judged=True)
        with pytest.raises(ModelError, match="/nowhere/model"):
            async with ClusterEngine(cluster, blueprint):
                pass


async def test_a_cluster_without_nodes_is_given_up_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "PATIENCE_SECONDS", 0.2)
    async with in_process_cluster(0) as cluster:
        with pytest.raises(ModelError, match="the cluster has no node that can be used"):
            async with ClusterEngine(cluster, SLOW):
                pass


async def test_the_callers_error_is_raised_as_it_is() -> None:
    async with in_process_cluster(1) as cluster:
        with pytest.raises(KeyError, match="mine"):
            async with ClusterEngine(cluster, SLOW):
                raise KeyError("mine")


def test_an_engine_has_a_gpu_and_a_cluster_without_any_one_engine_for_each_node() -> None:
    large, small = Node("a", "large", 8, 2), Node("b", "small", 8, 0)
    assert [(place.node, place.gpus) for place in engine_places([large, small])] == [(large, 1), (large, 1)]
    assert [(place.node, place.gpus) for place in engine_places([small])] == [(small, 0)]
