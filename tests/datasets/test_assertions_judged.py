"""Assertion-style tests are run by the real evaluator."""

import json

import pytest
from taco_rows import WriteLines
from test_eval_plus import row as eval_plus_row
from test_human_eval import row as human_eval_row
from test_mbpp import row as mbpp_row

from taco_stream.datasets.open import open_dataset
from taco_stream.evaluator.pool import Evaluator, EvaluatorSettings
from taco_stream.types import Problem, Status

pytestmark = pytest.mark.anyio

NAMES = ("common", "decode", "halves", "keys")

CASES = {
    "the reference": (None, Status.PASSED),
    "a wrong answer": ("".join(f"def {name}(*given):\n    return ()\n" for name in NAMES), Status.WRONG_ANSWER),
    "a crash": ("".join(f"def {name}(*given):\n    return 1 // 0\n" for name in NAMES), Status.RUNTIME_ERROR),
}


ROWS = {
    "human_eval": human_eval_row(),
    "mbpp": mbpp_row(),
    "eval_plus": eval_plus_row(),
    "eval_plus, an argument that is a dictionary": eval_plus_row(
        prompt="def keys(given):\n",
        entry_point="keys",
        canonical_solution="    assert all(isinstance(key, str) for key in given)\n    return sorted(given)\n",
        base_input=[[{"1": 2, "10": 3}]],
        plus_input=[],
    ),
}


@pytest.fixture(params=ROWS.values(), ids=ROWS)
def problem(request: pytest.FixtureRequest, write_lines: WriteLines) -> Problem:
    (problem,) = open_dataset(str(write_lines(request.param)))
    return problem


@pytest.mark.parametrize(("program", "status"), CASES.values(), ids=CASES)
async def test_program_gets_the_status_it_deserves(problem: Problem, program: str | None, status: Status) -> None:
    async with Evaluator(EvaluatorSettings(workers=1)) as evaluator:
        verdict = await evaluator.judge(problem, program or json.loads(problem.solutions)[0])
    assert verdict.status is status, verdict.detail


async def test_a_reference_solution_that_fails_is_not_the_programs_fault(write_lines: WriteLines) -> None:
    (problem,) = open_dataset(str(write_lines(eval_plus_row(canonical_solution="    return numbers[1]\n"))))
    async with Evaluator(EvaluatorSettings(workers=1)) as evaluator:
        verdict = await evaluator.judge(problem, "def halves(numbers):\n    return 1\n")
    assert verdict.status is Status.INFRASTRUCTURE_ERROR
    assert "IndexError" in verdict.detail


@pytest.mark.parametrize(("error", "status"), [(1e-9, Status.PASSED), (1e-3, Status.WRONG_ANSWER)])
async def test_large_results_are_compared_by_the_same_rule(
    write_lines: WriteLines, error: float, status: Status
) -> None:
    row = eval_plus_row(
        prompt="def many(count):\n",
        entry_point="many",
        canonical_solution="    return [number / 7 for number in range(count)]\n",
        base_input=[[20_000]],
        plus_input=[],
    )
    (problem,) = open_dataset(str(write_lines(row)))
    program = f"def many(count): return [number / 7 + {error} for number in range(count)]"
    async with Evaluator(EvaluatorSettings(workers=1)) as evaluator:
        assert (await evaluator.judge(problem, program)).status is status
