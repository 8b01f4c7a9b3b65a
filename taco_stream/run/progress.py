"""The progress of a run: the stages' counters."""

import math
import time


class Progress:
    """The stages' counters. Each has one stage that writes it, named behind it."""

    def __init__(self) -> None:
        self.started_at = time.monotonic()
        self.expected: int | None = None  # the count of problems
        self.resumed = 0  # feed
        self.left_over = 0  # feed: on disk without a verdict
        self.asked = 0  # feed: samples handed on, to be generated or judged
        self.is_fed = False  # feed: every problem has been looked at
        self.generated = 0  # journal
        self.judged = self.infrastructure_errors = 0  # judge
        self.judging_ends_at = math.inf  # the drain: monotonic time after which nothing more is given to the judge
        self.is_loading = False  # the engine's opening
        self.peak_memory_bytes = 0  # gauges
        self.generating_seconds = self.judging_seconds = self.overlapped_seconds = 0.0  # gauges
        self._observed_at = self.started_at

    def start(self) -> None:
        self.started_at = self._observed_at = time.monotonic()

    def observe(self, *, generating: bool, judging: bool) -> None:
        """Counts the time since the last observation as what is seen now: how busy each stage is, and both at once."""
        now = time.monotonic()
        seconds, self._observed_at = now - self._observed_at, now
        self.generating_seconds += generating * seconds
        self.judging_seconds += judging * seconds
        self.overlapped_seconds += (generating and judging) * seconds
