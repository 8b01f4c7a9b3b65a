"""HumanEval (`openai/openai_humaneval`) and EvalPlus' copy of it on the hub (`evalplus/humanevalplus`).

Columns: task_id, prompt (imports, helpers, signature and docstring), entry_point, canonical_solution (the body that
continues the prompt), test (code that defines `check(candidate)`). EvalPlus publishes its results inside `test`. The
prompt is the question; what a prompt defines besides its function is there for the assertions as well, as in the
original, where a program is always the prompt and its continuation.
"""

from collections.abc import Mapping

import msgspec

from taco_stream.datasets.assertion_tests import statement_tests
from taco_stream.datasets.rows import Adapter, RowError, Value, problem_id_of, required_text_of
from taco_stream.datasets.tests_text import tests_text
from taco_stream.types import Problem


def _problem_of(values: Mapping[str, Value], position: int) -> Problem:
    entry_point = entry_point_of(values)
    prompt = required_text_of(values, "prompt")
    tests = statement_tests(
        entry_point,
        [f"check({entry_point})"],
        setup=required_text_of(values, "test"),
        prompt=prompt.rstrip() + "\n    pass\n",
    )
    return Problem(
        problem_id=problem_id_of(values, position, ("task_id",)),
        position=position,
        question=prompt,
        tests=tests_text(tests),
        fn_name=entry_point,
        source="humaneval",
        solutions=canonical_solution(prompt, values),
    )


def entry_point_of(values: Mapping[str, Value]) -> str:
    """The function asked for, a Python name: it becomes part of the code that checks it."""
    entry_point = required_text_of(values, "entry_point")
    if not entry_point.isidentifier():
        raise RowError(f"entry_point is {entry_point!r}, not a name")
    return entry_point


def canonical_solution(prompt: str, values: Mapping[str, Value]) -> str:
    """The reference program: the prompt and its canonical continuation."""
    return msgspec.json.encode([prompt + required_text_of(values, "canonical_solution")]).decode("utf-8")


ADAPTER = Adapter(
    name="HumanEval",
    recognised_by=frozenset({"task_id", "prompt", "entry_point", "canonical_solution", "test"}),
    excluded_by=frozenset({"base_input"}),
    reads=frozenset({"task_id", "prompt", "entry_point", "canonical_solution", "test"}),
    problem_of=_problem_of,
)
