"""Finds stop strings in what a sample generates, token by token; plain Python, no torch.

The promise is about the decoded text: a stop string is found with the token that completes it, wherever tokens and
characters are cut, and `text()` is `tokenizer.decode(tokens, skip_special_tokens=True)` up to the earliest match of all
stop strings, which is how TACO's `generation.py` trims. It trims a whole text, so if one stop string is complete
while another that began before it may still become so, the sample goes on until that is decided. Decoding the whole
text after every token would cost more than the model, so a cheap watch runs ahead of it and decoding only confirms:

* `_ByteWatch`: most tokenizers write every token as the same bytes whatever comes before and after it. If a token has
  the last byte of a stop string, which few have, it looks for the stop strings' bytes among the last ones. UTF-8
  synchronises itself, so the bytes of a stop string are in the bytes exactly when the string is in the text.
* `_TextWatch`: for any other tokenizer it decodes the last few tokens each time.

Which one serves is found out once per tokenizer: `_TokenBytes` claims what tokens are written as, by the two schemes in
use (the bytes of GPT-2's alphabet, and SentencePiece's ▁ and <0xNN>), and is believed only if decoding agrees on
tokens from all over the vocabulary, every special one included.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from taco_stream.engine.stop_strings import stop_pattern

PROBED_TOKENS = 256
"""Spread over the vocabulary; decoding them takes some milliseconds, once per tokenizer."""
SLACK_CHARACTERS = 32
"""Kept by `_TextWatch` beyond the longest stop string: decoders treat the first characters of a text differently."""


class StopStringDetector:
    """One sample's generated tokens, and whether a stop string is in their text. The prompt is not part of it."""

    def __init__(self, tokenizer: Any, stop_strings: tuple[str, ...]) -> None:
        """Watches for `stop_strings`, of which empty ones are ignored; `tokenizer` is one of transformers'."""
        self._tokenizer = tokenizer
        self._pattern = stop_pattern(stop_strings)
        self._watch = _watch(tokenizer, tuple(stop for stop in stop_strings if stop)) if self._pattern else None
        self._stop_strings = stop_strings
        self._is_found = False
        self._is_undecided = False
        self._tokens: list[int] = []
        self._vocabulary = _vocabulary(tokenizer)
        self.token_count = 0

    def feed(self, token: int) -> bool:
        """Takes in the next token; whether the text up to and including it is to be cut at a stop string."""
        self.token_count += 1
        # Models pad their vocabularies, so they may draw a token that the tokenizer does not have. It adds no text.
        if token not in self._vocabulary:
            return self._is_found
        self._tokens.append(token)
        if self._watch is not None and (self._watch.sees(self._tokens) or self._is_undecided) and not self._is_found:
            match = self._match()
            # A stop string that began before the match may still be completed: the earliest one wins.
            self._is_undecided = match is not None and _may_match_before(
                match.start(), match.string, self._stop_strings
            )
            self._is_found = match is not None and not self._is_undecided
        return self._is_found

    def text(self) -> str:
        """The decoded text so far, without special tokens, cut before the earliest stop string."""
        match = self._match()
        return self._decode_tokens()[: match.start()] if match else self._decode_tokens()

    def _match(self) -> re.Match[str] | None:
        return self._pattern.search(self._decode_tokens()) if self._pattern else None

    def _decode_tokens(self) -> str:
        text: str = self._tokenizer.decode(self._tokens, skip_special_tokens=True)
        return text


def _may_match_before(place: int, text: str, stop_strings: tuple[str, ...]) -> bool:
    """Whether what follows `text` may complete a stop string that begins before `place`."""
    # The last character may be half there. UTF-8 has four bytes at most, so up to three of them decode to U+FFFD.
    ends = {text, re.sub("\N{REPLACEMENT CHARACTER}{1,3}$", "", text)}
    return any(
        end.endswith(stop[:length]) and len(end) - length < place
        for end in ends
        for stop in stop_strings
        for length in range(1, len(stop))
    )


class _Watch(Protocol):
    def sees(self, tokens: Sequence[int]) -> bool:
        """Takes in the last of `tokens`; whether it may have completed a stop string. Never misses one."""
        ...


class _ByteWatch:
    def __init__(self, token_bytes: "_TokenBytes", stop_strings: tuple[str, ...]) -> None:
        self._token_bytes = token_bytes
        self._stops = _encode_all(stop_strings)
        self._kept = max(map(len, self._stops)) - 1
        self._may_end = token_bytes.with_any(frozenset(stop[-1] for stop in self._stops))

    def sees(self, tokens: Sequence[int]) -> bool:
        token = tokens[-1]
        if not self._may_end[token]:
            return False
        # A match ends within this token's bytes, so all but one byte of the longest stop string may stand before them.
        wanted = self._kept + len(self._token_bytes[token])
        tail = b""
        for earlier in reversed(tokens):
            tail = self._token_bytes[earlier] + tail
            if len(tail) >= wanted:
                break
        return any(stop in tail[-wanted:] for stop in self._stops)


class _TextWatch:
    def __init__(self, tokenizer: Any, stop_strings: tuple[str, ...]) -> None:
        self._tokenizer = tokenizer
        self._stops = stop_strings
        self._kept = max(map(len, stop_strings)) + SLACK_CHARACTERS
        self._tokens: list[int] = []

    def sees(self, tokens: Sequence[int]) -> bool:
        self._tokens.append(tokens[-1])
        text = self._decode(self._tokens)
        # Halved now and then, not cut at every token: decoding more than is needed costs less than deciding where to.
        if len(text) > 3 * self._kept:
            later = self._tokens[len(self._tokens) // 2 :]
            if len(self._decode(later)) >= self._kept:
                self._tokens = later
        return any(stop in text for stop in self._stops)

    def _decode(self, tokens: list[int]) -> str:
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=True)
        return text


