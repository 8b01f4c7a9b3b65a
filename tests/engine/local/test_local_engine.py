"""The local engine with real worker processes, in which a script answers (`scripted_worker`)."""

import itertools
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import msgspec
import pytest
from anyio.streams.memory import MemoryObjectReceiveStream

from taco_stream.engine.local.engine import LocalEngine
from taco_stream.engine.settings import ModelSettings
from taco_stream.errors import EngineError, ModelError, TacoStreamError, UsageError
from taco_stream.events import DeviceDropped, EngineEvent, RequestCondemned, WorkerRestarted
from taco_stream.types import Completion, FinishReason, Request, SampleKey, SamplingParameters, TextPrompt

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """One loop for the file, in which the shared engine can live."""
    return ("asyncio", {"use_uvloop": True})


def requests(samples: int = 3, problems: int = 4, tokens: int = 12) -> list[Request]:
    sampling = SamplingParameters(max_new_tokens=tokens, temperature=0.9)
    return [
        Request(
            problem_id=f"p{number}",
            prompt=TextPrompt("print " * (number + 1)),
            sample_indices=tuple(range(samples)),
            sampling=sampling,
            seed=1,
        )
        for number in range(problems)
    ]


def engine(model: str = "scripted", devices: str = "cpu", **settings: Any) -> LocalEngine:
    return LocalEngine(ModelSettings(model=model, devices=devices), **settings)


