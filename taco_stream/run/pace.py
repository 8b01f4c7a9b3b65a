"""How fast a count has grown lately, and so when it will be through. Pure: times come from the caller.

The pace is that of the last minute, or of the last twenty samples if these took longer. Only time in which work was
possible counts. While a model is loaded the window is empty, and begins when that is over. A process that was suspended
sees two observations, which should be a second apart, far apart: time over `MAX_GAP_SECONDS` does not count.
"""

from collections import deque

from taco_stream.statistics import RunStatistics

WINDOW_SECONDS = 60.0
WINDOW_SAMPLES = 20

OBSERVATION_SECONDS = 1.0
"""How often a pace is to be observed."""

MAX_GAP_SECONDS = 5.0
"""The most time that counts between two observations. A busy machine delays one by a second or two."""


class Pace:
    """Observe it every second."""

    def __init__(self) -> None:
        self._seconds = 0.0  # that count
        self._observed_at: float | None = None
        self._done = 0
        self._marks: deque[tuple[float, int]] = deque()  # seconds that counted, and samples done by then

    def observe(self, done: int, now: float, *, is_working: bool = True) -> None:
        """Takes how much is done, at a time in seconds."""
        gap = 0.0 if self._observed_at is None else now - self._observed_at
        self._observed_at = now
        if not is_working or done < self._done:
            self._marks.clear()
        else:
            self._seconds += min(max(gap, 0.0), MAX_GAP_SECONDS)
        if not self._marks or done != self._done:
            self._marks.append((self._seconds, done))
        self._done = done
        while len(self._marks) > 1 and self._is_enough_from(*self._marks[1]):
            self._marks.popleft()

    def seconds_left(self, total: int | None) -> float | None:
        """How long until `total` are done; None if that is unknown, or nothing has been done yet."""
        if total is None or not self._marks:
            return None
        seconds, done = self._marks[0]
        if total <= self._done:
            return 0.0
        if self._done == done or self._seconds == seconds:
            return None
        return (total - self._done) * (self._seconds - seconds) / (self._done - done)

    def _is_enough_from(self, seconds: float, done: int) -> bool:
        return self._seconds - seconds >= WINDOW_SECONDS and self._done - done >= WINDOW_SAMPLES


def count_done(statistics: RunStatistics) -> int:
    """The samples that the last stage of this start is through with."""
    return statistics.judged if statistics.evaluator else statistics.generated


def count_total(statistics: RunStatistics) -> int | None:
    """How many that will be in the end; None until the samples are counted."""
    if statistics.samples_expected is None:
        return None
    return statistics.samples_expected - statistics.samples_resumed
