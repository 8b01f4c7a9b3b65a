"""Nothing that a program returns or prints hangs, ends or bloats a worker, and none makes the evaluator the culprit."""

import json
import os
import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taco_stream.evaluator import problem_tests
from taco_stream.evaluator.comparators.comparison import accepting_modes_of_output, accepting_modes_of_value
from taco_stream.evaluator.comparer import SMALL_BYTES, Comparer, ComparerError
from taco_stream.evaluator.pool import Evaluator, EvaluatorSettings
from taco_stream.evaluator.tagged_values import tagged
from taco_stream.types import ComparisonMode, Problem, SpecialJudge, Status

MODES = tuple(ComparisonMode)
JUDGES = st.sampled_from(SpecialJudge)
TAGS = ("i", "f", "list", "tuple", "set", "frozenset", "dict", "fraction", "decimal", "complex", "other")
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["1e999", "nan", "9" * 400, "0x1.8p+0"])
)
FORGED = st.recursive(
    SCALARS,
    lambda values: (
        st.lists(values, max_size=4)
        | st.dictionaries(st.sampled_from(TAGS), values, max_size=2)
        | st.dictionaries(st.text(max_size=3), values, max_size=2)
    ),
    max_leaves=12,
)
EXPECTED = st.recursive(
    SCALARS, lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=2), values), max_leaves=6
)


@settings(max_examples=400, deadline=None)
@given(FORGED, EXPECTED, JUDGES)
def test_any_result_is_compared_with_any_expected_value(forged: object, expected: object, judge: SpecialJudge) -> None:
    accepting_modes_of_value(json.dumps(forged).encode(), expected, judge, MODES, is_wrapped=False)


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=40) | st.text("0123456789e.-+naif \n", max_size=40).map(str.encode), st.text(), JUDGES)
def test_any_output_is_compared_with_any_expected_text(output: bytes, expected: str, judge: SpecialJudge) -> None:
    accepting_modes_of_output(output, expected, judge, MODES)


