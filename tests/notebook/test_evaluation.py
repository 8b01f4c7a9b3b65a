"""Judging in one call, awaited in a running loop and blocking."""

import json

import pytest

from taco_stream import (
    Completion,
    DatasetError,
    Evaluator,
    EvaluatorSettings,
    FinishReason,
    Problem,
    Status,
    UsageError,
    evaluate,
    evaluate_blocking,
)

pytestmark = pytest.mark.anyio

ONE = EvaluatorSettings(workers=1)
DOUBLE, NEGATE = (
    Problem(
        problem_id=f"toys/{number:03}",
        position=number,
        question="?",
        tests=json.dumps({"inputs": ["1\n", "3\n"], "outputs": [f"{factor}\n", f"{3 * factor}\n"]}),
        difficulty=difficulty,
    )
    for number, (factor, difficulty) in enumerate([(2, "EASY"), (-1, "HARD")], start=1)
)
RIGHT, WRONG = "print(2 * int(input()))\n", "print(2)\n"


@pytest.mark.both_loops
async def test_completions_are_judged_and_scored_in_a_running_loop() -> None:
    evaluation = await evaluate({"toys/001": [WRONG, RIGHT]}, [DOUBLE, NEGATE], k=(1, 2), evaluator=ONE)
    assert [record.key for record in evaluation.records] == [("toys/001", 0), ("toys/001", 1)]
    assert [record.verdicts[evaluation.mode].status for record in evaluation.records] == [
        Status.WRONG_ANSWER,
        Status.PASSED,
    ]
    assert {k: each.value for k, each in evaluation.scores.overall.items()} == {1: 0.5, 2: 1.0}
    assert set(evaluation.scores.by_difficulty) == {"EASY"}
    assert evaluation.statuses == {"wrong_answer": 1, "passed": 1}
    assert evaluation.missing == ("toys/002",)
    assert evaluation.to_arrow().column("strict_status").to_pylist() == ["wrong_answer", "passed"]


async def test_the_blocking_form_works_where_a_loop_is_running() -> None:
    """As in a notebook: this test is a coroutine."""
    evaluation = evaluate_blocking({"toys/001": [RIGHT]}, [DOUBLE], settings=ONE)
    assert evaluation.scores.overall[1].value == 1.0


async def test_an_open_evaluator_is_used_and_stays_open() -> None:
    async with Evaluator(ONE) as evaluator:
        for program, score in ((RIGHT, 1.0), (WRONG, 0.0)):
            evaluation = await evaluate({"toys/001": [program]}, [DOUBLE], evaluator=evaluator)
            assert evaluation.scores.overall[1].value == score
        assert (await evaluator.judge(DOUBLE, RIGHT)).status is Status.PASSED


async def test_chat_answers_are_looked_through_for_their_program() -> None:
    answer = f"Here it is:\n```python\n{RIGHT}```\n"
    async with Evaluator(ONE) as evaluator:
        for chat, status in ((True, Status.PASSED), (False, Status.COMPILE_ERROR)):
            evaluation = await evaluate({"toys/001": [answer]}, [DOUBLE], chat=chat, evaluator=evaluator)
            assert evaluation.statuses == {status: 1}


async def test_completions_of_an_engine_keep_their_index_and_cancelled_ones_are_left_out() -> None:
    values = [
        Completion(problem_id="toys/001", sample_index=index, text=RIGHT, finish_reason=reason, completion_tokens=index)
        for index, reason in ((7, FinishReason.STOP), (3, FinishReason.LENGTH), (5, FinishReason.CANCELLED))
    ]
    evaluation = await evaluate(values, [DOUBLE], evaluator=ONE)
    assert [(each.sample_index, each.completion_tokens) for each in evaluation.records] == [(3, 3), (7, 7)]


async def test_an_unknown_id_is_named_with_the_nearest_before_anything_runs() -> None:
    with pytest.raises(
        UsageError, match="there is no problem toys/1, of which there are completions; did you mean toys/001"
    ):
        await evaluate({"toys/1": [RIGHT]}, [DOUBLE, NEGATE])
    with pytest.raises(DatasetError, match="there is no file or folder"):
        await evaluate({"a": [RIGHT]}, "nowhere.jsonl")


async def test_what_cannot_be_meant_is_refused() -> None:
    with pytest.raises(UsageError, match="are one text: give a list"):
        await evaluate({"toys/001": RIGHT}, [DOUBLE])
    with pytest.raises(UsageError, match="the problem 1 is not named by its id"):
        await evaluate({1: [RIGHT]}, [DOUBLE])  # type: ignore[dict-item]
    twice = [Completion(problem_id="toys/001", sample_index=0, text="", finish_reason=FinishReason.STOP)] * 2
    with pytest.raises(UsageError, match="sample 0 of toys/001 comes twice"):
        await evaluate(twice, [DOUBLE])
    with pytest.raises(UsageError, match="pass@2 needs at least 2 samples of each problem, and one has 1"):
        await evaluate({"toys/001": [RIGHT]}, [DOUBLE], k=(2,))
