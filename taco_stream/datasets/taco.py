"""TACO's own columns, and the same columns as other tools write them.

Published (`BAAI/TACO`): question, solutions, starter_code, input_output, difficulty, raw_tags, name, source, tags,
skill_types, url, time_limit, memory_limit, …, all of them text. `input_output` and `solutions` are JSON; the lists are
Python literals; the limits are phrases such as "2.0 seconds". Here `input_output` and `solutions` may also be JSON
values proper, the lists may be lists and the limits numbers (seconds, megabytes). A row may carry its id in `task_id`,
`problem_id` or `id`, and its class of special judge in `spj`.
"""

import json
import re
from collections.abc import Mapping

import msgspec

from taco_stream.datasets.limits import parse_bytes, parse_seconds
from taco_stream.datasets.rows import (
    Adapter,
    RowError,
    Value,
    read_difficulty,
    read_names,
    read_problem_id,
    read_required_text,
    read_text,
)
from taco_stream.datasets.tests_text import TestsJson, tests_text
from taco_stream.types import Problem, SpecialJudge

ID_COLUMNS = ("task_id", "problem_id", "id")

SPECIAL_JUDGE_CASES: Mapping[object, SpecialJudge] = {
    0: SpecialJudge.NONE,
    1: SpecialJudge.SEVERAL_ANSWERS,
    2: SpecialJudge.LETTER_CASE,
    3: SpecialJudge.FLOAT_TOLERANCE,
}
"""The numbers that the published list of special judges uses for its classes."""


class TestsOutline(msgspec.Struct):
    """The part of a problem's tests that is read before they reach the evaluator: their number and the entry point."""

    inputs: list[msgspec.Raw]
    outputs: list[msgspec.Raw]
    fn_name: str | None = None
    wrapped: bool | None = None


def parse_outline(tests: str) -> TestsOutline:
    """Reads the outline of `input_output`'s JSON text without decoding a single test.

    Raises `RowError` if it is not a JSON object with at least one input and an output for each.
    """
    try:
        outline = msgspec.json.decode(tests, type=TestsOutline)
    except msgspec.ValidationError as error:
        raise RowError(f"input_output does not hold inputs and outputs: {error}") from error
    except msgspec.DecodeError:
        outline = _parse_outline_leniently(tests)
    if not outline.inputs:
        raise RowError("input_output holds no tests")
    if len(outline.outputs) < len(outline.inputs):
        raise RowError(f"input_output has {len(outline.inputs)} inputs and {len(outline.outputs)} outputs")
    return outline


def _parse_outline_leniently(tests: str) -> TestsOutline:
    """The same for values that Python's json writes and JSON forbids: NaN, Infinity and lone surrogates."""
    try:
        found = json.loads(tests)
        inputs, outputs, fn_name = found["inputs"], found["outputs"], found.get("fn_name")
    except (ValueError, RecursionError) as error:
        raise RowError(f"input_output is not JSON: {error}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise RowError("input_output does not hold inputs and outputs") from error
    if not isinstance(inputs, list) or not isinstance(outputs, list) or not isinstance(fn_name, str | None):
        raise RowError("input_output does not hold lists of inputs and outputs")
    if len(outputs) != len(inputs):
        raise RowError(f"input_output has {len(inputs)} inputs and {len(outputs)} outputs")
    # Only their number is needed here; the evaluator decodes the text as leniently.
    blank = msgspec.Raw(b"null")
    return TestsOutline([blank] * len(inputs), [blank] * len(outputs), fn_name)


def _parse_problem(values: Mapping[str, Value], position: int) -> Problem:
    tests = read_required_text(values, "input_output")
    outline = parse_outline(tests)
    starter_code = read_text(values, "starter_code")
    return Problem(
        problem_id=read_problem_id(values, position, ID_COLUMNS),
        position=position,
        question=read_text(values, "question"),
        tests=_settled_tests(tests, outline, starter_code),
        starter_code=starter_code,
        fn_name=outline.fn_name or None,
        difficulty=read_difficulty(values),
        skills=read_names(values, "skill_types"),
        tags=read_names(values, "tags") or read_names(values, "raw_tags"),
        source=read_text(values, "source"),
        time_limit_seconds=parse_seconds(values.get("time_limit")),
        memory_limit_bytes=parse_bytes(values.get("memory_limit")),
        special_judge=_read_special_judge(values),
        solutions=read_text(values, "solutions") or "[]",
    )


def _settled_tests(tests: str, outline: TestsOutline, starter_code: str) -> str:
    """The tests without anything that the evaluator could misread; unchanged if there is nothing of the kind.

    Outputs that belong to no input are left out, which TACO's own evaluation never looks at. Values that only look
    wrapped are said to be bare.
    """
    count = len(outline.inputs)
    looks_wrapped = bool(outline.fn_name) and outline.wrapped is None and _are_bare_lists(outline, starter_code)
    if len(outline.outputs) == count and not looks_wrapped:
        return tests
    wrapped = False if looks_wrapped else outline.wrapped
    return tests_text(TestsJson(outline.inputs, outline.outputs[:count], outline.fn_name, wrapped=wrapped))


_RETURNS_LIST = re.compile(r"\)\s*->\s*(?:Optional\[)?((?:List\[)*List\b)", re.IGNORECASE)


def _are_bare_lists(outline: TestsOutline, starter_code: str) -> bool:
    """Whether expected values that are all lists of one element are no more nested than the starter code's lists.

    `-> List[int]` and the outputs `[3]` and `[7]`: each is the whole value. If the outputs are nested deeper, or the
    starter code does not say, they are the list that TACO puts around a value.
    """
    returned = _RETURNS_LIST.search(starter_code)
    if returned is None:
        return False
    values = [msgspec.json.decode(output) for output in outline.outputs]
    are_single = all(isinstance(value, list) and len(value) == 1 for value in values)
    return are_single and max(map(_depth, values)) <= returned[1].lower().count("list")


def _depth(value: object) -> int:
    """How deep lists are nested in a value."""
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


def parse_special_judge(case: object, *, is_special: bool) -> SpecialJudge:
    """The class of a published case number. A problem said to be special without a case has several answers.

    The published list has two of these, an interactive problem and one with many constructions. Raises `RowError` if
    the list does not have the number.
    """
    if isinstance(case, bool) or case not in SPECIAL_JUDGE_CASES:
        raise RowError(f"the special-judge class is {case!r}, not one of 0, 1, 2, 3")
    special_judge = SPECIAL_JUDGE_CASES[case]
    return SpecialJudge.SEVERAL_ANSWERS if is_special and special_judge is SpecialJudge.NONE else special_judge


def _read_special_judge(values: Mapping[str, Value]) -> SpecialJudge:
    case = values.get("spj", values.get("case"))
    return parse_special_judge(0 if case is None else case, is_special=values.get("special_judge") is True)


ADAPTER = Adapter(
    name="TACO",
    recognised_by=frozenset({"question", "input_output"}),
    reads=frozenset(
        {"question", "input_output", "starter_code", "difficulty", "skill_types", "tags", "raw_tags", "source"}
        | {"time_limit", "memory_limit", "solutions", "spj", "case", "special_judge", *ID_COLUMNS}
    ),
    parse_problem=_parse_problem,
)
