"""Reward functions in the shape of verl's `compute_score` (seen: 0.9), to be named in its configuration.

verl calls one for each answer, by keyword, in several processes (`reward.num_workers`), each of which has an evaluator
of its own. The asynchronous function is awaited for many answers at once; the other one is called in threads.

verl needs a number: it has no way to leave a sample out. An answer that could not be judged is
therefore an error, which ends the training, unless the configuration says which number it is worth. The numbers beside
`score` become metrics; verl expects the same ones of every answer.
"""

import asyncio
import json
from functools import lru_cache
from typing import Any

import msgspec

from taco_stream.errors import EvaluatorError
from taco_stream.rewards.program_reward import DEFAULT_SETTINGS, ProgramReward, parse_tests
from taco_stream.types import Problem, Status, Verdict


def verl_compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: dict[str, Any] | None = None,
    *,
    dataset: str | None = None,
    share_of_tests: bool = False,
    unjudged_score: float | None = None,
    workers: int | None = None,
    **_: Any,
) -> dict[str, float]:
    """The score of one answer, for verl: `reward.custom_reward_function.path=pkg://taco_stream`, with this name.

    `ground_truth` is a problem's id in `dataset`, or tests as TACO's `input_output` has them, an object or its JSON
    text; `extra_info` may hold their `starter_code` and `time_limit`. The other parameters are verl's `reward_kwargs`:
    with `share_of_tests` the score is the share of tests passed, `workers` is the number of evaluator processes in each
    of verl's, and `unjudged_score` the score of an answer on which the evaluator failed, without which that raises
    `EvaluatorError`. `score` comes with `acc`, 1 if every test passed, and `judged`, 0 if the evaluator failed.
    """
    reward = _reward(dataset, share_of_tests, workers)
    problem = _find_problem(reward, ground_truth, extra_info)
    return _score(reward, reward.submit([problem], [solution_str]).result()[0], unjudged_score)


async def verl_compute_score_async(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: dict[str, Any] | None = None,
    *,
    dataset: str | None = None,
    share_of_tests: bool = False,
    unjudged_score: float | None = None,
    workers: int | None = None,
    **_: Any,
) -> dict[str, float]:
    """`verl_compute_score` as an asynchronous function, of which verl awaits many at once. The one to prefer."""

    def submit() -> Any:
        problem = _find_problem(reward, ground_truth, extra_info)
        return reward.submit([problem], [solution_str])

    reward = _reward(dataset, share_of_tests, workers)
    submitted = await asyncio.to_thread(submit)
    return _score(reward, (await asyncio.wrap_future(submitted))[0], unjudged_score)


@lru_cache
def _reward(dataset: str | None, share_of_tests: bool, workers: int | None) -> ProgramReward:
    settings = msgspec.structs.replace(DEFAULT_SETTINGS, workers=workers)
    return ProgramReward(dataset, share_of_tests=share_of_tests, evaluator=settings)


def _find_problem(reward: ProgramReward, ground_truth: Any, extra_info: dict[str, Any] | None) -> Problem:
    if isinstance(ground_truth, str) and not ground_truth.lstrip().startswith("{"):
        return reward.find_problem(ground_truth)
    tests = ground_truth if isinstance(ground_truth, str) else json.dumps(ground_truth)
    extra = extra_info or {}
    return parse_tests(tests, extra.get("starter_code") or "", extra.get("time_limit"))


def _score(reward: ProgramReward, verdict: Verdict, unjudged_score: float | None) -> dict[str, float]:
    worth = reward.worth(verdict)
    if worth is not None:
        return {"score": worth, "acc": float(verdict.status is Status.PASSED), "judged": 1.0}
    if unjudged_score is None:
        raise EvaluatorError(
            f"an answer could not be judged, and verl cannot leave it out ({verdict.status}: {verdict.detail}): "
            "reward_kwargs.unjudged_score says what such answers are worth"
        )
    return {"score": unjudged_score, "acc": 0.0, "judged": 0.0}
