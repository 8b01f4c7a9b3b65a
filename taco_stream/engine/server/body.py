"""One sample as the body of a request to `/v1/completions` or `/v1/chat/completions`.

Every field of sampling is always sent: a server fills a missing one from defaults of its own (llama.cpp's
top_k is 40, transformers' 50, vLLM takes the model's generation_config.json). A field that a server rejects is left out
for that server; `changed_by_dropping` says whether its samples would then be others than those asked for.
"""

import hashlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from taco_stream.types import ChatMessage, ChatPrompt, Request

MAX_STOP_STRINGS = 4
"""OpenAI's and vLLM's limit; a fifth is answered with status 400."""

DROPPABLE = frozenset(
    (
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "repetition_penalty",
        "n",
        "seed",
        "stop",
        "max_tokens",
        "chat_template_kwargs",
    )
)
"""The fields that a body can do without, in the names of the wire. Without `max_tokens` it has
`max_completion_tokens`, as OpenAI's reasoning models want it."""


class Body(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The fields of a request; those that are None are not sent."""

    model: str
    prompt: str | None = None
    messages: tuple[ChatMessage, ...] | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    n: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] | None = None
    chat_template_kwargs: Mapping[str, bool] | None = None

    def with_max_tokens(self, tokens: int) -> "Body":
        """The same, for at most so many tokens."""
        name = "max_tokens" if self.max_tokens is not None else "max_completion_tokens"
        return msgspec.structs.replace(self, **{name: tokens})


def sample_body(model: str, request: Request, sample_index: int, dropped: frozenset[str] = frozenset()) -> Body:
    """The body that asks for one sample, without the fields that are dropped.

    One request asks for one sample, so each has a seed of its own and can be repeated alone.
    """
    body = _prompt_body(model, request, dropped)
    if "seed" in dropped:
        return body
    return msgspec.structs.replace(body, seed=sample_seed(request.seed, request.problem_id, sample_index))


@lru_cache(maxsize=64)  # the samples of a prompt are asked for one after the other
def _prompt_body(model: str, request: Request, dropped: frozenset[str]) -> Body:
    """The body that all samples of a request share, which has no seed."""
    sampling, prompt = request.sampling, request.prompt
    fields: dict[str, Any] = {
        "max_tokens": sampling.max_new_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k or -1,  # SGLang refuses 0; all others take -1 for "off" too
        "min_p": sampling.min_p,
        "repetition_penalty": 1.0,  # vLLM takes the model's, which is 1.1 for Qwen2.5-Coder-Instruct
        "n": 1,
        "stop": stop_strings_to_send(sampling.stop) or None,
    }
    if isinstance(prompt, ChatPrompt):
        fields["messages"] = prompt.messages
        fields["chat_template_kwargs"] = None if prompt.thinking is None else {"enable_thinking": prompt.thinking}
    else:
        fields["prompt"] = prompt.text
    if "max_tokens" in dropped:
        fields["max_completion_tokens"] = sampling.max_new_tokens
    return Body(model=model, **{name: value for name, value in fields.items() if name not in dropped})


def sample_seed(seed: int, problem_id: str, sample_index: int) -> int:
    """The seed of one sample: 31 bits, which every server takes, of a hash.

    Never `seed + sample_index`: vLLM seeds the i-th of several samples of one request with `seed + i`, and samples of
    two problems would share their random numbers.
    """
    digest = hashlib.blake2b(f"{seed}\0{problem_id}\0{sample_index}".encode("utf-8", "surrogatepass"), digest_size=4)
    return int.from_bytes(digest.digest(), "big") & 0x7FFFFFFF


@lru_cache(maxsize=64)
def stop_strings_to_send(stop_strings: tuple[str, ...]) -> tuple[str, ...]:
    """Up to four stop strings for the server to end at; the text is cut at all of them when it arrives.

    A server ends at the first stop string that is complete. One that stands inside another could be complete before
    that, or with it, although the other began earlier, so it is not sent: a text is cut at the earliest beginning.
    Special tokens are decoded to nothing in most servers, so they come last.
    """
    wanted = tuple(dict.fromkeys(stop for stop in stop_strings if stop))
    free = [stop for stop in wanted if not any(stop in other[1:] for other in wanted)]
    return tuple(sorted(free, key=_is_special)[:MAX_STOP_STRINGS])


def changed_by_dropping(request: Request, dropped: Iterable[str]) -> frozenset[str]:
    """Those of the dropped fields without which the samples are not the ones asked for.

    A field whose value is that of a server that knows no such field changes nothing. Stop strings are applied here as
    well, and a seed decides which samples are drawn, not their distribution.
    """
    sampling, prompt = request.sampling, request.prompt
    is_random = sampling.temperature > 0
    matters = {
        "temperature": sampling.temperature != 1,
        "top_p": is_random and sampling.top_p != 1,
        "top_k": is_random and sampling.top_k != 0,
        "min_p": is_random and sampling.min_p != 0,
        "chat_template_kwargs": isinstance(prompt, ChatPrompt) and prompt.thinking is not None,
    }
    return frozenset(name for name in dropped if matters.get(name, False))


def _is_special(stop_string: str) -> bool:
    return stop_string.startswith("<|") and stop_string.endswith("|>")
