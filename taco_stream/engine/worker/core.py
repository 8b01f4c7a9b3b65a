"""Generates requests in a batch that has a new plan for every step: the scheduler's plan, the model runner's
tokens, and the samples that they make.

Synchronous, and free of pipes: the worker feeds it from its parent, tests use it directly. It owns all that belongs to
a sample beyond its tokens (text, stop strings, times) and turns everything that can happen to a sample into exactly one
`Finished`. Logits that are not finite end their sample, and no other, in an error. Out of memory first halves the
prompt chunk, then the slots; samples go on from their tokens.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from taco_stream.engine.protocol import Finished
from taco_stream.engine.worker.admission import Admission, AdmittedPrompt, EventSink
from taco_stream.engine.worker.checkpoint import Checkpoint
from taco_stream.engine.worker.device_memory import is_out_of_memory
from taco_stream.engine.worker.model_runner import Launched, ModelRunner
from taco_stream.engine.worker.prefill_pace import PrefillPace
from taco_stream.engine.worker.sampling import UNSOUND
from taco_stream.engine.worker.scheduler import Sample, Scheduler, Step
from taco_stream.engine.worker.stopping import StopStringDetector
from taco_stream.events import PrefillHalved, SlotsHalved
from taco_stream.statistics import EngineStatistics
from taco_stream.types import Completion, FinishReason, Request

SMALLEST_CHUNK = 8
LENGTH_STEP = 256


@dataclass(eq=False, slots=True)
class _Progress:
    """What a sample has besides its tokens."""

    detector: StopStringDetector
    arrived_at: float
    begun_at: float | None = None


class EngineCore:
    """Keeps the slots of one model runner full."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        runner: ModelRunner,
        *,
        slots: Callable[[int], int],
        length: int,
        context_length: int,
        identity: str,
        emit: EventSink,
        largest_chunk: int,
        prompts_per_step: int | None = None,
    ) -> None:
        """Allocates slots of `length` positions, as many as `slots` says for a length; longer requests reallocate.

        A step computes at most `largest_chunk` prompt tokens, of at most `prompts_per_step` prompts.
        """
        self.checkpoint = checkpoint
        self.runner = runner
        self._slots_for = slots
        self._context_length = context_length
        self._identity = identity
        self._emit = emit
        self._admission = Admission(checkpoint, context_length, emit)
        self._pace = PrefillPace(largest_chunk, largest_chunk if prompts_per_step else SMALLEST_CHUNK)
        self._prompts_per_step = prompts_per_step
        self._progress: dict[Sample, _Progress] = {}
        self._in_flight: deque[Launched] = deque()
        self._finished: list[Finished] = []
        self._draining = False
        self._gauges = _Gauges()
        count = slots(length)  # asked for once: allocated memory is no longer free
        runner.allocate(count, length)
        # Where shapes must not depend on the batch, a shared beginning has to end where every prompt is cut.
        cut = largest_chunk if prompts_per_step else 1
        self._scheduler = Scheduler(count, cut=cut, whole_prompts=runner.has_states)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left to generate."""
        return self._scheduler.is_idle and not self._in_flight

    def add(self, ticket: int, request: Request, arrived_at: float) -> None:
        """Takes in a request's samples; those that can never be generated are finished at once."""
        admitted = self._admission.admit(request)
        if admitted.refusal is not None:
            self._refuse(ticket, request, admitted)
            return
        prompt, limit = admitted.tokens, admitted.limit
        self._grow_slots(len(prompt) + limit)
        samples = [Sample(request, index, ticket, prompt, limit) for index in request.sample_indices]
        for sample in samples:
            detector = StopStringDetector(self.checkpoint.tokenizer, request.sampling.stop)
            self._progress[sample] = _Progress(detector, arrived_at)
        self._gauges.prompt_tokens += len(prompt)
        self._scheduler.add(samples)
        if self._draining:
            self.drain()

    def cancel(self, tickets: frozenset[int]) -> None:
        """Gives up the samples of these tickets; their slots are free in the next step."""
        for sample in list(self._scheduler.samples()):
            if sample.ticket in tickets:
                self._finish(sample, FinishReason.CANCELLED)

    def withdraw(self, ticket: int, sample_indices: frozenset[int]) -> None:
        """Gives up those of a ticket's samples that have no token yet."""
        for sample in self._scheduler.not_started():
            if sample.ticket == ticket and sample.sample_index in sample_indices:
                self._finish(sample, FinishReason.CANCELLED)

    def drain(self) -> None:
        """Gives up what has no token yet, and everything that is added from now on."""
        self._draining = True
        for sample in self._scheduler.not_started():
            self._finish(sample, FinishReason.CANCELLED)

    def step(self) -> list[Finished]:
        """Computes one step; returns what has finished since the last."""
        started_at = time.monotonic()
        step = self._scheduler.plan(self._prefill_budget(), self._prompts_per_step)
        if not step.is_empty:
            self._launch(step, started_at)
        left_unread = 1 if self.runner.reads_late and not step.is_empty else 0  # read while the next one computes
        while len(self._in_flight) > left_unread:
            self._take_tokens(self._in_flight.popleft())
        seconds = time.monotonic() - started_at
        if not step.is_empty:
            self._pace.observe(step, seconds)
            self._gauges.observe(step, seconds, self._scheduler.slots)
        finished, self._finished = self._finished, []
        return finished

    def preempt(self) -> None:
        """Sends every sample back to the queue; each goes on from its tokens."""
        self._reallocate(self._scheduler.slots, self.runner.length)

    def limit_prefill(self, tokens: int) -> None:
        """Computes at most `tokens` prompt tokens in a step from now on."""
        self._pace = PrefillPace(tokens, min(tokens, SMALLEST_CHUNK))

    def statistics(self) -> EngineStatistics:
        """The batch as it is now."""
        return self._gauges.statistics(self._scheduler)

    def _prefill_budget(self) -> int:
        """Prompt tokens that the next step may compute.

        A forward over prompts costs a GPU's host many times as much as replaying a decode step, so prompts are computed
        there only when a sixteenth of the slots is free for them.
        """
        scheduler = self._scheduler
        if not self.runner.reads_late:
            return self._pace.tokens(scheduler.decoding, scheduler.slots)
        is_worth_it = scheduler.slots - scheduler.busy >= scheduler.slots // 16 or scheduler.is_prefilling
        return self._pace.largest if is_worth_it or not scheduler.is_decoding else 0

    def _launch(self, step: Step, now: float) -> None:
        for sample in (*(chunk.sample for chunk in step.chunks), *(row.sample for row in step.beginning)):
            progress = self._progress[sample]
            progress.begun_at = progress.begun_at or now
        is_computed = False
        try:
            self._in_flight.append(self.runner.launch(step))
            is_computed = True
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        if not is_computed:  # only here is the error gone, whose frames hold the slots that are to be made again
            self._shrink_after_oom(step)

    def _take_tokens(self, launched: Launched) -> None:
        """Looks at the tokens of a step, and lets the samples go that have ended."""
        is_sound = True
        grown = self._scheduler.record(launched.step, launched.read())
        self._gauges.completion_tokens += len(grown)
        for sample in grown:
            token = sample.tokens[-1]
            if token == UNSOUND:
                is_sound = False
                sample.tokens.pop()
                self._gauges.completion_tokens -= 1
                self._finish(sample, FinishReason.ERROR, self.checkpoint.not_finite)
                continue
            has_stop_string = self._progress[sample].detector.feed(token)
            if token in self.checkpoint.end_tokens:
                self._finish(sample, FinishReason.STOP)
            elif has_stop_string:
                self._finish(sample, FinishReason.STOP_STRING)
            elif len(sample.tokens) >= sample.limit:
                self._finish(sample, FinishReason.LENGTH)
        if not is_sound:
            # Some slots hold keys and values that are not finite, which a mask does not hide from who comes next.
            self.preempt()

    def _finish(self, sample: Sample, reason: FinishReason, error: str | None = None) -> None:
        # Its slot is free from the next step on. A token in flight for it is ignored when it comes.
        self._scheduler.finish(sample)
        progress = self._progress.pop(sample)
        now = time.monotonic()
        begun_at = progress.begun_at or now
        is_whole = reason not in (FinishReason.CANCELLED, FinishReason.ERROR)
        self._gauges.samples_finished += is_whole
        completion = Completion(
            problem_id=sample.request.problem_id,
            sample_index=sample.sample_index,
            text=progress.detector.text() if is_whole else "",
            finish_reason=reason,
            prompt_tokens=len(sample.prompt),
            completion_tokens=len(sample.tokens),
            seed=sample.request.seed,
            engine=self._identity,
            queue_seconds=max(0.0, begun_at - progress.arrived_at),
            generate_seconds=now - begun_at,
            finished_at=time.time(),
            error=error,
        )
        self._finished.append(Finished(sample.ticket, completion))

    def _refuse(self, ticket: int, request: Request, admitted: AdmittedPrompt) -> None:
        for index in request.sample_indices:
            completion = Completion(
                problem_id=request.problem_id,
                sample_index=index,
                text="",
                finish_reason=FinishReason.ERROR,
                prompt_tokens=len(admitted.tokens),
                seed=request.seed,
                engine=self._identity,
                error=admitted.refusal,
            )
            self._finished.append(Finished(ticket, completion))

    def _grow_slots(self, positions: int) -> None:
        """Reallocates if a request is longer than the slots; what decodes goes on from its tokens."""
        if positions <= self.runner.length:
            return
        # By half at least: every growth computes all that decodes again.
        wanted = max(positions, self.runner.length * 3 // 2)
        length = min(self._context_length, -(-wanted // LENGTH_STEP) * LENGTH_STEP)
        self._empty()
        self._allocate(self._slots_for(length), length)

    def _shrink_after_oom(self, step: Step) -> None:
        """After a step that did not fit into memory: smaller chunks, else fewer slots, else not this sample."""
        if step.chunks and not self.runner.has_states and self._pace.halve():
            self._reallocate(self._scheduler.slots, self.runner.length)
            tokens = self._pace.largest
            message = f"out of memory: prompts are computed {tokens} tokens at a time"
            self._emit(PrefillHalved(message=message, tokens=tokens))
        elif self._scheduler.slots > 1:
            slots = self._scheduler.slots // 2
            self._note_halved(slots)
            self._reallocate(slots, self.runner.length)
        else:
            for sample in {row.sample for row in step.rows} | {chunk.sample for chunk in step.chunks}:
                self._finish(sample, FinishReason.ERROR, "the sample does not fit into the device's memory")

    def _reallocate(self, slots: int, length: int) -> None:
        self._empty()
        self._allocate(slots, length)

    def _empty(self) -> None:
        """Sends every sample back to the queue and gives the slots' memory back."""
        while self._in_flight:
            self._take_tokens(self._in_flight.popleft())
        self._scheduler.preempt_all(self._scheduler.slots)
        self.runner.release()

    def _allocate(self, slots: int, length: int) -> None:
        """Makes new slots, fewer if even they do not fit."""
        while True:
            self._scheduler.preempt_all(slots)
            try:
                self.runner.allocate(slots, length)
            except (RuntimeError, MemoryError) as error:
                if slots == 1 or not is_out_of_memory(error):
                    raise
            else:
                return
            slots //= 2
            self._note_halved(slots)

    def _note_halved(self, slots: int) -> None:
        message = f"out of memory: {slots} samples decode at once from now on"
        self._emit(SlotsHalved(message=message, slots=slots))


class _Gauges:
    """The sums behind `EngineStatistics`."""

    def __init__(self) -> None:
        self.samples_finished = 0
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self._busy_seconds = 0.0
        self._row_seconds = 0.0
        self._available = 0.0

    def observe(self, step: Step, seconds: float, slots: int) -> None:
        """Books a step."""
        rows = len(step.decoding) + len(step.beginning)
        self._busy_seconds += seconds
        self._row_seconds += seconds * rows
        self._available += seconds * slots

    def statistics(self, scheduler: Scheduler) -> EngineStatistics:
        """The sums, and the scheduler's state."""
        return EngineStatistics(
            rows_busy=scheduler.busy,
            rows_total=scheduler.slots,
            samples_waiting=scheduler.waiting,
            samples_finished=self.samples_finished,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            busy_seconds=self._busy_seconds,
            row_seconds=self._row_seconds,
            row_seconds_available=self._available,
        )
