"""The local engine with real worker processes."""

import itertools
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from engine.bench import Bench

from taco_stream.engine.local.engine import LocalEngine
from taco_stream.engine.settings import ModelSettings
from taco_stream.errors import EngineError, TacoStreamError, UsageError
from taco_stream.events import EngineEvent, RequestCondemned, WorkerRestarted
from taco_stream.types import Completion, FinishReason, Request, SampleKey, SamplingParameters, TextPrompt

pytestmark = pytest.mark.anyio

ModelFolder = Callable[[str], Path]


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


def engine(folder: Path, **settings: Any) -> LocalEngine:
    events = settings.pop("events", None)
    settings = {"model": str(folder), "devices": "cpu", "batch_size": 4} | settings
    return LocalEngine(ModelSettings(**settings), threads=1, events=events)


@pytest.fixture(scope="module")
async def shared(model_folder: ModelFolder) -> AsyncIterator[LocalEngine]:
    """An open engine for the tests that leave it as they found it: a worker takes seconds to import torch."""
    async with engine(model_folder("gpt_neox")) as started:
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


async def test_two_workers_of_which_one_is_killed_give_the_samples_of_one_undisturbed(
    model_folder: ModelFolder,
) -> None:
    folder = model_folder("llama")
    asked = requests(samples=40, problems=3)
    expected = texts(Bench(folder).generate(asked))
    sent, events = anyio.create_memory_object_stream[EngineEvent](100)
    with sent, events:
        async with engine(folder, devices="cpu,cpu", events=sent) as two:
            victim = two.worker_pids()[0]

            def kill(count: int) -> None:
                if count == 10:
                    os.kill(victim, signal.SIGKILL)

            assert texts(await generate(two, asked, kill)) == expected
            assert two.statistics().restarts == 1
            assert two.statistics().samples_finished == 120
        assert isinstance(events.receive_nowait(), WorkerRestarted)


async def test_a_reader_of_events_that_has_gone_is_no_dead_worker(model_folder: ModelFolder) -> None:
    sent, events = anyio.create_memory_object_stream[EngineEvent](100)
    long = Request(
        problem_id="long",
        prompt=TextPrompt("a" * 250),
        sample_indices=(0,),
        sampling=SamplingParameters(max_new_tokens=40, temperature=0),
    )
    async with sent, engine(model_folder("gpt_neox"), events=sent) as started:
        events.close()
        assert len(await generate(started, [long])) == 1
        assert started.statistics().restarts == 0


async def test_a_worker_that_keeps_dying_ends_the_run_after_what_it_finished(
    model_folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taco_stream.engine.local.worker_handle.RESTARTS", 0)
    seen: list[int] = []
    async with engine(model_folder("gpt_neox")) as started:

        def kill(count: int) -> None:
            seen.append(count)
            if count == 2:
                os.kill(started.worker_pids()[0], signal.SIGKILL)

        with pytest.raises(EngineError, match="died: signal 9"):
            await generate(started, requests(problems=40), kill)
    assert len(seen) >= 2


POISON = """
import os, signal
from taco_stream.engine.worker.admission import Admission

admit = Admission.admit

def admit_or_die(self, request):
    if request.problem_id == "poison":
        os.kill(os.getpid(), signal.SIGSEGV)
    return admit(self, request)

Admission.admit = admit_or_die
"""


@pytest.mark.timeout(900)  # four workers, one after the other
async def test_a_request_that_kills_workers_is_answered_as_an_error_and_the_others_go_on(
    model_folder: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = model_folder("gpt_neox")
    good = requests(samples=2, problems=1)
    expected = texts(Bench(folder).generate(good))
    (tmp_path / "sitecustomize.py").write_text(POISON)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    sent, events = anyio.create_memory_object_stream[EngineEvent](100)
    poison = msgspec.structs.replace(good[0], problem_id="poison")
    with sent, events:
        async with engine(folder, events=sent) as started:
            completions = await generate(started, [good[0], poison])
        sent_events = [events.receive_nowait() for _ in range(events.statistics().current_buffer_used)]
    assert [event.problem_id for event in sent_events if isinstance(event, RequestCondemned)] == ["poison"]
    bad = [completions.pop(SampleKey("poison", index)) for index in (0, 1)]
    assert {completion.finish_reason for completion in bad} == {FinishReason.ERROR}
    assert all("generation workers died of this request: signal 11" in str(item.error) for item in bad)
    assert texts(completions) == expected


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


async def test_draining_finishes_what_decodes_and_cancels_what_waits(model_folder: ModelFolder) -> None:
    asked = requests(samples=20, problems=5, tokens=100)
    async with engine(model_folder("gpt_neox")) as started:
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


async def test_an_engine_that_is_not_open_says_so(model_folder: ModelFolder) -> None:
    with pytest.raises(EngineError, match="use it inside `async with`"):
        await generate(engine(model_folder("gpt_neox")), requests())


async def test_a_prepared_process_is_the_one_that_serves(model_folder: ModelFolder) -> None:
    started = engine(model_folder("gpt_neox"))
    async with started.prepared():
        pid = prepared_pid(started)
        async with started:
            assert started.worker_pids() == (pid,)
            assert len(await generate(started, requests(samples=1, problems=1))) == 1
    assert not is_running(pid)


async def test_a_process_that_was_prepared_in_vain_ends(model_folder: ModelFolder) -> None:
    started = engine(model_folder("gpt_neox"))
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


async def test_an_error_of_the_requests_own_leaves_no_process(model_folder: ModelFolder) -> None:
    async def broken() -> AsyncIterator[Request]:
        yield requests(problems=1)[0]
        raise ValueError("no more")

    pids: list[int] = []

    async def generate_from_broken() -> None:
        async with engine(model_folder("llama")) as started:
            pids.extend(started.worker_pids())
            async with started.generate(broken()) as stream:
                async for _ in stream:
                    pass

    with pytest.raises(BaseExceptionGroup):
        await generate_from_broken()
    assert not is_running(*pids)


async def test_cancelling_the_caller_leaves_no_process(model_folder: ModelFolder) -> None:
    with anyio.CancelScope() as scope:
        async with engine(model_folder("llama")) as started:
            (pid,) = started.worker_pids()
            async with started.generate(requests(samples=30, tokens=200)) as stream:
                async for _ in stream:
                    scope.cancel()
    assert not is_running(pid)


def is_running(pid: int) -> bool:
    """Whether there is a process of that number."""
    return Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize(
    ("settings", "kind", "sentence"),
    [
        ({"model": "/no/such/folder"}, UsageError, "there is no model folder /no/such/folder"),
        ({"devices": "cuda:7"}, UsageError, "the device cuda:7 does not exist: torch sees"),
    ],
)
async def test_the_error_of_a_worker_that_cannot_start_is_raised_here(
    model_folder: ModelFolder, settings: dict[str, Any], kind: type[TacoStreamError], sentence: str
) -> None:
    """One of each kind; `test_checkpoint` has the others."""
    with pytest.raises(kind, match=sentence):
        async with LocalEngine(ModelSettings(**({"model": str(model_folder("llama"))} | settings))):
            raise AssertionError("the engine started")


async def test_a_folder_full_of_modules_is_not_imported(
    model_folder: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """People keep a `json.py` or a `random.py` in the folder in which they start programs."""
    folder = model_folder("gpt_neox")
    for name in ("json", "random", "types", "torch", "transformers", "taco_stream", "msgspec", "typing"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('this is not the module that was meant')")
    monkeypatch.chdir(tmp_path)
    async with engine(folder) as started:
        assert len(await generate(started, requests(samples=1, problems=1))) == 1
