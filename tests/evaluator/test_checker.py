"""Problems with several right answers, and the checkers that users write for them."""

import json
from pathlib import Path

import pytest

from taco_stream.evaluator.checker import checker_text
from taco_stream.evaluator.pool import Evaluator, EvaluatorSettings
from taco_stream.types import ComparisonMode, Problem, SpecialJudge, Status, Verdict

PAIR = Problem(
    problem_id="sets/pair",
    position=0,
    question="Two numbers with the given sum.",
    tests=json.dumps({"inputs": ["5", "9"], "outputs": ["2 3", "4 5"]}),
    special_judge=SpecialJudge.SEVERAL_ANSWERS,
)
CHECKER = """
def check(input, output, expected):
    numbers = [int(token) for token in output.split()]
    return len(numbers) == len(expected.split()) and sum(numbers) == int(input)
"""
OTHER_ANSWER = "n = int(input())\nprint(1, n - 1)"

pytestmark = pytest.mark.anyio


async def verdict_with(checker: str, program: str, folder: Path, problem: Problem = PAIR) -> Verdict:
    path = folder / f"{problem.problem_id}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(checker)
    settings = EvaluatorSettings(
        workers=1, mode=ComparisonMode.SPJ, checkers_folder=str(folder), unsafe_no_sandbox=True, time_limit_seconds=1.0
    )
    async with Evaluator(settings) as evaluator:
        return await evaluator.judge(problem, program)


async def test_another_right_answer_passes(anyio_backend: object, tmp_path: Path) -> None:
    assert (await verdict_with(CHECKER, OTHER_ANSWER, tmp_path)).status is Status.PASSED


async def test_what_the_checker_refuses_is_wrong(anyio_backend: object, tmp_path: Path) -> None:
    verdict = await verdict_with(CHECKER, "n = int(input())\nprint(1, n - 2)", tmp_path)
    assert (verdict.status, verdict.failed_test) == (Status.WRONG_ANSWER, 0)


async def test_returned_values_are_checked_as_values(anyio_backend: object, tmp_path: Path) -> None:
    tests = json.dumps({"fn_name": "pair", "inputs": [[5]], "outputs": [[[2, 3]]]})
    problem = Problem(
        problem_id="call", position=0, question="", tests=tests, special_judge=SpecialJudge.SEVERAL_ANSWERS
    )
    checker = (
        "def check(input, output, expected): return input == [5] and sum(output) == 5 and isinstance(output, list)"
    )
    assert (await verdict_with(checker, "def pair(n): return [1, 4]", tmp_path, problem)).status is Status.PASSED


@pytest.mark.parametrize(
    "checker", ["def check(*_): raise ValueError('no')", "def check(*_): return 'yes'", "def check(", "1 / 0"]
)
async def test_a_broken_checker_is_not_the_programs_fault(anyio_backend: object, tmp_path: Path, checker: str) -> None:
    verdict = await verdict_with(checker, OTHER_ANSWER, tmp_path)
    assert verdict.status is Status.INFRASTRUCTURE_ERROR
    assert "the checker" in verdict.detail


async def test_without_a_checker_the_problem_is_reported_apart(anyio_backend: object, tmp_path: Path) -> None:
    settings = EvaluatorSettings(workers=1, checkers_folder=str(tmp_path), unsafe_no_sandbox=True)
    async with Evaluator(settings) as evaluator:
        verdicts = await evaluator.judge_all_modes(PAIR, OTHER_ANSWER)
    assert verdicts[ComparisonMode.SPJ].status is Status.NO_CHECKER
    assert verdicts[ComparisonMode.STRICT].status is Status.WRONG_ANSWER


@pytest.mark.parametrize("problem_id", ["../secret", "/etc/passwd", "missing"])
async def test_an_id_leads_to_no_file_outside_the_registry(
    anyio_backend: object, tmp_path: Path, problem_id: str
) -> None:
    (tmp_path / "secret.py").write_text("x")
    (tmp_path / "registry").mkdir()
    assert checker_text(tmp_path / "registry", problem_id) is None
