"""MBPP rows: each assertion is a test."""

import json
from typing import Any

import pytest
from judging import judge_all, passes
from taco_rows import WriteLines

from taco_stream.datasets.open import open_dataset
from taco_stream.datasets.rows import BadRow
from taco_stream.types import Problem


def row(**changes: Any) -> dict[str, Any]:
    return {
        "task_id": 2,
        "text": "Write a function to find the common elements of two tuples.",
        "code": "def first(x):\n  return x\r\ndef common(a, b):\r\n  return tuple(sorted(set(a) & set(b)))",
        "test_list": [
            "assert common((3, 4), (4, 5)) == (4,)",
            'assert common((1, 2), (2, 1)) == (1, 2), """two\nlines"""',
            "assert math.isclose(len(common((), ())), 0.0)",
        ],
        "test_setup_code": "import math",
        "challenge_test_list": [],
    } | changes


SANITIZED = {"prompt": "Find the common elements.", "test_imports": ["import math"]}


def problem_in(write_lines: WriteLines, **changes: Any) -> Problem:
    (problem,) = open_dataset(str(write_lines(row(**changes))))
    return problem


def test_question_ends_with_the_assertions(write_lines: WriteLines) -> None:
    problem = problem_in(write_lines)
    assert problem.problem_id == "2"
    assert problem.question.startswith("Write a function to find the common elements")
    assert "assert common((3, 4), (4, 5)) == (4,)" in problem.question


def test_function_asked_for_is_the_one_the_assertions_call(write_lines: WriteLines) -> None:
    assert problem_in(write_lines).fn_name == "common"


def test_reference_passes(write_lines: WriteLines) -> None:
    problem = problem_in(write_lines)
    assert passes(problem, json.loads(problem.solutions)[0])


def test_each_assertion_is_judged_alone(write_lines: WriteLines) -> None:
    program = "def common(a, b):\n    return (4,) if a else ()\n"
    assert judge_all(problem_in(write_lines), program) == [True, False, True]


def test_sanitized_row_is_read(write_lines: WriteLines) -> None:
    changed = row(**SANITIZED)
    del changed["text"], changed["test_setup_code"]
    (problem,) = open_dataset(str(write_lines(changed)))
    assert problem.question.startswith("Find the common elements.")
    assert passes(problem, json.loads(problem.solutions)[0])


def test_code_of_mbpp_plus_takes_the_place_of_the_list(write_lines: WriteLines) -> None:
    code = "inputs = [[(1,), (1,)]]\nfor arguments in inputs:\n    assert common(*arguments) == (1,)\n"
    problem = problem_in(write_lines, test=code)
    assert judge_all(problem, "def common(a, b):\n    return (1,)\n") == [True]
    assert judge_all(problem, "def common(a, b):\n    return ()\n") == [False]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"test_list": []}, "test_list is empty"),
        ({"code": "def f(:"}, "is not Python"),
        ({"code": ""}, "code is missing"),
    ],
)
def test_rows_that_cannot_be_judged_are_named(write_lines: WriteLines, changes: dict[str, Any], reason: str) -> None:
    bad_rows: list[BadRow] = []
    list(open_dataset(str(write_lines(row(), row(task_id=3, **changes))), on_bad_row=bad_rows.append))
    assert reason in bad_rows[0].reason
