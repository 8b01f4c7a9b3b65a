"""Generates with transformers' own `generate`: for models that slots cannot serve (masks or caches of their own).

Slower, because a batch goes on until its last sample has ended, and blind while it does: requests that come meanwhile
wait, and cancelling takes effect between batches. Everything else is as from the core: the same random numbers per
sample, the same stop strings, one completion per sample. Only samples whose prompts are equally long share a batch, so
that nothing is padded, which recurrent layers do not all take well. Some models do not even then generate a row as they
do when it is alone (RWKV, say): `alike_in_batches` finds that out, and such a model is given one sample at a time.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig

from taco_stream.engine.protocol import Finished
from taco_stream.engine.worker.admission import Admission, EventSink
from taco_stream.engine.worker.checkpoint import Checkpoint
from taco_stream.engine.worker.device_memory import is_out_of_memory
from taco_stream.engine.worker.sampling import UNSOUND, RowSampling, sample_key, sample_tokens, uniform_numbers
from taco_stream.engine.worker.stopping import StopStringDetector
from taco_stream.errors import ModelError
from taco_stream.events import SlotsHalved
from taco_stream.statistics import EngineStatistics
from taco_stream.types import Completion, FinishReason, Request

CHECKED_TOKENS = 24


def use_no_settings_of_files(checkpoint: Checkpoint) -> None:
    """Gives the model a generation config of its end tokens alone.

    Other fields of its files were decided on when it was loaded, and `generate` would do it again.
    """
    end_tokens = sorted(checkpoint.end_tokens)
    checkpoint.model.generation_config = GenerationConfig(
        do_sample=False, eos_token_id=end_tokens or None, pad_token_id=end_tokens[0] if end_tokens else 0
    )


def alike_in_batches(checkpoint: Checkpoint, tolerance: float) -> str | None:
    """None if two rows of `generate` give the logits that each gives alone, else a sentence that says what happens.

    `tolerance` is a share of the largest logit. Raises `ModelError` if already one row fails, or is not finite.
    """
    use_no_settings_of_files(checkpoint)
    tokens = (
        torch.arange(CHECKED_TOKENS, device=checkpoint.device) % checkpoint.model.config.get_text_config().vocab_size
    )
    # Two different prompts: were they the same, a row computed from its neighbour's tokens would come out right.
    prompts = torch.stack([tokens, tokens.flip(0)])
    try:
        alone = [_forced_logits(checkpoint, prompts[row : row + 1])[:, 0] for row in range(len(prompts))]
    except (TypeError, ValueError, RuntimeError, LookupError, AttributeError, AssertionError) as error:
        raise ModelError(f"transformers cannot generate with this model: {_sentence(error)}") from error
    if not all(logits.amax(-1).isfinite().all() for logits in alone):
        raise ModelError(checkpoint.not_finite)
    try:
        together = _forced_logits(checkpoint, prompts)
    except (TypeError, ValueError, RuntimeError, LookupError, AttributeError, AssertionError) as error:
        return f"two fail with {_sentence(error)}"
    for row, logits in enumerate(alone):
        difference = float((together[:, row] - logits).abs().max() / logits.abs().max())
        if not difference <= tolerance:
            return f"two come out {difference:.0%} off"
    return None


def _forced_logits(checkpoint: Checkpoint, prompts: Tensor) -> Tensor:
    """Logits [tokens, rows, vocabulary] behind which every row gets the same token, whatever they are."""
    seen: list[Tensor] = []

    def draw(_: Tensor, logits: Tensor) -> Tensor:
        # Not an end token, behind which `generate` would stop.
        allowed = [token for token in range(logits.shape[1]) if token not in checkpoint.end_tokens][:CHECKED_TOKENS]
        seen.append(logits.float())
        token = allowed[len(seen) % len(allowed)]
        return _only(torch.full((len(logits),), token, device=logits.device), logits)

    with torch.inference_mode():
        checkpoint.model.generate(
            prompts,
            attention_mask=torch.ones_like(prompts),
            max_new_tokens=CHECKED_TOKENS,
            logits_processor=[draw],
        )
    return torch.stack(seen)


def _only(tokens: Tensor, logits: Tensor) -> Tensor:
    """Logits [rows, vocabulary] that leave one token per row possible."""
    return torch.full_like(logits, float("-inf")).scatter(1, tokens[:, None], 0.0)


def _sentence(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


@dataclass(eq=False, slots=True)
class _Waiting:
    """A sample that has not been generated."""

    ticket: int
    request: Request
    sample_index: int
    prompt: tuple[int, ...]
    limit: int
    arrived_at: float


class GenerateCore:
    """Serves requests batch by batch; the worker drives it as it drives `EngineCore`."""

    def __init__(self, checkpoint: Checkpoint, *, rows: int, identity: str, emit: EventSink) -> None:
        use_no_settings_of_files(checkpoint)
        self._checkpoint = checkpoint
        self._admission = Admission(checkpoint, checkpoint.context_length, emit)
        self._rows = rows
        self._emit = emit
        self._identity = identity
        self._queue: deque[_Waiting] = deque()
        self._finished: list[Finished] = []
        self._draining = False
        self.on_token: Callable[[], None] = lambda: None
        """Called for every token: a batch may take minutes, in which the parent is to hear of this process."""
        self._statistics = EngineStatistics(rows_total=rows)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left to generate."""
        return not self._queue

    def add(self, ticket: int, request: Request, arrived_at: float) -> None:
        """Takes in a request's samples; those that can never be generated are finished at once."""
        admitted = self._admission.admit(request)
        for index in request.sample_indices:
            if admitted.refusal is not None:
                tokens = len(admitted.tokens)
                self._finish_unstarted(
                    ticket, request, index, FinishReason.ERROR, error=admitted.refusal, prompt_tokens=tokens
                )
            elif self._draining:
                self._finish_unstarted(ticket, request, index, FinishReason.CANCELLED)
            else:
                self._queue.append(_Waiting(ticket, request, index, admitted.tokens, admitted.limit, arrived_at))

    def cancel(self, tickets: frozenset[int]) -> None:
        """Gives up the samples of these tickets that have not started."""
        self._give_up([sample for sample in self._queue if sample.ticket in tickets])

    def withdraw(self, ticket: int, sample_indices: frozenset[int]) -> None:
        """Gives up those of a ticket's samples that have not started."""
        self._give_up([each for each in self._queue if each.ticket == ticket and each.sample_index in sample_indices])

    def drain(self) -> None:
        """Gives up what has not started, and everything that is added from now on."""
        self._draining = True
        self._give_up(list(self._queue))

    def step(self) -> list[Finished]:
        """Generates one batch; returns what has finished since the last."""
        if self._queue:
            # The first in the queue decides the length, so that no sample waits for ever for a batch of its own.
            length = len(self._queue[0].prompt)
            batch = [sample for sample in self._queue if len(sample.prompt) == length][: self._rows]
            fits = True
            try:
                self._generate(batch)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                fits = False
            # Only here is the error gone, whose frames hold the batch's tensors.
            if fits:
                for sample in batch:
                    self._queue.remove(sample)
            else:
                self._shrink_after_oom(batch)
        finished, self._finished = self._finished, []
        return finished

    def statistics(self) -> EngineStatistics:
        """The sums so far; between batches no row is busy."""
        return self._statistics

    def _shrink_after_oom(self, batch: list[_Waiting]) -> None:
        """After a batch that did not fit into memory: smaller batches, else not this sample."""
        if len(batch) == 1:
            self._queue.remove(batch[0])
            reason = "the sample does not fit into the device's memory"
            self._finish_unstarted(
                batch[0].ticket, batch[0].request, batch[0].sample_index, FinishReason.ERROR, error=reason
            )
            return
        self._rows = len(batch) // 2
        message = f"out of memory: {self._rows} samples are generated at once from now on"
        self._emit(SlotsHalved(message=message, slots=self._rows))

    def _generate(self, batch: list[_Waiting]) -> None:
        started_at = time.monotonic()
        watch = _BatchWatch(batch, self._checkpoint, self.on_token)
        prompts = torch.tensor([sample.prompt for sample in batch], device=self._checkpoint.device)
        with torch.inference_mode():
            self._checkpoint.model.generate(
                prompts,
                attention_mask=torch.ones_like(prompts),
                max_new_tokens=max(sample.limit for sample in batch),
                logits_processor=[watch.draw],
                stopping_criteria=[watch.ended],
            )
        seconds = time.monotonic() - started_at
        for row, sample in enumerate(batch):
            self._finished.append(Finished(sample.ticket, self._completion(sample, watch, row, started_at)))
        old = self._statistics
        self._statistics = EngineStatistics(
            rows_total=self._rows,
            samples_waiting=len(self._queue),
            samples_finished=old.samples_finished + len(batch) - watch.reasons.count(FinishReason.ERROR),
            prompt_tokens=old.prompt_tokens + len(batch[0].prompt) * len(batch),
            completion_tokens=old.completion_tokens + sum(detector.token_count for detector in watch.detectors),
            busy_seconds=old.busy_seconds + seconds,
            row_seconds=old.row_seconds + seconds * len(batch),
            row_seconds_available=old.row_seconds_available + seconds * self._rows,
        )

    def _completion(self, sample: _Waiting, watch: "_BatchWatch", row: int, started_at: float) -> Completion:
        detector = watch.detectors[row]
        reason = watch.reasons[row] or FinishReason.LENGTH
        is_error = reason is FinishReason.ERROR
        return Completion(
            problem_id=sample.request.problem_id,
            sample_index=sample.sample_index,
            text="" if is_error else detector.text(),
            finish_reason=reason,
            prompt_tokens=len(sample.prompt),
            completion_tokens=detector.token_count,
            seed=sample.request.seed,
            engine=self._identity,
            queue_seconds=started_at - sample.arrived_at,
            generate_seconds=time.monotonic() - started_at,
            finished_at=time.time(),
            error=self._checkpoint.not_finite if is_error else None,
        )

    def _give_up(self, samples: list[_Waiting]) -> None:
        for sample in samples:
            self._queue.remove(sample)
            self._finish_unstarted(sample.ticket, sample.request, sample.sample_index, FinishReason.CANCELLED)

    def _finish_unstarted(
        self,
        ticket: int,
        request: Request,
        index: int,
        reason: FinishReason,
        *,
        error: str | None = None,
        prompt_tokens: int = 0,
    ) -> None:
        completion = Completion(
            problem_id=request.problem_id,
            sample_index=index,
            text="",
            finish_reason=reason,
            prompt_tokens=prompt_tokens,
            seed=request.seed,
            engine=self._identity,
            error=error,
        )
        self._finished.append(Finished(ticket, completion))


