"""EvalPlus rows: results are computed from the canonical solution."""

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
        "task_id": "HumanEval/4",
        "prompt": 'def halves(numbers):\n    """Half of each number, removing it from the list."""\n',
        "entry_point": "halves",
        "canonical_solution": "    return [numbers.pop(0) / 2 for _ in range(len(numbers))]\n",
        "base_input": [[[1, 2]], [[]]],
        "plus_input": [[[0.1, 12345678901234567890]]],
        "atol": 0,
        "contract": "",
    } | changes


def problem_in(write_lines: WriteLines, **changes: Any) -> Problem:
    (problem,) = open_dataset(str(write_lines(row(**changes))))
    return problem


def test_base_inputs_come_before_plus_inputs(write_lines: WriteLines) -> None:
    assert json.loads(problem_in(write_lines).tests)["inputs"] == [[[1, 2]], [[]], [[0.1, 12345678901234567890]]]


def test_canonical_solution_passes(write_lines: WriteLines) -> None:
    problem = problem_in(write_lines)
    (solution,) = json.loads(problem.solutions)
    assert passes(problem, solution)


def test_a_wrong_program_fails_where_it_is_wrong(write_lines: WriteLines) -> None:
    program = "def halves(numbers):\n    return [number // 2 for number in numbers]\n"
    assert judge_all(problem_in(write_lines), program) == [False, True, False]


@pytest.mark.parametrize(("atol", "error", "passed"), [(0, 1e-8, True), (0, 1e-3, False), (0.01, 1e-3, True)])
def test_floats_may_differ_by_the_tolerance(write_lines: WriteLines, atol: float, error: float, passed: bool) -> None:
    program = f"def halves(numbers):\n    return [number / 2 + {error} for number in numbers]\n"
    problem = problem_in(write_lines, atol=atol, plus_input=[])
    assert passes(problem, program) == passed


def test_an_answer_of_another_type_is_wrong_and_no_crash(write_lines: WriteLines) -> None:
    assert judge_all(problem_in(write_lines), "def halves(numbers):\n    return ['a', 'b']\n")[0] is False


RULE = [
    # expected, found, the row's atol, whether EvalPlus accepts it
    ("1", "1.0", 0, True),
    ("1", "True", 0, True),
    ("[1, 2]", "(1, 2)", 0, False),
    ("1.0", "1.0000001", 0, True),
    ("1", "1.0000001", 0.01, False),
    ("[1.0, 2.0]", "[1.0, 2.0000001]", 0, True),
    ("[1.0, 2.0]", "(1.0, 2.0000001)", 0, False),
    ("[1.0, 2.0]", "[1.0]", 0, False),
    ("[1, 2.5]", "[1, 2.5000001]", 0, False),
    ("[1, 2.5]", "[1, 2.5000001]", 1e-6, True),
    ("[[1.0], [2.0]]", "[[1.0], [2.0000001]]", 0, False),
    ("[[1.0], [2.0]]", "[[1.0], [2.0000001]]", 1e-6, True),
    ("[1.0, 'a']", "[1.0000001, 'a']", 1e-6, False),
    ("{'a': 1.0}", "{'a': 1.0000001}", 1e-6, False),
    ("float('inf')", "1e300", 0, False),
    ("float('inf')", "float('inf')", 0, True),
    ("float('nan')", "float('nan')", 0, False),
    ("10**400", "10**400 + 1", 1e-6, False),
    ("None", "None", 0, True),
]
"""What EvalPlus' own `unsafe_execute` says of each pair."""


@pytest.mark.parametrize(("expected", "found", "atol", "accepted"), RULE)
def test_results_are_compared_as_evalplus_does(
    write_lines: WriteLines, expected: str, found: str, atol: float, accepted: bool
) -> None:
    problem = problem_in(write_lines, canonical_solution=f"    return {expected}\n", atol=atol)
    assert passes(problem, f"def halves(numbers):\n    return {found}\n") == accepted


def test_the_program_cannot_change_the_arguments_of_the_reference(write_lines: WriteLines) -> None:
    program = "def halves(numbers):\n    numbers.clear()\n    return []\n"
    assert judge_all(problem_in(write_lines), program)[0] is False


def test_arguments_may_be_no_number_or_infinite(write_lines: WriteLines) -> None:
    problem = problem_in(write_lines, plus_input=[[[float("inf"), 3]], [[float("nan")]]])
    assert judge_all(problem, json.loads(problem.solutions)[0]) == [True, True, True, False]


def test_find_zero_accepts_any_zero(write_lines: WriteLines) -> None:
    problem = problem_in(
        write_lines,
        prompt="def find_zero(xs):\n",
        entry_point="find_zero",
        canonical_solution="    return 1.0\n",
        base_input=[[[-4, 0, 1]]],
        plus_input=[],
    )
    assert passes(problem, "def find_zero(xs):\n    return -2\n")
    assert passes(problem, "def find_zero(xs):\n    return 2\n")
    assert not passes(problem, "def find_zero(xs):\n    return 1\n")


def test_mbpp_plus_in_this_form_names_the_form_that_is_read(write_lines: WriteLines) -> None:
    bad_rows: list[BadRow] = []
    list(open_dataset(str(write_lines(row(), row(task_id="Mbpp/2"))), on_bad_row=bad_rows.append))
    assert "evalplus/mbppplus" in bad_rows[0].reason


def test_find_zero_that_answers_no_number_is_wrong_and_no_crash(write_lines: WriteLines) -> None:
    problem = problem_in(
        write_lines,
        prompt="def find_zero(xs):\n",
        entry_point="find_zero",
        canonical_solution="    return 2.0\n",
        base_input=[[[-4, 0, 1]]],
        plus_input=[],
        atol=1e-4,
    )
    assert judge_all(problem, "def find_zero(xs):\n    return None\n") == [False]
    assert judge_all(problem, "def find_zero(xs):\n    return 1e300\n") == [False]
