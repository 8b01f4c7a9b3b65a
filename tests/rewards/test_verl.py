"""The score as verl asks for it: loaded by name from its configuration, called by a reward manager (0.9)."""

import asyncio
import functools
import importlib
import inspect
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from rewards.evaluator_workers import children_of, workers_of_this_process

from taco_stream.errors import EvaluatorError, UsageError
from taco_stream.rewards.shared_evaluators import close_evaluators

TESTS = {"inputs": ["1", "2", "3", "4"], "outputs": ["1", "4", "9", "16"]}
RIGHT = "So:\n```python\nprint(int(input()) ** 2)\n```"
NAMES = ["verl_compute_score", "verl_compute_score_async"]


@pytest.fixture(scope="module", autouse=True)
def closed() -> Iterator[None]:
    yield
    close_evaluators()


async def call(name: str, ground_truth: Any, answer: str = RIGHT, **reward_kwargs: Any) -> dict[str, Any]:
    """What verl's `get_custom_reward_fn` and `NaiveRewardManager.run_single` do with `pkg://taco_stream` and a name."""
    raw_fn = getattr(importlib.import_module("taco_stream"), name)

    def _call_with_kwargs(*args: Any, **kwargs: Any) -> Any:
        return raw_fn(*args, **{**kwargs, **reward_kwargs})

    async def _call_with_kwargs_async(*args: Any, **kwargs: Any) -> Any:
        return await raw_fn(*args, **{**kwargs, **reward_kwargs})

    is_async = inspect.iscoroutinefunction(raw_fn)
    compute_score = functools.partial(_call_with_kwargs_async if is_async else _call_with_kwargs)
    assert inspect.iscoroutinefunction(compute_score) == is_async
    arguments = {
        "data_source": "taco",
        "solution_str": answer,
        "ground_truth": ground_truth,
        "extra_info": {"num_turns": None, "rollout_reward_scores": {}},
    }
    if is_async:
        return await compute_score(**arguments)
    return await asyncio.get_running_loop().run_in_executor(None, lambda: compute_score(**arguments))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ground_truth", [TESTS, json.dumps(TESTS)])
def test_tests_are_the_ground_truth(name: str, ground_truth: Any) -> None:
    score = asyncio.run(call(name, ground_truth, workers=1))
    assert score == {"score": 1.0, "acc": 1.0, "judged": 1.0}


@pytest.mark.parametrize("name", NAMES)
def test_a_problem_of_a_dataset_is_the_ground_truth(name: str) -> None:
    score = asyncio.run(call(name, "demo/001", "```python\nprint(0)\n```", dataset="demo", workers=1))
    assert score == {"score": 0.0, "acc": 0.0, "judged": 1.0}


@pytest.mark.parametrize("name", NAMES)
def test_the_share_of_tests_is_the_score(name: str) -> None:
    score = asyncio.run(call(name, TESTS, "```python\nprint(1)\n```", share_of_tests=True, workers=1))
    assert score == {"score": 0.25, "acc": 0.0, "judged": 1.0}


@pytest.fixture
def workers_killed() -> Iterator[None]:
    """Kills every evaluator worker of this process that runs a program for a second, again and again."""
    is_over = threading.Event()

    def kill() -> None:
        since: dict[frozenset[int], float] = {}
        while not is_over.wait(0.05):
            for pid in workers_of_this_process():
                # A program's process is below that of the zygote; one of its start does not stay.
                programs = frozenset(grand for child in children_of(pid) for grand in children_of(child))
                if programs and time.monotonic() - since.setdefault(programs, time.monotonic()) > 1:
                    os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    yield
    is_over.set()
    killer.join()


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_that_cannot_be_judged_is_never_silently_0(name: str, workers_killed: None) -> None:
    slow = f"```python\nimport time\ntime.sleep(20)\nprint({name!r})\n```"
    with pytest.raises(EvaluatorError, match=r"the evaluator failed twice .*: reward_kwargs.unjudged_score says"):
        asyncio.run(call(name, TESTS, slow, workers=1))
    given = asyncio.run(call(name, TESTS, slow, workers=1, unjudged_score=-1.0))
    assert given == {"score": -1.0, "acc": 0.0, "judged": 0.0}


def test_many_answers_are_awaited_at_once() -> None:
    async def burst() -> list[dict[str, Any]]:
        answers = [RIGHT if number % 2 else f"print({number})" for number in range(64)]
        return await asyncio.gather(*(call(NAMES[1], TESTS, answer, workers=2) for answer in answers))

    assert [score["score"] for score in asyncio.run(burst())] == [0.0, 1.0] * 32


def test_an_unknown_problem_is_named() -> None:
    with pytest.raises(UsageError, match="did you mean demo/001"):
        asyncio.run(call(NAMES[0], "demo/01", dataset="demo"))
    with pytest.raises(UsageError, match="name a dataset, or give tests"):
        asyncio.run(call(NAMES[0], "demo/001"))
