"""Runs tests that are code in this process, beside a program that the tests wrote: what they say, not where they run."""

import copy
import json
from typing import Any

import msgspec

from taco_stream.evaluator.assertions import Assertions
from taco_stream.evaluator.comparators import eval_plus_rule
from taco_stream.evaluator.reference import Reference
from taco_stream.types import Problem


def judge_all(problem: Problem, program: str) -> list[object]:
    """Whether each test of the problem accepts the program, or the name of the exception that it raises."""
    tests = json.loads(problem.tests)
    results: list[object] = []
    for arguments in tests["inputs"]:
        try:
            results.append(judge_one(tests, arguments, program))
        except Exception as error:
            results.append(type(error).__name__)
    return results


def judge_one(tests: dict[str, Any], arguments: list[Any], program: str) -> bool:
    """Whether one test accepts the program. Raises what the program raises."""
    if "assertions" in tests:
        assertions = msgspec.convert(tests["assertions"], Assertions)
        return bool(called(f"{program}\n\n{assertions.inside_text(tests['fn_name'])}", tests["fn_name"], arguments))
    reference = msgspec.convert(tests["reference"], Reference)
    expected = arguments[0] if reference.rule.is_zero else called(reference.text, reference.entry_point, arguments)
    found = called(program, tests["fn_name"], arguments)
    try:
        return eval_plus_rule.same_value(found, expected, reference.rule)
    except (TypeError, ArithmeticError):
        return False


def called(text: str, name: str, arguments: list[Any]) -> Any:
    """What a function of the text returns for copies of the arguments."""
    namespace: dict[str, Any] = {"__name__": "program"}
    exec(text, namespace)
    return namespace[name](*copy.deepcopy(arguments))


def passes(problem: Problem, program: str) -> bool:
    """Whether every test accepts the program."""
    return all(result is True for result in judge_all(problem, program))
