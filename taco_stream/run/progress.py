"""The progress of a run: the stages' counters and times."""

import math
import time
from collections.abc import Sequence

from taco_stream.machine import ProcessMemory
from taco_stream.run.stage_times import StageTimes
from taco_stream.run.tail import TailWatch
from taco_stream.types import Completion

PROCESS_KINDS = {
    "taco_stream.engine.worker": "generation worker",
    "taco_stream.evaluator.worker": "evaluator worker",  # and its zygote, which is forked from it
}
"""Kinds of processes by the modules that they run. Programs are not among them: their verdicts have their memory."""


class Progress:
    """The stages' counters. Each has one stage that writes it, named behind it; times are of the monotonic clock."""

    def __init__(self, started_at: float | None = None) -> None:
        self.started_at = time.monotonic() if started_at is None else started_at
        self.expected: int | None = None  # the count of problems
        self.resumed = 0  # feed
        self.left_over = 0  # feed: on disk without a verdict
        self.asked = 0  # feed: samples handed on, to be generated or judged
        self.is_fed = False  # feed: every problem has been looked at
        self.generated = 0  # journal
        self.held_back_seconds = 0.0  # journal: completions waited for room before the evaluator
        self.judged = self.infrastructure_errors = 0  # judge
        self.judging_ends_at = math.inf  # the drain: after this nothing more is given to the judge
        self.is_loading = False  # the engine's opening
        self.peak_memory_bytes = 0  # gauges
        self.peak_process_bytes: dict[str, int] = {}  # gauges
        self.first_token_at: float | None = None  # gauges, or journal if they come too late
        self.first_verdict_at: float | None = None  # judge
        self.times = StageTimes()  # journal and judge
        self.tail = TailWatch()  # journal
        self.waiting = Depth()  # feed, journal and judge: completions before the evaluator

    def add_generated(self, completion: Completion) -> None:
        """Takes the time in which a sample was generated, unless that was in another run, or nobody noted it."""
        # From the clock of the day, by which processes and files agree, to the one that is never set.
        end = time.monotonic() - max(0.0, time.time() - completion.finished_at)
        if end < self.started_at:
            return
        start = end - completion.generate_seconds
        if self.first_token_at is None:
            self.first_token_at = end
        self.times.add_generated(start, end)
        self.tail.add(start, end, completion)

    def add_judged(self, start: float, end: float) -> None:
        """Takes the time in which a sample was judged."""
        self.times.add_judged(start, end)
        if self.first_verdict_at is None:
            self.first_verdict_at = end

    def add_memory(self, processes: Sequence[ProcessMemory]) -> None:
        """Takes the run's processes as they are now; the first is its own."""
        self.peak_memory_bytes = max(self.peak_memory_bytes, sum(each.resident_bytes for each in processes))
        for number, process in enumerate(processes):
            kind = "main" if number == 0 else PROCESS_KINDS.get(process.module)
            if kind is not None:
                self.peak_process_bytes[kind] = max(self.peak_process_bytes.get(kind, 0), process.peak_bytes)

    def since_start(self, moment: float | None) -> float | None:
        """Seconds from the beginning of the start to a moment."""
        return None if moment is None else moment - self.started_at


class Depth:
    """How many things wait in a queue, summed up over time."""

    def __init__(self) -> None:
        self._depth = 0
        self._seconds = 0.0
        self._changed_at = time.monotonic()

    def change(self, by: int) -> None:
        """Notes that things came or went now."""
        self._seconds = self.seconds()
        self._changed_at = time.monotonic()
        self._depth += by

    def seconds(self) -> float:
        """The sum of the times that each thing has waited so far."""
        return self._seconds + self._depth * (time.monotonic() - self._changed_at)
