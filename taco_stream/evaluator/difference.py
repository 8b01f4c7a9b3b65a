"""Where a wrong answer first differs from the expected one, in a sentence for a person. Pure.

The sentence says where texts differ, word by word, and not why a comparison mode refused: under a tolerance the first
word that differs may be one that the mode accepts. The output may be large or forged, so only its beginning
is looked at, and nothing in it is believed or evaluated.
"""

import itertools
import re
from typing import Any, NamedTuple

import msgspec

from taco_stream.evaluator.tagged_values import untagged

HEAD_BYTES = 500
"""As much of an answer as a person looks at."""

COMPARED_CHARACTERS = 1 << 20
"""Splitting more than that into words takes the worker longer than a test does."""

VALUE_BYTES = 1 << 13
"""A returned value of more bytes is shown as the program's process wrote it: a set may be made to take its square."""

SHOWN = 40
"""Characters of a word or a value in a sentence."""


class Difference(NamedTuple):
    """The beginning of the program's output, and one sentence that locates the first error."""

    head: str
    sentence: str


def text_difference(output: bytes, expected: str) -> Difference:
    """The difference between an output and the expected one, both compared as words in lines."""
    text = output[: 4 * COMPARED_CHARACTERS].decode("utf-8", "replace")[:COMPARED_CHARACTERS]
    return Difference(_head(text), _first_word(text, expected[:COMPARED_CHARACTERS]))


def value_difference(result: bytes, expected: Any) -> Difference:
    """The difference between a returned value, as `tagged_values` writes it, and the expected one."""
    if len(result) <= VALUE_BYTES:
        try:
            value = untagged(msgspec.json.decode(result))
            return Difference(_head(repr(value)), _first_element(value, expected))
        except Exception:  # whatever the program wrote in place of a value
            pass
    text = result[: 4 * HEAD_BYTES].decode("utf-8", "replace")
    return Difference(_head(text), f"returned {_shorten(text)}, expected {_shorten(repr(expected))}")


def _first_word(text: str, expected: str) -> str:
    words, wanted = re.finditer(r"\S+", text), re.finditer(r"\S+", expected)
    for ours, theirs in itertools.zip_longest(words, wanted):
        if ours and theirs and ours[0] == theirs[0]:
            continue
        # Counted only here, for the one word that differs.
        line = text.count("\n", 0, ours.start() if ours else len(text.rstrip())) + 1
        if ours is None:
            return f"line {line}: the output ends; expected {_shorten(theirs[0])}"
        wanted_here = "the end" if theirs is None else _shorten(theirs[0])
        return f"line {line}: printed {_shorten(ours[0])}, expected {wanted_here}"
    for line, (ours_here, theirs_here) in enumerate(zip(text.split("\n"), expected.split("\n"), strict=False), start=1):
        if ours_here != theirs_here:
            return f"line {line}: printed {_shorten(repr(ours_here))}, expected {_shorten(repr(theirs_here))}"
    return "the output ends otherwise than expected"


def _first_element(value: Any, expected: Any) -> str:
    """Of two lists the first element that differs, of other values the whole."""
    if isinstance(value, (list, tuple)) and isinstance(expected, (list, tuple)) and len(value) == len(expected):
        for index, (ours, theirs) in enumerate(zip(value, expected, strict=True)):
            if ours != theirs:
                return f"element {index}: returned {_shorten(repr(ours))}, expected {_shorten(repr(theirs))}"
    return f"returned {_shorten(repr(value))}, expected {_shorten(repr(expected))}"


def _head(text: str) -> str:
    return text.encode("utf-8", "replace")[:HEAD_BYTES].decode("utf-8", "ignore")


def _shorten(text: str) -> str:
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
