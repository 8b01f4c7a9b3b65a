"""The CUDA path: graphs, flash attention, tokens read one step late."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from engine.bench import GREEDY, SAMPLED, Bench, requests, texts
from engine.tiny_models import ARCHITECTURES

from taco_stream.engine.worker.attention import Group, Scoring, _decode
from taco_stream.engine.worker.layer_masks import Window

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, torch sees none"),
]

ModelFolder = Callable[[str], Path]


@pytest.fixture(autouse=True)
def exact_products() -> Iterator[None]:
    """Float32 products as the CPU computes them, so that greedy samples can be compared."""
    allowed = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32 = allowed


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_greedy_samples_equal_those_of_the_cpu(model_folder: ModelFolder, architecture: str) -> None:
    folder = model_folder(architecture)
    on_cpu = texts(Bench(folder).generate(requests(GREEDY)))
    assert texts(Bench(folder, device="cuda").generate(requests(GREEDY))) == on_cpu


def test_sampled_tokens_equal_those_of_the_cpu(model_folder: ModelFolder) -> None:
    folder = model_folder("llama")
    on_cpu = texts(Bench(folder).generate(requests(SAMPLED)))
    assert texts(Bench(folder, device="cuda").generate(requests(SAMPLED))) == on_cpu


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_tokens_are_drawn_in_a_graph_as_on_the_cpu(dtype: torch.dtype) -> None:
    from taco_stream.engine.worker.counted_sampling import sample_without_waiting
    from taco_stream.engine.worker.sampling import RowSampling

    torch.manual_seed(0)
    rows, vocabulary = 8, 50_000
    logits, uniforms = (torch.randn(rows, vocabulary) * 3).to(dtype), torch.rand(rows, dtype=torch.float64)
    sampling = RowSampling(
        temperature=torch.tensor([0.0, 0.2, 0.8, 1.0, 3.0, 1.0, 1.0, 0.6]),
        top_p=torch.tensor([1.0, 0.95, 0.95, 1.0, 1.0, 0.5, 1.0, 0.9]),
        top_k=torch.tensor([0, 0, 0, 0, 0, 40, 900, 0]),
        min_p=torch.tensor([0.0, 0.0, 0.0, 0.0, 0.1, 0.0, 0.0, 0.0]),
    )
    given = (logits.cuda(), RowSampling(*(setting.cuda() for setting in sampling)), uniforms.cuda())
    sample_without_waiting(*given)  # allocates what a capture may not
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        drawn = sample_without_waiting(*given)
    graph.replay()
    assert drawn.tolist() == sample_without_waiting(logits, sampling, uniforms).tolist()


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "mistral", "gpt_neox"])
def test_half_precision_decodes_through_flash_and_graphs(model_folder: ModelFolder, architecture: str) -> None:
    bench = Bench(model_folder(architecture), device="cuda", dtype="bfloat16")
    bench.generate(requests(SAMPLED))
    fixed = bench.core.runner._fixed
    assert fixed is not None
    assert all(shape.graph is not None for shape in fixed._shapes.values())


@pytest.mark.parametrize("window", [None, 20])
def test_flash_attends_as_masked_attention_does(window: int | None) -> None:
    from taco_stream.engine.worker.attention import FlashRows

    torch.manual_seed(0)
    rows, stride, heads, key_heads, size = 7, 129, 8, 2, 64
    queries = torch.randn(rows, heads, size, device="cuda", dtype=torch.bfloat16)
    keys, values = (torch.randn(rows, stride, key_heads, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    lengths = torch.tensor([1, 5, 128, 64, 21, 20, 19], device="cuda")
    everyone = slice(0, rows)
    masked = Group(everyone, everyone, longest=stride, shortest=0, lengths=lengths)
    flash = Group(everyone, everyone, longest=stride, shortest=0, lengths=lengths)
    flash.flash = FlashRows.from_lengths(lengths, stride)
    scoring = Scoring(size**-0.5, None if window is None else Window(window), None, None)
    expected, attended = (_decode(queries, keys, values, group, scoring) for group in (masked, flash))
    torch.testing.assert_close(attended, expected, atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize("window", [None, 20])
def test_flash_attends_to_chunks_as_masked_attention_does(window: int | None) -> None:
    from taco_stream.engine.worker.attention import ChunkSpan, FlashRows, _chunk, _flash

    torch.manual_seed(0)
    rows, stride, heads, key_heads, size = 4, 129, 8, 2, 64
    keys, values = (torch.randn(rows, stride, key_heads, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    # A prompt from its start, the middle of another, a single token, a prompt as long as the slot; in any order of slots.
    places = [(2, 0, 30), (0, 17, 60), (3, 99, 100), (1, 0, 128)]
    spans, first = [], 0
    for slot, start, end in places:
        spans.append(ChunkSpan(slice(first, first + end - start), slot, start, end))
        first += end - start
    queries = torch.randn(first, heads, size, device="cuda", dtype=torch.bfloat16)
    scoring = Scoring(size**-0.5, None if window is None else Window(window), None, None)
    expected = [_chunk(queries[s.rows], keys[s.slot, : s.end], values[s.slot, : s.end], s, scoring) for s in spans]
    attended = _flash(queries, keys, values, FlashRows.from_chunks(spans, stride, queries.device), scoring)
    torch.testing.assert_close(attended, torch.cat(expected), atol=2e-2, rtol=2e-2)


def test_prompts_wait_for_no_plans_of_cudnn(model_folder: ModelFolder) -> None:
    Bench(model_folder("llama"), device="cuda", dtype="bfloat16")
    assert not torch.backends.cuda.cudnn_sdp_enabled()
