"""The replay engine: completions that exist already, handed on as if they were generated now.

It serves completions of a file (so that they are judged, or judged again) and a dataset's own reference solutions (so
that the evaluator and the tests of a dataset can be checked). What to replay is a function from a sample's key to its
completion, so the engine itself knows no file format; `reference_solution` and `CompletionSpool` make such functions.
"""

import tempfile
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

import msgspec
from anyio.abc import ObjectReceiveStream, ObjectSendStream

from taco_stream.engine.base import EngineStatistics
from taco_stream.types import Completion, FinishReason, Problem, Request, SampleKey

Lookup = Callable[[SampleKey], Completion | None]


class ReplayEngine:
    """Answers every sample with what `lookup` holds for it; a sample it lacks becomes an error completion."""

    def __init__(self, lookup: Lookup, identity: str) -> None:
        self._lookup = lookup
        self._identity = identity
        self._draining = False
        self._finished = 0

    async def __aenter__(self) -> Self:
        """Nothing needs to be started."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing needs to be stopped."""

    async def run(self, requests: ObjectReceiveStream[Request], completions: ObjectSendStream[Completion]) -> None:
        """Replays every sample of every request, in the order asked for."""
        async with requests, completions:
            async for request in requests:
                for sample_index in request.sample_indices:
                    await completions.send(self._replayed(request, sample_index))
                    self._finished += 1

    def drain(self) -> None:
        """Whatever has not been replayed yet comes back as cancelled."""
        self._draining = True

    def statistics(self) -> EngineStatistics:
        """Only the number of samples: a replay has no batch."""
        return EngineStatistics(samples_finished=self._finished)

    def _replayed(self, request: Request, sample_index: int) -> Completion:
        key = SampleKey(request.problem_id, sample_index)
        if self._draining:
            return Completion(
                problem_id=key.problem_id, sample_index=sample_index, text="", finish_reason=FinishReason.CANCELLED
            )
        return self._lookup(key) or Completion(
            problem_id=key.problem_id,
            sample_index=sample_index,
            text="",
            finish_reason=FinishReason.ERROR,
            engine=self._identity,
            error=f"{self._identity} holds no sample {sample_index} of problem {key.problem_id}",
        )


def solutions_of(problem: Problem) -> tuple[str, ...]:
    """The reference programs of a problem, decoded from its source's JSON text; none where it has none."""
    return msgspec.json.decode(problem.solutions, type=tuple[str, ...]) if problem.solutions.strip() else ()


def reference_solution(problem_of: Callable[[str], Problem], identity: str) -> Lookup:
    """Replays a dataset's reference solutions: sample i is the problem's i-th solution."""

    def lookup(key: SampleKey) -> Completion | None:
        solutions = solutions_of(problem_of(key.problem_id))
        if key.sample_index >= len(solutions):
            return None
        return Completion(
            problem_id=key.problem_id,
            sample_index=key.sample_index,
            text=solutions[key.sample_index],
            finish_reason=FinishReason.STOP,
            engine=identity,
        )

    return lookup


class CompletionSpool:
    """Completions of a file, kept on disk and found by key.

    Memory holds a key and an offset per sample, never the texts, so that replaying a file of any size is bounded. Where
    a key occurs twice the first stands, and `repeated` has the key once for each of the others.
    """

    def __init__(self, completions: Iterable[Completion]) -> None:
        self._file = tempfile.TemporaryFile(prefix="taco-stream-replay-")  # noqa: SIM115 (closed on exit)
        self._spans: dict[SampleKey, tuple[int, int]] = {}
        self._samples: dict[str, list[int]] = {}
        self.repeated: list[SampleKey] = []
        for completion in completions:
            if completion.key in self._spans:
                self.repeated.append(completion.key)
            else:
                self._append(completion)

    def __enter__(self) -> Self:
        """The spool is filled on construction."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Removes the spooled texts."""
        self._file.close()

    def lookup(self, key: SampleKey) -> Completion | None:
        """The completion of one sample; None where the file has none."""
        span = self._spans.get(key)
        if span is None:
            return None
        self._file.seek(span[0])
        return msgspec.msgpack.decode(self._file.read(span[1]), type=Completion)

    def problem_ids(self) -> set[str]:
        """The problems that the file holds completions of."""
        return set(self._samples)

    def sample_indices(self, problem_id: str) -> tuple[int, ...]:
        """Which samples of a problem the file holds, ascending."""
        return tuple(sorted(self._samples.get(problem_id, ())))

    def _append(self, completion: Completion) -> None:
        body = msgspec.msgpack.encode(completion)
        self._spans[completion.key] = (self._file.tell(), len(body))
        self._samples.setdefault(completion.problem_id, []).append(completion.sample_index)
        self._file.write(body)
