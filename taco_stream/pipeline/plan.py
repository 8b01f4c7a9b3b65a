"""What the pipeline is given: the plan of a run, the seams to a judge and to a run directory, and the open problems."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

from taco_stream.evaluator.pool import EvaluatorStatistics
from taco_stream.extraction import Extraction
from taco_stream.types import (
    ComparisonMode,
    Completion,
    Event,
    Problem,
    Prompt,
    Record,
    SampleKey,
    SamplingParameters,
    Verdict,
)

Entry = Completion | Record | Event
Extract = Callable[[Completion, Problem], Extraction]


class Judge(Protocol):
    """What the pipeline needs of an evaluator."""

    async def judge_all_modes(self, problem: Problem, program: str) -> Mapping[ComparisonMode, Verdict]:
        """Runs one program against a problem's tests."""
        ...

    def statistics(self) -> EvaluatorStatistics:
        """The evaluator as it is now."""
        ...


class Journal(Protocol):
    """What the pipeline needs of a run directory."""

    def is_generated(self, key: SampleKey) -> bool:
        """Whether the sample's completion is on disk."""
        ...

    def unjudged(self, problem_id: str) -> Iterable[Completion]:
        """The completions of a problem that are on disk without a verdict."""
        ...

    async def append(self, entries: Sequence[Entry]) -> None:
        """Writes the entries, in order."""
        ...


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be generated, for which problems, and how programs are found in the answers."""

    problems: Callable[[], Iterable[Problem]]
    sample_indices: Callable[[Problem], Sequence[int]]
    prompt: Callable[[Problem], Prompt]
    extract: Extract
    sampling: SamplingParameters
    seed: int = 0
    completions_buffer: int = 4096


class OpenProblems:
    """The problems that have samples on their way; a problem leaves with the last of them."""

    def __init__(self) -> None:
        self._problems: dict[str, Problem] = {}
        self._remaining: dict[str, int] = {}

    def open(self, problem: Problem, samples: int) -> None:
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
