"""Opens a model folder or hub id: tokenizer, weights, end tokens, context length; says in a sentence what is wrong."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from taco_stream.engine.generation_config import settle
from taco_stream.engine.model_folder import model_place
from taco_stream.engine.protocol import Load
from taco_stream.errors import ModelError, UsageError

GENERATION_CONFIG = "generation_config.json"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Checkpoint(NamedTuple):
    """A loaded model and what generating with it needs to know."""

    model: Any
    tokenizer: Any
    device: torch.device
    end_tokens: frozenset[int]
    context_length: int


def open_checkpoint(load: Load) -> Checkpoint:
    """Loads the model onto the device. Raises `UsageError` or `ModelError` that names the folder, device or setting."""
    device = choose_device(load.device, sees_one_device=load.sees_one_device)
    dtype = _dtype(load.dtype)
    quantization = _quantization(load.quantize)
    load = msgspec.structs.replace(load, model=model_place(load.model))
    if Path(load.model).is_dir() and not Path(load.model, "config.json").is_file():
        raise ModelError(f"the folder {load.model} holds no model: it has no config.json")
    try:
        config = AutoConfig.from_pretrained(load.model)
        generation_config = _generation_config(load, config)
        tokenizer = AutoTokenizer.from_pretrained(load.model)
        model = AutoModelForCausalLM.from_pretrained(
            load.model, dtype=dtype, quantization_config=quantization, low_cpu_mem_usage=True
        )
        model = model.to(device).eval()
        model.generation_config = generation_config
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"the model {load.model} cannot be loaded: {_first_line(error)}") from error
    return Checkpoint(
        model=model,
        tokenizer=tokenizer,
        device=device,
        end_tokens=_end_tokens(model, tokenizer),
        context_length=_context_length(config),
    )


def choose_device(name: str, *, sees_one_device: bool = False) -> torch.device:
    """The device of a name; `auto` is the first GPU, or the CPU if there is none. Raises `UsageError`.

    With `sees_one_device` any CUDA device is torch's first, under whatever number the user knows it.
    """
    if name == "auto":
        name = "cuda:0" if torch.cuda.device_count() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"there is no device {name!r}: give auto, cpu, or a list such as cuda:0,cuda:1") from error
    if device.type == "cuda":
        index = 0 if sees_one_device else device.index or 0
        if index >= torch.cuda.device_count():
            raise UsageError(f"the device {name} does not exist: torch sees {_seen(sees_one_device)}")
        return torch.device("cuda", index)
    if device.type != "cpu":
        raise UsageError(f"the device {name} is not supported: give auto, cpu, or a list such as cuda:0,cuda:1")
    return device


def _seen(sees_one_device: bool) -> str:
    return "no such CUDA device" if sees_one_device else f"{torch.cuda.device_count()} CUDA devices"


def _dtype(name: str) -> Any:
    if name == "auto":
        return "auto"
    if name not in DTYPES:
        raise UsageError(f"there is no data type {name!r}: give auto, {', '.join(DTYPES)}")
    return DTYPES[name]


def _quantization(name: str | None) -> Any:
    if name is None:
        return None
    if name != "int8":
        raise UsageError(f"there is no quantisation {name!r}: give int8 or none")
    try:
        from torchao.quantization import Int8WeightOnlyConfig
        from transformers import TorchAoConfig
    except ImportError as error:
        raise UsageError("int8 weights need torchao: pip install 'taco-stream[quantize]'") from error
    return TorchAoConfig(Int8WeightOnlyConfig())


def _generation_config(load: Load, config: Any) -> Any:
    """What the model's files say of generating, checked before its weights are loaded, which may take minutes."""
    try:
        generation_config = GenerationConfig.from_pretrained(load.model)
        name = GENERATION_CONFIG
    except OSError:
        if (Path(load.model) / GENERATION_CONFIG).exists():  # it cannot be read
            raise
        # Older models have such fields in config.json.
        generation_config = GenerationConfig.from_model_config(config)
        name = "config.json"
    settle(generation_config, f"{load.model}/{name}", load.ignore_generation_config)
    return generation_config


def _end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """The tokens that end a sample: generation_config.json's, else the tokenizer's."""
    configured = model.generation_config.eos_token_id
    if configured is None:
        configured = tokenizer.eos_token_id
    if configured is None:
        return frozenset()
    return frozenset(configured if isinstance(configured, list) else [configured])


def _context_length(config: Any) -> int:
    """Positions that the model was made for.

    Rotary scalings that switch by the longest position of a batch would make a sample depend on its neighbours, so such
    models are served up to the length before the switch: the shortest, if kinds of layers have scalings of their own.
    """
    text = config.get_text_config(decoder=True)
    longest = getattr(text, "max_position_embeddings", None) or 1 << 20
    rotary = getattr(text, "rope_parameters", None) or {}
    kinds = [rotary, *(nested for nested in rotary.values() if isinstance(nested, dict))]
    original = getattr(text, "original_max_position_embeddings", None)
    switches = [
        kind.get("original_max_position_embeddings") or original or longest
        for kind in kinds
        if "dynamic" in (name := kind.get("rope_type") or "") or name == "longrope"
    ]
    return int(min([longest, *switches]))


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    offline = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE")
    hint = " (the hub is switched off by HF_HUB_OFFLINE)" if offline else ""
    return (lines[0].rstrip(".") if lines else type(error).__name__) + hint
