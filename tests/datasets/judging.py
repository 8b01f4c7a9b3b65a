"""Runs assertions in this process, beside a program that the tests wrote: what they say, not where they run."""

import json

import msgspec

from taco_stream.evaluator.assertions import Assertions
from taco_stream.types import Problem


def results_of(problem: Problem, program: str) -> list[object]:
    """What each test of the problem returns for the program, or the name of the exception it raises."""
    tests = json.loads(problem.tests)
    assertions = msgspec.convert(tests["assertions"], Assertions)
    results: list[object] = []
    for arguments in tests["inputs"]:
        namespace: dict[str, object] = {"__name__": "program"}
        exec(f"{program}\n\n{assertions.inside_text(tests['fn_name'])}", namespace)
        try:
            results.append(namespace[tests["fn_name"]](*arguments))  # type: ignore[operator]
        except Exception as error:
            results.append(type(error).__name__)
    return results


def passes(problem: Problem, program: str) -> bool:
    """Whether every test returns what is expected of it."""
    return [[result] for result in results_of(problem, program)] == json.loads(problem.tests)["outputs"]
