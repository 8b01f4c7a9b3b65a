"""One generation worker as the engine sees it: its process and successors, the samples it was given, its figures.

The process is `taco_stream.engine.worker`, which of the accelerators sees its own alone (`visible_devices`). It may be
prepared before it is started: it then imports its libraries and waits for the name of the model. Starting returns when
the model is loaded, or raises the worker's error. Sending to a worker that has ended is not an error, for the task that
receives finds out, and restarts it.

**In flight.** A sample is in flight from the moment that the worker is given the chunk with it until the caller has
taken the completion, and the worker is given no further chunk while it has its capacity in flight: a caller who stops
taking thereby stops admission. Code that changes this state calls `notify`, and code that waits for a change awaits
`changed`.

**Taking back.** When no further chunk comes, samples may wait for one worker's slots while another's are empty. Then
they are withdrawn (`chunk_queue` says how many): the worker alone knows which have begun, and answers the others as
cancelled; each of those becomes a chunk of its own for a worker that has room.

**Restarts.** A worker that ends is started again and given everything that it has not answered. One that ends more than
`RESTARTS` times in a row without having finished a sample is given up.

**Trials.** Some request may kill whatever worker computes it (a kernel that fails at its shape, say), and would end the
run of all others. So deaths are counted for each chunk, and those that a process had when it died for the second time
are put on trial: the next process is given one group of them at a time and nothing else. A group that it answers is
cleared, one at which it dies is halved, and a chunk at which it dies alone is condemned: its samples are answered as
errors. Halving takes one death for each doubling of the number of suspects, while clearing them one by one would take
as long as they take alone. While there are other workers, one of them has to die of it too (`chunk_queue`).

**Hangs.** A process that owes something and is silent for too long (`silence_clock`) is killed by `watch`, and so is
its successor if it does not load its model; from there on that is a death like any other.
"""

import os
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

import anyio
import msgspec

from taco_stream.engine.libraries import check_libraries
from taco_stream.engine.local.silence_clock import TICK_SECONDS, SilenceClock, waiting_seconds
from taco_stream.engine.protocol import (
    Cancel,
    Drain,
    EventFrame,
    FromWorker,
    Generate,
    Load,
    Ready,
    Refused,
    ToWorker,
    Withdraw,
)
from taco_stream.engine.visible_devices import device_environment
from taco_stream.errors import EngineError, ModelError, UsageError
from taco_stream.events import EngineEvent, RequestCondemned, WorkerRestarted
from taco_stream.statistics import EngineStatistics
from taco_stream.types import Completion, FinishReason, Request
from taco_stream.workers.process import WorkerGoneError, WorkerProcess

RESTARTS = 3
"""How often in a row a worker may end without having finished a sample."""

QUIET = {"HF_HUB_DISABLE_PROGRESS_BARS": "1"}
"""Nobody sees the bars, and they would push the error out of the end of the worker's standard error."""

SAMPLES_PER_CHUNK = 32
"""Large enough that one prefill serves many samples, small enough that the last chunks spread over the devices."""

SUSPICIOUS_DEATHS = 2
"""Workers that died while they had a chunk until it is put on trial: one may have died for reasons of its own."""


class WorkerDiedLoadingError(ModelError):
    """A process ended while it loaded its model, without a word about the model itself."""


