"""HumanEval (`openai/openai_humaneval`) and EvalPlus' copy of it on the hub (`evalplus/humanevalplus`).

Columns: task_id, prompt (imports, helpers, signature and docstring), entry_point, canonical_solution (the body that
continues the prompt), test (code that defines `check(candidate)`). EvalPlus publishes its results inside `test`. The
prompt is the question; everything else that a prompt defines besides its function is there for the assertions as well,
as in the original, where a program is always the prompt and its continuation.
"""

from collections.abc import Mapping

import msgspec

from taco_stream.datasets.assertion_tests import statement_tests
from taco_stream.datasets.rows import Adapter, RowError, Value, read_problem_id, read_required_text
from taco_stream.datasets.tests_text import tests_text
from taco_stream.types import Problem


def _parse_problem(values: Mapping[str, Value], position: int) -> Problem:
    entry_point = read_entry_point(values)
    prompt = read_required_text(values, "prompt")
    tests = statement_tests(
        entry_point,
        [f"check({entry_point})"],
        setup=read_required_text(values, "test"),
        # The prompt ends with the signature and docstring of the function, whose body here does not matter.
        prompt=prompt.rstrip() + "\n    pass\n",
    )
    return Problem(
        problem_id=read_problem_id(values, position, ("task_id",)),
        position=position,
        question=prompt,
        tests=tests_text(tests),
        fn_name=entry_point,
        source="humaneval",
        solutions=canonical_solution(prompt, values),
    )


def read_entry_point(values: Mapping[str, Value]) -> str:
    """The function asked for, a Python name: it becomes part of the code that checks it."""
    entry_point = read_required_text(values, "entry_point")
    if not entry_point.isidentifier():
        raise RowError(f"entry_point is {entry_point!r}, not a name")
    return entry_point


def canonical_solution(prompt: str, values: Mapping[str, Value]) -> str:
    """The reference program: the prompt and its canonical continuation."""
    return msgspec.json.encode([prompt + read_required_text(values, "canonical_solution")]).decode("utf-8")


ADAPTER = Adapter(
    name="HumanEval",
    recognised_by=frozenset({"task_id", "prompt", "entry_point", "canonical_solution", "test"}),
    excluded_by=frozenset({"base_input"}),
    reads=frozenset({"task_id", "prompt", "entry_point", "canonical_solution", "test"}),
    parse_problem=_parse_problem,
)
