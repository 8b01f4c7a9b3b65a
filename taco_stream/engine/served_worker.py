"""One worker of the local engine as the engine keeps its books: the process, the samples it owes, its figures.

A worker owes a sample from the moment that it is given the chunk with it until the caller has taken the completion, and
is given no further chunk while it owes its demand: a caller who stops taking thereby stops admission. Nothing here
waits or speaks to the process; whoever changes the books calls `notify`, and whoever waits for a change awaits
`changed`.
"""

from collections import deque
from dataclasses import dataclass, field

import anyio
import msgspec

from taco_stream.engine.base import EngineStatistics
from taco_stream.engine.protocol import Ready
from taco_stream.engine.worker_process import WorkerProcess
from taco_stream.types import Completion, FinishReason, Request

SAMPLES_PER_CHUNK = 32
"""Large enough that one prefill serves many samples, small enough that the last chunks spread over the devices."""


@dataclass(eq=False)
class Chunk:
    """One prompt and those of its samples that the worker has not answered."""

    request: Request
    arrived_at: float
    unanswered: set[int]

    def rest(self) -> Request:
        """What is still to be generated."""
        indices = tuple(index for index in self.request.sample_indices if index in self.unanswered)
        return msgspec.structs.replace(self.request, sample_indices=indices)

    def cancelled(self) -> list[Completion]:
        """A completion for each unanswered sample, that says that it was given up."""
        return [
            Completion(
                problem_id=self.request.problem_id,
                sample_index=index,
                text="",
                finish_reason=FinishReason.CANCELLED,
                seed=self.request.seed,
            )
            for index in sorted(self.unanswered)
        ]


@dataclass(eq=False)
class ServedWorker:
    """One worker and what it owes."""

    process: WorkerProcess
    ready: Ready | None = None
    chunks: dict[int, Chunk] = field(default_factory=dict)
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

    def bury(self) -> None:
        """Notes the death of the process: of its figures the sums remain, not the state."""
        sums = msgspec.structs.replace(self.gauges, rows_busy=0, rows_total=0, samples_waiting=0)
        self.of_predecessors = add(self.of_predecessors, sums)
        self.gauges = EngineStatistics()
        self.restarts_in_vain += 1


def add(one: EngineStatistics, other: EngineStatistics) -> EngineStatistics:
    """The sum, figure by figure."""
    return EngineStatistics(**{name: getattr(one, name) + getattr(other, name) for name in one.__struct_fields__})
