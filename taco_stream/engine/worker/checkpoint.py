"""Opens a model folder or hub id: tokenizer, weights, end tokens, context length; says in a sentence what is wrong."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import AutoConfig, AutoTokenizer, GenerationConfig

from taco_stream.engine.protocol import Load
from taco_stream.engine.worker.adapter import Place, find_place
from taco_stream.engine.worker.generation_config import settle
from taco_stream.engine.worker.model_folder import model_place
from taco_stream.engine.worker.model_kind import refuse_what_does_not_generate
from taco_stream.engine.worker.weights import load_weights, quantization_method
from taco_stream.errors import ModelError, TacoStreamError, UsageError

GENERATION_CONFIG = "generation_config.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
TOKENIZER_FILES = (TOKENIZER_CONFIG, "tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tekken.json")
"""One of these is in every folder with a tokenizer."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Checkpoint(NamedTuple):
    """A loaded model and what generating with it needs to know.

    `unused_weights` are in its files and not in the model.
    """

    model: Any
    tokenizer: Any
    device: torch.device
    end_tokens: frozenset[int]
    context_length: int
    unused_weights: tuple[str, ...] = ()

    @property
    def not_finite(self) -> str:
        """The sentence for logits that are NaN or infinite, with the cure if there is one."""
        if self.model.dtype is torch.float16:
            return "the model's logits are not finite: it overflows in float16, try --dtype bfloat16"
        return f"the model's logits are not finite in {str(self.model.dtype).removeprefix('torch.')}"


def open_checkpoint(load: Load) -> Checkpoint:
    """Loads the model onto the device. Raises `UsageError` or `ModelError` that names the folder, device or setting."""
    device = choose_device(load.device, sees_one_device=load.sees_one_device)
    dtype = _dtype(load.dtype)
    if load.quantize not in (None, "int8"):
        raise UsageError(f"there is no quantisation {load.quantize!r}: give int8 or none")
    place = find_place(model_place(load.model))
    if Path(place.base).is_dir() and not Path(place.base, "config.json").is_file():
        raise ModelError(f"the folder {place.base} holds no model: it has no config.json")
    with _in_a_sentence(f"the model {place.base} cannot be loaded", place.base):
        config = AutoConfig.from_pretrained(place.base, trust_remote_code=False)
        refuse_what_does_not_generate(place.base, config)
        generation_config = _generation_config(load, place.base, config)
    tokenizer = _tokenizer(place)
    quantized = f" (quantised: {quantization_method(config)})" if quantization_method(config) else ""
    with _in_a_sentence(f"the model {place.base}{quantized} cannot be loaded", place.base):
        weights = load_weights(place, config, dtype=dtype, device=device, quantize=load.quantize)
    weights.model.generation_config = generation_config
    return Checkpoint(
        model=weights.model,
        tokenizer=tokenizer,
        device=device,
        end_tokens=_end_tokens(weights.model, tokenizer),
        context_length=_context_length(config),
        unused_weights=weights.unused,
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
            # A process that sees one device cannot say how many there are.
            count = "no such CUDA device" if sees_one_device else f"{torch.cuda.device_count()} CUDA devices"
            raise UsageError(f"the device {name} does not exist: torch sees {count}")
        return torch.device("cuda", index)
    if device.type != "cpu":
        raise UsageError(f"the device {name} is not supported: give auto, cpu, or a list such as cuda:0,cuda:1")
    return device


def _dtype(name: str) -> Any:
    if name == "auto":
        return "auto"
    if name not in DTYPES:
        raise UsageError(f"there is no data type {name!r}: give auto, {', '.join(DTYPES)}")
    return DTYPES[name]


def _generation_config(load: Load, place: str, config: Any) -> Any:
    """What the model's files say of generating, checked before its weights are loaded, which may take minutes."""
    try:
        generation_config = GenerationConfig.from_pretrained(place)
        name = GENERATION_CONFIG
    except OSError:
        if (Path(place) / GENERATION_CONFIG).exists():  # it cannot be read
            raise
        # Older models have such fields in config.json.
        generation_config = GenerationConfig.from_model_config(config)
        name = "config.json"
    settle(generation_config, f"{place}/{name}", load.ignore_generation_config)
    return generation_config


def _tokenizer(place: Place) -> Any:
    """The adapter's tokenizer, if one was saved with it, else the model's."""
    holder = place.base
    # Whoever trained the adapter may have added tokens to it, or a chat template.
    if place.adapter is not None and Path(place.adapter, TOKENIZER_CONFIG).is_file():
        holder = place.adapter
    if Path(holder).is_dir() and not any(Path(holder, name).is_file() for name in TOKENIZER_FILES):
        raise ModelError(f"the folder {holder} has no tokenizer: none of {', '.join(TOKENIZER_FILES)} is in it")
    with _in_a_sentence(f"the tokenizer of {holder} cannot be loaded", holder):
        return AutoTokenizer.from_pretrained(holder, trust_remote_code=False)


def _end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """The tokens that end a sample: generation_config.json's, else the tokenizer's."""
    configured = model.generation_config.eos_token_id
    if configured is None:
        configured = tokenizer.eos_token_id
    if configured is None:
        return frozenset()
    return frozenset(configured if isinstance(configured, list) else [configured])


def _context_length(config: Any) -> int:
    """Positions that the model was made for."""
    text = config.get_text_config(decoder=True)
    # A model without such a number has no positions to run out of (ALiBi, recurrent layers).
    longest = getattr(text, "max_position_embeddings", None) or 1 << 20
    rotary = getattr(text, "rope_parameters", None) or {}
    kinds = [rotary, *(nested for nested in rotary.values() if isinstance(nested, dict))]
    original = getattr(text, "original_max_position_embeddings", None)
    # Rotary scalings that switch by the longest position of a batch would make a sample depend on its neighbours, so
    # such models are served up to the length before the switch: the shortest, if kinds of layers have their own.
    switches = [
        kind.get("original_max_position_embeddings") or original or longest
        for kind in kinds
        if "dynamic" in (name := kind.get("rope_type") or "") or name == "longrope"
    ]
    # Llama 4's layers without rotations scale queries by positions that they count in the batch themselves.
    if getattr(text, "attn_temperature_tuning", None) and 0 in (getattr(text, "no_rope_layers", None) or ()):
        switches.append(text.floor_scale - 1)  # all factors are 1 until then
    return int(min([longest, *switches]))


@contextlib.contextmanager
def _in_a_sentence(beginning: str, place: str) -> Iterator[None]:
    """Turns what transformers raises about the model or tokenizer at `place` into a `ModelError` of one sentence."""
    try:
        yield
    except TacoStreamError:
        raise
    except Exception as error:  # files may hold anything, and readers from many packages raise anything
        raise ModelError(f"{beginning}: {_reason(error, place)}") from error


def _reason(error: BaseException, place: str) -> str:
    # transformers' message asks for a flag that does not exist here.
    if "trust_remote_code" in str(error):
        return "it needs code of its own (auto_map in its config.json), and no code from models is run here"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    is_offline = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE")
    is_of_the_hub = isinstance(error, OSError) and not Path(place).is_dir()
    hint = " (the hub is switched off by HF_HUB_OFFLINE)" if is_offline and is_of_the_hub else ""
    # The message of these alone says little: that of a KeyError is only the key.
    is_unspoken = isinstance(error, NameError | LookupError | AttributeError | TypeError) or not lines
    name = [type(error).__name__] if is_unspoken else []
    return ": ".join([*name, *(line.rstrip(".:") for line in lines[:1])]) + hint
