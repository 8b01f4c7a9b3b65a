"""A reward in the shape of verifiers' tasks (seen: 0.4, `verifiers.v1`), whose arguments are chosen by their names.

An error in a reward marks the rollout as failed, and the reward stays unknown: so an answer on which the evaluator
failed is an error. Rubrics of versions before 0.4 are not served: they take an error for a reward of 0.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

from taco_stream.errors import EvaluatorError, UsageError
from taco_stream.evaluator.blocking import BlockingEvaluator
from taco_stream.evaluator.settings import EvaluatorSettings
from taco_stream.rewards.program_reward import DEFAULT_SETTINGS, ProgramReward, parse_tests
from taco_stream.types import Problem


class VerifiersReward:
    """A reward of a verifiers task: `passed = vf.reward(VerifiersReward("BAAI/TACO"))` in the task's class.

    The task's data name the problem by their `id`, among `problems`, which are what `open_dataset` takes or the
    problems themselves. Instead, `tests_field` may name a field of the task's data that holds tests as TACO's
    `input_output` does; a field `starter_code` is read if there is one. The answer is the trace's last reply.

    A reward is 1 if the program passes every test, else 0; with `share_of_tests` the share that it passes. Raises
    `EvaluatorError` if the evaluator failed on the program, upon which the rollout counts as failed and not as wrong.
    `evaluator` is an open one, or the settings of the one that this process shares.
    """

    def __init__(
        self,
        problems: str | Iterable[Problem] | None = None,
        *,
        tests_field: str | None = None,
        share_of_tests: bool = False,
        evaluator: BlockingEvaluator | EvaluatorSettings = DEFAULT_SETTINGS,
    ) -> None:
        if (problems is None) == (tests_field is None):
            raise UsageError("name the problems, or the field of tests: one of them")
        self._reward = ProgramReward(problems, share_of_tests=share_of_tests, evaluator=evaluator)
        self._tests_field = tests_field
        self.__name__ = self._reward.__name__

    async def __call__(self, task: Any, trace: Any) -> float:
        """The reward of a trace."""
        submitted = await asyncio.to_thread(self._submit, task, trace.last_reply)
        verdict = (await asyncio.wrap_future(submitted))[0]
        worth = self._reward.worth(verdict)
        if worth is None:
            raise EvaluatorError(f"the answer to {task.id} could not be judged ({verdict.status}: {verdict.detail})")
        return worth

    def _submit(self, task: Any, answer: str) -> Any:
        if self._tests_field is None:
            problem = self._reward.find_problem(task.id)
        else:
            problem = parse_tests(getattr(task, self._tests_field), getattr(task, "starter_code", ""))
        return self._reward.submit([problem], [answer])
