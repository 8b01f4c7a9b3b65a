"""Computes the steps that the scheduler plans: owns the model, the slots' tensors and nothing that decides.

`launch` performs a step's copies, computes its decoding rows and prompt chunks, and draws a token for each row. Tokens
stay on the device for the next step, which may be launched before the host has read them; `Launched.read` waits.
"""

from collections.abc import Sequence
from inspect import signature
from typing import Any, NamedTuple

import torch
from torch import Tensor

from taco_stream.engine.worker.admission import EventSink
from taco_stream.engine.worker.attention import ChunkSpan, FlashRows, Group, Layout, SlotAttention
from taco_stream.engine.worker.counted_sampling import sample_without_waiting
from taco_stream.engine.worker.fixed_decode import FixedDecode, Sampler, SlotState
from taco_stream.engine.worker.kv_cache import SlotCache
from taco_stream.engine.worker.layer_masks import UnservedModelError
from taco_stream.engine.worker.sampling import RowSampling, sample_key, sample_tokens, uniform_numbers
from taco_stream.engine.worker.scheduler import BatchRow, PrefillChunk, Step
from taco_stream.engine.worker.slot_states import Past, SlotStates


class Launched(NamedTuple):
    """A step on its way. Its tokens are copied to the host as soon as they are drawn."""

    step: Step
    tokens: Tensor
    arrival: torch.cuda.Event | None

    def read(self) -> list[int]:
        """Waits for the tokens, one per row of the step."""
        if self.arrival is not None:
            self.arrival.synchronize()
        tokens: list[int] = self.tokens.tolist()
        return tokens


