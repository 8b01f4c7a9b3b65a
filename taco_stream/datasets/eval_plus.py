"""HumanEval+ as EvalPlus releases it (`HumanEvalPlus.jsonl.gz`): inputs without results.

Columns: task_id, prompt, entry_point, canonical_solution, base_input and plus_input (lists of argument lists), atol,
contract. Expected results come from the canonical solution, as EvalPlus computes them; the evaluator runs it apart from
any program. The one special case, `find_zero`, asks whether the answer is a zero of the polynomial given. MBPP+ in this
form encodes types by task; its copy on the hub (`evalplus/mbppplus`) holds them as code and is read as MBPP.
"""

import json
from collections.abc import Mapping

import msgspec

from taco_stream.datasets.human_eval import canonical_solution, entry_point_of
from taco_stream.datasets.rows import Adapter, RowError, Value, problem_id_of, required_text_of, text_of
from taco_stream.datasets.tests_text import ReferenceJson, RuleJson, TestsJson, tests_text
from taco_stream.types import Problem


def _problem_of(values: Mapping[str, Value], position: int) -> Problem:
    problem_id = problem_id_of(values, position, ("task_id",))
    if problem_id.startswith("Mbpp/"):
        raise RowError("MBPP+ is read from its copy on the hub, evalplus/mbppplus, which holds its tests as code")
    prompt = required_text_of(values, "prompt")
    return Problem(
        problem_id=problem_id,
        position=position,
        question=prompt,
        tests=tests_text(_tests_of(values, prompt)),
        fn_name=entry_point_of(values),
        source="humaneval",
        solutions=canonical_solution(prompt, values),
    )


def _tests_of(values: Mapping[str, Value], prompt: str) -> TestsJson:
    entry_point = entry_point_of(values)
    reference = prompt + required_text_of(values, "canonical_solution")
    arguments = [*_arguments_in(values, "base_input"), *_arguments_in(values, "plus_input")]
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


def _arguments_in(values: Mapping[str, Value], column: str) -> list[msgspec.Raw]:
    text = text_of(values, column)
    try:
        return msgspec.json.decode(text, type=list[msgspec.Raw]) if text else []
    except msgspec.ValidationError as error:
        raise RowError(f"{column} is not a list of argument lists: {error}") from error
    except msgspec.DecodeError as error:
        return _lenient_arguments_in(text, column, error)


def _lenient_arguments_in(text: str, column: str, error: msgspec.DecodeError) -> list[msgspec.Raw]:
    """The same for arguments that are NaN or Infinity, which Python's json writes and the evaluator reads."""
    try:
        return [msgspec.Raw(json.dumps(each).encode()) for each in json.loads(text)]
    except (ValueError, TypeError, RecursionError):
        raise RowError(f"{column} is not a list of argument lists: {error}") from error


ADAPTER = Adapter(
    name="EvalPlus",
    recognised_by=frozenset({"task_id", "prompt", "entry_point", "canonical_solution", "base_input", "plus_input"}),
    reads=frozenset({"task_id", "prompt", "entry_point", "canonical_solution", "base_input", "plus_input", "atol"}),
    problem_of=_problem_of,
)
