"""A run over time, from the gauges in its events: what the chart of the HTML report draws. Pure.

Every start counts from zero, so starts are laid end to end; the time between them is left out. A run of days has tens
of thousands of gauges: every second one goes whenever there are twice as many as are worth drawing.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from taco_stream.events import Event, RunFinished, RunGauges, RunResumed, RunStarted, UnknownEvent
from taco_stream.statistics import EngineStatistics, EvaluatorStatistics

MAX_MOMENTS = 500
"""Gauges worth drawing: a point every second pixel or so."""


class Moment(NamedTuple):
    """The run at one gauge: seconds and tokens since the very beginning, how much waited, and what share was busy."""

    seconds: float
    tokens: float
    rows_busy: float
    completions_waiting: float
    workers_busy: float


class Lane(NamedTuple):
    """One curve: its title, what its top means, and its points as an SVG path in a box of 1000 by 100."""

    title: str
    top: str
    path: str


def sample_moments(events: Iterable[Event | UnknownEvent]) -> list[Moment]:
    """The run at evenly many gauges from the first to the last, fewer than twice `MAX_MOMENTS`."""
    kept: list[Moment] = []
    stride, last = 1, None
    for number, last in enumerate(_all_moments(events)):
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
    times = [moment.seconds for moment in moments]
    rates = _tokens_per_second(moments)
    waiting = [moment.completions_waiting for moment in moments]
    curves = [
        ("tokens per second", rates, max(rates), f"{max(rates):,.0f}"),
        ("batch rows busy", [moment.rows_busy for moment in moments], 1.0, "100 %"),
        ("completions waiting to be judged", waiting, max(waiting), f"{max(waiting):,.0f}"),
        ("evaluator workers busy", [moment.workers_busy for moment in moments], 1.0, "100 %"),
    ]
    return [Lane(title, top, _path(times, values, most)) for title, values, most, top in curves if any(values)]


def _all_moments(events: Iterable[Event | UnknownEvent]) -> Iterator[Moment]:
    seconds = tokens = seconds_before = tokens_before = 0.0
    for event in events:
        match event:
            case RunStarted() | RunResumed():
                seconds_before, tokens_before = seconds, tokens
            case RunGauges(statistics=statistics) | RunFinished(statistics=statistics):
                engine = statistics.engine or EngineStatistics()
                evaluator = statistics.evaluator or EvaluatorStatistics()
                seconds = seconds_before + statistics.elapsed_seconds
                tokens = tokens_before + engine.completion_tokens
                yield Moment(
                    seconds,
                    tokens,
                    engine.rows_busy / max(1, engine.rows_total),
                    statistics.completions_waiting,
                    evaluator.busy / max(1, evaluator.workers),
                )


def _tokens_per_second(moments: Sequence[Moment]) -> list[float]:
    """At each moment the mean since the one before, at the first since the beginning."""
    beginning = Moment(0.0, 0.0, 0.0, 0.0, 0.0)
    return [
        (now.tokens - before.tokens) / (now.seconds - before.seconds) if now.seconds > before.seconds else 0.0
        for before, now in pairwise([beginning, *moments])
    ]


def _path(times: Sequence[float], values: Sequence[float], most: float) -> str:
    """A closed area under the curve, from the first gauge to the last; `most` reaches the top."""
    across = [f"{1000 * time / times[-1]:.1f}" for time in times]
    points = [f"{x},{100 - 100 * min(1.0, value / most):.1f}" for x, value in zip(across, values, strict=True)]
    return f"M{across[0]},100 L{' L'.join(points)} L{across[-1]},100 Z"
