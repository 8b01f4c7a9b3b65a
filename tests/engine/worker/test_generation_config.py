"""What a model's generation_config.json changes, what flags decide, and what is refused in which words."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from engine.bench import GREEDY, SAMPLED, Bench, requests, texts

from taco_stream.engine.protocol import Load
from taco_stream.engine.worker.checkpoint import open_checkpoint
from taco_stream.engine.worker.generation_config import REFUSED
from taco_stream.errors import ModelError, UsageError
from taco_stream.events import SamplingRecommended
from taco_stream.types import FinishReason

ModelFolder = Callable[[str], Path]
Configured = Callable[..., Path]

TURNED_ON: dict[str, Any] = {
    "repetition_penalty": 1.1,
    "no_repeat_ngram_size": 3,
    "bad_words_ids": [[5, 6]],
    "sequence_bias": [[[7], -10.0]],
    "suppress_tokens": [9],
    "begin_suppress_tokens": [9],
    "forced_bos_token_id": 1,
    "forced_eos_token_id": 2,
    "exponential_decay_length_penalty": [5, 1.1],
    "min_length": 20,
    "min_new_tokens": 20,
    "stop_strings": ["\n\n"],
    "typical_p": 0.9,
    "top_h": 0.4,
    "epsilon_cutoff": 3e-4,
    "eta_cutoff": 3e-4,
    "num_beams": 4,
    "penalty_alpha": 0.6,
    "guidance_scale": 1.5,
    "watermarking_config": {"greenlist_ratio": 0.25, "bias": 2.0},
    "dola_layers": "low",
    "token_healing": True,
    "constraints": [1],
    "force_words_ids": [[5]],
    "encoder_repetition_penalty": 1.3,
    "encoder_no_repeat_ngram_size": 3,
    "max_time": 0.0001,
    "cache_implementation": "quantized",
}


@pytest.fixture
def configured(model_folder: ModelFolder, tmp_path: Path) -> Configured:
    """The folder of a tiny model with such fields in its generation_config.json."""

    def folder(architecture: str = "llama", **fields: Any) -> Path:
        for file in model_folder(architecture).iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
        path = tmp_path / "generation_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))
        return tmp_path

    return folder


def opened(folder: Path, *ignored: str) -> Any:
    return open_checkpoint(Load(model=str(folder), device="cpu", ignore_generation_config=ignored))


def test_every_refused_field_is_tested() -> None:
    assert set(TURNED_ON) == set(REFUSED)


@pytest.mark.parametrize(("field", "value"), TURNED_ON.items())
def test_a_field_that_is_not_done_is_refused_by_file_name_and_value(
    configured: Configured, field: str, value: Any
) -> None:
    folder = configured(**{field: value})
    with pytest.raises(ModelError) as refused:
        opened(folder)
    sentence = str(refused.value)
    assert sentence.startswith(f"{folder}/generation_config.json asks for {field} ")
    assert sentence.endswith(f"does not do: give --ignore-generation-config {field} to generate without")


OFF = [(name, off[0] if isinstance(off, tuple) else off) for name, off in REFUSED.items()]


@pytest.mark.parametrize(("field", "off"), [*OFF, ("bad_words_ids", []), ("sequence_bias", {})])
def test_a_field_that_is_switched_off_is_accepted(configured: Configured, field: str, off: Any) -> None:
    opened(configured(**{field: off}))


def test_all_that_is_refused_is_named_at_once(configured: Configured) -> None:
    folder = configured(repetition_penalty=1.05, suppress_tokens=[3])
    with pytest.raises(ModelError, match=r"asks for repetition_penalty 1\.05 and suppress_tokens \[3\], which"):
        opened(folder)
    with pytest.raises(ModelError, match=r"asks for suppress_tokens"):
        opened(folder, "repetition_penalty")


@pytest.mark.parametrize("architecture", ["llama", "bloom"])
def test_an_ignored_field_changes_no_sample(
    model_folder: ModelFolder, configured: Configured, architecture: str
) -> None:
    """Also where transformers' own `generate` does the work."""
    plain = texts(Bench(model_folder(architecture)).generate(requests(GREEDY, samples=1, count=3)))
    folder = configured(architecture, repetition_penalty=5.0, min_new_tokens=30)
    bench = Bench(folder, ignore_generation_config=("repetition_penalty", "min_new_tokens"))
    assert texts(bench.generate(requests(GREEDY, samples=1, count=3))) == plain


@pytest.mark.parametrize(
    ("field", "value"),
    [("prompt_lookup_num_tokens", 3), ("is_assistant", True), ("cache_implementation", "static"), ("use_cache", False)],
)
def test_what_only_makes_generate_faster_or_slower_changes_no_sample(
    model_folder: ModelFolder, configured: Configured, field: str, value: Any
) -> None:
    asked = requests(GREEDY, samples=2, count=1)
    plain = texts(Bench(model_folder("bloom")).generate(asked))
    assert texts(Bench(configured("bloom", **{field: value})).generate(asked)) == plain


def test_a_name_that_is_no_refused_field_cannot_be_ignored(model_folder: ModelFolder) -> None:
    with pytest.raises(
        UsageError, match="--ignore-generation-config cannot be 'temprature': it is one of bad_words_ids"
    ):
        opened(model_folder("llama"), "temprature")


def test_how_to_sample_is_for_the_run_to_say_and_the_models_advice_is_noted(
    model_folder: ModelFolder, configured: Configured
) -> None:
    plain = texts(Bench(model_folder("llama")).generate(requests(SAMPLED, count=2)))
    bench = Bench(configured(do_sample=True, temperature=0.01, top_k=1, top_p=0.1, max_length=20, max_new_tokens=3))
    (event,) = bench.events
    assert isinstance(event, SamplingRecommended)
    assert (event.temperature, event.top_k, event.top_p, event.min_p) == (0.01, 1, 0.1, None)
    assert texts(bench.generate(requests(SAMPLED, count=2))) == plain


def test_every_end_token_of_the_list_ends_a_sample(model_folder: ModelFolder, configured: Configured) -> None:
    """One of them is the first token that the model is known to write."""
    asked = requests(GREEDY, samples=1, count=1)
    plain = Bench(model_folder("llama"))
    (before,) = plain.generate(asked).values()
    first = plain.checkpoint.tokenizer.convert_tokens_to_ids(before.text[0])
    (ended,) = Bench(configured(eos_token_id=[2, first])).generate(asked).values()
    assert ended.finish_reason is FinishReason.STOP
    assert ended.completion_tokens == 1 < before.completion_tokens


def test_without_the_file_config_json_is_followed_and_named(model_folder: ModelFolder, configured: Configured) -> None:
    folder = configured()
    (folder / "generation_config.json").unlink()
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"eos_token_id": [2, 50]}))
    assert opened(folder).end_tokens == {2, 50}


def test_a_file_that_is_no_json_is_named(configured: Configured) -> None:
    folder = configured()
    (folder / "generation_config.json").write_text("{")
    with pytest.raises(ModelError, match=r"generation_config\.json"):
        opened(folder)