@dataclass(eq=False)
class Chunk:
    """One prompt and those of its samples that the worker has not answered; how many workers died while they had it."""

    request: Request
    arrived_at: float
    unanswered: set[int]
    deaths: int = 0
    condemned_by: "WorkerHandle | None" = None

    def rest(self) -> Request:
        """The request for the samples that are still to be generated."""
        indices = tuple(index for index in self.request.sample_indices if index in self.unanswered)
        return msgspec.structs.replace(self.request, sample_indices=indices)

    def cancelled(self) -> list[Completion]:
        """A cancelled completion for each unanswered sample."""
        return self._given_up(FinishReason.CANCELLED)

    def failed(self, error: str) -> list[Completion]:
        """A failed completion for each unanswered sample, with the reason."""
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
class WorkerHandle:
    """The worker that serves `load`: started, fed, restarted and stopped."""

    load: Load
    ready: Ready | None = None
    chunks: dict[int, Chunk] = field(default_factory=dict)
    sent: set[int] = field(default_factory=set)
    """Tickets of the chunks that the present process was given."""
    withdrawn: set[tuple[int, int]] = field(default_factory=set)
    """Tickets and samples that the process was asked to give back and that it has not answered."""
    trials: deque[list[int]] = field(default_factory=deque)
    """Groups of tickets of which one kills workers; the first is on trial."""
    finished: deque[Completion] = field(default_factory=deque)
    consecutive_restarts: int = 0
    """Deaths since a sample was last finished, but for those that narrowed the suspects down."""
    restarts: int = 0
    is_fed: bool = False
    is_draining: bool = False
    is_dropped: bool = False
    """Given up: it is not started again, and what it had not answered is another worker's."""
    clock: SilenceClock = field(default_factory=SilenceClock)
    gauges: EngineStatistics = field(default_factory=EngineStatistics)
    retired_totals: EngineStatistics = field(default_factory=EngineStatistics)
    writing: anyio.Lock = field(default_factory=anyio.Lock)
    """Held while frames are sent to the worker, and while it is replaced."""
    changed: anyio.Event = field(default_factory=anyio.Event)
    _process: WorkerProcess[FromWorker] | None = None
    _exit_reason: str = ""
    _is_loading: bool = False
    _was_heard: bool = False
    _loading_seconds: float = 0.0

    @property
    def pid(self) -> int | None:
        """The process's number, None if there is none."""
        return None if self._process is None else self._process.pid

    @property
    def cores(self) -> int:
        """The CPU cores that it needs once its model is loaded: one for each thread on a CPU, one beside a device."""
        if self.ready is None:
            return 0
        return (self.load.threads or 1) if self.ready.device == "cpu" else 1

    @property
    def in_flight(self) -> int:
        """Samples given to the worker whose completions the caller has not taken yet."""
        return sum(len(chunk.unanswered) for chunk in self.chunks.values()) + len(self.finished)

    @property
    def slots(self) -> int:
        """How many samples the worker decodes at once."""
        return self.gauges.rows_total or (self.ready.slots if self.ready else 1)

    @property
    def empty_slots(self) -> int:
        """How many more samples it could decode; negative if so many wait."""
        return self.slots - sum(len(chunk.unanswered) for chunk in self.chunks.values())

    @property
    def capacity(self) -> int:
        """How many samples may be in flight: the worker's slots, and enough waiting that none stays empty."""
        return self.slots + max(SAMPLES_PER_CHUNK, self.slots // 2)

    def notify(self) -> None:
        """Wakes all tasks that wait for a change of this worker's state."""
        # An event cannot be cleared: who waits has the old one, who waits next gets the new one.
        self.changed.set()
        self.changed = anyio.Event()

    def statistics(self) -> EngineStatistics:
        """The worker's figures and the sums of those that it replaced."""
        return msgspec.structs.replace(add(self.gauges, self.retired_totals), restarts=self.restarts)

    # The process.

    async def prepare(self) -> None:
        """Starts the process, which then waits for `start`, unless there is one.

        Raises `UsageError` if its device is hidden from it or a library is missing, `ModelError` if no process can be
        started.
        """
        if self._process is not None:
            return
        check_libraries()
        environment = device_environment(self.load.device, os.environ) | QUIET
        try:
            self._process = await WorkerProcess[FromWorker].spawn(
                "taco_stream.engine.worker", received=FromWorker, environment=environment
            )
        except WorkerGoneError as error:
            raise ModelError(str(error)) from error

    async def start(self) -> list[EngineEvent]:
        """Has the process, prepared or not, load the model; returns the events that it reported meanwhile.

        Raises `ModelError` or `UsageError` as the worker says, `ModelError` if it ends while loading, and what
        `prepare` does.
        """
        await self.prepare()
        began_at = time.monotonic()
        self.clock.start(self._loading_seconds)
        self._is_loading = True
        events: list[EngineEvent] = []
        try:
            await self.send(msgspec.structs.replace(self.load, sees_one_device=self.load.device.startswith("cuda")))
            while True:
                match await self.receive():
                    case Ready() as ready:
                        self.ready = ready
                        self._loading_seconds = time.monotonic() - began_at
                        self.clock.start(self._loading_seconds)
                        self._was_heard = False
                        return events
                    case Refused(message=message, is_usage=is_usage):
                        raise UsageError(message) if is_usage else ModelError(message)
                    case EventFrame(event):
                        events.append(event)
        except WorkerGoneError as error:
            await self.stop()
            message = f"the worker died while loading {self.load.model}: {self.exit_reason()}"
            raise WorkerDiedLoadingError(message) from error
        finally:
            self._is_loading = False

    async def receive(self) -> FromWorker:
        """The next frame. Raises `WorkerGoneError` if the process has ended or sends something else."""
        if self._process is None:  # a restart was cancelled in the middle
            raise WorkerGoneError("the worker was not started again")
        frame = await self._process.receive()
        self._was_heard = True
        return frame

    async def watch(self) -> None:
        """Kills the process if it hangs, until cancelled; `receive` then raises."""
        while True:
            await anyio.sleep(TICK_SECONDS)
            process = self._process
            owes = self._is_loading or not self.sent.isdisjoint(self.chunks)
            was_heard, self._was_heard = self._was_heard, False
            if process is None:
                continue
            waited = waiting_seconds(process.pid) if owes and not was_heard else {}
            self.clock.tick(time.monotonic(), waited, was_heard=was_heard, owes=owes)
            if self.clock.has_run_out:
                process.fail(f"it gave no sign of life for {self.clock.silent_seconds:.0f} s in which it could run")
                self.clock.start(self._loading_seconds)

    async def send(self, frame: ToWorker) -> None:
        """Sends a frame; a worker that has ended gets nothing, and the task that receives finds out."""
        if self._process is not None:
            with suppress(WorkerGoneError):
                await self._process.send(frame)

    async def close_stdin(self) -> None:
        """Closes the process's input, by which it learns that it is to end; several may so end side by side."""
        if self._process is not None:
            await self._process.close_stdin()

    async def stop(self) -> None:
        """Closes the process's input, waits a bounded time for it to end, then kills it."""
        process, self._process = self._process, None
        if process is not None:
            await process.stop()
            self._exit_reason = process.exit_reason()

    def exit_reason(self) -> str:
        """How the last process ended and, if it was an exception, which."""
        return self._exit_reason

    async def restart(
        self, emit: Callable[[EngineEvent], Awaitable[None]], appeal: Callable[[Chunk], bool] = lambda _: False
    ) -> None:
        """Replaces the process, which has ended, and gives its successor the unanswered samples.

        A chunk that it would condemn is offered to `appeal` first, which says whether another worker is to try it.
        Raises `EngineError` if `RESTARTS` of them finished nothing, or the worker refuses the model.
        """
        async with self.writing:
            await self.stop()
            exit_reason = self.exit_reason()
            condemned = self.record_death()
            is_started = False
            while not is_started:
                reason = f"the generation worker on {self.load.device} died: {self.exit_reason()}"
                if self.consecutive_restarts > RESTARTS:
                    raise EngineError(f"{reason}; it was started {RESTARTS} times without a sample finished")
                self.restarts += 1
                await emit(WorkerRestarted(message=reason))
                try:
                    await self.start()
                    is_started = True
                except WorkerDiedLoadingError:
                    self.consecutive_restarts += 1  # whoever killed it may not come back
                except (ModelError, UsageError) as error:
                    raise EngineError(f"{reason}; it cannot be started again: {error}") from error
            if condemned is not None:  # only now: the model's start shows that it was not the device
                chunk = self.chunks[condemned]
                if chunk.condemned_by is None and appeal(chunk):
                    chunk.condemned_by = self
                    del self.chunks[condemned]
                else:
                    await emit(self.condemn(condemned, exit_reason))
            if self.is_draining:
                await self.send_drain()
            await self.send_due()

    # Frames to the worker; the caller holds `writing`.

    async def send_due(self) -> None:
        """Sends the chunks that the process is to have now."""
        for ticket, chunk in self.take_due():
            await self.send(Generate(ticket, chunk.rest(), chunk.arrived_at))

    async def withdraw(self, count: int) -> bool:
        """Asks for the last `count` samples back, which are the least likely to have begun; whether there are any."""
        sent = [(ticket, chunk) for ticket, chunk in self.chunks.items() if ticket in self.sent]
        samples = [(ticket, index) for ticket, chunk in sent for index in chunk.rest().sample_indices]
        samples = samples[len(samples) - min(count, len(samples)) :]
        self.withdrawn.update(samples)
        for ticket in {ticket for ticket, _ in samples}:
            await self.send(Withdraw(ticket, tuple(index for each, index in samples if each == ticket)))
        return bool(samples)

    async def send_drain(self) -> None:
        """Has the process answer the samples that are not decoding as cancelled, without further trials."""
        self.trials.clear()
        await self.send(Drain())

    async def cancel(self) -> None:
        """Forgets all samples, and frees the process's slots of them."""
        self.finished.clear()
        # Its next report is read by the next run; until then nothing may look as busy as it was in this one.
        self.gauges = msgspec.structs.replace(self.gauges, rows_busy=0, samples_waiting=0)
        if tickets := self.abandon():
            await self.send(Cancel(tickets))

    # Its books: nothing here waits.

    def drain(self) -> None:
        """Marks the worker as one that is to start no further sample."""
        self.is_draining = True
        self.notify()

    def take_due(self) -> list[tuple[int, Chunk]]:
        """Marks as sent, and returns, the chunks that are due: all that the process does not have, but for trials."""
        while self.trials and not any(ticket in self.chunks for ticket in self.trials[0]):
            self.trials.popleft()
        allowed = self.trials[0] if self.trials else list(self.chunks)
        due = [ticket for ticket in allowed if ticket in self.chunks and ticket not in self.sent]
        self.sent.update(due)
        return [(ticket, self.chunks[ticket]) for ticket in due]

    def record_completion(self, ticket: int, completion: Completion) -> bool:
        """Records one completion; False if it is no longer awaited: its run was cancelled."""
        chunk = self.chunks.get(ticket)
        if chunk is None or completion.sample_index not in chunk.unanswered:
            return False
        self._strike(ticket, completion.sample_index)
        self.consecutive_restarts = 0
        self.finished.append(completion)
        self.notify()
        return True

    def take_back(self, ticket: int, completion: Completion) -> Chunk | None:
        """The sample as a chunk, if the process gives it back as it was asked to; it is another worker's then."""
        key = (ticket, completion.sample_index)
        is_back = key in self.withdrawn and completion.finish_reason is FinishReason.CANCELLED
        if not is_back or self.is_draining:
            return None
        chunk = self.chunks[ticket]
        self._strike(*key)
        self.notify()
        request = msgspec.structs.replace(chunk.request, sample_indices=(completion.sample_index,))
        return Chunk(request, chunk.arrived_at, {completion.sample_index}, chunk.deaths, chunk.condemned_by)

    def _strike(self, ticket: int, sample_index: int) -> None:
        """Removes a sample from the books."""
        self.withdrawn.discard((ticket, sample_index))
        self.chunks[ticket].unanswered.remove(sample_index)
        if not self.chunks[ticket].unanswered:
            del self.chunks[ticket]

    def record_death(self) -> int | None:
        """Records the death of the process: of its figures the sums remain, not the state.

        Returns the ticket of a chunk that is condemned.
        """
        sums = msgspec.structs.replace(self.gauges, rows_busy=0, rows_total=0, samples_waiting=0)
        self.retired_totals = add(self.retired_totals, sums)
        self.gauges = EngineStatistics()
        had = [ticket for ticket in self.chunks if ticket in self.sent]
        self.sent.clear()
        self.withdrawn.clear()
        for ticket in had:
            self.chunks[ticket].deaths += 1
        suspects = had if self.trials else [t for t in had if self.chunks[t].deaths >= SUSPICIOUS_DEATHS]
        is_narrowed = bool(self.trials) and len(suspects) > 1
        if self.trials:
            self.trials.popleft()
        # A death that halved the suspects is no failed restart: trials end after a few halvings.
        self.consecutive_restarts += not is_narrowed
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

    def condemn(self, ticket: int, reason: str) -> RequestCondemned:
        """Answers a chunk as an error; the event that says so."""
        chunk = self.chunks.pop(ticket)
        self.finished.extend(chunk.failed(f"{chunk.deaths} generation workers died of this request: {reason}"))
        self.notify()
        problem_id = chunk.request.problem_id
        message = f"generation workers die of the request for {problem_id}, which is answered as an error: {reason}"
        return RequestCondemned(problem_id=problem_id, message=message)

    def abandon(self) -> tuple[int, ...]:
        """Forgets all chunks; returns their tickets."""
        tickets = tuple(self.chunks)
        self.chunks.clear()
        self.sent.clear()
        self.withdrawn.clear()
        self.trials.clear()
        return tickets


def add(one: EngineStatistics, other: EngineStatistics) -> EngineStatistics:
    """The sum, figure by figure."""
    return EngineStatistics(**{name: getattr(one, name) + getattr(other, name) for name in one.__struct_fields__})
