"""Decoding at fixed shapes: the reproducible mode, and on a CPU the logic of the CUDA path."""

import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from engine.bench import BRIEF, GREEDY, SAMPLED, Bench, few_shot, greedy_reference, requests, texts
from engine.tiny_models import ARCHITECTURES

from taco_stream.engine.worker.model_runner import buckets_up_to
from taco_stream.types import Request, SamplingParameters

ModelFolder = Callable[[str], Path]


def late_reading(folder: Path) -> Bench:
    """A core that works as on CUDA: bucketed batches, prompts apart, every step launched before the last is read."""
    return Bench(folder, as_on_cuda=True)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_greedy_samples_equal_generate(model_folder: ModelFolder, architecture: str) -> None:
    folder = model_folder(architecture)
    asked = requests(BRIEF, samples=2, count=5)
    bench = late_reading(folder)
    assert texts(bench.generate(asked)) == greedy_reference(bench.checkpoint, asked, folder)


def test_late_reading_gives_the_samples_of_reading_at_once(model_folder: ModelFolder) -> None:
    folder = model_folder("llama")
    expected = texts(Bench(folder).generate(requests(SAMPLED)))
    assert texts(late_reading(folder).generate(requests(SAMPLED))) == expected


@pytest.mark.parametrize("architecture", ["llama", "qwen3_5_text"])
def test_late_reading_knows_every_token_at_once(model_folder: ModelFolder, architecture: str) -> None:
    """At a temperature of 30 no window of the largest logits does."""
    folder = model_folder(architecture)
    flat = SamplingParameters(max_new_tokens=20, temperature=30.0, top_p=0.95)
    expected = texts(Bench(folder).generate(requests(flat, samples=2)))
    assert texts(late_reading(folder).generate(requests(flat, samples=2))) == expected


def test_preempted_samples_go_on_while_tokens_are_in_flight(model_folder: ModelFolder) -> None:
    folder = model_folder("qwen2")
    expected = texts(Bench(folder).generate(requests(GREEDY)))
    late = late_reading(folder)
    late.add(requests(GREEDY))
    completions = []
    for number in range(40):
        completions += [finished.completion for finished in late.core.step()]
        if number % 9 == 8:
            late.core.preempt()
    completions += late.finish()
    assert {completion.key: completion.text for completion in completions} == expected


@pytest.mark.parametrize("make", [requests, few_shot], ids=["different prompts", "a shared beginning"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("architecture", ["llama", "qwen3_5_text", "falcon_h1"])
def test_reproducible_samples_are_bitwise_the_same_for_any_arrival(
    model_folder: ModelFolder,
    architecture: str,
    dtype: str,
    make: Callable[..., list[Request]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Compared by the logits that every token was drawn from; most prompts take several chunks."""
    monkeypatch.setattr("taco_stream.engine.worker.load.REPRODUCIBLE_CHUNK", 32)
    folder = model_folder(architecture)
    asked = make(SAMPLED, count=5)
    drawn: list[dict[tuple[str, int, int], torch.Tensor]] = []
    for seed in (1, 2):
        bench = Bench(folder, reproducible=True, batch_size=6, dtype=dtype)
        drawn.append(_record_logits(bench))
        shuffled = asked[:]
        random.Random(seed).shuffle(shuffled)
        bench.generate(shuffled)
    assert drawn[0].keys() == drawn[1].keys()
    assert all(torch.equal(drawn[0][key], drawn[1][key]) for key in drawn[0])


def _record_logits(bench: Bench) -> dict[tuple[str, int, int], torch.Tensor]:
    """Keeps the logits of every token drawn, by problem, sample and token index."""
    recorded: dict[tuple[str, int, int], torch.Tensor] = {}
    runner = bench.core.runner
    fixed, draw = runner._fixed, runner._draw
    assert fixed is not None
    run = fixed.run

    def name(row: object) -> tuple[str, int, int]:
        return (row.sample.request.problem_id, row.sample.sample_index, row.token_index)  # type: ignore[attr-defined]

    def run_and_record(rows: object) -> object:
        drawn = run(rows)  # type: ignore[arg-type]
        (shape,) = fixed._shapes.values()
        assert shape.logits is not None
        recorded.update({name(row): shape.logits[row.slot].clone() for row in rows})  # type: ignore[attr-defined]
        return drawn

    def draw_and_record(rows: object, logits: torch.Tensor) -> object:
        recorded.update({name(row): row_logits for row, row_logits in zip(rows, logits.clone(), strict=True)})  # type: ignore[call-overload]
        return draw(rows, logits)  # type: ignore[arg-type]

    fixed.run = run_and_record  # type: ignore[method-assign, assignment]
    runner._draw = draw_and_record  # type: ignore[method-assign, assignment]
    return recorded


def test_buckets_end_with_the_largest_and_waste_at_most_half() -> None:
    for largest in (1, 5, 64, 100, 256):
        buckets = buckets_up_to(largest)
        assert buckets[-1] == largest
        assert all(later <= 2 * earlier for earlier, later in pairwise(buckets))
