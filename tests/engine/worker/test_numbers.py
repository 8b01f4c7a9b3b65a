"""Logits that are not finite are an error that says so, of the model at load and of one sample later."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from engine.bench import GREEDY, Bench, FallbackBench, requests, texts
from engine.tiny_models import change_weights, make_tokenizer

from taco_stream.engine.protocol import Load
from taco_stream.engine.worker.checkpoint import open_checkpoint
from taco_stream.engine.worker.counted_sampling import sample_without_waiting
from taco_stream.engine.worker.load import start
from taco_stream.engine.worker.sampling import UNSOUND, RowSampling, sample_in_window, sample_tokens
from taco_stream.errors import ModelError
from taco_stream.types import FinishReason, Request, SamplingParameters, TextPrompt

ModelFolder = Callable[[str], Path]
NAN, INFINITY = float("nan"), float("inf")


@pytest.fixture
def folder(model_folder: ModelFolder, tmp_path: Path) -> Path:
    return shutil.copytree(model_folder("llama"), tmp_path / "model")


def request(text: str, name: str = "p", tokens: int = 8) -> Request:
    sampling = SamplingParameters(max_new_tokens=tokens, temperature=0)
    return Request(problem_id=name, prompt=TextPrompt(text), sample_indices=(0,), sampling=sampling, seed=1)


def refusal(folder: Path, **settings: str) -> str:
    with pytest.raises(ModelError) as raised:
        start(Load(**{"model": str(folder), "device": "cpu", "dtype": "float32"} | settings), lambda event: None)
    return str(raised.value)


@pytest.mark.parametrize("architecture", ["llama", "bloom"])
def test_weights_that_are_not_numbers_are_refused(model_folder: ModelFolder, tmp_path: Path, architecture: str) -> None:
    folder = shutil.copytree(model_folder(architecture), tmp_path / "model")
    change_weights(folder, lambda weights: next(iter(weights.values())).fill_(NAN))
    assert "the model's logits are not finite in float32" in refusal(folder)


def test_an_overflow_names_its_cure(folder: Path) -> None:
    change_weights(folder, lambda weights: weights["model.layers.0.mlp.down_proj.weight"].mul_(1e6))
    assert "it overflows in float16, try --dtype bfloat16" in refusal(folder, dtype="float16")


def spoil_token(folder: Path, text: str) -> None:
    """Makes the embedding of a text's one token NaN."""
    (token,) = make_tokenizer()(text)["input_ids"]
    name = (
        "model.embed_tokens.weight"
        if "llama" in (folder / "config.json").read_text()
        else "transformer.word_embeddings.weight"
    )
    change_weights(folder, lambda weights: weights[name][token].fill_(NAN))


@pytest.mark.parametrize("settings", [{}, {"reproducible": True}])
def test_a_sample_that_stops_being_finite_is_an_error_and_harms_no_other(
    folder: Path, model_folder: ModelFolder, settings: dict[str, bool]
) -> None:
    """Not even those that get its slot, whose keys are not numbers either: beside a longer row a shorter one's mask
    covers some of them, and a mask is added."""
    asked = [request(text, text) for text in ("z" * 80, "yz" * 40, "f" * 90, "abc", "dez", "gh" * 30)]
    expected = texts(Bench(model_folder("llama"), batch_size=2, **settings).generate(asked))
    spoil_token(folder, "z")
    completions = Bench(folder, batch_size=2, **settings).generate(asked)
    for key, completion in completions.items():
        if "z" in key.problem_id or "z" in expected[key]:
            assert completion.finish_reason is FinishReason.ERROR
            assert completion.error == "the model's logits are not finite in float32"
            assert completion.text == ""
        else:
            assert completion.text == expected[key]
    assert {completion.finish_reason for completion in completions.values()} > {FinishReason.ERROR}


def test_generate_answers_such_a_sample_with_an_error(model_folder: ModelFolder, tmp_path: Path) -> None:
    folder = shutil.copytree(model_folder("bloom"), tmp_path / "model")
    spoil_token(folder, "z")
    completions = FallbackBench(folder).generate([request("abc", "good"), request("azc", "bad")])
    for key, completion in completions.items():
        assert (completion.finish_reason is FinishReason.ERROR) == (key.problem_id == "bad")


