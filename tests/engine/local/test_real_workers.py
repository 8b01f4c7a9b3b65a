"""The local engine with workers that import torch and load a model, for what depends on either."""

import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import pytest
from engine.bench import GREEDY, Bench, requests, texts

from taco_stream.engine.local.engine import LocalEngine
from taco_stream.engine.settings import ModelSettings
from taco_stream.errors import UsageError
from taco_stream.events import EngineEvent, WorkerRestarted
from taco_stream.types import Completion, Request, SampleKey, SamplingParameters

pytestmark = pytest.mark.anyio

ModelFolder = Callable[[str], Path]

SAMPLING = SamplingParameters(max_new_tokens=12, temperature=0.9)

ASKED = requests(SAMPLING, count=4)


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """One loop for the file, in which the engines can live that tests share."""
    return ("asyncio", {"use_uvloop": True})


@pytest.fixture(scope="module", params=["llama", "qwen3_5_text"], ids=["attention", "recurrent layers"])
async def engine(request: pytest.FixtureRequest, model_folder: ModelFolder) -> AsyncIterator[LocalEngine]:
    """An open engine for the tests that leave it as they found it: a worker takes seconds to import torch."""
    settings = ModelSettings(model=str(model_folder(request.param)), devices="cpu", batch_size=4, threads=1)
    async with LocalEngine(settings) as started:
        yield started


async def generate(engine: LocalEngine, asked: list[Request]) -> list[Completion]:
    async with engine.generate(asked) as stream:
        return [completion async for completion in stream]


async def test_every_sample_asked_for_completes_exactly_once(engine: LocalEngine) -> None:
    before = engine.statistics().samples_finished
    completions = await generate(engine, ASKED)
    expected = [SampleKey(request.problem_id, index) for request in ASKED for index in request.sample_indices]
    assert sorted(completion.key for completion in completions) == sorted(expected)
    assert all(completion.error is None and completion.text for completion in completions)
    assert engine.statistics().samples_finished - before == len(expected)
    assert engine.statistics().cores == 1


async def test_no_requests_end_at_once(engine: LocalEngine) -> None:
    assert await generate(engine, []) == []


async def test_a_run_that_is_left_frees_the_slots_for_the_next(engine: LocalEngine) -> None:
    async with engine.generate(requests(GREEDY, samples=30)) as stream:
        await anext(stream)
    assert len(await generate(engine, ASKED[:1])) == 3


async def test_two_workers_of_which_one_is_killed_give_the_samples_of_one_undisturbed(
    model_folder: ModelFolder,
) -> None:
    folder = model_folder("llama")
    asked = requests(SAMPLING, samples=40, count=3)
    expected = texts(Bench(folder).generate(asked))
    completions: dict[SampleKey, Completion] = {}
    sent, events = anyio.create_memory_object_stream[EngineEvent](100)
    with sent, events:
        settings = ModelSettings(model=str(folder), devices="cpu,cpu", batch_size=4, dtype="float32", threads=1)
        async with LocalEngine(settings, events=sent) as two, two.generate(asked) as stream:
            async for completion in stream:
                completions[completion.key] = completion
                if len(completions) == 10:
                    os.kill(two.worker_pids()[0], signal.SIGKILL)
            assert two.statistics().restarts == 1
            assert two.statistics().samples_finished == 120
        assert isinstance(events.receive_nowait(), WorkerRestarted)
    assert texts(completions) == expected


async def test_a_folder_full_of_modules_is_not_imported(
    model_folder: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """People keep a `json.py` or a `random.py` in the folder in which they start programs."""
    folder = model_folder("gpt_neox")
    for name in ("json", "random", "types", "torch", "transformers", "taco_stream", "msgspec", "typing"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('this is not the module that was meant')")
    monkeypatch.chdir(tmp_path)
    settings = ModelSettings(model=str(folder), devices="cpu", batch_size=4, threads=1)
    async with LocalEngine(settings) as started, started.generate(ASKED[:1]) as stream:
        assert len([completion async for completion in stream]) == 3


async def test_a_device_that_does_not_exist_is_found_by_the_worker(model_folder: ModelFolder) -> None:
    """Which sees no device but its own."""
    with pytest.raises(UsageError, match="the device cuda:7 does not exist: torch sees"):
        async with LocalEngine(ModelSettings(model=str(model_folder("llama")), devices="cuda:7")):
            raise AssertionError("the engine started")
