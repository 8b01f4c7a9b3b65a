"""Counting what a dataset holds."""

import json

import pytest
from taco_rows import taco_row

from taco_stream.datasets.dataset_statistics import DatasetStatistics, Spread, dataset_statistics, statistics_text
from taco_stream.datasets.taco import ADAPTER

CALL = json.dumps({"fn_name": "f", "inputs": [[1], [2], [3], [4], [5]], "outputs": [1, 2, 3, 4, 5]})

ROWS = [
    taco_row(0, difficulty="HARD", time_limit=None, spj=3),
    taco_row(1, difficulty="EASY", skill_types="['Sorting']", input_output=CALL),
    taco_row(2, difficulty="EASY", skill_types="[]", source="", solutions="[]"),
]


@pytest.fixture
def found() -> DatasetStatistics:
    return dataset_statistics(ADAPTER.parse_problem(row, number) for number, row in enumerate(ROWS))


def test_problems_are_counted_by_kind(found: DatasetStatistics) -> None:
    assert (found.problems, found.standard_input, found.call_based) == (3, 2, 1)


def test_names_are_counted_from_the_most_frequent(found: DatasetStatistics) -> None:
    assert list(found.difficulties.items()) == [("EASY", 2), ("HARD", 1)]
    assert list(found.skills.items()) == [("Sorting", 2), ("Data structures", 1)]
    assert found.special_judges == {"float_tolerance": 1}


def test_missing_fields_are_counted(found: DatasetStatistics) -> None:
    assert found.missing == {"time limit": 1, "skills": 1, "source": 1, "solutions": 1}


def test_tests_and_their_sizes_are_spread(found: DatasetStatistics) -> None:
    assert found.tests == Spread(2, 2, 5, 9)
    assert found.test_bytes.largest == len(CALL)


def test_text_names_every_count_and_a_sample(found: DatasetStatistics) -> None:
    text = statistics_text(found)
    assert "3 (2 standard input, 1 call-based)" in text
    assert "difficulty     EASY 2, HARD 1" in text
    assert text.endswith("for instance 0:\n\nQuestion 0?")


def test_long_lists_are_cut(found: DatasetStatistics) -> None:
    assert "difficulty     EASY 2, and 1 more" in statistics_text(found, longest_list=1)


def test_text_shows_the_starter_code_of_the_sample() -> None:
    text = statistics_text(dataset_statistics([ADAPTER.parse_problem(taco_row(0, starter_code="def f(x):\n"), 0)]))
    assert text.endswith("for instance 0:\n\nQuestion 0?\n\ndef f(x):")
