"""Windows, chunks and rotary scalings that a short prompt does not show."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from engine.bench import GREEDY, Bench, FallbackBench, reference, requests, texts
from engine.tiny_models import make_model
from torch import Tensor
from transformers.masking_utils import (
    ALL_MASK_ATTENTION_FUNCTIONS,
    blockwise_overlay,
    causal_mask_function,
    chunked_causal_mask_function,
    or_masks,
    sliding_window_causal_mask_function,
)

from taco_stream.engine.protocol import Load
from taco_stream.engine.worker.attention import SlotAttention
from taco_stream.engine.worker.checkpoint import Checkpoint, _context_length, open_checkpoint
from taco_stream.engine.worker.layer_masks import UnservedModelError, Window, named_windows, read_window
from taco_stream.engine.worker.load import check_served
from taco_stream.engine.worker.model_runner import ModelRunner

ModelFolder = Callable[[str], Path]

CPU = torch.device("cpu")


@pytest.mark.parametrize("variant", ["qwen2_moe with windows", "phimoe with windows"])
def test_windows_that_only_masks_show_are_kept(model_folder: ModelFolder, variant: str) -> None:
    """The model's attention is not told of them."""
    folder = model_folder(variant)
    bench = Bench(folder)
    assert bench.notes == []
    assert Window(40) in bench.core.runner._attention.windows
    asked = requests(GREEDY)
    assert texts(bench.generate(asked)) == reference(bench.checkpoint, asked, folder)


def test_a_named_window_that_reaches_no_layer_is_left_to_generate(model_folder: ModelFolder) -> None:
    """Which applies it to the keys that its cache keeps."""
    folder = model_folder("llama with a window that only generate's cache has")
    asked = requests(GREEDY, samples=1)
    bench = FallbackBench(folder)
    (event,) = bench.events
    assert bench.notes == ["generate_fallback"]
    assert "the window of 40 that its configuration names does not reach its attention" in event.message
    assert texts(bench.generate(asked)) == reference(bench.checkpoint, asked, folder)  # type: ignore[arg-type]


def test_a_rotary_scaling_of_one_kind_of_layers_limits_the_context(model_folder: ModelFolder) -> None:
    """Beyond the limit all tokens of a row would be rotated otherwise."""
    folder = model_folder("gemma3_text with nested longrope")
    bench = Bench(folder)
    assert bench.ready.context_length == 100
    asked = [request for number, request in enumerate(requests(GREEDY)) if number in (0, 2, 3, 5, 7)]  # they fit
    assert texts(bench.generate(asked)) == reference(bench.checkpoint, asked, folder)


def test_logits_that_depend_on_the_longest_row_are_found(model_folder: ModelFolder) -> None:
    """As if the limit had not been read from the configuration."""
    checkpoint = loaded(model_folder("gemma3_text with nested longrope"))
    with pytest.raises(UnservedModelError, match="a row's logits depend on the rows beside it"):
        check(checkpoint._replace(context_length=256))


def test_a_check_leaves_no_masks_behind(model_folder: ModelFolder) -> None:
    before = dict(ALL_MASK_ATTENTION_FUNCTIONS)
    attention = check(loaded(model_folder("qwen2_moe with windows")))
    assert attention.windows == [Window(40), None, Window(40)]
    assert dict(ALL_MASK_ATTENTION_FUNCTIONS) == before


def test_a_check_runs_out_of_the_windows(model_folder: ModelFolder) -> None:
    """Slots that kept no window at all would be found out by a window wider than the tokens that are checked."""
    attention = SlotAttention()
    checkpoint = loaded(model_folder("phimoe with windows"))
    learn = attention._learn

    def forget(*given: object) -> int:
        layer = learn(*given)  # type: ignore[arg-type]
        attention.is_masked[layer] = False
        return layer

    attention._learn = forget  # type: ignore[method-assign]
    with pytest.raises(UnservedModelError, match="% off"):
        check(checkpoint, attention)


def loaded(folder: Path) -> Checkpoint:
    return open_checkpoint(Load(model=str(folder), device="cpu", dtype="float32"))


def check(checkpoint: Checkpoint, attention: SlotAttention | None = None) -> SlotAttention:
    attention = attention or SlotAttention()
    check_served(checkpoint, ModelRunner(checkpoint.model, attention, device=CPU), attention)
    return attention


@pytest.mark.parametrize("length", [50, 51, 300])
@pytest.mark.parametrize("window", [1, 7, 49, 50, 60])
def test_a_windows_width_is_read_from_its_mask(window: int, length: int) -> None:
    found = read_window(sliding_window_causal_mask_function(window), length, CPU)
    assert found == (Window(window) if window < length else None)


def test_a_causal_mask_has_no_window() -> None:
    assert read_window(causal_mask_function, 1 << 20, CPU) is None


@pytest.mark.parametrize("length", [49, 50, 51])
@pytest.mark.parametrize("chunk", [2, 7, 16, 25, 48, 49, 50])
def test_a_chunks_size_is_read_from_its_mask(chunk: int, length: int) -> None:
    found = read_window(chunked_causal_mask_function(chunk, torch.zeros(1, dtype=torch.int64)), length, CPU)
    assert found == (Window(chunk, in_chunks=True) if chunk < length else None)


@pytest.mark.parametrize("window", [Window(7), Window(7, in_chunks=True)])
def test_a_window_is_what_transformers_makes_its_mask_from(window: Window) -> None:
    assert read_window(window.sees, 50, CPU) == window


def test_chunks_of_several_sizes_are_no_window() -> None:
    def sees(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        size = torch.where(query < 40, 4, 10)
        return (key <= query) & (key // size == query // size)

    with pytest.raises(UnservedModelError, match="neither causal nor a window"):
        read_window(sees, 50, CPU)


def test_the_positions_that_llama_4_counts_itself_limit_the_context() -> None:
    """Beyond 1,999 tokens its layers without rotations scale queries by where a token stands in the batch."""
    model = make_model("llama4_text")
    model.config.update({"floor_scale": 2000, "max_position_embeddings": 4096})
    assert _context_length(model.config) == 1999
    model.config.update({"attn_temperature_tuning": False})
    assert _context_length(model.config) == 4096


def test_llama_4_with_positions_that_it_counts_from_early_on_is_left_to_generate(model_folder: ModelFolder) -> None:
    checkpoint = loaded(model_folder("llama4_text"))
    checkpoint.model.config.update({"floor_scale": 500})
    with pytest.raises(UnservedModelError, match="it counts its positions itself"):
        check(checkpoint)


def test_blocks_that_see_each_other_are_no_windows() -> None:
    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return or_masks(causal_mask_function, blockwise_overlay(torch.zeros(1, 50, dtype=torch.int64)))(
            batch, head, query, key
        )

    with pytest.raises(UnservedModelError):
        read_window(sees, 50, CPU)


def test_named_windows_are_those_of_generates_cache() -> None:
    assert named_windows(make_model("gemma2").config, 256) == {20}
    assert named_windows(make_model("gemma2").config, 20) == set()
    assert named_windows(make_model("qwen2").config, 256) == set()
