"""A server's answer to the request for one sample, and what it means for the sample. Pure: bytes in, a value out.

A sample is complete if the status is 200 *and* its `finish_reason` is `stop` or `length`. Nothing else proves it: vLLM
answers 200 to a stream, then sends an error and `[DONE]`, if its engine dies meanwhile; others end with `null` or
`abort`.
"""

import math
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import msgspec

from taco_stream.engine.stop_strings import cut_before_stop
from taco_stream.types import FinishReason

MAX_RETRY_AFTER_SECONDS = 60.0
MESSAGE_CHARACTERS = 300


class Answered(NamedTuple):
    """A whole sample. `reasoning_tokens` are among `completion_tokens`; None if the server does not count them.

    `fingerprint` names the server's version or configuration, empty if it does not say.
    """

    text: str
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    reasoning: str
    reasoning_tokens: int | None
    fingerprint: str


class Overloaded(NamedTuple):
    """Too many requests at once; this one was not begun. `delay_seconds` is how long to leave the server alone."""

    message: str
    delay_seconds: float | None


class Failed(NamedTuple):
    """The server tried and failed, or ended the sample without completing it; the next attempt may succeed."""

    message: str


class Unreachable(NamedTuple):
    """No answer: the connection failed, or a proxy says that nobody is behind it.

    `was_connected` says that the request may have been under way, and its fate is not known.
    """

    message: str
    was_connected: bool


class PromptRefused(NamedTuple):
    """The prompt, or the prompt with its completion, does not fit into the context; None stands for unknown."""

    message: str
    prompt_tokens: int | None
    context_length: int | None


class SampleRefused(NamedTuple):
    """The server will never answer this request. `content` is the answer as it came."""

    message: str
    content: bytes = b""


class ServerUnusable(NamedTuple):
    """The server will answer no request: a key, a model or an address is wrong."""

    message: str


Outcome = Answered | Overloaded | Failed | Unreachable | PromptRefused | SampleRefused | ServerUnusable


class _Message(msgspec.Struct):
    content: str | None = None
    reasoning: str | None = None  # vLLM since 0.12; before, and elsewhere, `reasoning_content`
    reasoning_content: str | None = None


class _Choice(msgspec.Struct):
    text: str | None = None
    message: _Message | None = None
    finish_reason: str | None = None
    stop_reason: Any = None  # vLLM: the stop string, a token id, or null
    matched_stop: Any = None  # the same of SGLang


class _TokenDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    completion_tokens_details: _TokenDetails | None = None
    reasoning_tokens: int | None = None  # SGLang


class _Answer(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage | None = None
    system_fingerprint: str | None = None


_ANSWER = msgspec.json.Decoder(_Answer)


def read_answer(status: int, headers: Mapping[str, str], content: bytes, stop_strings: tuple[str, ...]) -> Outcome:
    """The meaning of an answer to a request with these stop strings. `headers` are looked up in lower case."""
    if status == 200:
        return _read_sample(content, stop_strings)
    message = f"status {status}: {error_message(content)}"
    if status in (429, 503, 529):
        return Overloaded(message, retry_after_seconds(headers))
    if status in (502, 504):
        return Unreachable(message, was_connected=True)
    if status in (408, 409, 425) or status >= 500:
        return Failed(message)
    if 300 <= status < 400:
        return ServerUnusable(f"status {status}: it redirects to {headers.get('location', 'another address')!r}")
    if status in (401, 402, 403, 404, 405):
        return ServerUnusable(message)
    return _read_context_refusal(message, content) or SampleRefused(message, content)


def _read_sample(content: bytes, stop_strings: tuple[str, ...]) -> Outcome:
    try:
        answer = _ANSWER.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return Failed(f"not a completion: {error_message(content)}")
    if len(answer.choices) != 1:
        return Failed(f"{len(answer.choices)} samples, not one")
    choice = answer.choices[0]
    if choice.finish_reason == "content_filter":
        return SampleRefused("the server's content filter ended the sample")
    if choice.finish_reason not in ("stop", "length"):
        return Failed(f"the sample is not complete: its finish_reason is {choice.finish_reason!r}")
    message = choice.message or _Message(content=choice.text)
    if message.content is None and choice.message is None:
        return Failed("the sample has no text")
    text = message.content or ""  # null: a model that reasoned until its tokens were used up
    cut = cut_before_stop(text, stop_strings)
    if cut is not None or isinstance(choice.stop_reason, str) or isinstance(choice.matched_stop, str):
        reason = FinishReason.STOP_STRING
    else:
        reason = FinishReason.LENGTH if choice.finish_reason == "length" else FinishReason.STOP
    usage = answer.usage or _Usage()
    details = usage.completion_tokens_details or _TokenDetails(usage.reasoning_tokens)
    return Answered(
        text=text if cut is None else cut,
        finish_reason=reason,
        prompt_tokens=usage.prompt_tokens or 0,
        completion_tokens=usage.completion_tokens or 0,
        reasoning=message.reasoning or message.reasoning_content or "",
        reasoning_tokens=details.reasoning_tokens,
        fingerprint=answer.system_fingerprint or "",
    )


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """How long to leave a server alone: `retry-after-ms`, or `retry-after` in seconds or as a date; 60 s at most."""
    try:
        if "retry-after-ms" in headers:
            seconds = float(headers["retry-after-ms"]) / 1000
        elif "retry-after" in headers:
            seconds = _seconds_until(headers["retry-after"])
        else:
            return None
    except (TypeError, ValueError):
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS) if math.isfinite(seconds) else None


def _seconds_until(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return parsedate_to_datetime(text).timestamp() - time.time()


def error_message(content: bytes) -> str:
    """The sentence in an error's JSON, or the beginning of whatever was sent instead, on one line."""
    text = content.decode("utf-8", "replace")
    try:
        found = msgspec.json.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        found = None
    while isinstance(found, dict):
        found = next((found[name] for name in ("error", "message", "detail") if found.get(name)), None)
    words = " ".join((found if isinstance(found, str) else text).split())
    return words[:MESSAGE_CHARACTERS] or "nothing"


_CONTEXT_COMPLAINT = re.compile(
    r"context (length|size|window)|maximum (context|model) len|max_model_len|exceed_context_size|input_tokens", re.I
)
_LIMITS = (
    r"maximum (?:context|model) length (?:is|of) (\d+)",
    r"max_model_len[^\d]{0,30}(\d+)",
    r"context (?:size|length) \((\d+)",
)
_PROMPTS = (
    r"(\d+) (?:tokens )?(?:in|from) the (?:messages|prompt|input)",
    r"at least (\d+) input tokens",
    r"(?<!upper bound for )\b(\d+) input tokens",
    r"(?:prompt|input) (?:contains|has|of) (?:at least )?(\d+)\b(?! characters)",
    r"(?:request|input) \((\d+) tokens\)",
)


def _read_context_refusal(message: str, content: bytes) -> PromptRefused | None:
    """Servers say this in words of their own; the counts are read from llama.cpp's fields, else from the sentence."""
    text = content.decode("utf-8", "replace")
    if not _CONTEXT_COMPLAINT.search(text):
        return None
    prompt = _first_number((r'"n_prompt_tokens":\s*(\d+)', *_PROMPTS), text)
    return PromptRefused(message, prompt, _first_number((r'"n_ctx":\s*(\d+)', *_LIMITS), text))


def _first_number(patterns: tuple[str, ...], text: str) -> int | None:
    return next((int(match[1]) for each in patterns if (match := re.search(each, text, re.I))), None)
