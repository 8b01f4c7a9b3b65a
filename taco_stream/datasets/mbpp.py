"""MBPP (`google-research-datasets/mbpp`, full and sanitized) and MBPP+ on the hub (`evalplus/mbppplus`).

Columns: task_id, text (`prompt` when sanitized), code, test_list (assertions), test_setup_code or test_imports, and in
MBPP+ `test`, code that asserts everything and takes the place of the list. As in the paper, the question ends with the
assertions: they are all that names the function.
"""

import ast
from collections.abc import Mapping, Sequence

import msgspec

from taco_stream.datasets.assertion_tests import statement_tests
from taco_stream.datasets.rows import (
    Adapter,
    RowError,
    Value,
    read_names,
    read_problem_id,
    read_required_text,
    read_text,
)
from taco_stream.datasets.tests_text import TestsJson, tests_text
from taco_stream.types import Problem


def _parse_problem(values: Mapping[str, Value], position: int) -> Problem:
    assertions = read_names(values, "test_list")
    if not assertions:
        raise RowError("test_list is empty")
    description = read_text(values, "text") or read_required_text(values, "prompt")
    code = read_required_text(values, "code")
    entry_point = _function_tested(code, assertions[0])
    return Problem(
        problem_id=read_problem_id(values, position, ("task_id",)),
        position=position,
        question="\n".join([description, "Your code should pass these tests:", "", *assertions]),
        tests=tests_text(_read_tests(values, entry_point or "", assertions)),
        fn_name=entry_point,
        source="mbpp",
        # The published code has line ends of Windows.
        solutions=msgspec.json.encode([code.replace("\r\n", "\n")]).decode("utf-8"),
    )


def _read_tests(values: Mapping[str, Value], entry_point: str, assertions: Sequence[str]) -> TestsJson:
    setup = "\n".join([read_text(values, "test_setup_code"), *read_names(values, "test_imports")])
    everything = read_text(values, "test")
    return statement_tests(entry_point, [everything] if everything else assertions, setup=setup)


def _function_tested(code: str, assertion: str) -> str | None:
    """The function of the reference program that the assertion calls."""
    try:
        defined = {node.name for node in ast.parse(code).body if isinstance(node, ast.FunctionDef)}
        called = [node.func for node in ast.walk(ast.parse(assertion)) if isinstance(node, ast.Call)]
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise RowError(f"code or test_list is not Python: {error}") from error
    return next((name.id for name in called if isinstance(name, ast.Name) and name.id in defined), None)


ADAPTER = Adapter(
    name="MBPP",
    recognised_by=frozenset({"task_id", "code", "test_list"}),
    reads=frozenset({"task_id", "text", "prompt", "code", "test_list", "test_setup_code", "test_imports", "test"}),
    parse_problem=_parse_problem,
)
