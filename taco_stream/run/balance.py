"""The division of the machine's cores between generating and judging, while both go on.

Generating claims a fixed number of cores: a thread each on a CPU, one for each other device. The threads do not change
in a run, because their number changes samples in their last bits. Judging has the cores that are not claimed, one
worker each, and while generating has no use for its own it is lent those, one after the other. So what changes is the
number of the evaluator's workers in use.

The rule: *whichever stage is starved gets the core*. Every `WINDOW_SECONDS` three gauges are looked at, each of the
window that has passed: the share of it in which nothing was generated, the share in which workers were judging, and
the programs that waited for a worker at its end.

* Judging is starved if programs wait and its workers are busy. It is lent a core if generating is idle meanwhile: held
  back by completions that are not judged, it loses nothing by sharing its cores.
* Generating is starved if it is busy while a core of its own is lent. It gets the core back if judging could do with
  one worker less.
* Otherwise nothing changes. If both stages are busy on cores of their own, lending gains nothing: what is left to judge
  when generating ends is then judged on all cores.

A core that had to be given back should not have been lent: threads that meet hundreds of times in a step may lose more
to a neighbour than it gains. So with each that comes back, twice as many windows in a row must ask for the next. Under
a load that does not change, the number of moves grows with the logarithm of the time at most, and the time for which a
core is lent in vain vanishes; a load that does change is still followed. When generating begins or ends, its claim
does, and judging has what remains at once.

`CoreBalance` decides; it knows no clock and no process. `keep_balance` looks and acts. It is not started if the number
of workers was given or the evaluator is on other machines, and changes nothing while generating claims no core, as that
of a server does.
"""

from collections.abc import Callable
from typing import NamedTuple

import anyio
from anyio.abc import ObjectSendStream

from taco_stream.events import CoresDivided
from taco_stream.run.task import Entry
from taco_stream.statistics import RunStatistics

WINDOW_SECONDS = 2.0
"""Long beside a step of a batch and the judging of a program, short beside a run."""

TICK_SECONDS = 0.25
"""How soon it is seen that generating begins or ends."""

BUSY_SHARE = 0.9
"""A stage that is busy for this share of the time, or longer, has enough to do; generating below it is held back."""

FULL_SHARE = 0.95
"""Judging gives a core back if this share of the time of the remaining workers is enough."""


class WindowGauges(NamedTuple):
    """What a window showed; `judging_busy` is the mean share of the workers in use."""

    claimed_cores: int
    generating_idle: float
    judging_busy: float
    programs_waiting: int


class CoreBalance:
    """How many of `cores` workers judge; all of them until generating claims some."""

    def __init__(self, cores: int) -> None:
        self.workers = cores
        self._cores = cores
        self.claimed_cores = 0
        self._patience = 1
        self._asked = 0  # windows in a row in which judging was starved

    def observe(self, gauges: WindowGauges) -> str:
        """Takes a window, and changes `workers` if it is time to; the reason in words, empty without a change."""
        own = max(1, self._cores - gauges.claimed_cores)
        if gauges.claimed_cores != self.claimed_cores:
            self.claimed_cores = gauges.claimed_cores
            self._asked = 0
            needs = f"needs {self.claimed_cores} of {self._cores} cores" if self.claimed_cores else "is over"
            return self._use(own, f"generating {needs}")
        is_generating_busy = gauges.generating_idle <= 1 - BUSY_SHARE
        is_judging_starved = gauges.programs_waiting > 0 and gauges.judging_busy >= BUSY_SHARE
        self._asked = self._asked + 1 if is_judging_starved and not is_generating_busy else 0
        if self._asked >= self._patience and self.workers < self._cores:
            self._asked = 0
            reason = f"{gauges.programs_waiting:,} programs waited, generating was idle {gauges.generating_idle:.0%}"
            return self._use(self.workers + 1, reason)
        is_one_too_many = gauges.judging_busy * self.workers <= FULL_SHARE * (self.workers - 1)
        if is_generating_busy and is_one_too_many and self.workers > own:
            self._patience *= 2
            return self._use(self.workers - 1, f"generating needs its core, judging was busy {gauges.judging_busy:.0%}")
        return ""

    def _use(self, workers: int, reason: str) -> str:
        if workers == self.workers:
            return ""
        self.workers = workers
        return reason


def window_gauges(before: RunStatistics, now: RunStatistics) -> WindowGauges:
    """The gauges of the time between two looks at a run that judges."""
    assert before.evaluator is not None
    assert now.evaluator is not None
    seconds = max(now.elapsed_seconds - before.elapsed_seconds, 1e-9)
    worked = now.evaluator.busy_seconds - before.evaluator.busy_seconds
    generated = now.generating_seconds - before.generating_seconds
    return WindowGauges(
        claimed_cores=count_claimed(now),
        # Spans of samples come late, so more may be counted in a window than it is long.
        generating_idle=max(0.0, 1 - generated / seconds),
        judging_busy=worked / (seconds * now.evaluator.workers),
        programs_waiting=now.completions_waiting + now.evaluator.waiting,
    )


def count_claimed(statistics: RunStatistics) -> int:
    """The cores that generating needs now."""
    return statistics.engine.cores if statistics.engine is not None else 0


async def keep_balance(
    use_workers: Callable[[int], None], statistics: Callable[[], RunStatistics], entries: ObjectSendStream[Entry]
) -> None:
    """Divides the cores of a run, whose evaluator has a worker for each, until cancelled; every change is an event."""
    before = statistics()
    assert before.evaluator is not None
    balance = CoreBalance(before.evaluator.workers)
    while True:
        await anyio.sleep(TICK_SECONDS)
        now = statistics()
        is_whole = now.elapsed_seconds - before.elapsed_seconds >= WINDOW_SECONDS
        if not is_whole and count_claimed(now) == balance.claimed_cores:
            continue
        gauges, before = window_gauges(before, now), now
        if reason := balance.observe(gauges):
            use_workers(balance.workers)
            workers = f"{balance.workers:,} evaluator worker{'' if balance.workers == 1 else 's'}"
            await entries.send(
                CoresDivided(
                    message=f"{workers}: {reason}",
                    workers=balance.workers,
                    claimed_cores=gauges.claimed_cores,
                    generating_idle=gauges.generating_idle,
                    judging_busy=gauges.judging_busy,
                    programs_waiting=gauges.programs_waiting,
                )
            )