class _BatchWatch:
    """Draws the tokens of a batch in the place of `generate`, and sees which rows have ended."""

    def __init__(self, batch: list[_Waiting], checkpoint: Checkpoint, on_token: Callable[[], None]) -> None:
        self._on_token = on_token
        self._limits = [sample.limit for sample in batch]
        self._end_tokens = checkpoint.end_tokens
        self._device = checkpoint.device
        settings = [sample.request.sampling for sample in batch]
        self._sampling = RowSampling(
            self._floats([setting.temperature for setting in settings]),
            self._floats([setting.top_p for setting in settings]),
            torch.tensor([setting.top_k for setting in settings], device=self._device),
            self._floats([setting.min_p for setting in settings]),
        )
        keys = [sample_key(item.request.seed, item.request.problem_id, item.sample_index) for item in batch]
        self._keys = torch.tensor(keys, device=self._device)
        self._drawn = 0
        self.detectors = [StopStringDetector(checkpoint.tokenizer, sample.request.sampling.stop) for sample in batch]
        self.reasons: list[FinishReason | None] = [None] * len(batch)

    def draw(self, _: Tensor, logits: Tensor) -> Tensor:
        """Leaves one token per row possible: the one drawn."""
        indices = torch.full_like(self._keys, self._drawn)
        tokens = sample_tokens(logits, self._sampling, uniform_numbers(self._keys, indices))
        self._drawn += 1
        self._on_token()
        for row, token in enumerate(tokens.tolist()):
            # `generate` computes a row that has ended until the whole batch has; its tokens count no more.
            if self.reasons[row] is None:
                self._take(row, token)
        return _only(tokens.clamp_min(0), logits)  # `UNSOUND` is no token that can be fed

    def ended(self, _tokens: Tensor, _scores: Any, **_: Any) -> Tensor:
        """Which rows have ended."""
        return torch.tensor([reason is not None for reason in self.reasons], device=self._device)

    def _take(self, row: int, token: int) -> None:
        if token == UNSOUND:
            self.reasons[row] = FinishReason.ERROR
            return
        has_stop_string = self.detectors[row].feed(token)
        if token in self._end_tokens:
            self.reasons[row] = FinishReason.STOP
        elif has_stop_string:
            self.reasons[row] = FinishReason.STOP_STRING
        elif self.detectors[row].token_count >= self._limits[row]:
            self.reasons[row] = FinishReason.LENGTH

    def _floats(self, values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=self._device)
