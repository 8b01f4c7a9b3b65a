"""Completions that exist already: a file's, or the reference solutions of a dataset.

A run that is given these generates nothing. They take the way of generated completions from where those are put on
disk, so that they are judged, resumed and reported alike. The stages see a function from a problem to its
samples, and no file format.
"""

import tempfile
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import NamedTuple, Self

import msgspec

from taco_stream.datasets.solutions import read_solutions
from taco_stream.errors import NOT_DECODED, DatasetError
from taco_stream.types import Completion, FinishReason, Problem, SampleKey

REFERENCE_SOLUTIONS = "replay:reference solutions"
"""The engine's name in completions that are a dataset's own solutions."""


class Existing(NamedTuple):
    """Completions by problem: which samples there are, and each of them."""

    sample_indices: Callable[[Problem], Sequence[int]]
    completion: Callable[[Problem, int], Completion]


def reference_solutions() -> Existing:
    """A dataset's reference solutions: sample i is the problem's i-th solution.

    The functions raise `DatasetError` that names a problem whose solutions are broken.
    """

    def solutions(problem: Problem) -> tuple[str, ...]:
        try:
            return read_solutions(problem)
        except NOT_DECODED as error:
            raise DatasetError(
                f"the reference solutions of problem {problem.problem_id} are not a list of programs: {error}"
            ) from error

    def completion(problem: Problem, index: int) -> Completion:
        return Completion(
            problem_id=problem.problem_id,
            sample_index=index,
            text=solutions(problem)[index],
            finish_reason=FinishReason.STOP,
            engine=REFERENCE_SOLUTIONS,
        )

    return Existing(lambda problem: range(len(solutions(problem))), completion)


class CompletionSpool:
    """Completions of a file, kept on disk and found by key.

    Memory holds a key and an offset per sample, never the texts, so a file may be of any size. If a key occurs twice
    the first counts, and `repeated` has the key once for each of the others.
    """

    def __init__(self, completions: Iterable[Completion]) -> None:
        self._file = tempfile.TemporaryFile(prefix="taco-stream-replay-")  # noqa: SIM115 (closed on exit)
        self._spans: dict[SampleKey, tuple[int, int]] = {}
        self._samples: dict[str, list[int]] = {}
        self.repeated: list[SampleKey] = []
        try:
            for completion in completions:
                self._add(completion)
        except BaseException:
            self._file.close()
            raise

    def _add(self, completion: Completion) -> None:
        if completion.key in self._spans:
            self.repeated.append(completion.key)
            return
        body = msgspec.msgpack.encode(completion)
        self._spans[completion.key] = (self._file.tell(), len(body))
        self._samples.setdefault(completion.problem_id, []).append(completion.sample_index)
        self._file.write(body)

    def __enter__(self) -> Self:
        """The spool is filled on construction."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Removes the spooled texts."""
        self._file.close()

    def existing(self) -> Existing:
        """The completions as a run takes them."""
        return Existing(
            lambda problem: self.sample_indices(problem.problem_id),
            lambda problem, index: self[SampleKey(problem.problem_id, index)],
        )

    def __getitem__(self, key: SampleKey) -> Completion:
        offset, length = self._spans[key]
        self._file.seek(offset)
        return msgspec.msgpack.decode(self._file.read(length), type=Completion)

    def __contains__(self, key: SampleKey) -> bool:
        return key in self._spans

    def problem_ids(self) -> set[str]:
        """The problems that the file holds completions of."""
        return set(self._samples)

    def sample_indices(self, problem_id: str) -> tuple[int, ...]:
        """Which samples of a problem the file holds, ascending."""
        return tuple(sorted(self._samples.get(problem_id, ())))
