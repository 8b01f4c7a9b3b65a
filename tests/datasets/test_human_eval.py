"""HumanEval rows: the published test code judges the program."""

import json
from typing import Any

import pytest
from judging import judge_all, passes
from taco_rows import WriteLines

from taco_stream.datasets.open import open_dataset
from taco_stream.datasets.rows import BadRow
from taco_stream.types import Problem

PROMPT = '''import math


def encode(text: str) -> str:
    """Shift every letter by one."""
    return "".join(chr(ord(letter) + 1) for letter in text)


def decode(text: str) -> str:
    """Undo encode, which shifts every letter by one."""
'''

TEST = """

METADATA = {"author": "tests"}


def check(candidate):
    for word in ("abc", "x", ""):
        assert candidate(encode(word)) == word
    assert abs(math.sqrt(len(candidate("bc"))) - 1.41421) < 1e-4
"""


def row(**changes: Any) -> dict[str, Any]:
    return {
        "task_id": "HumanEval/38",
        "prompt": PROMPT,
        "entry_point": "decode",
        "canonical_solution": '    return "".join(chr(ord(letter) - 1) for letter in text)\n',
        "test": TEST,
    } | changes


@pytest.fixture
def problem(write_lines: WriteLines) -> Problem:
    (problem,) = open_dataset(str(write_lines(row())))
    return problem


def test_row_becomes_a_call_based_problem(problem: Problem) -> None:
    assert (problem.problem_id, problem.fn_name, problem.question) == ("HumanEval/38", "decode", PROMPT)


def test_canonical_solution_passes(problem: Problem) -> None:
    (solution,) = json.loads(problem.solutions)
    assert passes(problem, solution)


def test_what_the_prompt_defines_is_there_for_a_program_that_leaves_it_out(problem: Problem) -> None:
    assert passes(problem, "def decode(text):\n    return ''.join(chr(ord(c) - 1) for c in text)\n")


def test_a_wrong_program_is_told_so(problem: Problem) -> None:
    assert judge_all(problem, "def decode(text):\n    return text\n") == [False]


def test_a_program_that_crashes_crashes(problem: Problem) -> None:
    assert judge_all(problem, "def decode(text):\n    return 1 // 0\n") == ["ZeroDivisionError"]


def test_a_program_without_the_function_is_not_helped_by_the_prompt(problem: Problem) -> None:
    assert judge_all(problem, "def other():\n    pass\n") == ["NameError"]


def test_an_entry_point_that_is_code_makes_a_bad_row(write_lines: WriteLines) -> None:
    bad_rows: list[BadRow] = []
    path = write_lines(row(), row(task_id="x", entry_point="f) or print("))
    list(open_dataset(str(path), on_bad_row=bad_rows.append))
    assert "not a name" in bad_rows[0].reason