def test_a_large_output_is_compared_as_a_small_one_is() -> None:
    comparer = Comparer()
    try:
        for size in (10, SMALL_BYTES):
            text = "7 " * size
            test = problem_tests.Test(b"", text, len(text))
            wrong = text[:-2] + "8"
            for written, accepting in ((text, list(MODES)), (wrong, [])):
                found = comparer.accepting_modes(
                    written.encode(), test, is_value=False, judge=SpecialJudge.NONE, modes=MODES
                )
                assert found == accepting, (size, accepting)
            value: Any = [{"a": 7**500}, (1, 2.5)] * (size // 100)
            test = problem_tests.Test(b"", value, size)
            found = comparer.accepting_modes(
                json.dumps(tagged(value)).encode(), test, is_value=True, judge=SpecialJudge.NONE, modes=MODES
            )
            assert found is not None
            assert ComparisonMode.STRICT in found
    finally:
        comparer.close()


def large_comparison(comparer: Comparer) -> list[ComparisonMode] | None:
    text = "7 " * SMALL_BYTES
    test = problem_tests.Test(b"", text, len(text))
    return comparer.accepting_modes(text.encode(), test, is_value=False, judge=SpecialJudge.NONE, modes=MODES)


def test_a_comparison_whose_process_is_killed_is_made_again() -> None:
    comparer = Comparer()
    try:
        assert large_comparison(comparer) == list(MODES)
        assert comparer.pid is not None
        os.kill(comparer.pid, signal.SIGKILL)
        assert large_comparison(comparer) == list(MODES)
    finally:
        comparer.close()


def test_a_comparison_whose_process_is_killed_every_time_is_not_the_programs_fault() -> None:
    comparer = Comparer(pulse=lambda: os.kill(comparer.pid or 0, signal.SIGKILL))
    written = b'{"set":[' + b",".join(b'{"i":"%x"}' % (((1 << 61) - 1) * k) for k in range(1, 40_000)) + b"]}"
    test = problem_tests.Test(b"", {1}, 10)
    try:
        with pytest.raises(ComparerError, match="was killed"):
            comparer.accepting_modes(written, test, is_value=True, judge=SpecialJudge.NONE, modes=MODES)
    finally:
        comparer.close()


ALIKE = """
import os
def f(*_):
    alike = ((1 << 61) - 1)
    os.write(3, ('{"set":[' + ','.join('{"i":"%x"}' % (alike * k) for k in range(1, 60001)) + ']}').encode())
    os._exit(0)
"""
TOO_LARGE = "def f(*_): return 10 ** 400"
TOO_DEEP = "import os\ndef f(*_):\n    os.write(3, b'[' * 300 + b']' * 300)\n    os._exit(0)"
OBJECT_TOO_DEEP = """
import os
def f(*_):
    os.write(3, b'{"list":[' * 300 + b']}' * 300)
    os._exit(0)
"""


def call_problem(judge: SpecialJudge) -> Problem:
    text = json.dumps({"fn_name": "f", "inputs": [[1]], "outputs": [[1.5]]})
    return Problem(problem_id=f"call-{judge}", position=0, question="", tests=text, fn_name="f", special_judge=judge)


@pytest.fixture
async def evaluator(anyio_backend: object, tmp_path: Path) -> AsyncIterator[Evaluator]:
    (tmp_path / "call-several_answers.py").write_text("def check(input, output, expected): return output == 9\n")
    (tmp_path / "parses.py").write_text("def check(input, output, expected): return int(output) % 2 == 0\n")
    (tmp_path / "broken.py").write_text("def check(input, output, expected): raise ValueError('always')\n")
    chosen = EvaluatorSettings(
        workers=1, mode=ComparisonMode.SPJ, checkers_folder=str(tmp_path), unsafe_no_sandbox=True
    )
    async with Evaluator(chosen) as opened:
        yield opened


@pytest.mark.anyio
@pytest.mark.parametrize("judge", SpecialJudge)
async def test_results_made_to_break_the_worker_are_wrong(evaluator: Evaluator, judge: SpecialJudge) -> None:
    problem = call_problem(judge)
    programs = [TOO_LARGE, TOO_DEEP, OBJECT_TOO_DEEP, *([ALIKE] if judge is SpecialJudge.NONE else [])]
    statuses = {program: (await evaluator.judge(problem, program)).status for program in programs}
    assert set(statuses.values()) <= {Status.WRONG_ANSWER, Status.OUTPUT_LIMIT, Status.NO_CHECKER}, statuses
    assert evaluator.statistics().restarts == 0


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("checker", "program", "status"),
    [
        ("parses", "print('dodge')", Status.WRONG_ANSWER),
        ("parses", "print(4)", Status.PASSED),
        ("parses", "print(5)", Status.WRONG_ANSWER),
        ("broken", "print(4)", Status.INFRASTRUCTURE_ERROR),
    ],
)
async def test_a_checker_that_fails_on_an_output_alone_has_been_given_no_answer(
    evaluator: Evaluator, checker: str, program: str, status: Status
) -> None:
    text = json.dumps({"inputs": [""], "outputs": ["2"]})
    problem = Problem(
        problem_id=checker, position=0, question="", tests=text, special_judge=SpecialJudge.SEVERAL_ANSWERS
    )
    assert (await evaluator.judge(problem, program)).status is status


@pytest.mark.anyio
async def test_random_results_restart_no_worker(evaluator: Evaluator) -> None:
    """Written by the program itself, from the trees that the properties above are made of."""
    chosen = random.Random(0)

    def tree(depth: int) -> object:
        if depth == 0 or chosen.random() < 0.3:
            return chosen.choice([None, True, 7, 2.5, "x", "1e999", "nan", "9" * 5000])
        if chosen.random() < 0.5:
            return {chosen.choice(TAGS): tree(depth - 1)}
        return [tree(depth - 1) for _ in range(chosen.randrange(4))]

    forgeries = [
        f"import os\ndef f(*_):\n    os.write(3, {json.dumps(tree(5))!r}.encode())\n    os._exit(0)" for _ in range(40)
    ]
    for judge in SpecialJudge:
        verdicts = await evaluator.judge_batch([(call_problem(judge), program) for program in forgeries])
        assert Status.INFRASTRUCTURE_ERROR not in {verdict.status for verdict in verdicts}
    assert evaluator.statistics().restarts == 0


@pytest.mark.anyio
async def test_a_number_of_any_length_is_compared_exactly(evaluator: Evaluator) -> None:
    problem = call_problem(SpecialJudge.NONE)
    text = json.dumps({"fn_name": "f", "inputs": [[1]], "outputs": [[1]]}).replace("[[1]]}", f"[[1{'0' * 5000}]]}}")
    problem = msgspec.structs.replace(problem, tests=text)
    assert (await evaluator.judge(problem, "def f(n): return 10 ** 5000")).status is Status.PASSED
    assert (await evaluator.judge(problem, "def f(n): return 10 ** 5000 + 1")).status is Status.WRONG_ANSWER
