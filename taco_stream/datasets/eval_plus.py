"""HumanEval+ as EvalPlus releases it (`HumanEvalPlus.jsonl.gz`): inputs without results.

Columns: task_id, prompt, entry_point, canonical_solution, base_input and plus_input (lists of argument lists), atol,
contract. Expected results come from the canonical solution, as EvalPlus computes them; the evaluator runs it apart from
any program. The one special case, `find_zero`, asks whether the answer is a zero of the polynomial given. MBPP+ in this
form encodes types by task; its copy on the hub (`evalplus/mbppplus`) holds them as code and is read as MBPP.
"""

import json
from collections.abc import Mapping

import msgspec

from taco_stream.datasets.human_eval import canonical_solution, read_entry_point
from taco_stream.datasets.rows import Adapter, RowError, Value, read_problem_id, read_required_text, read_text
from taco_stream.datasets.tests_text import ReferenceJson, RuleJson, TestsJson, tests_text
from taco_stream.types import Problem


def _parse_problem(values: Mapping[str, Value], position: int) -> Problem:
    problem_id = read_problem_id(values, position, ("task_id",))
    if problem_id.startswith("Mbpp/"):
        raise RowError("MBPP+ is read from its copy on the hub, evalplus/mbppplus, which holds its tests as code")
    prompt = read_required_text(values, "prompt")
    return Problem(
        problem_id=problem_id,
        position=position,
        question=prompt,
        tests=tests_text(_read_tests(values, prompt)),
        fn_name=read_entry_point(values),
        source="humaneval",
        solutions=canonical_solution(prompt, values),
    )


def _read_tests(values: Mapping[str, Value], prompt: str) -> TestsJson:
    entry_point = read_entry_point(values)
    reference = prompt + read_required_text(values, "canonical_solution")
    arguments = [*_read_arguments(values, "base_input"), *_read_arguments(values, "plus_input")]
    tolerance = values.get("atol") or 0
    if not isinstance(tolerance, int | float):
        raise RowError(f"atol is {tolerance!r}, not a number")
    rule = RuleJson(tolerance=float(tolerance), is_zero=entry_point == "find_zero")
    return TestsJson(
        inputs=arguments,
        outputs=[None] * len(arguments),
        fn_name=entry_point,
        reference=ReferenceJson(entry_point=entry_point, text=reference, rule=rule),
    )


def _read_arguments(values: Mapping[str, Value], column: str) -> list[msgspec.Raw]:
    text = read_text(values, column)
    try:
        return msgspec.json.decode(text, type=list[msgspec.Raw]) if text else []
    except msgspec.ValidationError as error:
        raise RowError(f"{column} is not a list of argument lists: {error}") from error
    except msgspec.DecodeError as error:
        # NaN and Infinity are not JSON, but Python's json writes them and the evaluator reads them.
        try:
            return [msgspec.Raw(json.dumps(each).encode()) for each in json.loads(text)]
        except (ValueError, TypeError, RecursionError):
            raise RowError(f"{column} is not a list of argument lists: {error}") from error


ADAPTER = Adapter(
    name="EvalPlus",
    recognised_by=frozenset({"task_id", "prompt", "entry_point", "canonical_solution", "base_input", "plus_input"}),
    reads=frozenset({"task_id", "prompt", "entry_point", "canonical_solution", "base_input", "plus_input", "atol"}),
    parse_problem=_parse_problem,
)
