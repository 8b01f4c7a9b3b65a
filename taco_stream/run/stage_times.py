"""The time that each stage of a run was busy, and both at once, from the spans in which samples were worked on.

A stage is busy while it works on any sample. The span of a sample is known when it is over, so spans come out of order
and cover each other; time that is covered already counts once. Pure: times come from the caller, in seconds of any one
clock.

Only the newest `MAX_SPANS` spans of a stage that do not touch are remembered, so memory does not grow with the run. The
older ones have been counted, and nothing is counted before their end again. A gap in which a stage was idle is filled
later only by a sample that was under way all the time, so a span is forgotten too early only if some sample takes as
long as thousands of others, one after the other.
"""

from bisect import bisect_left, bisect_right
from typing import NamedTuple

MAX_SPANS = 4096


class Span(NamedTuple):
    """A stretch of time."""

    start: float
    end: float


class CoveredTime:
    """The time that spans cover."""

    def __init__(self, max_spans: int = MAX_SPANS) -> None:
        self.seconds = 0.0
        self._max_spans = max_spans
        self._forgotten_until = float("-inf")
        # Of the spans that do not touch, in order.
        self._starts: list[float] = []
        self._ends: list[float] = []
        self._began_at: float | None = None

    @property
    def began_at(self) -> float | None:
        """The start of the earliest span, None without any."""
        return self._began_at

    @property
    def ended_at(self) -> float | None:
        """The end of the latest span, None without any."""
        return self._ends[-1] if self._ends else None

    def add(self, start: float, end: float) -> list[Span]:
        """Covers a span; the parts of it that were not covered before."""
        if self._ends and start >= self._starts[-1]:
            return self._add_newest(start, end)
        fresh = self.uncovered(start, end)
        if fresh:
            start = max(start, self._forgotten_until)
            first, last = bisect_left(self._ends, start), bisect_right(self._starts, end)
            if first < last:  # joined with those that it touches
                start, end = min(start, self._starts[first]), max(end, self._ends[last - 1])
            self._starts[first:last], self._ends[first:last] = [start], [end]
            self._began_at = start if self._began_at is None else min(start, self._began_at)
            self.seconds += sum(each.end - each.start for each in fresh)
            self._forget()
        return fresh

    def _add_newest(self, start: float, end: float) -> list[Span]:
        """The same for a span that begins no earlier than the newest one: nearly all do, so it is quick."""
        if start > self._ends[-1]:
            if start == end:
                return []
            self._starts.append(start)
            self._ends.append(end)
            self._forget()
        else:
            start = self._ends[-1]
            if end <= start:
                return []
            self._ends[-1] = end
        self.seconds += end - start
        return [Span(start, end)]

    def _forget(self) -> None:
        if len(self._ends) > self._max_spans:
            forgotten = self._max_spans // 2  # many at once: taking from the front of a list moves the rest
            self._forgotten_until = self._ends[forgotten - 1]
            del self._starts[:forgotten], self._ends[:forgotten]

    def uncovered(self, start: float, end: float) -> list[Span]:
        """The parts of a span that are not covered."""
        start = max(start, self._forgotten_until)
        found = []
        for index in range(bisect_left(self._ends, start), len(self._ends)):
            if self._starts[index] >= end:
                break
            if start < self._starts[index]:
                found.append(Span(start, self._starts[index]))
            start = max(start, self._ends[index])
        if start < end:
            found.append(Span(start, end))
        return found

    def covered_seconds(self, start: float, end: float) -> float:
        """How much of a span is covered, as far as it is remembered."""
        if not self._ends or start >= self._ends[-1]:
            return 0.0
        start = max(start, self._forgotten_until)
        return max(0.0, end - start) - sum(each.end - each.start for each in self.uncovered(start, end))


class StageSeconds(NamedTuple):
    """Seconds in which the stages were busy, and in which each was idle between its first work and its last."""

    generating: float
    judging: float
    overlapped: float
    generating_idle: float
    judging_idle: float


class StageTimes:
    """Both stages of a run."""

    def __init__(self, max_spans: int = MAX_SPANS) -> None:
        self.generating = CoveredTime(max_spans)
        self.judging = CoveredTime(max_spans)
        self.overlapped_seconds = 0.0

    def add_generated(self, start: float, end: float) -> None:
        """Takes the span in which a sample was generated."""
        for part in self.generating.add(start, end):
            self.overlapped_seconds += self.judging.covered_seconds(*part)

    def add_judged(self, start: float, end: float) -> None:
        """Takes the span in which a sample was judged."""
        for part in self.judging.add(start, end):
            self.overlapped_seconds += self.generating.covered_seconds(*part)

    def totals(
        self, now: float, *, generating_since: float | None = None, judging_since: float | None = None
    ) -> StageSeconds:
        """The sums up to now. A stage that is busy now, and has been since a time, counts as busy from then on."""
        generating = _open_parts(self.generating, generating_since, now)
        judging = _open_parts(self.judging, judging_since, now)
        overlapped = self.overlapped_seconds
        overlapped += sum(self.judging.covered_seconds(*part) for part in generating)
        overlapped += sum(self.generating.covered_seconds(*part) for part in judging)
        overlapped += sum(
            max(0.0, min(one.end, other.end) - max(one.start, other.start)) for one in generating for other in judging
        )
        generating_seconds = self.generating.seconds + sum(end - start for start, end in generating)
        judging_seconds = self.judging.seconds + sum(end - start for start, end in judging)
        return StageSeconds(
            generating=generating_seconds,
            judging=judging_seconds,
            overlapped=overlapped,
            generating_idle=_idle_seconds(self.generating, generating, generating_seconds),
            judging_idle=_idle_seconds(self.judging, judging, judging_seconds),
        )


def _open_parts(stage: CoveredTime, since: float | None, now: float) -> list[Span]:
    """The time up to now that a stage has been busy with samples whose spans are not known yet."""
    if since is None:
        return []
    # Before its newest span ended, its spans say themselves when it was busy.
    return stage.uncovered(since if stage.ended_at is None else max(since, stage.ended_at), now)


def _idle_seconds(stage: CoveredTime, open_parts: list[Span], busy_seconds: float) -> float:
    starts = [each.start for each in open_parts] + ([] if stage.began_at is None else [stage.began_at])
    ends = [each.end for each in open_parts] + ([] if stage.ended_at is None else [stage.ended_at])
    return max(0.0, max(ends) - min(starts) - busy_seconds) if starts else 0.0
