"""Decodes at fixed shapes: rows 0 to a bucket's size, whatever is in them, with all that varies in device tensors.

Two uses want this. On CUDA a step of fixed shape can be captured once in a graph and replayed, which costs one launch
instead of hundreds. On any device, a batch that always has the same shape gives a row bitwise the same result whatever
its neighbours are, which is what the reproducible mode is.

Row i of the batch is slot i. A slot that does not decode takes part with a dummy token: it reads one position and
writes its key and value to the row's last position, which no sample uses (`SlotCache.scratch`), so that a prompt that
is kept or computed in it is not touched. Tokens are drawn inside the step.
"""

import contextlib
import warnings
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from taco_stream.engine.worker.admission import EventSink
from taco_stream.engine.worker.attention import FlashRows, Group, Layout, SlotAttention
from taco_stream.engine.worker.device_memory import is_out_of_memory
from taco_stream.engine.worker.sampling import RowSampling, uniform_numbers
from taco_stream.engine.worker.scheduler import BatchRow
from taco_stream.events import GraphsOff

Forward = Callable[[Tensor, Tensor, Layout], Tensor]
"""Takes the tokens fed and their positions, both [rows], and a layout; gives logits [rows, vocabulary]."""

Sampler = Callable[[Tensor, RowSampling, Tensor], Tensor]
"""Takes logits [rows, vocabulary], settings and numbers in [0, 1) [rows]; gives tokens [rows]."""


class SlotState(NamedTuple):
    """What each slot's sample is drawn with, and the token it feeds next: tensors [slots] on the device."""

    sampling: RowSampling
    keys: Tensor
    tokens: Tensor

    @classmethod
    def allocate(cls, slots: int, device: torch.device) -> "SlotState":
        """Settings of `slots` slots, all greedy."""

        def zeros(dtype: torch.dtype) -> Tensor:
            return torch.zeros(slots, dtype=dtype, device=device)

        sampling = RowSampling(*(zeros(dtype) for dtype in (torch.float32, torch.float32, torch.int64, torch.float32)))
        return cls(sampling, zeros(torch.int64), zeros(torch.int64))


@dataclass(eq=False)
class _Shape:
    """The inputs, outputs and graph of one batch size and key length."""

    inputs: Tensor  # [4, rows]: position, keys to read, token index, whether the row decodes
    longest: int
    graph: "torch.cuda.CUDAGraph | None" = None
    logits: Tensor | None = None
    drawn: Tensor | None = None  # tokens [rows]


