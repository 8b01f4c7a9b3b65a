"""Loads a model's weights: all of them as they were saved, or none.

transformers fills what a checkpoint does not hold with random numbers, and what it holds in a form that it does not
know; it says so in a log that nobody reads. So its report is asked for, and whatever is missing is an error. A
checkpoint's own quantisation (GPTQ, AWQ, bitsandbytes, compressed-tensors, FP8, MXFP4 and others) is left to
transformers.
"""

import importlib.util
import warnings
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from transformers import AutoModelForCausalLM
from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

from taco_stream.engine.worker.adapter import Place, merge_adapter
from taco_stream.errors import ModelError, UsageError

PACKAGES = {
    "gptq": ("optimum", "gptqmodel"),
    "awq": ("accelerate", "gptqmodel"),
    "bitsandbytes": ("accelerate", "bitsandbytes"),
    "compressed-tensors": ("compressed-tensors",),
    "fp8": ("accelerate",),
    "mxfp4": ("accelerate",),
    "torchao": ("torchao",),
}
"""Of which quantisations cannot do without. transformers names them one by one, and not in all cases."""

NAMED = 3
"""Weights that a sentence names before it says how many more there are."""


class Weights(NamedTuple):
    """A model with its weights, on its device, and the names of those that its files hold beside them."""

    model: Any
    unused: tuple[str, ...]


def load_weights(place: Place, config: Any, *, dtype: Any, device: torch.device, quantize: str | None) -> Weights:
    """The model at `place`, whose config is `config`. Raises `ModelError` unless every weight is there as expected.

    `quantize` names a quantisation to be made now; a checkpoint that is quantised already is refused with it. Besides
    raises whatever transformers does.
    """
    method = quantization_method(config)
    _check_quantization(place, method, quantize)
    settings: dict[str, Any] = {}
    if quantize is not None:
        settings["quantization_config"] = _quantization(quantize)
    if method is not None and device.type == "cuda":
        settings["device_map"] = {"": device}  # quantised weights are made for a device and do not all move
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries about themselves; the report has what matters
        model, report = AutoModelForCausalLM.from_pretrained(
            place.base,
            dtype=dtype,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # the report then names them, which the error does not
            adapter_kwargs={"subfolder": "none"},  # where there is none: transformers would load one without a report
            **settings,
        )
        _check_report(place.base, model, report)
        if place.adapter is not None:
            model = merge_adapter(model, place.adapter)
        if "device_map" not in settings:
            model = model.to(device)
    return Weights(model.eval(), tuple(sorted(report["unexpected_keys"])))


def quantization_method(config: Any) -> str | None:
    """The method by which a checkpoint's weights were quantised when they were saved, None if they were not."""
    asked = getattr(config, "quantization_config", None)
    asked = asked or getattr(config.get_text_config(decoder=True), "quantization_config", None)
    if not asked:
        return None
    fields = asked if isinstance(asked, dict) else asked.to_dict()
    # Checkpoints from before `quant_method` have these flags alone.
    if fields.get("load_in_4bit") or fields.get("load_in_8bit"):
        return "bitsandbytes"
    method = fields.get("quant_method")
    return str(getattr(method, "value", method))


def first_names(names: Iterable[str]) -> str:
    """The first few of some names, and how many more there are."""
    ordered = sorted(names)
    more = len(ordered) - NAMED
    return ", ".join(ordered[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _check_quantization(place: Place, method: str | None, quantize: str | None) -> None:
    """Raises for quantisations that would be left out, or done on top of another."""
    if method is None:
        return
    if quantize is not None:
        raise UsageError(f"the model {place.base} is quantised already ({method}): leave --quantize {quantize} out")
    if method not in {"bitsandbytes", *AUTO_QUANTIZATION_CONFIG_MAPPING}:
        raise ModelError(f"the model {place.base} is quantised by {method!r}, which this transformers does not know")
    if missing := [
        name for name in PACKAGES.get(method, ()) if importlib.util.find_spec(name.replace("-", "_")) is None
    ]:
        packages = " ".join(missing)
        raise ModelError(f"the model {place.base} is quantised ({method}), which needs more: pip install {packages}")
    if place.adapter is not None:
        raise ModelError(
            f"the base model {place.base} of the adapter {place.adapter} is quantised ({method}): "
            "merge the adapter into the base model as it was before"
        )


def _quantization(name: str) -> Any:
    if name != "int8":
        raise UsageError(f"there is no quantisation {name!r}: give int8 or none")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from torchao.quantization import Int8WeightOnlyConfig
            from transformers import TorchAoConfig
    except ImportError as error:
        raise UsageError("int8 weights need torchao: pip install 'taco-stream[quantize]'") from error
    return TorchAoConfig(Int8WeightOnlyConfig())


def _check_report(place: str, model: Any, report: Any) -> None:
    """Raises `ModelError` for weights that were not in the files, or not in the shape that the model has."""
    if mismatched := sorted(report["mismatched_keys"]):
        name, found, expected = mismatched[0]
        raise ModelError(
            f"the weights of {place} do not fit its config.json: {name} is {list(found)} in the files and "
            f"{list(expected)} in the model, one of {len(mismatched)} such"
        )
    missing = set(report["missing_keys"])
    if not missing:
        return
    # Only the output layer missing is the mark of a base model, whose files are whole.
    output = model.get_output_embeddings()
    of_output = {name for name, module in model.named_modules() if module is output}
    if all(name.rpartition(".")[0] in of_output for name in missing):
        raise ModelError(
            f"the model {place} has no output layer ({first_names(missing)} is missing): "
            "it is a base model, which cannot generate"
        )
    raise ModelError(f"the model {place} is not whole: its files do not hold {first_names(missing)}")
