"""A run over time, from the gauges in its events: what the chart of the HTML report draws. Pure.

Every start counts from zero, so starts are laid end to end; the time between them is left out. What engine and
evaluator add up is drawn as the mean since the gauge before, which no program between two gauges escapes. A run of days
has tens of thousands of gauges: every second one goes whenever there are twice as many as are worth drawing.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from taco_stream.events import DamagedEvent, RunFinished, RunGauges, RunResumed, RunStarted, WrittenEvent
from taco_stream.statistics import EngineStatistics, EvaluatorStatistics

MAX_MOMENTS = 500
"""Gauges worth drawing: a point every second pixel or so."""


class Moment(NamedTuple):
    """The run at one gauge.

    Since the very beginning: seconds, tokens, the seconds that evaluator workers were busy, summed over them, and how
    many that could have been. At the gauge itself: the share of batch rows busy, and how much waited.
    """

    seconds: float
    tokens: float
    worker_seconds: float
    worker_capacity: float
    rows_busy: float
    completions_waiting: float


_BEGINNING = Moment(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


class Lane(NamedTuple):
    """One curve: its title, what its top means, and its steps as an SVG path in a box of 1000 by 100."""

    title: str
    top: str
    path: str


def sample_moments(events: Iterable[WrittenEvent]) -> list[Moment]:
    """The run at evenly many gauges from the first to the last, fewer than twice `MAX_MOMENTS`.

    None if an event is damaged: it may have been the beginning of a start, from which its figures count.
    """
    kept: list[Moment] = []
    stride, last = 1, None
    for number, last in enumerate(_all_moments(events)):
        if last is None:
            return []
        if number % stride == 0:
            kept.append(last)
            if len(kept) == 2 * MAX_MOMENTS:
                del kept[1::2]
                stride *= 2
    if last is not None and kept[-1] is not last:
        kept.append(last)
    return kept


def draw_lanes(moments: Sequence[Moment]) -> list[Lane]:
    """The curves worth drawing: none for fewer than two gauges, and none that is zero throughout."""
    if len(moments) < 2:
        return []
    intervals = list(pairwise([_BEGINNING, *moments]))
    rates = [_ratio(now.tokens - before.tokens, now.seconds - before.seconds) for before, now in intervals]
    workers = [
        _ratio(now.worker_seconds - before.worker_seconds, now.worker_capacity - before.worker_capacity)
        for before, now in intervals
    ]
    waiting = [moment.completions_waiting for moment in moments]
    curves = [
        ("tokens per second", rates, max(rates), f"{max(rates):,.0f}"),
        ("batch rows busy", [moment.rows_busy for moment in moments], 1.0, "100 %"),
        ("completions waiting to be judged", waiting, max(waiting), f"{max(waiting):,.0f}"),
        ("evaluator workers busy", workers, 1.0, "100 %"),
    ]
    times = [moment.seconds for moment in moments]
    return [Lane(title, top, _path(times, values, most)) for title, values, most, top in curves if any(values)]


def _all_moments(events: Iterable[WrittenEvent]) -> Iterator[Moment | None]:
    """A moment for each gauge, None for a damaged event."""
    start = now = _BEGINNING
    for event in events:
        match event:
            case RunStarted() | RunResumed():
                start = now
            case RunGauges(statistics=statistics) | RunFinished(statistics=statistics):
                engine = statistics.engine or EngineStatistics()
                evaluator = statistics.evaluator or EvaluatorStatistics()
                now = Moment(
                    start.seconds + statistics.elapsed_seconds,
                    start.tokens + engine.completion_tokens,
                    start.worker_seconds + evaluator.busy_seconds,
                    start.worker_capacity + evaluator.workers * statistics.elapsed_seconds,
                    engine.rows_busy / max(1, engine.rows_total),
                    statistics.completions_waiting,
                )
                yield now
            case DamagedEvent():
                yield None


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0


def _path(times: Sequence[float], values: Sequence[float], most: float) -> str:
    """A closed area of steps, each from the gauge before, or the beginning, to its own; `most` reaches the top."""
    steps = (
        f"V{100 - 100 * min(1.0, value / most):.1f} H{1000 * time / times[-1]:.1f}"
        for time, value in zip(times, values, strict=True)
    )
    return f"M0,100 {' '.join(steps)} V100 Z"
