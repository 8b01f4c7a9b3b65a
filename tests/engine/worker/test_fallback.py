"""Models that slots cannot serve run through transformers' own `generate`, and say so."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from engine.bench import BRIEF, GREEDY, SAMPLED, FallbackBench, reference, requests, texts
from engine.tiny_models import UNSERVED, make_tokenizer
from torch import Tensor
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, BloomForCausalLM

from taco_stream.engine.protocol import Load
from taco_stream.engine.worker.fallback import GenerateCore
from taco_stream.engine.worker.load import start
from taco_stream.errors import ModelError, UsageError
from taco_stream.events import PromptTooLong
from taco_stream.types import FinishReason, Request, SamplingParameters

ModelFolder = Callable[[str], Path]


@pytest.mark.parametrize("architecture", UNSERVED)
def test_unserved_models_are_announced_and_greedy_samples_equal_generate(
    model_folder: ModelFolder, architecture: str
) -> None:
    folder = model_folder(architecture)
    asked = requests(GREEDY, samples=2, count=4)
    bench = FallbackBench(folder)
    assert bench.notes == ["generate_fallback"]
    assert isinstance(bench.core, GenerateCore)
    completions = bench.generate(asked)
    assert texts(completions) == reference(bench.checkpoint, asked, folder)  # type: ignore[arg-type]
    assert all(completion.engine.endswith("generate") for completion in completions.values())


def test_samples_do_not_depend_on_their_batch(model_folder: ModelFolder) -> None:
    folder = model_folder("bloom")
    one = FallbackBench(folder, batch_size=1).generate(requests(SAMPLED, count=2))
    many = FallbackBench(folder, batch_size=9).generate(requests(SAMPLED, count=2))
    assert texts(one) == texts(many)


def test_a_stop_string_ends_a_sample_and_is_cut_off(model_folder: ModelFolder) -> None:
    bench = FallbackBench(model_folder("bloom"))
    (key, text), *_ = texts(bench.generate(requests(GREEDY, samples=1, count=1))).items()
    stopping = SamplingParameters(max_new_tokens=40, temperature=0, stop=(text[3:5],))
    completion = bench.generate(requests(stopping, samples=1, count=1))[key]
    assert completion.text == text[: text.index(text[3:5])]
    assert completion.finish_reason is FinishReason.STOP_STRING


def test_out_of_memory_halves_the_batch_and_loses_nothing(
    model_folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = model_folder("bloom")
    expected = texts(FallbackBench(folder).generate(requests(SAMPLED, samples=5, count=2)))
    bench = FallbackBench(folder, batch_size=5)
    model = bench.checkpoint.model  # type: ignore[attr-defined]
    generate = model.generate

    def short(prompts: Tensor, **settings: object) -> object:
        if len(prompts) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory (simulated)")
        return generate(prompts, **settings)

    monkeypatch.setattr(model, "generate", short)
    assert texts(bench.generate(requests(SAMPLED, samples=5, count=2))) == expected
    assert bench.notes == ["generate_fallback", "slots_halved"]


def test_a_sample_too_large_alone_is_an_error_completion_of_generate(
    model_folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = FallbackBench(model_folder("bloom"), batch_size=2)

    def never(prompts: Tensor, **_: object) -> object:
        raise torch.OutOfMemoryError("CUDA out of memory (simulated)")

    monkeypatch.setattr(bench.checkpoint.model, "generate", never)  # type: ignore[attr-defined]
    completions = bench.generate(requests(SAMPLED, samples=2, count=1)).values()
    assert {completion.finish_reason for completion in completions} == {FinishReason.ERROR}
    assert all("does not fit" in str(completion.error) for completion in completions)


def test_draining_cancels_what_has_not_started(model_folder: ModelFolder) -> None:
    bench = FallbackBench(model_folder("bloom"), batch_size=2)
    bench.add(requests(GREEDY, samples=3, count=2))
    first = bench.core.step()
    bench.core.drain()
    late: list[Request] = requests(GREEDY, samples=1, count=1)
    bench.core.add(9, late[0], time.monotonic())
    rest = bench.core.step()
    assert len(first) == 2
    assert [item.completion.finish_reason for item in rest] == [FinishReason.CANCELLED] * 5


def test_what_is_withdrawn_comes_back_unless_it_has_started(model_folder: ModelFolder) -> None:
    bench = FallbackBench(model_folder("bloom"), batch_size=2)
    bench.add(requests(BRIEF, samples=3, count=2))
    first = bench.core.step()
    bench.core.withdraw(0, frozenset((0, 2)))
    (cancelled,) = bench.core.step()[:1]
    assert len(first) == 2
    assert (cancelled.completion.sample_index, cancelled.completion.finish_reason) == (2, FinishReason.CANCELLED)


def test_reproducible_mode_is_refused(model_folder: ModelFolder) -> None:
    load = Load(model=str(model_folder("bloom")), device="cpu", reproducible=True)
    with pytest.raises(UsageError, match="has no reproducible mode"):
        start(load, lambda event: None)


def test_a_prompt_that_leaves_too_little_room_is_noted(model_folder: ModelFolder) -> None:
    bench = FallbackBench(model_folder("bloom"))
    context = bench.core._checkpoint.context_length  # type: ignore[attr-defined]
    wanted = SamplingParameters(max_new_tokens=context, temperature=0, stop=tuple("abcdefgh =int\n"))
    bench.generate(requests(wanted, samples=1, count=1))
    event = bench.events[-1]
    assert isinstance(event, PromptTooLong)
    assert event.problem_id == "p0"
    assert event.new_tokens_left == context - event.prompt_tokens


def make_rwkv(folder: Path) -> Path:
    """RWKV computes two rows as it computes neither alone, in transformers itself."""
    torch.manual_seed(0)
    fields = {"vocab_size": 300, "hidden_size": 64, "num_hidden_layers": 2, "attention_hidden_size": 64}
    config = CONFIG_MAPPING["rwkv"](**fields, context_length=256, bos_token_id=1, eos_token_id=2)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.15)
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


def test_a_model_that_mixes_rows_up_generates_one_at_a_time(tmp_path: Path) -> None:
    folder = make_rwkv(tmp_path)
    asked = requests(GREEDY, samples=2, count=2)
    bench = FallbackBench(folder)
    assert bench.notes == ["generate_fallback", "one_row_at_a_time"]
    assert bench.ready.slots == 1
    assert texts(bench.generate(asked)) == reference(bench.checkpoint, asked, folder)  # type: ignore[arg-type]


def test_a_model_that_takes_no_second_row_generates_one_at_a_time(
    model_folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate = BloomForCausalLM.generate

    def picky(self: object, prompts: Tensor, **settings: object) -> object:
        if len(prompts) > 1:
            raise ValueError("matC_old has wrong shape")
        return generate(self, prompts, **settings)

    monkeypatch.setattr(BloomForCausalLM, "generate", picky)
    bench = FallbackBench(model_folder("bloom"))
    assert bench.notes == ["generate_fallback", "one_row_at_a_time"]
    assert len(bench.generate(requests(GREEDY, samples=3, count=1))) == 3


def test_a_model_that_generates_nothing_at_all_is_refused(
    model_folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: object, prompts: Tensor, **_: object) -> object:
        raise IndexError("index out of range in self")

    monkeypatch.setattr(BloomForCausalLM, "generate", broken)
    with pytest.raises(
        ModelError, match="transformers cannot generate with this model: IndexError: index out of range"
    ):
        FallbackBench(model_folder("bloom"))
