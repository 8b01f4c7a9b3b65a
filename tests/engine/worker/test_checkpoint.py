"""Prompts, end tokens and context lengths of model folders in all their variety."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import LlamaConfig, Phi3Config

from taco_stream.engine.protocol import Load
from taco_stream.engine.worker.checkpoint import _context_length, open_checkpoint
from taco_stream.errors import ModelError, UsageError

ModelFolder = Callable[[str], Path]


def test_end_tokens_are_those_of_the_generation_config(model_folder: ModelFolder, tmp_path: Path) -> None:
    for file in model_folder("llama").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    settings = json.loads((tmp_path / "generation_config.json").read_text())
    (tmp_path / "generation_config.json").write_text(json.dumps(settings | {"eos_token_id": [2, 77]}))
    assert open_checkpoint(Load(model=str(tmp_path), device="cpu")).end_tokens == {2, 77}


def test_a_tokenizer_without_a_pad_token_serves(model_folder: ModelFolder) -> None:
    checkpoint = open_checkpoint(Load(model=str(model_folder("llama")), device="cpu"))
    assert checkpoint.tokenizer.pad_token is None
    assert checkpoint.end_tokens == {2}


def test_positions_that_scale_with_the_longest_row_are_served_unscaled() -> None:
    """Their rotation would depend on who shares the batch."""
    scaled = {"rope_type": "longrope", "short_factor": [1.0] * 8, "long_factor": [2.0] * 8, "rope_theta": 10000.0}
    config = Phi3Config(
        hidden_size=64,
        num_attention_heads=4,
        pad_token_id=0,
        max_position_embeddings=4096,
        original_max_position_embeddings=512,
        rope_parameters=scaled | {"original_max_position_embeddings": 512},
    )
    assert _context_length(config) == 512
    assert _context_length(LlamaConfig(max_position_embeddings=4096)) == 4096


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"device": "abacus"}, "there is no device 'abacus'"),
        ({"dtype": "float8"}, "there is no data type 'float8'"),
        ({"quantize": "int3"}, "there is no quantisation 'int3'"),
    ],
)
def test_a_setting_without_a_meaning_is_named(
    model_folder: ModelFolder, settings: dict[str, str], sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        open_checkpoint(Load(**({"model": str(model_folder("llama")), "device": "cpu"} | settings)))


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no model: it has no config\.json"):
        open_checkpoint(Load(model=str(tmp_path), device="cpu"))
