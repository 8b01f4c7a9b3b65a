"""The clock that finds a worker which hangs without dying, and which a busy machine does not turn.

A worker that computes sends a frame after a step, at least twice a second unless a step takes longer. So one that owes
an answer and is silent for much longer than a step of its own hangs: a device that does not come back, a process that
somebody stopped. `MULTIPLE` times its longest silence so far is the limit, and `FLOOR_SECONDS` at least.

Only the worker's own time counts. The kernel counts for each thread how long it has waited for a core
(`/proc/PID/task/TID/schedstat`); the thread that waited for longest may be the one that all others wait for, so that
much is taken off. Time on a core counts, for a process that waits for its device may spin. A tick counts for
`MAX_TICK_SECONDS` at most: this process may have been suspended, or kept from running, together with the worker.

Until a process has answered for the first time the longest silence is the time that its model took to load, for nothing
else is known of its speed. Pure, but for the file that `waiting_seconds` reads.
"""

from pathlib import Path

FLOOR_SECONDS = 300.0
"""The shortest limit. The first prompt of a large model on a CPU takes a minute; compiling a kernel takes less."""

MULTIPLE = 20
"""The limit as a multiple of the longest silence that ended. A prompt of full length beside a full batch stretches a
step, and so does a device that others use; neither does so 20-fold."""

TICK_SECONDS = 1.0
"""How often the clock is to be told the time."""

MAX_TICK_SECONDS = 5.0


class SilenceClock:
    """One worker's; call `tick` about every second."""

    def __init__(self) -> None:
        self.silent_seconds = 0.0
        self.longest_seconds = 0.0
        self._loading_seconds = 0.0
        self._ticked_at: float | None = None
        self._waited: dict[str, float] = {}

    @property
    def limit_seconds(self) -> float:
        """The silence from which on the worker hangs."""
        return max(FLOOR_SECONDS, MULTIPLE * max(self.longest_seconds, self._loading_seconds))

    @property
    def has_run_out(self) -> bool:
        """Whether the worker hangs."""
        return self.silent_seconds > self.limit_seconds

    def start(self, loading_seconds: float) -> None:
        """A new process begins, in which the model is to be loaded or has been loaded, in so many seconds."""
        self._reset()
        self._loading_seconds = loading_seconds

    def tick(self, now: float, waited: dict[str, float], *, was_heard: bool, owes: bool) -> None:
        """Takes the time, and how long each thread of the worker has waited for a core in all.

        `was_heard` says whether it has sent a frame since the last tick, `owes` whether it has anything to do.
        """
        elapsed = 0.0 if self._ticked_at is None else min(now - self._ticked_at, MAX_TICK_SECONDS)
        kept = max((seconds - self._waited.get(thread, seconds) for thread, seconds in waited.items()), default=0.0)
        self._ticked_at, self._waited = now, waited
        if was_heard:
            self.longest_seconds = max(self.longest_seconds, self.silent_seconds)
            self._loading_seconds = 0.0
        if was_heard or not owes:
            self.silent_seconds = 0.0
        else:
            self.silent_seconds += max(0.0, elapsed - kept)

    def _reset(self) -> None:
        self.silent_seconds = 0.0
        self._ticked_at = None
        self._waited = {}


def waiting_seconds(pid: int) -> dict[str, float]:
    """How long each thread of a process has waited for a core; empty if the process is gone or nothing is counted."""
    waited = {}
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            # Documentation/scheduler/sched-stats.rst: nanoseconds on a core, nanoseconds on a run queue, time slices.
            waited[task.name] = int((task / "schedstat").read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return {}
    return waited
