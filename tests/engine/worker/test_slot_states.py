"""Models with a state beside keys and values: rows, prompts that keep their states, and what is found out at load."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
import torch
from engine.bench import GREEDY, SAMPLED, Bench, FallbackBench, few_shot, reference, requests, texts
from engine.tiny_models import make_model
from torch import Tensor
from transformers import Qwen3_5ForCausalLM

from taco_stream.engine.worker import load
from taco_stream.engine.worker.kv_cache import bytes_per_position
from taco_stream.engine.worker.scheduler import Step
from taco_stream.engine.worker.slot_states import Past, SlotStates

ModelFolder = Callable[[str], Path]

HYBRID = "qwen3_5_text"


@pytest.fixture(scope="module")
def model() -> Any:
    return make_model(HYBRID)


@torch.inference_mode()
def compute(model: Any, past: Past, *rows: int) -> Tensor:
    """Logits behind tokens that follow `past`, one for each row."""
    tokens = torch.tensor([[row] for row in rows])
    output = model(input_ids=tokens, position_ids=torch.zeros_like(tokens), past_key_values=past, use_cache=True)
    logits: Tensor = output.logits[:, -1]
    return logits


@torch.inference_mode()
def computed_prompt(model: Any, *tokens: int) -> Past:
    past = Past.empty(model.config)
    model(input_ids=torch.tensor([tokens]), past_key_values=past, use_cache=True)
    return past


@pytest.mark.parametrize("slots", [[0, 1, 2], [0, 2], [1, 3]])
def test_each_row_goes_on_from_its_own_prompt(model: Any, slots: list[int]) -> None:
    """Whether the rows are neighbours or not, and the others stay as they are."""
    prompts = [computed_prompt(model, 5 + slot, 7, 11, 13 * slot) for slot in range(4)]
    states = SlotStates(prompts[0], 4)
    for slot, prompt in enumerate(prompts):
        states.begin(slot, prompt)
    behind = {slot: [state.clone() for state in prompts[slot].states()] for slot in range(4)}
    for token in (20, 30):
        with states.decoding(slots) as past:
            together = compute(model, past, *(token + slot for slot in slots))
        for row, slot in enumerate(slots):
            torch.testing.assert_close(together[row : row + 1], compute(model, prompts[slot], token + slot))
    for slot in set(range(4)) - set(slots):
        with states.decoding([slot]) as past:
            assert all(map(torch.equal, past.states(), behind[slot]))


def test_a_prompts_states_outlive_the_samples_that_begin_from_them(model: Any) -> None:
    prompt = computed_prompt(model, 5, 6, 7)
    before = [state.clone() for state in prompt.states()]
    states = SlotStates(prompt, 2)
    states.begin(1, prompt)
    with states.decoding([1]) as past:
        compute(model, past, 8)
        assert not any(map(torch.equal, past.states(), before))
    assert all(map(torch.equal, prompt.states(), before))


@pytest.mark.parametrize("settings", [{}, {"reproducible": True}])
def test_prompts_are_computed_whole(model_folder: ModelFolder, settings: dict[str, Any]) -> None:
    """However short the chunks, and however much of a prompt stands in a slot already."""
    folder = model_folder(HYBRID)
    bench = Bench(folder, **settings)
    bench.core.limit_prefill(10)
    asked = few_shot(GREEDY)
    chunks = []
    launch = bench.core.runner.launch

    def noted(step: Step) -> Any:
        chunks.extend(step.chunks)
        return launch(step)

    bench.core.runner.launch = noted  # type: ignore[method-assign]
    completions = bench.generate(asked)
    assert texts(completions) == reference(bench.checkpoint, asked, folder)
    assert len(chunks) == len(asked)
    assert {chunk.tokens for chunk in chunks} == {chunk.sample.prompt for chunk in chunks}


def test_a_sample_does_not_depend_on_its_batch(model_folder: ModelFolder) -> None:
    folder = model_folder(HYBRID)
    one = Bench(folder, batch_size=1).generate(requests(SAMPLED))
    seven = Bench(folder, batch_size=7).generate(requests(SAMPLED)[::-1])
    assert texts(one) == texts(seven)


def test_out_of_memory_halves_no_chunks_where_there_are_none(model_folder: ModelFolder) -> None:
    folder = model_folder(HYBRID)
    expected = texts(Bench(folder).generate(requests(SAMPLED)))
    bench = Bench(folder, batch_size=4)
    launch = bench.core.runner.launch
    failures = 0

    def short_once(step: Step) -> Any:
        nonlocal failures
        if step.chunks and not failures:
            failures += 1
            raise torch.OutOfMemoryError("CUDA out of memory (simulated)")
        return launch(step)

    bench.core.runner.launch = short_once  # type: ignore[method-assign]
    assert texts(bench.generate(requests(SAMPLED))) == expected
    assert bench.notes == ["slots_halved"]
    assert bench.core.statistics().rows_total == 2


def test_a_slots_memory_counts_its_row_and_its_prompts_states(
    model_folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []
    monkeypatch.setattr(load, "slots_in_memory", lambda _, per_slot: given.append(per_slot) or 3)
    bench = Bench(model_folder(HYBRID), batch_size=None, context_length=128)
    runner = bench.core.runner
    # Two layers of 4 heads with 16 × 16, and as many convolutions of 4 tokens over queries, keys and values.
    assert runner.state_bytes == 2 * (4 * 16 * 16 + (32 + 32 + 64) * 4) * 4
    keys = 128 * bytes_per_position(runner._attention.shapes, torch.float32)
    assert given == [keys + 2 * runner.state_bytes]


def test_a_model_of_states_alone_has_no_keys(model_folder: ModelFolder) -> None:
    runner = Bench(model_folder("mamba")).core.runner
    assert runner.has_states
    assert runner._attention.shapes == []
    assert not Bench(model_folder("llama")).core.runner.has_states


def test_states_that_do_not_come_through_are_found_at_load(
    model_folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SlotStates, "begin", lambda self, slot, prompt: None)
    bench = FallbackBench(model_folder(HYBRID))
    (event,) = bench.events
    assert bench.notes == ["generate_fallback"]
    assert "% off" in event.message


def test_a_model_that_mixes_up_the_rows_that_decode_is_found_at_load(
    model_folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = Qwen3_5ForCausalLM.forward

    def mixing(self: Any, input_ids: Tensor, **given: Any) -> Any:
        output = compute(self, input_ids, **given)
        if input_ids.shape[1] == 1:
            output.logits = output.logits.mean(0, keepdim=True).expand_as(output.logits)
        return output

    monkeypatch.setattr(Qwen3_5ForCausalLM, "forward", wraps(compute)(mixing))
    bench = FallbackBench(model_folder(HYBRID))
    assert "generate_fallback" in bench.notes
    assert "% off" in bench.events[0].message


def test_layers_that_keep_their_states_themselves_are_left_to_generate(model_folder: ModelFolder) -> None:
    """Rows of one module's own state would be those of whoever came last."""
    bench = FallbackBench(model_folder("recurrent_gemma"))
    assert "its recurrent layers keep their states themselves" in bench.events[0].message
