"""The clock that stops a test which does nothing, and which a busy machine does not turn.

CPU time is limited by the kernel. Beside it a test needs a limit on the clock, for a program that sleeps takes no CPU
time at all. But a program that wants a core and does not get one takes none either, and it is not slow: beside twenty
busy processes a right program gets a tenth of a core. So the clock is charged only for the time in which a test neither
runs nor waits to run. The kernel counts both for each thread, in nanoseconds, in `/proc/PID/task/TID/schedstat`
(Documentation/scheduler/sched-stats.rst: the first number is time on a core, the second time on a run queue).

The program process, which waits for a test and may read nothing of this, asks the worker when the clock limit has
passed, and sends a handle of the test's process along. The worker looks the process up and answers how much longer to
wait: the limit less what the test has been idle, 0 if that is used up (`IdleClock.seconds_left`).

The thread that was busy for the longest counts for its process: the sum over threads would let a program with a
hundred of them earn a hundred seconds of waiting in one. A program whose threads take turns, each ending before the
next begins, is charged for the time of those that have ended. Time in which the hypervisor gives the core to somebody
else counts as running.

Two tests that take part in calls share a clock: while one of them runs or waits to run, the other is idle without
being at fault. So the clock is charged for the time in which neither does; the two take turns, which is why their
times may be added.

Nothing waits for ever: after `MAX_STARVATION` times the limit a test that is still being kept from running is stopped,
and the machine, not the program, is to blame. A program cannot bring that about: its own threads compete for no more
than its CPU limit, and the sandbox lets no test lower its priority. If the kernel counts no waiting (`is_counted`),
the clock is charged for all time, and the evaluator says so when it starts.
"""

import os
import time
from pathlib import Path

MAX_STARVATION = 30
"""A test is stopped after this multiple of its clock limit, whatever it waits for."""

MIN_WAIT_SECONDS = 0.05
"""Between two looks at a test that is nearly out of time."""


class IdleClock:
    """The clock of one test, or of `tests` that share it, which is paused while one of them runs or waits to run.

    It starts when it is made.
    """

    def __init__(self, limit_seconds: float, *, tests: int = 1) -> None:
        self._limit_seconds = limit_seconds
        self._tests = tests
        self._handles: dict[int, int] = {}
        self._started_at = time.monotonic()
        self.is_starved = False

    def seconds_left(self, handle: int, *, number: int = 0) -> float:
        """How much longer the test with this number may take; 0 if its time is up.

        `handle` is a pidfd of its process, which the clock closes in the end. `is_starved` is set if the time is up
        although the tests have not been idle for as long as their limit.
        """
        self._close(number)
        self._handles[number] = handle
        elapsed = time.monotonic() - self._started_at
        left = self._limit_seconds - (elapsed - sum(map(busy_seconds, self._handles.values())))
        # The handle of the other test is on its way, and its time is not known before.
        if left <= 0 and len(self._handles) == self._tests:
            return 0.0
        self.is_starved = elapsed > MAX_STARVATION * self._limit_seconds
        return 0.0 if self.is_starved else max(left, MIN_WAIT_SECONDS)

    def leave(self, number: int) -> None:
        """Takes out a test that has ended, with all that it has done, and so starts over for the one that remains.

        What that one has done before counts in its favour: its limit is then longer, by no more than its CPU limit and
        the time for which it waited for a core.
        """
        self._close(number)
        self._tests -= 1
        self._started_at = time.monotonic()

    def close(self) -> None:
        """Closes the handles."""
        for number in [*self._handles]:
            self._close(number)

    def _close(self, number: int) -> None:
        if (handle := self._handles.pop(number, None)) is not None:
            os.close(handle)


def busy_seconds(handle: int) -> float:
    """How long the process behind a pidfd has run or waited to run; 0.0 if it is gone or the kernel does not count."""
    try:
        # The number that the sender knows the process by is one of its PID namespace; `fdinfo` has ours.
        lines = Path(f"/proc/self/fdinfo/{handle}").read_text().splitlines()
        process = next(int(line.split()[1]) for line in lines if line.startswith("Pid:"))
        return max(map(_thread_busy_seconds, Path(f"/proc/{process}/task").iterdir()), default=0.0)
    except (OSError, StopIteration, ValueError):
        return 0.0


def is_counted() -> bool:
    """Whether this kernel counts how long a thread runs and waits to run."""
    return _thread_busy_seconds(Path(f"/proc/self/task/{os.getpid()}")) > 0


def _thread_busy_seconds(folder: Path) -> float:
    try:
        running, waiting, _ = (folder / "schedstat").read_text().split()
    except (OSError, ValueError):
        return 0.0
    return (int(running) + int(waiting)) / 1e9
