"""The task of a run: its problems, the samples of each, how to ask for them and how to read programs from answers.

Also the seams that the stages see: a judge, a store, and the problems that are in flight.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from taco_stream.events import Event
from taco_stream.extraction import Extraction
from taco_stream.run.existing import Existing
from taco_stream.statistics import EvaluatorStatistics
from taco_stream.types import (
    ComparisonMode,
    Completion,
    Problem,
    Prompt,
    Record,
    Request,
    SampleKey,
    SamplingParameters,
    Verdict,
)

Entry = Completion | Record | Event
"""A line of the run directory."""


class Task(NamedTuple):
    """The questions, and how answers are read. `problems` can be iterated any number of times.

    `existing` holds the completions of a run that generates nothing; the sample indices are then among its own. `reuse`
    finds those of a problem's samples that another run has generated already.
    """

    problems: Callable[[], Iterable[Problem]]
    sample_indices: Callable[[Problem], Sequence[int]]
    prompt: Callable[[Problem], Prompt]
    extract: Callable[[Completion, Problem], Extraction]
    sampling: SamplingParameters
    seed: int = 0
    existing: Existing | None = None
    reuse: Callable[[str, Sequence[int]], list[Completion]] | None = None

    def request(self, problem: Problem, indices: Sequence[int]) -> Request:
        """Asks for some samples of a problem."""
        return Request(
            problem_id=problem.problem_id,
            prompt=self.prompt(problem),
            sample_indices=tuple(indices),
            sampling=self.sampling,
            seed=self.seed,
        )


class Judge(Protocol):
    """The part of an evaluator that a run needs."""

    @property
    def concurrency(self) -> int:
        """How many programs it does well to have at once, now: machines may come and go."""
        ...

    async def judge_all_modes(self, problem: Problem, program: str) -> Mapping[ComparisonMode, Verdict]:
        """Runs one program against a problem's tests."""
        ...

    def statistics(self) -> EvaluatorStatistics:
        """The evaluator as it is now."""
        ...


class Store(Protocol):
    """The part of a run directory that a run needs."""

    def is_generated(self, key: SampleKey) -> bool:
        """Whether the sample's completion is on disk."""
        ...

    def unjudged(self, problem_id: str) -> Iterable[Completion]:
        """The completions of a problem that are on disk without a verdict."""
        ...

    async def append(self, entries: Sequence[Entry]) -> None:
        """Writes the entries, in order."""
        ...


class ProblemsInFlight:
    """The problems that have samples on their way; a problem leaves with the last of them."""

    def __init__(self) -> None:
        self._problems: dict[str, Problem] = {}
        self._remaining: dict[str, int] = {}

    def enter(self, problem: Problem, samples: int) -> None:
        """Keeps the problem until `samples` samples have left."""
        self._problems[problem.problem_id] = problem
        self._remaining[problem.problem_id] = samples

    def __getitem__(self, problem_id: str) -> Problem:
        return self._problems[problem_id]

    def __len__(self) -> int:
        return len(self._problems)

    def leave(self, problem_id: str) -> None:
        """Counts one sample of the problem as done with."""
        self._remaining[problem_id] -= 1
        if not self._remaining[problem_id]:
            del self._remaining[problem_id], self._problems[problem_id]
