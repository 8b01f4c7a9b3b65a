"""The reward as verifiers calls it (0.4): by the names of its arguments, as a method of a task or plugged in."""

import asyncio
import functools
import importlib
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from taco_stream.errors import EvaluatorError, UsageError
from taco_stream.evaluator.settings import EvaluatorSettings
from taco_stream.rewards.shared_evaluators import close_evaluators
from taco_stream.rewards.verifiers import VerifiersReward
from taco_stream.types import Problem

SETTINGS = EvaluatorSettings(workers=1, unsafe_no_sandbox=True)
TESTS = json.dumps({"inputs": ["1", "2", "3", "4"], "outputs": ["1", "4", "9", "16"]})
PROBLEMS = [
    Problem(problem_id="squares", position=0, question="?", tests=TESTS),
    Problem(problem_id="broken", position=1, question="?", tests='{"inputs": 5}'),
]
RIGHT, PARTLY = "```python\nprint(int(input()) ** 2)\n```", "```python\nprint(1)\n```"


@pytest.fixture(scope="module", autouse=True)
def closed() -> Iterator[None]:
    yield
    close_evaluators()


def call(fn: Any, answer: str, **data: Any) -> float:
    """What `verifiers.v1.utils.decorators.invoke_all` does with a reward of `Task.score`."""

    async def gather() -> list[Any]:
        available = {"task": SimpleNamespace(**data), "trace": SimpleNamespace(last_reply=answer)}
        names = inspect.signature(fn).parameters
        return await asyncio.gather(fn(**{name: available[name] for name in names if name in available}))

    return asyncio.run(gather())[0]


def test_an_answer_is_judged_to_the_problem_of_the_tasks_id() -> None:
    reward = VerifiersReward(PROBLEMS, evaluator=SETTINGS)
    assert (call(reward, RIGHT, id="squares"), call(reward, PARTLY, id="squares")) == (1.0, 0.0)


def test_it_may_be_plugged_in_by_the_configuration() -> None:
    """`load_plugged_fn` wraps it and names it."""
    reward = VerifiersReward(PROBLEMS, evaluator=SETTINGS)

    @functools.wraps(reward)
    def plugged(*args: Any, **kwargs: Any) -> Any:
        return reward(*args, **kwargs)

    assert call(plugged, RIGHT, id="squares") == 1.0


def test_tests_may_be_a_field_of_the_task() -> None:
    reward = VerifiersReward(tests_field="tests", share_of_tests=True, evaluator=SETTINGS)
    assert call(reward, PARTLY, id="7", tests=TESTS) == 0.25


def test_an_answer_that_cannot_be_judged_fails_the_rollout() -> None:
    with pytest.raises(EvaluatorError, match="the answer to broken could not be judged"):
        call(VerifiersReward(PROBLEMS, evaluator=SETTINGS), RIGHT, id="broken")


def test_problems_come_from_one_place() -> None:
    with pytest.raises(UsageError, match="one of them"):
        VerifiersReward()


def test_a_real_task_is_scored() -> None:
    pytest.importorskip("verifiers", reason="the package verifiers is not installed")
    vf: Any = importlib.import_module("verifiers.v1")

    class SquaresTask(vf.Task[vf.TaskData]):  # type: ignore[name-defined,misc]
        passed = vf.reward(VerifiersReward(PROBLEMS, evaluator=SETTINGS))

    def trace(data: Any) -> Any:
        task = vf.TraceTask(type="squares", key="k", hash="h", data=data)
        return vf.Trace(task=task, agent=vf.AgentInfo.model_construct(), root_reply=RIGHT)

    scored = trace(data := vf.TaskData(id="squares", prompt="?"))
    asyncio.run(SquaresTask(data).score(scored))
    assert scored.rewards["passed"].score == 1.0
    unknown = trace(data := vf.TaskData(id="broken", prompt="?"))
    with pytest.raises(vf.TaskError, match="could not be judged"):
        asyncio.run(SquaresTask(data).score(unknown))
    assert unknown.rewards == {"passed": None}


def test_the_guides_taskset_yields_tasks_that_are_scored() -> None:
    pytest.importorskip("verifiers", reason="the package verifiers is not installed")
    guide = (Path(__file__).parents[2] / "docs" / "how-to" / "rewards.md").read_text(encoding="utf-8")
    (example,) = (body for body in re.findall(r"```python\n(.*?)```", guide, re.S) if "import verifiers" in body)
    made: dict[str, Any] = {"__name__": "guide"}
    exec(example, made)
    vf: Any = importlib.import_module("verifiers.v1")
    task = next(iter(made["TacoTaskset"](vf.TasksetConfig(id="taco"))))
    about = vf.TraceTask(type="taco", key="k", hash="h", data=task.data)
    trace = vf.Trace(task=about, agent=vf.AgentInfo.model_construct(), root_reply="```python\nprint(0)\n```")
    asyncio.run(task.score(trace))
    assert trace.rewards["passed"].score == 0.0
