"""The reward function as TRL's GRPOTrainer calls it (`_calculate_rewards` of 1.16)."""

import asyncio
import inspect
import json
import math
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from taco_stream.errors import EvaluatorError, UsageError
from taco_stream.evaluator.blocking import BlockingEvaluator, open_evaluator
from taco_stream.evaluator.settings import EvaluatorSettings
from taco_stream.rewards.shared_evaluators import close_evaluators
from taco_stream.rewards.trl import AsyncTrlReward, TrlReward
from taco_stream.types import Problem

SETTINGS = EvaluatorSettings(workers=1, unsafe_no_sandbox=True)
TESTS = json.dumps({"inputs": ["1", "2", "3", "4"], "outputs": ["1", "4", "9", "16"]})
PROBLEMS = [
    Problem(problem_id="squares/1", position=0, question="?", tests=TESTS),
    Problem(problem_id="broken", position=1, question="?", tests='{"inputs": 5}'),
]
TEXTS = ["```python\nprint(int(input()) ** 2)\n```", "```python\nprint(1)\n```", "no program"]
CHATS = [[{"role": "assistant", "content": text}] for text in TEXTS]


@pytest.fixture(scope="module", autouse=True)
def closed() -> Iterator[None]:
    yield
    close_evaluators()


def call(reward: Any, completions: list[Any], **columns: list[Any]) -> tuple[list[float], dict[str, list[float]]]:
    """What GRPOTrainer makes of a reward function's answer, None as NaN, and the metrics that it logged."""
    metrics: dict[str, list[float]] = defaultdict(list)
    prompts = [[{"role": "user", "content": "?"}]] * len(completions)
    reward_kwargs = {
        **columns,
        "trainer_state": object(),
        "log_extra": lambda column, values: None,
        "log_metric": lambda name, value: metrics[name].append(value),
    }
    arguments = {"prompts": prompts, "completions": completions, "completion_ids": [[1, 2]] * len(completions)}
    # `is_async_callable`: a function, or an object whose `__call__` is one.
    if inspect.iscoroutinefunction(reward) or inspect.iscoroutinefunction(reward.__call__):
        output = asyncio.run(reward(**arguments, **reward_kwargs))
    else:
        output = reward(**arguments, **reward_kwargs)
    output = [value if value is not None else math.nan for value in output]
    assert len(output) == len(prompts)
    return output, metrics


@pytest.mark.parametrize("kind", [TrlReward, AsyncTrlReward])
@pytest.mark.parametrize("completions", [TEXTS, CHATS])
def test_right_and_wrong_answers_are_told_apart(kind: type[TrlReward], completions: list[Any]) -> None:
    reward = kind(PROBLEMS, evaluator=SETTINGS)
    output, metrics = call(reward, completions, problem_id=["squares/1"] * 3, difficulty=["EASY"] * 3)
    assert output == [1.0, 0.0, 0.0]
    assert metrics == {"unjudged": [0.0], "solved": [pytest.approx(1 / 3)]}
    assert reward.__name__ == "passed"


@pytest.mark.parametrize("kind", [TrlReward, AsyncTrlReward])
def test_an_answer_that_cannot_be_judged_is_left_out_and_counted(kind: type[TrlReward]) -> None:
    output, metrics = call(kind(PROBLEMS, evaluator=SETTINGS), TEXTS[:2], problem_id=["squares/1", "broken"])
    assert output[0] == 1.0
    assert math.isnan(output[1])
    assert metrics == {"unjudged": [1.0], "solved": [1.0]}


def test_the_share_of_tests_is_paid() -> None:
    reward = TrlReward(PROBLEMS, share_of_tests=True, evaluator=SETTINGS)
    assert call(reward, TEXTS, problem_id=["squares/1"] * 3)[0] == [1.0, 0.25, 0.0]
    assert reward.__name__ == "share_of_tests"


def test_tests_may_come_in_a_column() -> None:
    reward = TrlReward(tests_column="input_output", evaluator=SETTINGS)
    assert call(reward, TEXTS, input_output=[TESTS] * 3, starter_code=[None] * 3)[0] == [1.0, 0.0, 0.0]
    with pytest.raises(UsageError, match="the training set has no column input_output"):
        call(reward, TEXTS, problem_id=["squares/1"] * 3)


def test_an_evaluator_of_ones_own_is_used_and_named_when_it_is_closed() -> None:
    with open_evaluator(SETTINGS) as evaluator:
        reward = TrlReward(PROBLEMS, evaluator=evaluator)
        assert isinstance(evaluator, BlockingEvaluator)
        assert call(reward, TEXTS[:1], problem_id=["squares/1"])[0] == [1.0]
    with pytest.raises(EvaluatorError, match="the evaluator is closed"):
        call(reward, TEXTS[:1], problem_id=["squares/1"])


def test_problems_come_from_one_place() -> None:
    for arguments in ({}, {"problems": PROBLEMS, "tests_column": "tests"}):
        with pytest.raises(UsageError, match="one of them"):
            TrlReward(**arguments)  # type: ignore[arg-type]


def test_two_asynchronous_rewards_wait_together() -> None:
    """As `asyncio.gather` does it in the trainer: neither holds up the loop while its programs run."""
    reward = AsyncTrlReward(PROBLEMS, evaluator=SETTINGS)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.01)

    async def both() -> list[list[float | None]]:
        ticking = asyncio.create_task(tick())
        slow = "```python\nimport time\nx = int(input())\ntime.sleep(0.3)\nprint(x ** 2)\n```"
        one, two = (reward(completions=[slow], problem_id=["squares/1"]) for _ in range(2))
        found = await asyncio.gather(one, two)
        ticking.cancel()
        return list(found)

    assert asyncio.run(both()) == [[1.0], [1.0]]
    assert ticks > 5
