"""The tail of generating: the time after the last sample was begun, in which the batch runs empty. Pure.

In it rows are idle because nothing is left to begin, however fast the rest of the run is, so it is kept apart from time
in which rows are idle for want of requests. A sample is known when it is finished; those that were still decoding when
the last one was begun are as many as the batch has rows, and no more are remembered.
"""

import heapq
from typing import NamedTuple

from taco_stream.statistics import Tail
from taco_stream.types import Completion


class _Decoded(NamedTuple):
    end: float
    start: float
    problem_id: str
    sample_index: int
    tokens: int


class TailWatch:
    """Takes the samples of a start as they finish, and says at any time which tail they have."""

    def __init__(self) -> None:
        self._last_begun_at = float("-inf")
        self._after: list[_Decoded] = []  # a heap of the samples that ended after that

    def add(self, start: float, end: float, completion: Completion) -> None:
        """Takes a sample that was decoding from `start` to `end`, in seconds of one clock."""
        self._last_begun_at = max(self._last_begun_at, start)
        decoded = _Decoded(end, start, *completion.key, completion.completion_tokens)
        heapq.heappush(self._after, decoded)
        while self._after and self._after[0].end <= self._last_begun_at:
            heapq.heappop(self._after)

    def tail(self) -> Tail | None:
        """The tail, were no further sample begun; None before any."""
        if not self._after:
            return None
        last = max(self._after)
        seconds = last.end - self._last_begun_at
        row_seconds = sum(each.end - self._last_begun_at for each in self._after)
        return Tail(
            seconds=seconds,
            mean_rows=row_seconds / seconds,
            problem_id=last.problem_id,
            sample_index=last.sample_index,
            completion_tokens=last.tokens,
        )
