"""Quantised weights, made here or found in a checkpoint, give the samples that transformers gives with them."""

import importlib.util
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from engine.bench import GREEDY, Bench, requests
from engine.tiny_models import make_tokenizer
from transformers import AutoModelForCausalLM

from taco_stream.engine.worker.core import EngineCore
from taco_stream.types import TextPrompt

ModelFolder = Callable[[str], Path]

needs_torchao = pytest.mark.skipif(
    importlib.util.find_spec("torchao") is None, reason="needs torchao: pip install 'taco-stream[quantize]'"
)
needs_compressed_tensors = pytest.mark.skipif(
    importlib.util.find_spec("compressed_tensors") is None,
    reason="needs compressed-tensors: pip install 'taco-stream[quantized]'",
)


def quietly(do: Callable[[], Any]) -> Any:
    """Does what packages warn about, of which the tests otherwise make errors: that is for them to mend."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return do()


def check(bench: Bench, model: Any) -> None:
    """The bench's greedy samples are those of `model`, and slots serve it."""
    asked = requests(GREEDY, samples=1, count=3)
    assert isinstance(bench.core, EngineCore)
    assert bench.notes == []
    completions = bench.generate(asked)
    for request in asked:
        assert isinstance(request.prompt, TextPrompt)
        prompt = bench.checkpoint.tokenizer(request.prompt.text, return_tensors="pt")["input_ids"]
        generated = model.generate(
            prompt, max_new_tokens=40, do_sample=False, pad_token_id=0, attention_mask=torch.ones_like(prompt)
        )
        expected = bench.checkpoint.tokenizer.decode(generated[0, prompt.shape[1] :], skip_special_tokens=True)
        assert [item.text for key, item in completions.items() if key.problem_id == request.problem_id] == [expected]


def int8_by_transformers(folder: Path) -> Any:
    from torchao.quantization import Int8WeightOnlyConfig
    from transformers import TorchAoConfig

    settings = TorchAoConfig(Int8WeightOnlyConfig())
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, quantization_config=settings)


@needs_torchao
def test_int8_weights_give_what_transformers_gives_with_them(model_folder: ModelFolder) -> None:
    bench = Bench(model_folder("llama"), quantize="int8")  # none of torchao's warnings comes through
    kinds = {type(weight.data).__name__ for weight in bench.checkpoint.model.model.layers.parameters()}
    assert "Int8Tensor" in kinds
    check(bench, quietly(lambda: int8_by_transformers(model_folder("llama"))))


@needs_torchao
def test_a_checkpoint_of_torchao_is_served_as_it_was_saved(model_folder: ModelFolder, tmp_path: Path) -> None:
    model = quietly(lambda: int8_by_transformers(model_folder("llama")))
    quietly(lambda: model.save_pretrained(tmp_path))
    make_tokenizer().save_pretrained(tmp_path)
    check(Bench(tmp_path), model)


@needs_compressed_tensors
def test_a_compressed_checkpoint_is_served_as_it_was_saved(model_folder: ModelFolder, tmp_path: Path) -> None:
    quietly(lambda: save_compressed(model_folder("llama"), tmp_path))
    check(Bench(tmp_path), quietly(lambda: AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)))


def save_compressed(folder: Path, target: Path) -> None:
    """Writes a model's weights in 8 bits, with one scale for each row."""
    from compressed_tensors.compressors import ModelCompressor
    from compressed_tensors.quantization import (
        QuantizationArgs,
        QuantizationConfig,
        QuantizationScheme,
        apply_quantization_config,
    )

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    eight_bits = QuantizationArgs(num_bits=8, type="int", symmetric=True, strategy="channel")
    config = QuantizationConfig(
        config_groups={"group_0": QuantizationScheme(targets=["Linear"], weights=eight_bits)},
        ignore=["lm_head"],
        quantization_status="frozen",
        format="pack-quantized",
    )
    apply_quantization_config(model, config)
    for module in model.modules():
        if getattr(module, "quantization_scheme", None) is not None:
            module.weight_scale.data.copy_(module.weight.abs().amax(1, keepdim=True) / 127)
    compressor = ModelCompressor(quantization_config=config)
    compressor.compress_model(model)
    model.save_pretrained(target)
    compressor.update_config(target)
    make_tokenizer().save_pretrained(target)
