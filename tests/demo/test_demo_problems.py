"""The embedded problems are sound: well formed, solved by their own reference programs, unknown to the model."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import taco_stream.demo
from taco_stream.datasets.open import open_dataset
from taco_stream.demo.train import training_exercises
from taco_stream.types import Problem

PROBLEMS = tuple(open_dataset(str(Path(taco_stream.demo.__file__).parent / "problems.jsonl")))

TACO_SKILLS = {
    "Amortized analysis",
    "Bit manipulation",
    "Complete search",
    "Data structures",
    "Dynamic programming",
    "Greedy algorithms",
    "Range queries",
    "Sorting",
}

RUNNER = """
import contextlib, io, json, sys
program, tests = json.load(sys.stdin)
code = compile(program, "program", "exec")
answers = []
for given in tests["inputs"]:
    if "fn_name" in tests:
        names = {}
        exec(code, names)
        answers.append([names[tests["fn_name"]](*given)])
    else:
        sys.stdin = io.StringIO(given)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(code, {})
        answers.append(printed.getvalue())
json.dump(answers, sys.stdout)
"""
"""Answers all tests of one problem in one interpreter: these programs are trusted."""


def run_program(program: str, tests: object) -> object:
    """What a program answers to each input of a problem's tests, in the form of TACO's outputs."""
    command = [sys.executable, "-I", "-S", "-c", RUNNER]
    given = json.dumps([program, tests])
    return json.loads(subprocess.run(command, input=given, capture_output=True, text=True, check=True).stdout)


def find_story(statement: str) -> str:
    """The words of a statement before its formats and examples; case, numbers and punctuation do not count."""
    story = re.split(r"-----Input-----|\nFor example", statement)[0]
    return " ".join(re.findall(r"[a-z]+", story.lower()))


def test_there_are_enough_problems_of_both_kinds() -> None:
    """At least forty-four, some that read standard input and some that call a function, each with its own id."""
    assert len(PROBLEMS) >= 44
    assert len({problem.problem_id for problem in PROBLEMS}) == len(PROBLEMS)
    assert {problem.fn_name is None for problem in PROBLEMS} == {True, False}


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.problem_id)
def test_a_problem_has_enough_different_tests(problem: Problem) -> None:
    """At least eight inputs, no two of them equal, and not one output for all."""
    tests = json.loads(problem.tests)
    assert len({json.dumps(given) for given in tests["inputs"]}) == len(tests["inputs"]) == len(tests["outputs"]) >= 8
    assert len({json.dumps(wanted) for wanted in tests["outputs"]}) > 1


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.problem_id)
def test_a_problem_is_labelled_as_taco_labels(problem: Problem) -> None:
    """Difficulty and skills are names that TACO uses."""
    assert problem.difficulty in {"EASY", "MEDIUM", "MEDIUM_HARD", "HARD"}
    assert set(problem.skills) <= TACO_SKILLS
    assert problem.tags


def test_every_reference_program_passes_every_test() -> None:
    """Each problem has at least two programs, and each program gives each output."""
    jobs = [(program, problem) for problem in PROBLEMS for program in json.loads(problem.solutions)]
    assert len(jobs) >= 2 * len(PROBLEMS)
    for program, problem in jobs:
        tests = json.loads(problem.tests)
        assert run_program(program, tests) == tests["outputs"], (problem.problem_id, program)


def test_no_evaluated_statement_is_trained_on() -> None:
    """No statement drawn in training equals an evaluated one; no story does, whatever its numbers."""
    trained = {exercise.problem.question for exercise in training_exercises()}
    evaluated = {problem.question for problem in PROBLEMS}
    assert len(evaluated) == len({find_story(text) for text in evaluated})
    assert not trained & evaluated
    assert not {find_story(text) for text in trained} & {find_story(text) for text in evaluated}
