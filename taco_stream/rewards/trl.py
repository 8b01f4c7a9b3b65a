"""Reward functions in the shape that TRL's GRPOTrainer calls (seen: 1.16), and other trainers after it.

It calls by keyword, with `prompts`, `completions`, `completion_ids`, every other column of the dataset (one value for
each completion), `trainer_state`, `log_extra` and `log_metric`. A completion is a text, or a list of messages if the
dataset's prompts are. None leaves the completion out of this reward. Asynchronous functions are awaited together, so
that two rewards overlap.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from taco_stream.errors import UsageError
from taco_stream.evaluator.blocking import BlockingEvaluator
from taco_stream.evaluator.settings import EvaluatorSettings
from taco_stream.rewards.program_reward import DEFAULT_SETTINGS, Messages, ProgramReward, parse_tests, read_answer
from taco_stream.types import Problem, Status, Verdict

LogMetric = Callable[[str, float], None]


class TrlReward:
    """A reward function for TRL's GRPOTrainer: `reward_funcs=[TrlReward("BAAI/TACO")]`.

    The column `problem_column` of the training set holds the ids of `problems`, which are what `open_dataset` takes or
    the problems themselves. Instead, `tests_column` may name a column of tests, `{"inputs": […], "outputs": […]}` as
    JSON text, as in TACO's `input_output`; columns `starter_code` and `time_limit` are read if they are there.

    A reward is 1 if the program passes every test, else 0; with `share_of_tests` the share that it passes. It is None,
    which TRL leaves out, if the evaluator failed on the program; `log_metric` is told how often (`unjudged`), and which
    share of the others passed (`solved`). `evaluator` is an open one, or the settings of the one that this process
    shares.

    A call raises `UsageError` if a problem is unknown or tests cannot be read, and `EvaluatorError` if programs cannot
    be judged on this machine.
    """

    def __init__(
        self,
        problems: str | Iterable[Problem] | None = None,
        *,
        problem_column: str = "problem_id",
        tests_column: str | None = None,
        share_of_tests: bool = False,
        evaluator: BlockingEvaluator | EvaluatorSettings = DEFAULT_SETTINGS,
    ) -> None:
        if (problems is None) == (tests_column is None):
            raise UsageError("name the problems, or the column of tests: one of them")
        self._reward = ProgramReward(problems, share_of_tests=share_of_tests, evaluator=evaluator)
        self._problem_column = problem_column
        self._tests_column = tests_column
        self.__name__ = self._reward.__name__

    def __call__(
        self, completions: Sequence[Messages], *, log_metric: LogMetric | None = None, **columns: Any
    ) -> list[float | None]:
        """The rewards of the completions, in their order."""
        answers = [read_answer(completion) for completion in completions]
        verdicts = self._reward.submit(self._problems(columns), answers).result()
        return self._rewards(verdicts, log_metric)

    def _problems(self, columns: dict[str, Any]) -> list[Problem]:
        name = self._tests_column or self._problem_column
        if name not in columns:
            raise UsageError(f"the training set has no column {name}")
        if self._tests_column is None:
            return [self._reward.find_problem(each) for each in columns[name]]
        nothing = [None] * len(columns[name])
        starters, limits = columns.get("starter_code", nothing), columns.get("time_limit", nothing)
        rows = zip(columns[name], starters, limits, strict=True)
        return [parse_tests(tests, starter or "", limit) for tests, starter, limit in rows]

    def _rewards(self, verdicts: Sequence[Verdict], log_metric: LogMetric | None) -> list[float | None]:
        scored = [verdict for verdict in verdicts if verdict.status.is_scored]
        if log_metric is not None:
            log_metric("unjudged", float(len(verdicts) - len(scored)))
            if scored:
                log_metric("solved", sum(verdict.status is Status.PASSED for verdict in scored) / len(scored))
        return [self._reward.worth(verdict) for verdict in verdicts]


class AsyncTrlReward(TrlReward):
    """`TrlReward` as an asynchronous function, which TRL awaits together with others. For asyncio."""

    async def __call__(  # type: ignore[override]  # a trainer asks which of the two it has
        self, completions: Sequence[Messages], *, log_metric: LogMetric | None = None, **columns: Any
    ) -> list[float | None]:
        """The rewards of the completions, in their order."""
        answers = [read_answer(completion) for completion in completions]
        # A thread: the first call reads the dataset and starts the evaluator.
        submitted = await asyncio.to_thread(lambda: self._reward.submit(self._problems(columns), answers))
        verdicts = await asyncio.wrap_future(submitted)
        return self._rewards(verdicts, log_metric)
