"""How the local engine loads and runs a model: a group of `taco_stream.settings`."""

from enum import StrEnum
from typing import Annotated

import msgspec

from taco_stream.settings import setting


class Dtype(StrEnum):
    """The type of a model's numbers; `auto` is that of its checkpoint."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class Quantization(StrEnum):
    """How weights are made smaller when they are loaded."""

    INT8 = "int8"


class ModelSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A model, and how it is computed with."""

    model: Annotated[str, setting("Model folder, hub id, or 'demo'.", changes_results=True, min_length=1)] = "demo"
    devices: Annotated[str, setting("auto, cpu, or a list such as cuda:0,cuda:1.")] = "auto"
    batch_size: Annotated[int | None, setting("Rows decoded at once per device; default: what memory holds.", ge=1)] = (
        None
    )
    dtype: Annotated[Dtype, setting("auto, float32, bfloat16 or float16.", changes_results=True)] = Dtype.AUTO
    quantize: Annotated[
        Quantization | None, setting("int8: weights in a quarter of the memory.", changes_results=True)
    ] = None
    reproducible: Annotated[
        bool, setting("Bitwise the same samples for any arrival order, at some speed.", changes_results=True)
    ] = False
    ignore_generation_config: Annotated[
        tuple[str, ...],
        setting("Field of the model's generation_config.json to do without; repeatable.", changes_results=True),
    ] = ()
