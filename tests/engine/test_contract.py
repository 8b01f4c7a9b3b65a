"""The contract of `taco_stream.engine.base`, held against every engine; with real models, in `test_real_workers.py`."""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

import anyio
import pytest
from anyio.abc import ObjectReceiveStream, ObjectSendStream
from cluster.in_process import in_process_cluster

from taco_stream.cluster.engine import ClusterEngine
from taco_stream.cluster.protocol import ScriptBlueprint
from taco_stream.engine.base import Engine
from taco_stream.engine.local.engine import LocalEngine
from taco_stream.engine.scripted import Script, ScriptedEngine
from taco_stream.engine.server.engine import ServerEngine
from taco_stream.engine.settings import ModelSettings
from taco_stream.engine.stream import completions
from taco_stream.errors import EngineError
from taco_stream.types import Completion, FinishReason, Request, SampleKey, SamplingParameters, TextPrompt

pytestmark = pytest.mark.anyio

SCRIPTED_WORKER = Path(__file__).with_name("scripted_worker")

SAMPLES = 5
PROBLEMS = 4


def requests(problems: int = PROBLEMS, samples: int = SAMPLES) -> list[Request]:
    return [
        Request(
            problem_id=f"problem/{number}",
            prompt=TextPrompt(f"say {number}"),
            sample_indices=tuple(range(samples)),
            sampling=SamplingParameters(max_new_tokens=8, temperature=0.8),
            seed=11,
        )
        for number in range(problems)
    ]


SCRIPT = Script(texts=("a", "b"), rows=3, error_every=7)


@asynccontextmanager
async def scripted() -> AsyncIterator[Engine]:
    yield ScriptedEngine(SCRIPT)


@asynccontextmanager
async def local() -> AsyncIterator[Engine]:
    yield LocalEngine(ModelSettings(model="scripted", devices="cpu"))


@asynccontextmanager
async def served() -> AsyncIterator[Engine]:
    from engine.server.fake_server import serving

    async with serving(slots=3, cap=6, faults=("none", "500", "none", "reset", "none", "null")) as server:
        yield ServerEngine(server.url)


@asynccontextmanager
async def clustered() -> AsyncIterator[Engine]:
    async with in_process_cluster() as cluster:
        yield ClusterEngine(cluster, ScriptBlueprint(SCRIPT))


CASES = {
    "scripted on asyncio": (scripted, False),
    "scripted on uvloop": (scripted, True),
    "local on uvloop": (local, True),  # one loop is enough for an engine that starts a process for each test
    "server on asyncio": (served, False),
    "server on uvloop": (served, True),
    "cluster on asyncio": (clustered, False),
    "cluster on uvloop": (clustered, True),
}

Case = tuple[Callable[[], AbstractAsyncContextManager[Engine]], bool]


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Case:
    if request.param.startswith("server") and find_spec("aiohttp") is None:
        pytest.skip("the extra `server` is not installed")
    monkeypatch.setenv("PYTHONPATH", str(SCRIPTED_WORKER))
    return CASES[request.param]


@pytest.fixture
def anyio_backend(case: Case) -> tuple[str, dict[str, bool]]:
    return ("asyncio", {"use_uvloop": case[1]})


@pytest.fixture
async def engine(case: Case) -> AsyncIterator[Engine]:
    async with case[0]() as engine:
        yield engine


async def feed(asked: list[Request], outbound: ObjectSendStream[Request]) -> None:
    async with outbound:
        for request in asked:
            await outbound.send(request)


async def collect(inbound: ObjectReceiveStream[Completion], into: list[Completion]) -> None:
    async with inbound:
        async for completion in inbound:
            into.append(completion)


async def generate(engine: Engine, asked: list[Request]) -> list[Completion]:
    completions: list[Completion] = []
    request_send, request_receive = anyio.create_memory_object_stream[Request](1)
    completion_send, completion_receive = anyio.create_memory_object_stream[Completion](1)
    async with engine, anyio.create_task_group() as tasks:
        tasks.start_soon(feed, asked, request_send)
        tasks.start_soon(collect, completion_receive, completions)
        await engine.run(request_receive, completion_send)
    return completions


def keys(asked: list[Request]) -> Counter[SampleKey]:
    return Counter(SampleKey(request.problem_id, index) for request in asked for index in request.sample_indices)


async def test_every_sample_asked_for_completes_exactly_once(engine: Engine) -> None:
    completions = await generate(engine, requests())
    assert Counter(completion.key for completion in completions) == keys(requests())


