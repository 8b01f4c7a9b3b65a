"""The progress of a run: the stages' counters, a snapshot at any time, and the line of events.jsonl with both."""

import time

from taco_stream.statistics import EngineStatistics, EvaluatorStatistics, RunStatistics
from taco_stream.types import Event


class Progress:
    """The stages' counters. Each has one stage that writes it, named behind it."""

    def __init__(self) -> None:
        self.started_at = time.monotonic()
        self.expected: int | None = None  # the count of problems
        self.resumed = 0  # feed
        self.left_over = 0  # feed: on disk without a verdict
        self.generated = 0  # journal
        self.judged = self.infrastructure_errors = 0  # judge
        self.is_loading = False  # the engine's opening
        self.peak_memory_bytes = 0  # gauges
        self.generating_seconds = self.judging_seconds = self.overlapped_seconds = 0.0  # gauges
        self._observed_at = self.started_at

    def start(self) -> None:
        """Starts the clock."""
        self.started_at = self._observed_at = time.monotonic()

    def observe(self, *, generating: bool, judging: bool) -> None:
        """Counts the time since the last observation as what is seen now: how busy each stage is, and both at once."""
        now = time.monotonic()
        seconds, self._observed_at = now - self._observed_at, now
        self.generating_seconds += generating * seconds
        self.judging_seconds += judging * seconds
        self.overlapped_seconds += (generating and judging) * seconds


def gauges(statistics: RunStatistics) -> Event:
    """The statistics as a line of events.jsonl."""
    engine, evaluator = statistics.engine or EngineStatistics(), statistics.evaluator or EvaluatorStatistics()
    return Event(
        kind="gauges",
        at=time.time(),
        figures={
            "elapsed_seconds": statistics.elapsed_seconds,
            "samples_expected": statistics.samples_expected or 0,
            "generated": statistics.generated,
            "judged": statistics.judged,
            "completions_waiting": statistics.completions_waiting,
            "generating_seconds": statistics.generating_seconds,
            "judging_seconds": statistics.judging_seconds,
            "overlapped_seconds": statistics.overlapped_seconds,
            "peak_memory_bytes": statistics.peak_memory_bytes,
            "rows_busy": engine.rows_busy,
            "rows_total": engine.rows_total,
            "samples_waiting": engine.samples_waiting,
            "prompt_tokens": engine.prompt_tokens,
            "completion_tokens": engine.completion_tokens,
            "workers_busy": evaluator.busy,
            "workers": evaluator.workers,
        },
    )
