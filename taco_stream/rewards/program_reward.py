"""What the reward functions of all trainers have in common: from a problem and an answer to a reward.

A problem is named by its id in a dataset, or comes with the answer as tests in TACO's columns. The reward is 1 for a
program that passes every test and 0 for one that does not, or the share of tests that it passes. It is None if the
verdict says nothing about the program, because the evaluator failed on it or the problem has no checker: never 0, which
would teach the model that a right program is wrong.
"""

import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from functools import lru_cache

import msgspec

from taco_stream.datasets import taco
from taco_stream.datasets.open import open_dataset
from taco_stream.datasets.rows import RowError
from taco_stream.datasets.selection import nearest_ids
from taco_stream.errors import UsageError
from taco_stream.evaluator.blocking import BlockingEvaluator
from taco_stream.evaluator.settings import EvaluatorSettings
from taco_stream.extraction import extract_chat
from taco_stream.metrics import reward
from taco_stream.rewards.shared_evaluators import find_evaluator
from taco_stream.types import Problem, Verdict

DEFAULT_SETTINGS = EvaluatorSettings(failures_first=True)

Messages = str | Sequence[Mapping[str, object]]
"""An answer as trainers hand it over: a text, or a conversation."""


class ProgramReward:
    """Judges answers and turns verdicts into rewards.

    `problems` is what `open_dataset` takes, or the problems themselves; all of them are kept in memory. None is for
    tests that come with each answer. `evaluator` is one that is open, and stays so, or the settings of the one that
    this process shares among its reward functions; with settings the object can be pickled. Raises `UsageError` if
    `share_of_tests` is asked of an open evaluator that does not run all tests.
    """

    def __init__(
        self,
        problems: str | Iterable[Problem] | None = None,
        *,
        share_of_tests: bool = False,
        evaluator: BlockingEvaluator | EvaluatorSettings = DEFAULT_SETTINGS,
    ) -> None:
        if isinstance(evaluator, EvaluatorSettings):
            evaluator = msgspec.structs.replace(evaluator, full_results=share_of_tests or evaluator.full_results)
        elif share_of_tests and not evaluator.settings.full_results:
            raise UsageError(
                "the share of tests needs an evaluator that runs them all: EvaluatorSettings(full_results=True)"
            )
        self._problems = problems if isinstance(problems, str | None) else _by_id(problems)
        self._share_of_tests = share_of_tests
        self._evaluator = evaluator
        # Trainers name their metrics by it, as they would by that of a function.
        self.__name__ = "share_of_tests" if share_of_tests else "passed"

    def find_problem(self, name: object) -> Problem:
        """The problem of that id. Raises `UsageError` that names the nearest id if there is none."""
        if self._problems is None:
            raise UsageError(f"there are no problems to find {name!r} in: name a dataset, or give tests")
        problems = self._problems
        if isinstance(problems, str):
            with _reading.lock:  # `lru_cache` lets everyone read who asks before the first has read
                problems = _dataset_by_id(problems)
        if isinstance(name, str) and name in problems:
            return problems[name]
        close = nearest_ids(str(name), problems)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        raise UsageError(f"there is no problem {name!r} among the {len(problems)} problems{hint}")

    def submit(self, problems: Sequence[Problem], answers: Sequence[str]) -> "Future[list[Verdict]]":
        """Begins to judge the programs in the answers, each to the problem of its place.

        Raises `EvaluatorError` if programs cannot be judged on this machine.
        """
        items = [
            (problem, extract_chat(answer, entry_point=problem.fn_name).program or "")
            for problem, answer in zip(problems, answers, strict=True)
        ]
        evaluator = self._evaluator
        if isinstance(evaluator, EvaluatorSettings):
            evaluator = find_evaluator(evaluator)
        return evaluator.submit_batch(items)

    def worth(self, verdict: Verdict) -> float | None:
        """The reward of one verdict."""
        return reward(verdict, share_of_tests=self._share_of_tests)


def read_answer(completion: Messages) -> str:
    """The text of a completion: of messages, that of the last one by the assistant; empty if it has none."""
    if isinstance(completion, str):
        return completion
    contents = [message.get("content") for message in completion if message.get("role") == "assistant"]
    content = contents[-1] if contents else None
    if isinstance(content, list):  # parts, as models that see images have them
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, Mapping))
    return str(content or "")


@lru_cache(maxsize=256)  # a group of answers to one problem comes together
def parse_tests(tests: str, starter_code: str = "", time_limit: str | float | None = None) -> Problem:
    """The problem of tests that come with an answer, in TACO's columns. Raises `UsageError` if they are not such
    tests."""
    row = {"id": "tests", "input_output": tests, "starter_code": starter_code, "time_limit": time_limit}
    try:
        return taco.ADAPTER.parse_problem(row, 0)
    except (RowError, RecursionError) as error:
        raise UsageError(f"the tests of an answer cannot be read: {error}") from error


class _Reading:
    """Who reads a dataset: one thread. A forked child has a lock of its own, whatever its parent's threads did."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self.lock = threading.Lock()


_reading = _Reading()


@lru_cache(maxsize=4)
def _dataset_by_id(dataset: str) -> Mapping[str, Problem]:
    return _by_id(open_dataset(dataset))


def _by_id(problems: Iterable[Problem]) -> Mapping[str, Problem]:
    return {problem.problem_id: problem for problem in problems}