@pytest.mark.parametrize("vocabulary", [20, 300, 40_000])
@pytest.mark.parametrize("temperature", [0.0, 0.7])
@pytest.mark.parametrize("bad", [[NAN], [-NAN], [INFINITY], [NAN, INFINITY, -INFINITY]])
def test_no_token_is_drawn_from_logits_that_are_not_finite(
    vocabulary: int, temperature: float, bad: list[float]
) -> None:
    torch.manual_seed(0)
    logits = torch.randn(4, vocabulary)
    for place, value in enumerate(bad):
        logits[1, vocabulary // 2 + place] = value
    logits[2] = -INFINITY
    logits[3, vocabulary // 3] = -INFINITY  # one token that cannot come is nothing to complain of
    sampling = RowSampling(
        torch.full((4,), temperature), torch.full((4,), 0.95), torch.zeros(4, dtype=torch.int64), torch.zeros(4)
    )
    uniforms = torch.full((4,), 0.5, dtype=torch.float64)
    tokens = sample_tokens(logits, sampling, uniforms)
    assert (tokens == UNSOUND).tolist() == [False, True, True, False]
    drawn, is_short = sample_in_window(logits, sampling, uniforms)
    assert (drawn == UNSOUND).tolist() == [False, True, True, False]
    assert not is_short[1:3].any()
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        tokens = sample_without_waiting(logits.to(dtype), sampling, uniforms)
        assert (tokens == UNSOUND).tolist() == [False, True, True, False]


@pytest.mark.parametrize("architecture", ["llama", "bloom"])
def test_a_token_that_the_model_does_not_have_refuses_its_prompt_alone(
    model_folder: ModelFolder, tmp_path: Path, architecture: str
) -> None:
    folder = shutil.copytree(model_folder(architecture), tmp_path / "model")
    tokenizer = make_tokenizer()
    tokenizer.add_tokens(["<extra>"])
    tokenizer.save_pretrained(folder)
    completions = FallbackBench(folder).generate([request("a<extra>b", "bad"), request("abc", "good")])
    for key, completion in completions.items():
        if key.problem_id == "bad":
            assert completion.finish_reason is FinishReason.ERROR
            assert completion.error == "the prompt has the token 300 ('<extra>'), but the model has only 300 tokens"
        else:
            assert completion.finish_reason is not FinishReason.ERROR


def test_no_new_tokens_are_refused_for_what_they_are(model_folder: ModelFolder) -> None:
    for completion in Bench(model_folder("llama")).generate([request("abc", tokens=0)]).values():
        assert completion.error == "no token is to be generated: max_new_tokens is 0"


def test_a_failing_path_is_told_from_a_model_that_cannot_be_served(
    model_folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is served by `generate` all the same, but not in silence: whoever reads the events can report it."""

    def broken(*_: object, **__: object) -> object:
        raise RuntimeError("flash attention got a wrong argument")

    monkeypatch.setattr("taco_stream.engine.worker.attention._chunk", broken)
    bench = FallbackBench(model_folder("llama"))
    assert bench.notes == ["slots_failed", "generate_fallback"]
    assert "in broken" in bench.events[0].message
    assert "RuntimeError: flash attention got a wrong argument" in bench.events[0].message
    assert len(bench.generate(requests(GREEDY, samples=1, count=1))) == 1


def test_a_device_that_failed_serves_nothing_any_more(
    model_folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> object:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr("taco_stream.engine.worker.attention._chunk", broken)
    assert "cpu failed while the model was checked: AcceleratorError: CUDA error" in refusal(model_folder("llama"))


def test_an_error_of_the_models_own_code_is_no_error_of_the_slots(
    model_folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = open_checkpoint(Load(model=str(model_folder("llama")), device="cpu"))
    layer = type(checkpoint.model.model.layers[0].mlp)

    def picky(self: object, states: torch.Tensor) -> torch.Tensor:
        raise ValueError("rows must be padded")

    picky_in_transformers = type(picky)(picky.__code__, {"__name__": layer.__module__, "ValueError": ValueError})
    monkeypatch.setattr(layer, "forward", picky_in_transformers)
    assert "transformers cannot generate with this model: ValueError: rows must be padded" in refusal(
        model_folder("llama")
    )