class FixedDecode:
    """Steps over the first slots of a cache; `buckets` are the batch sizes, ascending, the last one all slots.

    With `lengths` given, a step reads the shortest of these that covers its longest row, else always all positions.
    With `rows_alone` every row is attended by itself over exactly its own keys, which is the same for any neighbours
    and on a CPU costs less than reading all positions (the demo's model, 32 rows of 1,024: 13 ms a step against 23).
    """

    def __init__(
        self,
        forward: Forward,
        sample: Sampler,
        attention: SlotAttention,
        state: SlotState,
        *,
        buckets: Sequence[int],
        lengths: Sequence[int] | None,
        rows_alone: bool = False,
        emit: EventSink,
    ) -> None:
        assert attention.cache is not None
        self._forward = forward
        self._sample = sample
        self._cache = attention.cache
        self._state = state
        self._buckets = tuple(buckets)
        self._lengths = tuple(lengths) if lengths else (self._cache.stride,)
        self._rows_alone = rows_alone
        self._emit = emit
        self._device = state.tokens.device
        self._uses_graphs = self._device.type == "cuda"
        self._shapes: dict[tuple[int, int], _Shape] = {}
        # One stream for all shapes: memory of the pool is used again only on the stream that it was taken on.
        self._pool = torch.cuda.graph_pool_handle() if self._uses_graphs else None
        self._stream = torch.cuda.Stream(self._device) if self._uses_graphs else None  # type: ignore[no-untyped-call]

    def run(self, rows: Sequence[BatchRow]) -> Tensor:
        """Decodes one token for each row; tokens [rows], on the device."""
        _, slots, positions, indices = zip(*rows, strict=True)
        shape = self._shape_for(max(slots), max(positions))
        # Of 256 rows `torch.tensor` takes 144 µs to read the numbers, an array 25.
        numbers = array("q", (*slots, *positions, *indices))
        places, before, tokens = torch.frombuffer(numbers, dtype=torch.int64).view(3, len(rows))
        inputs = self._idle(shape.inputs.shape[1])
        inputs.index_copy_(1, places, torch.stack([before, before + 1, tokens, torch.ones_like(places)]))
        shape.inputs.copy_(inputs.pin_memory() if self._uses_graphs else inputs, non_blocking=True)
        if shape.graph is not None:
            shape.graph.replay()
        else:
            self._compute(shape)
        assert shape.drawn is not None
        return shape.drawn[places.to(self._device, non_blocking=True)]

    def _shape_for(self, slot: int, position: int) -> _Shape:
        """The smallest shape that has the slot and reads the position."""
        size = next(bucket for bucket in self._buckets if bucket > slot)
        longest = next(length for length in self._lengths if length > position)
        if (size, longest) not in self._shapes:
            shape = _Shape(self._idle(size).to(self._device), longest)
            if self._uses_graphs:
                self._capture(shape)
            self._shapes[size, longest] = shape
        return self._shapes[size, longest]

    def _idle(self, size: int) -> Tensor:
        inputs = torch.zeros(4, size, dtype=torch.int64)
        inputs[0] = self._cache.scratch
        inputs[1] = 1  # a softmax over no key at all would be NaN
        return inputs

    def _compute(self, shape: _Shape) -> None:
        """One forward and one draw over all rows, from `shape.inputs` alone."""
        positions, lengths, indices, decodes = shape.inputs
        size = len(positions)
        places = torch.arange(size, device=self._device) * self._cache.stride + positions
        fed = self._state.tokens[:size]
        known = torch.where(decodes == 1, positions, 0)  # the scratch position may be one more than a model knows
        shape.logits = self._forward(fed, known, Layout(places, self._groups(shape.longest, lengths), []))
        sampling = RowSampling(*(setting[:size] for setting in self._state.sampling))
        shape.drawn = self._sample(shape.logits, sampling, uniform_numbers(self._state.keys[:size], indices))
        fed.copy_(torch.where(decodes == 1, shape.drawn.clamp_min(0), fed))  # `UNSOUND` is no token that can be fed

    def _groups(self, longest: int, lengths: Tensor) -> list[Group]:
        size = len(lengths)
        if self._rows_alone:
            rows = [slice(row, row + 1) for row in range(size)]
            exact = zip(rows, lengths.tolist(), strict=True)
            return [Group(row, row, longest=keys, shortest=keys, lengths=lengths[row]) for row, keys in exact]
        # `shortest` 0 keeps the mask in tensors: the lengths of a captured step are known only when it is replayed.
        everyone = slice(0, size)
        group = Group(everyone, everyone, longest=longest, shortest=0, lengths=lengths)
        if self._device.type == "cuda":
            group.flash = FlashRows.from_lengths(lengths, self._cache.stride)
        return [group]

    def _capture(self, shape: _Shape) -> None:
        """Captures a shape's graph. A model that waits for the device inside its forward is run without graphs."""
        assert self._stream is not None
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        try:
            with torch.cuda.stream(self._stream):
                # Libraries choose kernels and allocate workspaces on first use, which must not be while capturing.
                self._compute(shape)
                # A capture cannot be ended after something in it has waited for the device, so that is tried before.
                with _waiting_is_an_error():
                    self._compute(shape)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
                self._compute(shape)
        except RuntimeError as error:
            torch.cuda.set_stream(current)  # a capture that cannot be ended leaves its own stream in place
            if is_out_of_memory(error):
                raise
            torch.cuda.synchronize(self._device)
            self._uses_graphs = False
            message = f"decoding goes on without CUDA graphs, which is slower: {str(error).splitlines()[0]}"
            self._emit(GraphsOff(message=message))
        else:
            shape.graph = graph
            current.wait_stream(self._stream)


@contextlib.contextmanager
def _waiting_is_an_error() -> Iterator[None]:
    """Inside, whatever waits for the device raises RuntimeError."""
    with warnings.catch_warnings():
        # torch warns once per process that this mode is a prototype. Were that an error, it would end the capture.
        warnings.simplefilter("ignore")
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")