class _TokenBytes(dict[int, bytes]):
    """The bytes that each token is written as; worked out when first asked for."""

    def __init__(self, tokenizer: Any, encode: Callable[[str], bytes]) -> None:
        super().__init__()
        self._tokens_of = tokenizer.convert_ids_to_tokens
        self._encode = encode
        self._special = special_tokens(tokenizer)
        self._with_any: dict[frozenset[int], _HasAny] = {}

    def with_any(self, wanted: frozenset[int]) -> "_HasAny":
        """For each token whether any of these bytes is in what it is written as."""
        return self._with_any.setdefault(wanted, _HasAny(self, wanted))

    def __missing__(self, token: int) -> bytes:
        text = None if token in self._special else self._tokens_of(token)
        written = b"" if text is None else self._encode(text)
        self[token] = written
        return written


class _HasAny(dict[int, bool]):
    def __init__(self, token_bytes: _TokenBytes, wanted: frozenset[int]) -> None:
        super().__init__()
        self._token_bytes = token_bytes
        self._wanted = wanted

    def __missing__(self, token: int) -> bool:
        self[token] = has_any = not self._wanted.isdisjoint(self._token_bytes[token])
        return has_any


_KNOWN: "WeakKeyDictionary[Any, _TokenBytes | None]" = WeakKeyDictionary()
_VOCABULARIES: "WeakKeyDictionary[Any, frozenset[int]]" = WeakKeyDictionary()


def special_tokens(tokenizer: Any) -> frozenset[int]:
    """The tokens that `skip_special_tokens` leaves out of a text."""
    added = {token for token, content in tokenizer.added_tokens_decoder.items() if content.special}
    return frozenset(added | set(tokenizer.all_special_ids))


def _vocabulary(tokenizer: Any) -> frozenset[int]:
    """The tokens that the tokenizer has; worked out once, for the dictionary of a vocabulary takes a while."""
    if tokenizer not in _VOCABULARIES:
        _VOCABULARIES[tokenizer] = frozenset(tokenizer.get_vocab().values())
    return _VOCABULARIES[tokenizer]


@lru_cache(maxsize=64)
def _encode_all(stop_strings: tuple[str, ...]) -> tuple[bytes, ...]:
    return tuple(stop.encode("utf-8", "surrogatepass") for stop in stop_strings)


def _watch(tokenizer: Any, stop_strings: tuple[str, ...]) -> _Watch:
    if tokenizer not in _KNOWN:
        _KNOWN[tokenizer] = _token_bytes(tokenizer)
    token_bytes = _KNOWN[tokenizer]
    # Decoding makes a U+FFFD of bytes that are no text, so bytes do not show where a stop string with one is.
    is_of_bytes = token_bytes is not None and not any("\N{REPLACEMENT CHARACTER}" in stop for stop in stop_strings)
    if token_bytes is not None and is_of_bytes:
        return _ByteWatch(token_bytes, stop_strings)
    return _TextWatch(tokenizer, stop_strings)


def _token_bytes(tokenizer: Any) -> _TokenBytes | None:
    """The scheme by which a tokenizer writes its tokens; None if neither of those known agrees with decoding."""
    if getattr(tokenizer, "clean_up_tokenization_spaces", False):  # rewrites the text after joining the tokens
        return None
    for encode in (_encode_byte_level, _encode_sentencepiece):
        claimed = _TokenBytes(tokenizer, encode)
        if all(_agrees(tokenizer, claimed, token) for token in _probes(tokenizer)):
            return claimed
    return None


def _probes(tokenizer: Any) -> Iterable[int]:
    tokens = sorted(_vocabulary(tokenizer))
    first = tokens[:PROBED_TOKENS]  # usually the single bytes and the special tokens
    return {*first, *tokens[:: max(1, len(tokens) // PROBED_TOKENS)], *special_tokens(tokenizer)}


def _agrees(tokenizer: Any, claimed: _TokenBytes, token: int) -> bool:
    """Whether decoding adds the claimed bytes of a token to a text."""
    # Between two letters: decoders treat the beginning of a text differently, and some its end.
    anchor: int = tokenizer.encode("a", add_special_tokens=False)[-1]
    tokens = [anchor, token, anchor]
    written = b"".join(claimed[one] for one in tokens).decode("utf-8", "replace")
    decoded = tokenizer.decode(tokens, skip_special_tokens=True)
    return _without_repeats(written).lstrip(" ") == _without_repeats(decoded).lstrip(" ")


def _without_repeats(text: str) -> str:
    """Decoders differ in how many replacement characters stand for bytes that are no text."""
    return re.sub("\N{REPLACEMENT CHARACTER}+", "\N{REPLACEMENT CHARACTER}", text)


def _encode_byte_level(token: str) -> bytes:
    """Bytes of GPT-2's alphabet; an added token outside it is written as it is."""
    alphabet = _byte_level_alphabet()
    try:
        return bytes([alphabet[character] for character in token])
    except KeyError:
        return token.encode("utf-8", "surrogatepass")


@lru_cache(maxsize=1)
def _byte_level_alphabet() -> dict[str, int]:
    """GPT-2's alphabet (openai/gpt-2 `encoder.py`): printable bytes stand for themselves, others follow from 256 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + rank): byte for rank, byte in enumerate(others)}


def _encode_sentencepiece(token: str) -> bytes:
    """SentencePiece's pieces: ▁ is a space, <0xNN> one byte."""
    byte = re.fullmatch(r"<0x([0-9A-Fa-f]{2})>", token)
    return bytes([int(byte[1], 16)]) if byte else token.replace("▁", " ").encode("utf-8", "surrogatepass")