class ModelRunner:
    """A model on one device and its slots.

    If shapes are not fixed, a step is one forward over exactly the rows and prompt tokens of the step. If they
    are (`fixed_shapes`), decoding rows go through `FixedDecode` and prompt chunks through a forward of their own. A
    `reproducible` runner computes nothing in a shape that depends on who else is in the batch: decoding always has all
    rows, and each chunk, which the scheduler cuts at the same places of a prompt every time, a forward of its own.

    A model with recurrent layers, which would run the sequences of a packed forward into each other, computes decoding
    rows as a batch of one token each, and each prompt whole, in a forward of its own (`slot_states` says more).
    """

    def __init__(
        self,
        model: Any,
        attention: SlotAttention,
        *,
        device: torch.device,
        fixed_shapes: bool = False,
        reads_late: bool = False,
        reproducible: bool = False,
        emit: EventSink = lambda _: None,
    ) -> None:
        """`reads_late` says that a step is launched before the tokens of the one before it are read.

        Whatever slows the runner down is sent to `emit`.
        """
        self.reads_late = reads_late
        self._model = model
        self._parameters = frozenset(signature(model.forward).parameters)
        self._attention = attention
        self._device = device
        self._fixed_shapes = fixed_shapes or reproducible
        self._sample: Sampler = sample_without_waiting if reads_late else sample_tokens
        self._reproducible = reproducible
        self._emit = emit
        self._state = SlotState.allocate(0, device)
        self._fixed: FixedDecode | None = None
        self._prompt_logits: dict[int, Tensor] = {}
        self._template: Past | None = None
        self._states: SlotStates | None = None
        self._prompt_pasts: dict[int, Past] = {}
        self._runs: tuple[tuple[int, ...], list[tuple[int, int]]] = ((), [])

    @property
    def has_states(self) -> bool:
        """Whether the model has recurrent layers."""
        return self._template is not None

    @property
    def state_bytes(self) -> int:
        """Memory that the states of one sequence take."""
        return sum(state.nbytes for state in self._template.states()) if self._template else 0

    @property
    def length(self) -> int:
        """Positions that each slot has."""
        return self._attention.cache.length if self._attention.cache else 0

    @torch.inference_mode()
    def probe(self) -> None:
        """Runs a few tokens through the model, which shows what each layer stores.

        Raises `UnservedModelError` if recurrent layers keep their states elsewhere than in transformers' cache.
        """
        tokens = torch.arange(4, device=self._device)
        past = Past.empty(self._model.config)
        if past.has_all_states():  # there are none
            self._model(input_ids=tokens[None], position_ids=tokens[None], use_cache=False)
            return
        self._call(tokens[None], tokens[None], past)
        if not past.has_all_states():
            raise UnservedModelError("its recurrent layers keep their states themselves")
        self._template = past

    @torch.inference_mode()
    def compute_logits(self, tokens: Tensor) -> Tensor:
        """Logits [tokens, vocabulary] of a prompt, computed in two chunks and the last tokens as decoding rows.

        Another prompt decodes beside it. With states there is a single chunk.
        """
        length = len(tokens)
        end = length - 3
        chunks = [(0, end)] if self.has_states else [(0, length // 2), (length // 2, end)]
        rows, positions = torch.stack([tokens.flip(0), tokens]), torch.arange(length, device=self._device)
        slots = slice(0, len(rows))
        self.allocate(len(rows), length)
        starts = torch.arange(len(rows), device=self._device) * (length + 1)
        parts: list[Tensor] = []
        for slot, row in enumerate(rows):
            parts = []  # the last row's are kept
            for first, last in chunks:
                span = ChunkSpan(slice(0, last - first), slot, first, last)
                layout = Layout(starts[slot] + positions[first:last], [], [span])
                parts.append(self._compute(row[first:last], positions[first:last], layout))
            if self._states:
                self._states.begin(slot, self._prompt_pasts[slot])
        for position in range(end, length):
            lengths = torch.full_like(starts, position + 1)
            group = Group(slots, slots, longest=position + 1, shortest=position + 1, lengths=lengths)
            group.flash = FlashRows.from_lengths(lengths, length + 1) if self._device.type == "cuda" else None
            layout = Layout(starts + position, [group], [])
            parts.append(self._compute(rows[:, position], lengths - 1, layout)[-1:])
        self.release()
        return torch.cat(parts)

    @torch.inference_mode()
    def allocate(self, slots: int, length: int) -> None:
        """Drops all slots and makes new, empty ones. May raise torch's out-of-memory error."""
        self.release()
        self._state = SlotState.allocate(slots, self._device)
        self._attention.cache = SlotCache(self._attention.shapes, slots, length, self._model.dtype, self._device)
        if self._template:
            self._states = SlotStates(self._template, slots)
        if self._fixed_shapes:
            self._fixed = FixedDecode(
                self._compute,
                self._sample,
                self._attention,
                self._state,
                buckets=[slots] if self._reproducible else buckets_up_to(slots),
                lengths=None if self._reproducible or self._attention.reads_lengths else buckets_up_to(length, 512),
                rows_alone=self._reproducible and self._device.type == "cpu",
                emit=self._emit,
            )

    def release(self) -> None:
        """Drops all slots, and gives their memory back to the device."""
        self._attention.cache = self._attention.layout = self._fixed = self._states = None
        self._prompt_logits.clear()
        self._prompt_pasts.clear()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    @torch.inference_mode()
    def launch(self, step: Step) -> Launched:
        """Computes one step; does not wait for the device if tokens are read late."""
        cache = self._attention.cache
        assert cache is not None
        for copy in step.copies:
            cache.copy(copy.source, copy.target, copy.length)
            if copy.is_whole:
                self._prompt_logits[copy.target] = self._prompt_logits[copy.source]
                if self._states:
                    self._prompt_pasts[copy.target] = self._prompt_pasts[copy.source]
        # Once, when a sample begins: its sampling settings stay on the device, beside the token that it feeds.
        self._note_sampling(step.beginning)
        if self._fixed is None:
            return self._send(step, [self._launch_packed(step)])
        drawn = [self._fixed.run(step.decoding)] if step.decoding else []
        for chunks in [[chunk] for chunk in step.chunks] if self._reproducible else [step.chunks]:
            self._keep_prompt_logits(chunks, self._forward((), chunks))
        if step.beginning:
            drawn.append(self._draw(step.beginning, self._begin(step.beginning)))
        return self._send(step, drawn)

    def _launch_packed(self, step: Step) -> Tensor:
        """One forward over the decoding rows and all chunks."""
        logits = self._forward(step.decoding, step.chunks)
        decoded = len(step.decoding)
        self._keep_prompt_logits(step.chunks, logits[decoded:])
        if step.beginning:
            begun = self._begin(step.beginning)
            logits = torch.cat([logits[:decoded], begun]) if decoded else begun
        return self._draw(step.rows, logits[: len(step.rows)])

    def _send(self, step: Step, drawn: Sequence[Tensor]) -> Launched:
        """Starts the tokens' way to the host."""
        tokens = torch.cat([*drawn]) if drawn else torch.empty(0, dtype=torch.int64)
        if tokens.device.type != "cuda":
            return Launched(step, tokens, None)
        # Only into pinned memory does a copy run while the host goes on.
        host = torch.empty(tokens.shape, dtype=tokens.dtype, pin_memory=True)
        host.copy_(tokens, non_blocking=True)
        arrival = torch.cuda.Event()  # type: ignore[no-untyped-call]
        # Without a stream it would be the current device's, which need not be the one that the copies are on.
        arrival.record(torch.cuda.current_stream(tokens.device))
        return Launched(step, host, arrival)

    def _begin(self, rows: Sequence[BatchRow]) -> Tensor:
        """Logits [rows, vocabulary] behind the prompts from which `rows` begin; their states go on from there, too."""
        if self._states:
            for row in rows:
                self._states.begin(row.slot, self._prompt_pasts[row.slot])
        return torch.stack([self._prompt_logits[row.slot] for row in rows])

    def _forward(self, rows: Sequence[BatchRow], chunks: Sequence[PrefillChunk]) -> Tensor:
        """Logits [decoding rows + chunks that end a prompt, vocabulary] of one packed forward.

        With states it is one for the rows and one for each prompt.
        """
        if not rows and not chunks:
            return torch.empty(0, 0, device=self._device)
        if self._states and len(chunks) + bool(rows) > 1:
            decoded = [self._forward(rows, ())] if rows else []
            return torch.cat([*decoded, *(self._forward((), [chunk]) for chunk in chunks)])
        packed = _Packed([row.slot for row in rows], [row.position for row in rows], list(range(len(rows))))
        for chunk in chunks:
            packed.add(chunk)
        slots, positions = self._tensor(packed.slots), self._tensor(packed.positions)
        fed = torch.cat([self._state.tokens[slots[: len(rows)]], self._tensor(packed.tokens)])
        stride = self.length + 1
        layout = Layout(slots * stride + positions, self._group(rows, positions), packed.spans)
        return self._compute(fed, positions, layout, self._tensor(packed.wanted))

    def _compute(self, tokens: Tensor, positions: Tensor, layout: Layout, wanted: Tensor | int = 0) -> Tensor:
        """The model's logits of a packed sequence, at the places `wanted` or (0) at all."""
        self._attention.layout = layout
        if self._states:
            return self._compute_with_states(self._states, tokens, positions, layout, wanted)
        output = self._model(
            input_ids=tokens[None], position_ids=positions[None], use_cache=False, logits_to_keep=wanted
        )
        logits: Tensor = output.logits[0]
        return logits

    def _compute_with_states(
        self, states: SlotStates, tokens: Tensor, positions: Tensor, layout: Layout, wanted: Tensor | int
    ) -> Tensor:
        """The logits of either a whole prompt at the places `wanted`, or of decoding rows as a batch."""
        if layout.chunks:
            (prompt,) = layout.chunks
            past = self._prompt_pasts[prompt.slot] = states.empty_past()
            return self._call(tokens[None], positions[None], past, wanted)[0]
        slots = [slot for group in layout.groups for slot in range(group.slots.start, group.slots.stop)]
        with states.decoding(slots) as past:
            return self._call(tokens[:, None], positions[:, None], past)[:, 0]

    def _call(self, tokens: Tensor, positions: Tensor, past: Past, wanted: Tensor | int = 0) -> Tensor:
        """Logits [rows, wanted, vocabulary] of the tokens [rows, tokens] that follow `past`."""
        given: dict[str, Any] = {"position_ids": positions} if "position_ids" in self._parameters else {}
        # Models without attention have a name of their own for it.
        given["cache_params" if "cache_params" in self._parameters else "past_key_values"] = past
        logits: Tensor = self._model(input_ids=tokens, use_cache=True, logits_to_keep=wanted, **given).logits
        return logits

    def _keep_prompt_logits(self, chunks: Sequence[PrefillChunk], logits: Tensor) -> None:
        """Keeps the logits behind each prompt that is complete now, for all samples that begin from it."""
        for row, chunk in enumerate(chunk for chunk in chunks if chunk.is_last):
            self._prompt_logits[chunk.slot] = logits[row].clone()  # a view would keep the whole step's logits alive

    def _group(self, rows: Sequence[BatchRow], positions: Tensor) -> list[Group]:
        """Cuts the decoding rows into runs of neighbouring slots that are cheap to compute together."""
        slots = tuple(row.slot for row in rows)
        lengths = [row.position + 1 for row in rows]
        # The search is a loop in Python, and lengths grow together: a cut stays good until rows change.
        if self._runs[0] != slots:
            self._runs = (slots, cut_into_runs(slots, lengths))
        return [
            Group(
                rows=slice(first, last),
                slots=slice(slots[first], slots[last - 1] + 1),
                longest=max(lengths[first:last]),
                shortest=min(lengths[first:last]),
                lengths=positions[first:last] + 1,
            )
            for first, last in self._runs[1]
        ]

    def _note_sampling(self, rows: Sequence[BatchRow]) -> None:
        """Writes the settings of samples that begin into their slots."""
        if not rows:
            return
        settings = [row.sample.request.sampling for row in rows]
        slots = self._tensor([row.slot for row in rows])
        state = self._state
        for stored, values in (
            (state.sampling.temperature, [setting.temperature for setting in settings]),
            (state.sampling.top_p, [setting.top_p for setting in settings]),
            (state.sampling.top_k, [setting.top_k for setting in settings]),
            (state.sampling.min_p, [setting.min_p for setting in settings]),
            (state.keys, [_key(row) for row in rows]),
        ):
            stored[slots] = torch.tensor(values, dtype=stored.dtype).to(self._device, non_blocking=True)

    def _draw(self, rows: Sequence[BatchRow], logits: Tensor) -> Tensor:
        """A token for every row, which becomes what its slot feeds next."""
        if not rows:
            return torch.empty(0, dtype=torch.int64)
        slots = self._tensor([row.slot for row in rows])
        indices = self._tensor([row.token_index for row in rows])
        sampling = RowSampling(*(setting[slots] for setting in self._state.sampling))
        tokens = self._sample(logits, sampling, uniform_numbers(self._state.keys[slots], indices))
        self._state.tokens[slots] = tokens.clamp_min(0)  # `UNSOUND` is no token that can be fed
        return tokens

    def _tensor(self, values: Sequence[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.int64).to(self._device, non_blocking=True)


class _Packed:
    """A sequence being packed: for each token its slot, position and (but for decoding rows) the token itself."""

    def __init__(self, slots: list[int], positions: list[int], wanted: list[int]) -> None:
        self.slots = slots
        self.positions = positions
        self.wanted = wanted
        self.tokens: list[int] = []
        self.spans: list[ChunkSpan] = []

    def add(self, chunk: PrefillChunk) -> None:
        """Appends a chunk; its last token's logits are wanted if it ends a prompt."""
        first, end = len(self.slots), chunk.start + len(chunk.tokens)
        self.spans.append(ChunkSpan(slice(first, first + len(chunk.tokens)), chunk.slot, chunk.start, end))
        self.slots += [chunk.slot] * len(chunk.tokens)
        self.positions += range(chunk.start, end)
        self.tokens += chunk.tokens
        self.wanted += [len(self.slots) - 1] if chunk.is_last else []


def buckets_up_to(largest: int, smallest: int = 1) -> list[int]:
    """Powers of two from `smallest` on, with steps between them from 16 times that on, ending with `largest`."""
    sizes = []
    size = smallest
    while size < largest:
        sizes.append(size)
        size += max(smallest, 1 << max(0, size.bit_length() - 2)) if size >= 16 * smallest else size
    return [*sizes, largest]


def cut_into_runs(slots: Sequence[int], lengths: Sequence[int]) -> list[tuple[int, int]]:
    """Cuts rows into runs of neighbouring slots so that the total cost of attending run by run is least.

    A run costs its rows times its longest row, and a call. Lengths grow together: a cut stays good until rows change.
    """
    call = 400  # the cost of a call in keys read: 20 µs against 50 ns measured for one key of two heads of 64, bf16
    longest_run = 64
    best = [0.0] + [float("inf")] * len(slots)
    cut = [0] * (len(slots) + 1)
    for last in range(1, len(slots) + 1):
        longest = 0
        for first in range(last - 1, max(-1, last - 1 - longest_run), -1):
            if slots[last - 1] - slots[first] != last - 1 - first:
                break
            longest = max(longest, lengths[first])
            cost = best[first] + call + (last - first) * longest
            if cost < best[last]:
                best[last], cut[last] = cost, first
    runs: list[tuple[int, int]] = []
    end = len(slots)
    while end:
        runs.append((cut[end], end))
        end = cut[end]
    return runs[::-1]


def _key(row: BatchRow) -> int:
    request = row.sample.request
    return sample_key(request.seed, request.problem_id, row.sample.sample_index)
