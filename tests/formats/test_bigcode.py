"""Generations of bigcode-evaluation-harness, which we only read: lists by the position of their problem."""

from pathlib import Path

from foreign_files import Write, few_examples, ids, refused, samples, texts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


@given(st.lists(st.tuples(ids, st.lists(texts, max_size=4)), min_size=1, max_size=5, unique_by=lambda each: each[0]))
@settings(few_examples, suppress_health_check=[HealthCheck.function_scoped_fixture])  # each example replaces the file
def test_generations_read_back_as_they_were_written(write: Write, problems: list[tuple[str, list[str]]]) -> None:
    path = write([programs for _, programs in problems], name="generations.json")
    positions = {position: problem_id for position, (problem_id, _) in enumerate(problems)}
    expected = [(name, index, text) for name, programs in problems for index, text in enumerate(programs)]
    if expected:
        assert samples(path, positions=positions) == expected


def test_rows_that_are_not_among_the_problems_are_named_by_their_number(write: Write) -> None:
    path = write([["a"], ["b", "c"]], name="generations.json")
    assert samples(path, positions={1: "second"}) == [("row 0", 0, "a"), ("second", 0, "b"), ("second", 1, "c")]


def test_an_entry_that_is_no_list_of_texts_is_named(write: Write) -> None:
    refused(write([["a"], {"task_id": 1}], name="generations.json"), "entry 2 is dict, not a list")
    refused(write([["a"], None], name="generations.json"), "entry 2 is NoneType, not a list")
    refused(write([["a"], ["b", 7]], name="generations.json"), "entry 2", "not text")


def test_a_list_of_texts_is_not_a_file_of_completions(tmp_path: Path) -> None:
    path = tmp_path / "texts.json"
    path.write_text('["a", "b"]')
    refused(path, "entry 1 is str, not an object")
