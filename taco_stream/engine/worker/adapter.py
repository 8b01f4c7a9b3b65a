"""Adapters (LoRA and its kin): a folder or hub id that holds a change to a base model's weights, merged into them here.

Merged, the model is one like any other: nothing is computed twice and slots serve it. A base model that is quantised
cannot take the change without rounding it, so it is refused.
"""

import importlib.util
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from transformers.utils import find_adapter_config_file

from taco_stream.engine.worker.model_folder import model_place
from taco_stream.errors import NOT_DECODED, ModelError, UsageError

WEIGHTS = ("model*.safetensors", "pytorch_model*.bin")


class Place(NamedTuple):
    """Where a model's config and weights are, and its adapter, if it has one."""

    base: str
    adapter: str | None = None


class _AdapterConfig(msgspec.Struct):
    """The field of adapter_config.json that says what the adapter changes."""

    base_model_name_or_path: str | None = None


def find_place(model: str) -> Place:
    """Tells an adapter from a model. Raises `ModelError` for adapters that cannot be loaded, and says what helps."""
    found = find_adapter_config_file(model)
    if found is None:
        return Place(model)
    if importlib.util.find_spec("peft") is None:
        raise ModelError(
            f"{model} holds an adapter (adapter_config.json), which needs peft: "
            "pip install 'taco-stream[adapters]', or merge it into its base model first"
        )
    # Some training scripts save the whole base model into the adapter's folder.
    if any(file for pattern in WEIGHTS for file in Path(model).glob(pattern)):
        return Place(model, adapter=model)
    try:
        base = msgspec.json.decode(Path(found).read_bytes(), type=_AdapterConfig).base_model_name_or_path
    except (OSError, *NOT_DECODED) as error:
        raise ModelError(f"{found} cannot be read: {error}") from error
    if not base:
        raise ModelError(f"{found} does not name the model that it changes (base_model_name_or_path)")
    try:
        return Place(model_place(base), adapter=model)
    except UsageError as error:
        raise ModelError(f"{model} is an adapter, and its base model is missing: {error}") from error


def merge_adapter(model: Any, adapter: str) -> Any:
    """The model with the adapter's change in its weights. Raises `ModelError` unless the two fit in every weight."""
    from peft import PeftConfig, PeftModel

    config = PeftConfig.from_pretrained(adapter)
    if config.is_prompt_learning:
        raise ModelError(f"the adapter {adapter} is a learned prompt ({config.peft_type}), which cannot be merged")
    config.inference_mode = True
    # `PeftModel.from_pretrained` would load as well, and keep the report on the weights to itself.
    changed = PeftModel(model, config)
    report = changed.load_adapter(adapter, "default", torch_device=str(model.device))
    if wrong := sorted({*report.missing_keys, *report.unexpected_keys}):
        raise ModelError(
            f"the adapter {adapter} does not fit its base model: {len(wrong)} weights are missing on either side, "
            f"such as {wrong[0]}"
        )
    return changed.merge_and_unload()
