"""What a server says about itself before it is asked for samples: which models, how long a context. Pure."""

from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from taco_stream.errors import UsageError

SERVES_ONE_MODEL = frozenset(("vllm", "sglang", "llamacpp"))
"""Owners under which a list of models is what is served: transformers' server lists what it could load."""

LISTED_NAMES = 10


class Description(NamedTuple):
    """The model that a server serves under the name asked for; what it does not say is None.

    `root` is the model behind the name: a folder, or a name on the hub. Samples of two servers, or of one before and
    after a restart, are of one model if their descriptions are equal.
    """

    model: str
    root: str | None
    context_length: int | None

    def __str__(self) -> str:
        context = f", context {self.context_length}" if self.context_length else ""
        return f"{self.model}{f' ({self.root})' if self.root else ''}{context}"


class ServedModel(msgspec.Struct):
    """An entry of `/v1/models`."""

    id: str
    root: str | None = None
    max_model_len: int | None = None  # vLLM, SGLang
    owned_by: str | None = None


class _ModelList(msgspec.Struct):
    data: list[ServedModel]


class _GenerationDefaults(msgspec.Struct):
    n_ctx: int | None = None


class _Properties(msgspec.Struct):
    default_generation_settings: _GenerationDefaults


class _TokenCount(msgspec.Struct):
    count: int | None = None


def split_urls(text: str) -> tuple[str, ...]:
    """The base URLs in a list of addresses; those without a path get `/v1`.

    Raises `UsageError` if there is none, or one that is not an address or that holds what must not be written down.
    """
    bases = []
    for url in (part.strip() for part in text.split(",") if part.strip()):
        try:
            parts = urlsplit(url)
            is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_address = False
        if not is_address:
            raise UsageError(f"--server cannot be {url!r}: it is an address such as http://localhost:8000")
        if parts.username or parts.password or parts.query or parts.fragment:
            # Not shown: it is probably a key, and a URL stands in the manifest and in events.
            raise UsageError("--server takes no name, password or query: name the variable of a key with --api-key-env")
        bases.append(url.rstrip("/") + ("" if parts.path.strip("/") else "/v1"))
    if not bases:
        raise UsageError("--engine server needs --server URL, such as http://localhost:8000")
    return tuple(dict.fromkeys(bases))


def root_of(base: str) -> str:
    """Where a server's own addresses (`/health`, `/props`) begin: the base without `/v1`."""
    return base.removesuffix("/v1")


def read_models(content: bytes) -> list[ServedModel]:
    """The models of `/v1/models`; none if the answer is something else."""
    try:
        return msgspec.json.decode(content, type=_ModelList).data
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return []


def read_slot_length(content: bytes) -> int | None:
    """The context of one slot in llama.cpp's `/props`."""
    try:
        return msgspec.json.decode(content, type=_Properties).default_generation_settings.n_ctx
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def read_token_count(content: bytes) -> int | None:
    """The length of a prompt in the answer of vLLM's `/tokenize`."""
    try:
        return msgspec.json.decode(content, type=_TokenCount).count
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def choose_model(url: str, named: str | None, served: list[ServedModel]) -> Description:
    """The model to ask for. Raises `UsageError` if the server does not have it, or if it has to be named."""
    by_name = {model.id: model for model in served}
    if named is None:
        if len(served) != 1:
            shown = ", ".join(list(by_name)[:LISTED_NAMES]) or "does not say which"
            raise UsageError(f"--model is needed: {url} serves {shown}")
        named = served[0].id
    if named in by_name:
        model = by_name[named]
        return Description(named, model.root if model.root != named else None, model.max_model_len)
    owners: set[Any] = {model.owned_by for model in served}
    if owners & SERVES_ONE_MODEL:  # SGLang and llama.cpp answer under any name
        raise UsageError(f"--model cannot be {named!r}: {url} serves {', '.join(list(by_name)[:LISTED_NAMES])}")
    return Description(named, None, None)
