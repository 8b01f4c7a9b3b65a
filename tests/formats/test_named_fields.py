"""Plain JSON lines: fields by their usual names, or by those that the user gives."""

from typing import Any

import pytest
from foreign_files import Write, few_examples, ids, refused, samples, texts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taco_stream.errors import UsageError
from taco_stream.formats import FieldNames, read_completions
from taco_stream.formats.named_fields import USUAL_IDS, USUAL_TEXTS

names = st.tuples(st.sampled_from(USUAL_IDS), st.sampled_from(USUAL_TEXTS)).filter(
    lambda pair: pair not in (("task_id", "output"), ("task_id", "completion"), ("task_id", "solution"))
)
"""Usual names, but for those that make a file one of TACO's or EvalPlus's, which have no sample index."""


@given(names, st.lists(st.tuples(ids, texts), min_size=1), st.data())
@settings(few_examples, suppress_health_check=[HealthCheck.function_scoped_fixture])  # each example replaces the file
def test_lines_with_usual_names_are_read_as_they_stand(
    write: Write, fields: tuple[str, str], lines: list[tuple[str, str]], data: st.DataObject
) -> None:
    """Also with a sample index in each."""
    id_field, text_field = fields
    indices = st.lists(st.integers(0, 1000), min_size=len(lines), max_size=len(lines))
    numbered = data.draw(st.none() | indices)
    path = write(
        *(
            {id_field: name, text_field: text} | ({} if numbered is None else {"sample_index": numbered[place]})
            for place, (name, text) in enumerate(lines)
        )
    )
    counted = [sum(name == other for other, _ in lines[:place]) for place, (name, _) in enumerate(lines)]
    assert samples(path) == [
        (name, index, text) for (name, text), index in zip(lines, numbered or counted, strict=True)
    ]


def test_plain_lines_with_the_usual_names(write: Write) -> None:
    assert samples(write({"id": 3, "response": "a"}, {"id": "3", "response": "b"})) == [("3", 0, "a"), ("3", 1, "b")]


def test_plain_lines_may_hold_the_sample_index(write: Write) -> None:
    path = write({"problem_id": "p", "sample_index": 5, "text": "a"})
    assert samples(path) == [("p", 5, "a")]


def test_plain_lines_with_names_that_the_user_gives(write: Write) -> None:
    path = write({"key": "p", "answers": ["a", "b"], "task_id": "other", "output": "no"})
    assert samples(path, names=FieldNames(problem_id="key", text="answers")) == [("p", 0, "a"), ("p", 1, "b")]


def test_unknown_fields_are_refused_by_name_when_opened_not_when_read(write: Write) -> None:
    path = write({"label": 1, "sentence": "x"})
    with pytest.raises(UsageError, match="line 1 has the fields label, sentence, which no known format"):
        read_completions(path)


def test_a_name_the_file_does_not_have_is_refused(write: Write) -> None:
    refused(write({"id": "a", "text": "b"}), "line 1", names=FieldNames(text="answer"))


def test_a_field_that_was_named_and_is_not_there_is_named(write: Write) -> None:
    path = write({"problem": 1, "answer": "a"})
    with pytest.raises(UsageError, match="id: problem, text: not named, and none of the usual"):
        samples(path, names=FieldNames(problem_id="problem"))


@pytest.mark.parametrize("index", [-1, 1.5, "3", True, 10**12])
def test_an_index_that_cannot_be_is_refused(write: Write, index: Any) -> None:
    refused(write({"problem_id": "p", "sample_index": index, "text": "a"}), "line 1", "sample_index")


@pytest.mark.parametrize("problem_id", [1.5, True, None, ["a"]])
def test_an_id_that_is_neither_text_nor_integer_is_refused(write: Write, problem_id: Any) -> None:
    refused(write({"id": problem_id, "text": "a"}), "line 1", "id")
