"""One worker of the local engine as the engine keeps its books: the process, the samples it owes, its figures.

A worker owes a sample from the moment that it is given the chunk with it until the caller has taken the completion, and
is given no further chunk while it owes its demand: a caller who stops taking thereby stops admission. Nothing here
waits or speaks to the process; whoever changes the books calls `notify`, and whoever waits for a change awaits
`changed`.

**Trials.** Some request may kill whatever worker computes it (a kernel that fails at its shape, say), and would end the
run of all others. So deaths are counted for each chunk, and those that a process had when it died for the second time
are put on trial: the next process is given one group of them at a time and nothing else. A group that it answers is
cleared, one at which it dies is halved, and a chunk at which it dies alone is condemned: its samples are answered as
errors. Halving takes one death for each doubling of the number of suspects, while clearing them one by one would take
as long as they take alone.
"""

from collections import deque
from dataclasses import dataclass, field

import anyio
import msgspec

from taco_stream.engine.local.worker_process import WorkerProcess
from taco_stream.engine.protocol import Ready
from taco_stream.statistics import EngineStatistics
from taco_stream.types import Completion, FinishReason, Request

SAMPLES_PER_CHUNK = 32
"""Large enough that one prefill serves many samples, small enough that the last chunks spread over the devices."""


SUSPICIOUS_DEATHS = 2
"""Workers that died while they had a chunk until it is put on trial: one may have died for reasons of its own."""


@dataclass(eq=False)
class Chunk:
    """One prompt and those of its samples that the worker has not answered; how many workers died while they had it."""

    request: Request
    arrived_at: float
    unanswered: set[int]
    deaths: int = 0

    def rest(self) -> Request:
        """What is still to be generated."""
        indices = tuple(index for index in self.request.sample_indices if index in self.unanswered)
        return msgspec.structs.replace(self.request, sample_indices=indices)

    def cancelled(self) -> list[Completion]:
        """A completion for each unanswered sample, that says that it was given up."""
        return self._given_up(FinishReason.CANCELLED)

    def failed(self, error: str) -> list[Completion]:
        """A completion for each unanswered sample, that says why there is none."""
        return self._given_up(FinishReason.ERROR, error)

    def _given_up(self, reason: FinishReason, error: str | None = None) -> list[Completion]:
        return [
            Completion(
                problem_id=self.request.problem_id,
                sample_index=index,
                text="",
                finish_reason=reason,
                seed=self.request.seed,
                error=error,
            )
            for index in sorted(self.unanswered)
        ]


@dataclass(eq=False)
class ServedWorker:
    """One worker and what it owes."""

    process: WorkerProcess
    ready: Ready | None = None
    chunks: dict[int, Chunk] = field(default_factory=dict)
    sent: set[int] = field(default_factory=set)
    """Tickets of the chunks that the present process was given."""
    trials: deque[list[int]] = field(default_factory=deque)
    """Groups of tickets of which one kills workers; the first is on trial."""
    finished: deque[Completion] = field(default_factory=deque)
    restarts_in_vain: int = 0
    is_fed: bool = False
    gauges: EngineStatistics = field(default_factory=EngineStatistics)
    of_predecessors: EngineStatistics = field(default_factory=EngineStatistics)
    writing: anyio.Lock = field(default_factory=anyio.Lock)
    changed: anyio.Event = field(default_factory=anyio.Event)

    @property
    def owed(self) -> int:
        """Samples given to the worker whose completions the caller has not taken yet."""
        return sum(len(chunk.unanswered) for chunk in self.chunks.values()) + len(self.finished)

    @property
    def demand(self) -> int:
        """How many samples the worker may owe: its slots, and enough waiting that none stays empty."""
        slots = self.gauges.rows_total or (self.ready.slots if self.ready else 1)
        return slots + max(SAMPLES_PER_CHUNK, slots // 2)

    def notify(self) -> None:
        """Wakes whoever waits for a change of this worker's state."""
        self.changed.set()
        self.changed = anyio.Event()

    def statistics(self) -> EngineStatistics:
        """The worker's figures and the sums of those that it replaced."""
        return add(self.gauges, self.of_predecessors)

    def to_send(self) -> list[tuple[int, Chunk]]:
        """Books as sent, and returns, what the process is to be given now: all that it has not, but for trials."""
        while self.trials and not any(ticket in self.chunks for ticket in self.trials[0]):
            self.trials.popleft()
        allowed = self.trials[0] if self.trials else list(self.chunks)
        due = [ticket for ticket in allowed if ticket in self.chunks and ticket not in self.sent]
        self.sent.update(due)
        return [(ticket, self.chunks[ticket]) for ticket in due]

    def settle(self, ticket: int, completion: Completion) -> bool:
        """Books one completion; False for one that nobody waits for: its run was cancelled."""
        chunk = self.chunks.get(ticket)
        if chunk is None or completion.sample_index not in chunk.unanswered:
            return False
        chunk.unanswered.remove(completion.sample_index)
        if not chunk.unanswered:
            del self.chunks[ticket]
        self.restarts_in_vain = 0
        self.finished.append(completion)
        self.notify()
        return True

    def bury(self) -> int | None:
        """Notes the death of the process: of its figures the sums remain, not the state.

        Returns the ticket of a chunk that is condemned.
        """
        sums = msgspec.structs.replace(self.gauges, rows_busy=0, rows_total=0, samples_waiting=0)
        self.of_predecessors = add(self.of_predecessors, sums)
        self.gauges = EngineStatistics()
        had = [ticket for ticket in self.chunks if ticket in self.sent]
        self.sent.clear()
        for ticket in had:
            self.chunks[ticket].deaths += 1
        suspects = had if self.trials else [t for t in had if self.chunks[t].deaths >= SUSPICIOUS_DEATHS]
        is_narrowed = bool(self.trials) and len(suspects) > 1
        if self.trials:
            self.trials.popleft()
        self.restarts_in_vain += not is_narrowed  # to know more is not in vain, and ends after a few halvings
        if not suspects:
            return None
        if suspects != had:  # it may have been one of the others
            self.trials.appendleft(suspects)
        elif len(suspects) == 1:
            return suspects[0]
        else:
            middle = len(suspects) // 2
            self.trials.extendleft((suspects[middle:], suspects[:middle]))
        return None

    def condemn(self, ticket: int, reason: str) -> None:
        """Answers a chunk as an error."""
        chunk = self.chunks.pop(ticket)
        self.finished.extend(chunk.failed(f"{chunk.deaths} generation workers died of this request: {reason}"))
        self.notify()

    def abandon(self) -> tuple[int, ...]:
        """Forgets all chunks; returns their tickets."""
        tickets = tuple(self.chunks)
        self.chunks.clear()
        self.sent.clear()
        self.trials.clear()
        return tickets


def add(one: EngineStatistics, other: EngineStatistics) -> EngineStatistics:
    """The sum, figure by figure."""
    return EngineStatistics(**{name: getattr(one, name) + getattr(other, name) for name in one.__struct_fields__})
