"""Where a wrong answer first differs."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taco_stream.evaluator.difference import HEAD_BYTES, text_difference, value_difference
from taco_stream.evaluator.tagged_values import tagged

TEXTS = {
    "a word": ("1 2\n3 4\n", "1 2\n3 5\n", "line 2: printed 4, expected 5"),
    "too little": ("1 2\n", "1 2\n3\n", "line 1: the output ends; expected 3"),
    "too much": ("1\n2\n\n3\n", "1\n2\n", "line 4: printed 3, expected the end"),
    "nothing": ("", "1\n", "line 1: the output ends; expected 1"),
    "blanks do not count": ("1  2\n 4", "1 2\n3", "line 2: printed 4, expected 3"),
    "lines alone": ("1 2", "1\n2", "line 1: printed '1 2', expected '1'"),
    "blanks alone": ("1\n\n", "1\n", "the output ends otherwise than expected"),
    "a long word": ("x" * 100, "y", f"line 1: printed {'x' * 39}…, expected y"),
}


@pytest.mark.parametrize(("output", "expected", "sentence"), TEXTS.values(), ids=TEXTS)
def test_the_first_word_that_differs_is_named(output: str, expected: str, sentence: str) -> None:
    assert text_difference(output.encode(), expected) == (output[:HEAD_BYTES], sentence)


VALUES: dict[str, tuple[Any, Any, str]] = {
    "a number": (4, 5, "returned 4, expected 5"),
    "a type": ("4", 4, "returned '4', expected 4"),
    "an element": ([1, 2, 3], [1, 3, 3], "element 1: returned 2, expected 3"),
    "a length": ([1, 2], [1], "returned [1, 2], expected [1]"),
    "a dictionary": ({1: "a"}, {1: "b"}, "returned {1: 'a'}, expected {1: 'b'}"),
    "nothing": (None, 0, "returned None, expected 0"),
}


@pytest.mark.parametrize(("value", "expected", "sentence"), VALUES.values(), ids=VALUES)
def test_the_first_element_that_differs_is_named(value: Any, expected: Any, sentence: str) -> None:
    assert value_difference(json.dumps(tagged(value)).encode(), expected) == (repr(value), sentence)


def test_what_is_no_value_is_shown_as_it_was_written() -> None:
    head, sentence = value_difference(b'{"i": "no number"}', 3)
    assert head == '{"i": "no number"}'
    assert sentence == 'returned {"i": "no number"}, expected 3'


@given(st.binary(max_size=2000), st.text(max_size=200))
def test_any_output_has_a_difference_of_bounded_length(output: bytes, expected: str) -> None:
    for head, sentence in (text_difference(output, expected), value_difference(output, expected)):
        assert len(head.encode()) <= HEAD_BYTES
        assert 0 < len(sentence) < 200


def test_a_large_output_is_looked_at_up_to_a_bound() -> None:
    head, sentence = text_difference(b"1\n" * 20_000_000, "1\n" * 20_000_000 + "2")
    assert len(head) == HEAD_BYTES
    assert sentence == "the output ends otherwise than expected"


@pytest.mark.parametrize(
    "value", [b"[" * 60_000, b'{"list": [' * 5_000, b'{"i": "' + b"9" * 60_000 + b'"}', b'{"other": "ndarray"}']
)
def test_a_hostile_value_is_survived(value: bytes) -> None:
    assert value_difference(value, 1).sentence.endswith("expected 1")
