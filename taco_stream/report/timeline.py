"""A run over time, from the gauges in its events, for the chart of both stages. Pure.

Every start counts from zero, so starts are laid end to end; the time between them is left out. Gauges carry running
totals, so an interval shows the mean since the gauge before, which no program between two gauges escapes, and a
gauge can be left out without falsifying its neighbours: a run of days has tens of thousands of gauges, and every second
one goes whenever there are twice as many as are worth drawing.
"""

from itertools import pairwise
from typing import NamedTuple

import msgspec

from taco_stream.events import DamagedEvent, RunFinished, RunGauges, RunResumed, RunStarted, WrittenEvent
from taco_stream.statistics import EngineStatistics, EvaluatorStatistics, RunStatistics

MAX_INTERVALS = 300
"""Intervals worth drawing: one every second pixel or so."""


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of the run, in seconds of running since the very beginning.

    `generating` and `judging` are the shares of it, from 0 to 1, that the stage was busy, and `idle` the share that
    neither was. `rows_busy` is how much of the batch was used while any of it was, and `workers_busy` the share of the
    evaluator workers' time that they were judging. `completions_waiting` is how many had no verdict, on average.
    """

    since: float
    until: float
    generating: float
    judging: float
    idle: float
    tokens_per_second: float
    rows_busy: float
    workers_busy: float
    completions_waiting: int


class _Moment(NamedTuple):
    """Totals since the very beginning, and how many completions waited."""

    seconds: float = 0.0
    generating: float = 0.0
    judging: float = 0.0
    both: float = 0.0
    tokens: int = 0
    row_seconds: float = 0.0
    row_capacity: float = 0.0
    worker_seconds: float = 0.0
    worker_capacity: float = 0.0
    waiting: int = 0
    waiting_seconds: float = 0.0


class Timeline:
    """Takes a run's events in order, and sums up the intervals between its gauges at any time.

    `starts` are the seconds at which a later start of the run began.
    """

    def __init__(self) -> None:
        self.starts: list[float] = []
        self._kept: list[_Moment] = [_Moment()]
        self._stride = 1
        self._gauges = 0
        self._before = self._newest = _Moment()
        self._is_damaged = False

    def add(self, event: WrittenEvent) -> None:
        """Takes the next event."""
        match event:
            case RunStarted() | RunResumed():
                self._before = self._newest
                if self._before.seconds:
                    self.starts.append(self._before.seconds)
            case RunGauges(statistics=statistics) | RunFinished(statistics=statistics):
                self._newest = _moment(self._before, statistics)
                self._gauges += 1
                if self._gauges % self._stride == 0:
                    self._keep(self._newest)
            case DamagedEvent():
                self._is_damaged = True

    def intervals(self) -> list[Interval]:
        """The run from its beginning to its newest gauge, in fewer than twice `MAX_INTERVALS` intervals.

        None if an event is damaged: it may have been the beginning of a start, from which its figures count.
        """
        if self._is_damaged:
            return []
        moments = self._kept if self._kept[-1] == self._newest else [*self._kept, self._newest]
        return [_interval(before, now) for before, now in pairwise(moments) if now.seconds > before.seconds]

    def _keep(self, moment: _Moment) -> None:
        self._kept.append(moment)
        if len(self._kept) == 2 * MAX_INTERVALS:
            del self._kept[1::2]  # the first stays: it is the zero that the others are measured from
            self._stride *= 2


def _moment(before: _Moment, statistics: RunStatistics) -> _Moment:
    engine = statistics.engine or EngineStatistics()
    evaluator = statistics.evaluator or EvaluatorStatistics()
    return _Moment(
        seconds=before.seconds + statistics.elapsed_seconds,
        generating=before.generating + statistics.generating_seconds,
        judging=before.judging + statistics.judging_seconds,
        both=before.both + statistics.overlapped_seconds,
        tokens=before.tokens + engine.completion_tokens,
        row_seconds=before.row_seconds + engine.row_seconds,
        row_capacity=before.row_capacity + engine.row_seconds_available,
        worker_seconds=before.worker_seconds + evaluator.busy_seconds,
        worker_capacity=before.worker_capacity + evaluator.workers * statistics.elapsed_seconds,
        waiting=statistics.completions_waiting,
        waiting_seconds=before.waiting_seconds + statistics.completion_seconds_waiting,
    )


def _interval(before: _Moment, now: _Moment) -> Interval:
    seconds = now.seconds - before.seconds
    generating = now.generating - before.generating
    judging = now.judging - before.judging
    both = now.both - before.both
    waiting_seconds = now.waiting_seconds - before.waiting_seconds
    is_instant = not now.waiting_seconds  # written by a version that did not sum it up
    return Interval(
        since=round(before.seconds, 3),
        until=round(now.seconds, 3),
        generating=_share(generating, seconds),
        judging=_share(judging, seconds),
        idle=_share(seconds - generating - judging + both, seconds),
        tokens_per_second=round(max(0, now.tokens - before.tokens) / seconds, 1),
        rows_busy=_share(now.row_seconds - before.row_seconds, now.row_capacity - before.row_capacity),
        workers_busy=_share(now.worker_seconds - before.worker_seconds, now.worker_capacity - before.worker_capacity),
        completions_waiting=now.waiting if is_instant else round(waiting_seconds / seconds),
    )


def _share(part: float, whole: float) -> float:
    return round(min(1.0, max(0.0, part / whole)), 4) if whole > 0 else 0.0