@pytest.fixture(scope="module", autouse=True)
def script() -> Iterator[None]:
    """Lets every worker that a test starts, and its successors, be scripted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "scripted_worker"))
        yield


@pytest.fixture(scope="module")
async def shared(script: None) -> AsyncIterator[LocalEngine]:
    """An open engine for the tests that leave it as they found it."""
    async with engine() as started:
        yield started


async def generate(
    started: LocalEngine, asked: list[Request], on_completion: Callable[[int], None] = lambda count: None
) -> dict[SampleKey, Completion]:
    completions: dict[SampleKey, Completion] = {}
    async with started.generate(asked) as stream:
        async for completion in stream:
            assert completion.key not in completions
            completions[completion.key] = completion
            on_completion(len(completions))
    assert len(completions) == sum(len(request.sample_indices) for request in asked)
    return completions


def texts(completions: dict[SampleKey, Completion]) -> dict[SampleKey, str]:
    return {key: completion.text for key, completion in completions.items()}


async def test_a_reader_of_events_that_has_gone_is_no_dead_worker() -> None:
    sent, events = anyio.create_memory_object_stream[EngineEvent](100)
    long = Request(
        problem_id="long",
        prompt=TextPrompt("a" * 250),
        sample_indices=(0,),
        sampling=SamplingParameters(max_new_tokens=40, temperature=0),
    )
    async with sent, engine(events=sent) as started:
        events.close()
        assert len(await generate(started, [long])) == 1
        assert started.statistics().restarts == 0


EXPECTED = {SampleKey(f"p{number}", index): f"1 p{number} {index}" for number in range(6) for index in range(40)}


def report(events: MemoryObjectReceiveStream[EngineEvent]) -> list[EngineEvent]:
    return [events.receive_nowait() for _ in range(events.statistics().current_buffer_used)]


async def test_a_device_whose_workers_keep_dying_is_dropped_and_the_others_give_its_samples() -> None:
    sent, events = anyio.create_memory_object_stream[EngineEvent](100)
    with sent, events:
        async with engine(devices="cpu,cpu", events=sent) as two:
            victim, survivor = two._workers
            killed: set[int] = set()

            async def kill_each() -> None:
                while not victim.is_dropped:
                    if (pid := victim.pid) is not None and pid not in killed and victim.sent:
                        killed.add(pid)
                        os.kill(pid, signal.SIGKILL)
                    await anyio.lowlevel.checkpoint()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(kill_each)
                completions = await generate(two, requests(samples=40, problems=6))
            assert texts(completions) == EXPECTED
            statistics = two.statistics()
            assert len(killed) == 4
            assert (statistics.restarts, statistics.devices, statistics.devices_dropped) == (3, 1, 1)
            assert two.worker_pids() == (survivor.pid,)
            assert len(await generate(two, requests(samples=1, problems=1))) == 1  # and so does the next run
        *_, last = report(events)
    assert isinstance(last, DeviceDropped)
    assert "the run goes on without cpu, on 1 of 2 devices" in last.message


async def test_a_request_that_kills_workers_is_condemned_by_two_of_them_and_drops_neither() -> None:
    good = requests(samples=2, problems=1)
    poison = msgspec.structs.replace(good[0], problem_id="poison")
    async with engine(devices="cpu,cpu") as two:
        completions = await generate(two, [good[0], poison])
        assert two.statistics().devices == 2
    errors = [str(each.error) for each in completions.values() if each.finish_reason is FinishReason.ERROR]
    assert len(errors) == 2
    assert all("generation workers died of this request: signal 11" in error for error in errors)
    assert texts({key: each for key, each in completions.items() if key.problem_id == "p0"}) == {
        SampleKey("p0", index): f"1 p0 {index}" for index in (0, 1)
    }


async def test_the_last_samples_are_spread_over_the_devices() -> None:
    """The first to ask is given a whole chunk, most of which would wait for its slots while the other has none."""
    async with engine(devices="cpu,cpu") as two:
        completions = await generate(two, requests(samples=32, problems=1, tokens=60))
        assert texts(completions) == {SampleKey("p0", index): f"1 p0 {index}" for index in range(32)}
        assert all(each.finish_reason is FinishReason.LENGTH for each in completions.values())
        counts = [worker.statistics().samples_finished for worker in two._workers]
    assert sum(counts) == 32
    assert min(counts) >= 8


async def test_samples_on_their_way_to_another_device_survive_the_death_of_either() -> None:
    async with engine(devices="cpu,cpu") as two:
        for number, when in itertools.product(range(2), (3, 9, 14)):

            def kill(count: int, number: int = number, when: int = when) -> None:
                if count == when:
                    os.kill(two.worker_pids()[number], signal.SIGKILL)

            completions = await generate(two, requests(samples=32, problems=1, tokens=20), kill)
            assert texts(completions) == {SampleKey("p0", index): f"1 p0 {index}" for index in range(32)}
            assert all(each.finish_reason is FinishReason.LENGTH for each in completions.values())


@pytest.mark.parametrize("devices", ["cpu", "cpu,cpu"])
async def test_a_worker_that_hangs_is_replaced_and_the_samples_are_the_same(
    devices: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taco_stream.engine.local.silence_clock.FLOOR_SECONDS", 2.0)
    monkeypatch.setattr("taco_stream.engine.local.silence_clock.MULTIPLE", 1)
    sent, events = anyio.create_memory_object_stream[EngineEvent](100)
    with sent, events:
        async with engine(devices=devices, events=sent) as started:
            victim = started.worker_pids()[0]

            def stop(count: int) -> None:
                if count == 10:
                    os.kill(victim, signal.SIGSTOP)

            assert texts(await generate(started, requests(samples=40, problems=6), stop)) == EXPECTED
            assert victim not in started.worker_pids()
        (event,) = report(events)
    assert isinstance(event, WorkerRestarted)
    assert "signal 9, it gave no sign of life for" in event.message


async def test_a_successor_that_hangs_while_it_loads_is_found_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taco_stream.engine.local.silence_clock.FLOOR_SECONDS", 2.0)
    monkeypatch.setattr("taco_stream.engine.local.silence_clock.MULTIPLE", 1)
    async with engine(devices="cpu,cpu") as two:
        victim = two._workers[0]
        first = victim.pid

        async def stop_the_second() -> None:
            os.kill(two.worker_pids()[0], signal.SIGKILL)
            while victim.pid in (None, first):
                await anyio.lowlevel.checkpoint()
            os.kill(victim.pid or 0, signal.SIGSTOP)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stop_the_second)
            assert texts(await generate(two, requests(samples=40, problems=6))) == EXPECTED
        assert (two.statistics().restarts, two.statistics().devices_dropped) == (2, 0)


async def test_a_worker_that_keeps_dying_ends_the_run_after_what_it_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taco_stream.engine.local.worker_handle.RESTARTS", 0)
    seen: list[int] = []
    async with engine() as started:

        def kill(count: int) -> None:
            seen.append(count)
            if count == 2:
                os.kill(started.worker_pids()[0], signal.SIGKILL)

        with pytest.raises(EngineError, match="died: signal 9"):
            await generate(started, requests(problems=40), kill)
    assert len(seen) >= 2


async def test_a_request_that_kills_workers_is_answered_as_an_error_and_the_others_go_on() -> None:
    good = requests(samples=2, problems=1)
    poison = msgspec.structs.replace(good[0], problem_id="poison")
    sent, events = anyio.create_memory_object_stream[EngineEvent](100)
    with sent, events:
        async with engine(events=sent) as started:
            completions = await generate(started, [good[0], poison])
        sent_events = [events.receive_nowait() for _ in range(events.statistics().current_buffer_used)]
    assert [event.problem_id for event in sent_events if isinstance(event, RequestCondemned)] == ["poison"]
    bad = [completions.pop(SampleKey("poison", index)) for index in (0, 1)]
    assert {completion.finish_reason for completion in bad} == {FinishReason.ERROR}
    assert all("generation workers died of this request: signal 11" in str(item.error) for item in bad)
    assert texts(completions) == {SampleKey("p0", index): f"1 p0 {index}" for index in (0, 1)}


async def test_a_full_outbound_stream_stops_admission_and_drops_nothing(shared: LocalEngine) -> None:
    asked = requests(samples=8, problems=30)
    request_send, request_receive = anyio.create_memory_object_stream[Request](0)
    completion_send, completion_receive = anyio.create_memory_object_stream[Completion](0)
    taken: list[Completion] = []
    accepted = 0

    async def feed() -> None:
        nonlocal accepted
        async with request_send:
            for request in asked:
                await request_send.send(request)
                accepted += 1

    before = shared.statistics().samples_finished
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(feed)
        tasks.start_soon(shared.run, request_receive, completion_send)
        while shared.statistics().samples_finished - before < 36:  # noqa: ASYNC110 (statistics are polled)
            await anyio.sleep(0.01)
        assert accepted < 10
        async with completion_receive:
            async for completion in completion_receive:
                taken.append(completion)
    assert len({completion.key for completion in taken}) == len(taken) == 240


async def test_draining_finishes_what_decodes_and_cancels_what_waits() -> None:
    asked = requests(samples=20, problems=5, tokens=100)
    async with engine() as started:
        completions = await generate(started, asked, lambda count: started.drain() if count == 1 else None)
    reasons = [completion.finish_reason for completion in completions.values()]
    assert 1 <= reasons.count(FinishReason.LENGTH) + reasons.count(FinishReason.STOP) < 20
    assert reasons.count(FinishReason.CANCELLED) > 80


async def test_a_cancelled_run_frees_the_slots_for_the_next(shared: LocalEngine) -> None:
    async with shared.generate(requests(samples=30, tokens=200)) as stream:
        await anext(stream)
    completions = await generate(shared, requests(samples=1, problems=1))
    assert len(completions) == 1


async def test_one_iteration_at_a_time(shared: LocalEngine) -> None:
    async with shared.generate(requests(samples=30, tokens=200)) as stream:
        await anext(stream)
        with pytest.raises(EngineError, match="finish the other iteration"):
            await generate(shared, requests())
        await anext(stream)
    for _ in range(5):  # each begins with nothing of the one before it
        assert not any(worker.chunks or worker.finished for worker in shared._workers)
        async with shared.generate(requests(samples=30, tokens=200)) as stream:
            await anext(stream)


async def test_an_iteration_left_early_closes_its_requests(shared: LocalEngine) -> None:
    """Nothing of it is left for the garbage collector, which would warn."""
    closed = False

    async def endless() -> AsyncIterator[Request]:
        nonlocal closed
        try:
            for number in itertools.count():
                yield msgspec.structs.replace(requests(problems=1)[0], problem_id=str(number))
        finally:
            closed = True

    async with shared.generate(endless()) as stream:
        async for _ in stream:
            break
    assert closed


async def test_an_engine_that_is_not_open_says_so() -> None:
    with pytest.raises(EngineError, match="use it inside `async with`"):
        await generate(engine(), requests())


async def test_a_prepared_process_is_the_one_that_serves() -> None:
    started = engine()
    async with started.prepared():
        pid = prepared_pid(started)
        async with started:
            assert started.worker_pids() == (pid,)
            assert len(await generate(started, requests(samples=1, problems=1))) == 1
    assert not is_running(pid)


async def test_a_process_that_was_prepared_in_vain_ends() -> None:
    started = engine()
    async with started.prepared():
        pid = prepared_pid(started)
    assert not is_running(pid)


def prepared_pid(started: LocalEngine) -> int:
    """The process that imports its libraries before the engine is entered."""
    assert started._first is not None
    pid = started._first.pid
    assert pid is not None
    assert is_running(pid)
    return pid


async def test_an_error_of_the_requests_own_leaves_no_process() -> None:
    async def broken() -> AsyncIterator[Request]:
        yield requests(problems=1)[0]
        raise ValueError("no more")

    pids: list[int] = []

    async def generate_from_broken() -> None:
        async with engine() as started:
            pids.extend(started.worker_pids())
            async with started.generate(broken()) as stream:
                async for _ in stream:
                    pass

    with pytest.raises(BaseExceptionGroup):
        await generate_from_broken()
    assert not is_running(*pids)


async def test_cancelling_the_caller_leaves_no_process() -> None:
    with anyio.CancelScope() as scope:
        async with engine() as started:
            (pid,) = started.worker_pids()
            async with started.generate(requests(samples=30, tokens=200)) as stream:
                async for _ in stream:
                    scope.cancel()
    assert not is_running(pid)


def is_running(pid: int) -> bool:
    """Whether there is a process of that number."""
    return Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize(
    ("model", "kind", "sentence"),
    [
        ("missing", UsageError, "there is no model folder missing"),
        ("broken", ModelError, "the model broken cannot be loaded"),
    ],
)
async def test_the_error_of_a_worker_that_cannot_start_is_raised_here(
    model: str, kind: type[TacoStreamError], sentence: str
) -> None:
    """One of each kind; `test_checkpoint` has the others."""
    with pytest.raises(kind, match=sentence):
        async with engine(model=model):
            raise AssertionError("the engine started")