async def test_an_error_says_why(engine: Engine) -> None:
    completions = await generate(engine, requests())
    for completion in completions:
        assert (completion.error is not None) == (completion.finish_reason is FinishReason.ERROR)


async def test_no_requests_end_at_once(engine: Engine) -> None:
    assert await generate(engine, []) == []


async def test_drained_samples_still_complete_exactly_once(engine: Engine) -> None:
    engine.drain()
    completions = await generate(engine, requests())
    assert Counter(completion.key for completion in completions) == keys(requests())
    assert {completion.finish_reason for completion in completions} == {FinishReason.CANCELLED}


async def test_a_full_outbound_stream_is_waited_for(engine: Engine) -> None:
    """Nothing is dropped while nobody receives, and the engine does not run ahead without bound."""
    completions: list[Completion] = []
    request_send, request_receive = anyio.create_memory_object_stream[Request](PROBLEMS)
    completion_send, completion_receive = anyio.create_memory_object_stream[Completion](0)
    async with engine, anyio.create_task_group() as tasks:
        tasks.start_soon(feed, requests(), request_send)
        tasks.start_soon(engine.run, request_receive, completion_send)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(collect, completion_receive, completions)
    assert Counter(completion.key for completion in completions) == keys(requests())


async def test_cancellation_leaves_nothing_running(engine: Engine) -> None:
    request_send, request_receive = anyio.create_memory_object_stream[Request](PROBLEMS)
    completion_send, completion_receive = anyio.create_memory_object_stream[Completion](0)
    with anyio.fail_after(400):
        async with engine, request_send, completion_receive, anyio.create_task_group() as tasks:
            tasks.start_soon(engine.run, request_receive, completion_send)
            for request in requests():
                await request_send.send(request)
            await completion_receive.receive()
            tasks.cancel_scope.cancel()


async def test_a_scripted_run_that_is_cancelled_has_no_busy_row() -> None:
    engine = ScriptedEngine(Script(rows=3, seconds=3600))
    outbound, inbound = anyio.create_memory_object_stream[Request](0)
    completions, collected = anyio.create_memory_object_stream[Completion](100)
    async with engine, outbound, collected, anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run, inbound, completions)
        await outbound.send(requests()[0])
        await anyio.wait_all_tasks_blocked()
        assert engine.statistics().rows_busy == 3
        tasks.cancel_scope.cancel()
    assert engine.statistics().rows_busy == 0


async def test_statistics_count_what_was_finished(engine: Engine) -> None:
    completions = await generate(engine, requests())
    assert engine.statistics().samples_finished == len(completions)


async def test_a_failing_engine_hands_over_what_it_has_and_then_raises() -> None:
    completions: list[Completion] = []
    request_send, request_receive = anyio.create_memory_object_stream[Request](1)
    completion_send, completion_receive = anyio.create_memory_object_stream[Completion](1)
    async with ScriptedEngine(Script(rows=1, fail_after=3)) as engine, anyio.create_task_group() as tasks:
        tasks.start_soon(collect, completion_receive, completions)
        for request in requests(problems=1):
            await request_send.send(request)
        with pytest.raises(EngineError, match="after 3 completions"):
            await engine.run(request_receive, completion_send)
    await request_send.aclose()
    assert len(completions) == 3


async def test_any_engine_can_be_iterated_and_left(engine: Engine) -> None:
    async with engine:
        async with completions(engine, requests()) as stream:
            async for completion in stream:
                assert completion.problem_id == "problem/0"
                break
        async with completions(engine, requests()) as stream:
            assert Counter([completion.key async for completion in stream]) == keys(requests())


async def test_an_iteration_raises_what_the_engine_failed_with_after_what_it_finished() -> None:
    received: list[Completion] = []

    async def iterate() -> None:
        async with (
            ScriptedEngine(Script(rows=1, fail_after=3)) as engine,
            completions(engine, requests(problems=1)) as stream,
        ):
            async for completion in stream:
                received.append(completion)

    with pytest.raises(EngineError, match="after 3 completions"):
        await iterate()
    assert len(received) == 3


async def test_an_error_of_the_callers_own_leaves_an_iteration_as_it_is() -> None:
    async def iterate() -> None:
        async with ScriptedEngine() as engine, completions(engine, requests()) as stream:
            async for _ in stream:
                raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await iterate()
