"""How a model is loaded and run here, and how servers are asked that run one: groups of `taco_stream.settings`."""

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

    model: Annotated[
        str,
        setting(
            "Model folder, hub id, or 'demo'; of a server, the name it serves.", changes_results=True, min_length=1
        ),
    ] = "demo"
    devices: Annotated[str, setting("auto, cpu, or a list such as cuda:0,cuda:1.")] = "auto"
    batch_size: Annotated[int | None, setting("Rows decoded at once per device; default: what memory holds.", ge=1)] = (
        None
    )
    threads: Annotated[
        int | None,
        setting("CPU threads to generate with, of all workers; default: half of the cores if judging.", ge=1, le=1024),
    ] = None
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


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The OpenAI-compatible servers of `--engine server`, and how they are asked.

    Samples are not those asked for if a server rejects or ignores a field such as those in `server_may_ignore`; without
    that permission it is refused.
    """

    server: Annotated[
        str | None, setting("Address, or a list of them: http://localhost:8000,http://other:8000.", min_length=1)
    ] = None
    api_key_env: Annotated[str | None, setting("Environment variable that holds the servers' key.", min_length=1)] = (
        None
    )
    server_concurrency: Annotated[int, setting("Most requests in flight per server; fewer are found out.", ge=1)] = 1024
    server_patience: Annotated[
        float, setting("Seconds to wait for servers, all of which are down, before giving up.", ge=0)
    ] = 300.0
    server_timeout: Annotated[
        float | None,
        setting("Seconds of silence after which a request failed; default: 3600, on this machine never.", gt=0),
    ] = None
    server_may_ignore: Annotated[
        tuple[str, ...],
        setting("Field, such as min_p or temperature, that servers may do without; repeatable."),
    ] = ()
