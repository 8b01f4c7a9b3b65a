"""Tests of a problem in words: what is given and what is expected, in the forms that datasets have."""

import json
from typing import Any

import pytest

from taco_stream.evaluator.problem_tests import TestsError as BrokenTests
from taco_stream.evaluator.readable_test import ReadableTest, read_tests, readable_test
from taco_stream.evaluator.readable_test import TestKind as Kind
from taco_stream.evaluator.settings import EvaluatorSettings
from taco_stream.types import Problem


def shown(index: int = 0, fn_name: str | None = None, **tests: Any) -> ReadableTest:
    problem = Problem(problem_id="p", position=0, question="?", tests=json.dumps(tests | {"fn_name": fn_name}))
    return readable_test(problem, read_tests(problem, EvaluatorSettings()), index)


def test_standard_input_and_output_are_the_texts_that_are_compared() -> None:
    test = shown(1, inputs=["1\n", ["2 3", "4"]], outputs=["1\n", ["5", "6"]])
    assert (test.kind, test.given, test.expected) == (Kind.STANDARD_INPUT, "2 3\n4", "5\n6")


def test_a_call_is_written_as_python_writes_it() -> None:
    test = shown(fn_name="solve", inputs=[[[1, 2], "a", None]], outputs=[[{"1": 2}]])
    assert (test.kind, test.given) == (Kind.CALL, "solve([1, 2], 'a', None)")
    assert (test.expected, test.arguments) == ("{1: 2}", "[[1, 2], 'a', None]")


def test_code_is_shown_without_an_answer() -> None:
    assertions = {"entry_point": "add", "statements": ["assert add(1) == 2", "assert add(2) == 3"]}
    test = shown(1, fn_name="check", inputs=[[0], [1]], outputs=[[True], [True]], assertions=assertions)
    assert (test.kind, test.given, test.expected) == (Kind.CODE, "assert add(2) == 3\n", None)
    assert test.fn_name == "add"


def test_code_that_defines_a_function_is_shown_with_its_call() -> None:
    assertions = {"entry_point": "add", "setup": "def check(n):\n    return add(n) == 2\n"}
    test = shown(fn_name="check", inputs=[[1]], outputs=[[True]], assertions=assertions)
    assert test.given == "def check(n):\n    return add(n) == 2\n\nassert check(1)\n"


def test_a_statement_comes_after_what_it_calls() -> None:
    assertions = {
        "entry_point": "add",
        "setup": "def check(f): ...\n",
        "statements": ["check(add)"],
        "prompt": "import re\n",
    }
    test = shown(fn_name="c", inputs=[[0]], outputs=[[True]], assertions=assertions)
    assert (test.given, test.prompt) == ("def check(f): ...\n\ncheck(add)\n", "import re\n")


def test_the_answer_of_a_reference_solution_is_not_known() -> None:
    reference = {"entry_point": "f", "text": "def f(x): return x", "rule": {}}
    test = shown(fn_name="f", inputs=[[7]], outputs=[None], reference=reference)
    assert (test.given, test.expected) == ("f(7)", None)


@pytest.mark.parametrize("text", ["{}", "not JSON", '{"inputs": ' + "[" * 100_000])
def test_tests_that_cannot_be_read_are_one_error(text: str) -> None:
    with pytest.raises(BrokenTests, match="problem p"):
        read_tests(Problem(problem_id="p", position=0, question="?", tests=text), EvaluatorSettings())
