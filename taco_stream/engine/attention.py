"""The attention that models call: it writes a step's keys and values into the slots and reads whole rows from there.

transformers' models look their attention function up by name (`AttentionInterface`), so no model code changes and no
`Cache` object is passed: a model believes it computes one packed sequence without a past. `SlotAttention` is registered
under a name of its own per instance. Before each forward the runner tells it the `Layout`: for every token of the
packed sequence the place its key and value go to, and how the queries fall into decoding rows and prompt chunks.

Query heads that share a key-value head are packed as rows of one small matrix, instead of repeating keys and values.
Decoding rows whose slots are neighbours are computed together, over the occupied length of the longest only.
"""

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from taco_stream.engine.kv_cache import LayerShape, SlotCache
from taco_stream.engine.layer_masks import LayerMasks, UnservedModelError

_NUMBERS = count()


class Scoring(NamedTuple):
    """How a layer turns products of queries and keys into scores: factor, sliding window, cap."""

    scaling: float
    window: int | None
    softcap: float | None


@dataclass(eq=False)
class Group:
    """Decoding rows `rows` of the batch, in the neighbouring slots `slots`, of which the longest has `longest` keys.

    `lengths` [rows] counts the keys of each, its new one included. The masks made from it serve all layers of a step.
    """

    rows: slice
    slots: slice
    longest: int
    shortest: int
    lengths: Tensor
    masks: dict[int | None, Tensor | None] = field(default_factory=dict)
    flash: "FlashRows | None" = None

    def start(self, window: int | None) -> int:
        """The first position that any row looks at."""
        return 0 if window is None else max(0, self.shortest - window)

    def mask(self, window: int | None, dtype: torch.dtype) -> Tensor | None:
        """What is added to the scores [rows, 1, 1, keys]; None where every row looks at every key."""
        if window not in self.masks:
            self.masks[window] = self._make_mask(window, dtype)
        return self.masks[window]

    def _make_mask(self, window: int | None, dtype: torch.dtype) -> Tensor | None:
        start = self.start(window)
        if self.shortest == self.longest:  # equal lengths: `start` has cut what is outside the window for all
            return None
        positions = torch.arange(start, self.longest, device=self.lengths.device)
        outside = positions >= self.lengths[:, None]
        if window is not None:
            outside |= positions < self.lengths[:, None] - window
        mask = torch.zeros(outside.shape, dtype=dtype, device=outside.device).masked_fill_(outside, float("-inf"))
        return mask[:, None, None, :]


class FlashRows(NamedTuple):
    """What CUDA's variable-length attention reads instead of masks: int32 tensors on the device.

    Row i is one query (`query_starts` counts rows from 0) and the first `lengths[i]` keys from `key_starts[i]` on
    in the flattened rows of the cache.
    """

    query_starts: Tensor
    key_starts: Tensor
    lengths: Tensor

    @classmethod
    def of(cls, lengths: Tensor, stride: int) -> "FlashRows":
        """Rows of `lengths` [rows] keys, in neighbouring slots `stride` positions apart."""
        starts = torch.arange(len(lengths) + 1, dtype=torch.int32, device=lengths.device)
        return cls(starts, starts * stride, lengths.int())


@dataclass(eq=False)
class ChunkSpan:
    """Tokens `rows` of the batch are consecutive positions of `slot`, from `start` to before `end`."""

    rows: slice
    slot: int
    start: int
    end: int
    masks: dict[int | None, Tensor] = field(default_factory=dict)

    def first(self, window: int | None) -> int:
        """The first position that any of the tokens looks at."""
        return 0 if window is None else max(0, self.start + 1 - window)

    def mask(self, window: int | None, queries: Tensor) -> Tensor:
        """What is added to the scores [tokens, keys from `first` on]; one serves all layers of a step."""
        if window not in self.masks:
            positions = torch.arange(self.start, self.end, device=queries.device)[:, None]
            keys = torch.arange(self.first(window), self.end, device=queries.device)
            outside = keys > positions
            if window is not None:
                outside |= keys <= positions - window
            mask = torch.zeros(outside.shape, dtype=queries.dtype, device=queries.device)
            self.masks[window] = mask.masked_fill_(outside, float("-inf"))
        return self.masks[window]


@dataclass(eq=False)
class Layout:
    """Where a packed sequence's tokens stand. The tokens of `groups` come first, then those of `chunks`."""

    places: Tensor
    groups: Sequence[Group]
    chunks: Sequence[ChunkSpan]


class SlotAttention:
    """Attention over the slots of a cache, under a name that models can be set to.

    Until `cache` is set it computes a packed sequence as one causal prompt and notes what each layer would store and
    how far back it sees, which is how `shapes` and `windows` come to be known without knowing any architecture, and
    whether all layers decode with an attention that reads lengths on the device (`reads_lengths`). The windows are read
    from `masks`, set meanwhile; `is_masked` says for each layer whether it had a mask.
    """

    def __init__(self) -> None:
        self.name = f"taco_stream_slots_{next(_NUMBERS)}"
        self.cache: SlotCache | None = None
        self.layout: Layout | None = None
        self.masks: LayerMasks | None = None
        self.shapes: list[LayerShape] = []
        self.windows: list[int | None] = []
        self.is_masked: list[bool] = []
        self.reads_lengths = True
        self._layers: dict[int, int] = {}
        AttentionInterface.register(self.name, _weakly(self))

    def __call__(
        self,
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        *,
        scaling: float | None = None,
        sliding_window: int | None = None,
        softcap: float | None = None,
        **others: Any,
    ) -> tuple[Tensor, None]:
        """Attends `query` [1, heads, tokens, size]; returns [1, tokens, heads, value size]."""
        _refuse_what_is_not_served(module, others)
        queries, keys, values = (tensor[0].transpose(0, 1) for tensor in (query, key, value))  # [tokens, heads, size]
        layer = self._layers.get(id(module))
        if layer is None:
            layer = self._learn(module, keys, values, attention_mask, sliding_window)
        elif attention_mask is not None and self.masks is None:
            raise UnservedModelError("the model makes attention masks of its own")
        scoring = Scoring(query.shape[-1] ** -0.5 if scaling is None else scaling, self.windows[layer], softcap)
        if self.cache is None or self.layout is None:
            self.reads_lengths &= softcap is None and has_flash(queries, values)
            return _chunk(queries, keys, values, ChunkSpan(slice(0), 0, 0, len(queries)), scoring)[None], None
        self.cache.write(layer, self.layout.places, keys, values)
        keys, values = self.cache.keys[layer], self.cache.values[layer]
        parts = [_decode(queries[group.rows], keys, values, group, scoring) for group in self.layout.groups]
        for span in self.layout.chunks:
            seen = slice(0, span.end)
            row = keys[span.slot, seen], values[span.slot, seen]
            parts.append(_chunk(queries[span.rows], *row, span, scoring))
        return (parts[0] if len(parts) == 1 else torch.cat(parts))[None], None

    @contextmanager
    def shortened_windows(self, window: int) -> Iterator[None]:
        """No window that was read from a mask is wider than `window` meanwhile."""
        windows = self.windows
        self.windows = [
            own if own is None or not is_masked else min(own, window)
            for own, is_masked in zip(windows, self.is_masked, strict=True)
        ]
        try:
            yield
        finally:
            self.windows = windows

    def _learn(self, module: nn.Module, keys: Tensor, values: Tensor, mask: Tensor | None, window: int | None) -> int:
        """Notes the layer that `module` attends for, and returns its number."""
        if mask is not None:
            if self.masks is None:
                raise UnservedModelError("the model makes attention masks of its own")
            window = self.masks.window(mask)
        self._layers[id(module)] = len(self.shapes)
        self.shapes.append(LayerShape(keys.shape[1], keys.shape[2], values.shape[2]))
        self.windows.append(window)
        self.is_masked.append(mask is not None)
        return self._layers[id(module)]


def _weakly(attention: SlotAttention) -> Callable[..., tuple[Tensor, None]]:
    """Calls `attention` without holding it: what is registered lives as long as the process, and slots must not."""
    reference = weakref.ref(attention)

    def attend(*given: Any, **settings: Any) -> tuple[Tensor, None]:
        alive = reference()
        assert alive is not None
        return alive(*given, **settings)

    return attend


def _refuse_what_is_not_served(module: nn.Module, others: dict[str, Any]) -> None:
    """Raises `UnservedModelError` for biases of a model's own, which slots would silently leave out."""
    if not getattr(module, "is_causal", True):
        raise UnservedModelError("the model attends in both directions")
    for name in ("position_bias", "s_aux", "head_mask"):
        if others.get(name) is not None:
            raise UnservedModelError(f"the model's attention needs {name}")


def _decode(queries: Tensor, keys: Tensor, values: Tensor, group: Group, scoring: Scoring) -> Tensor:
    """One query per row against the row's slot: [rows, heads, value size]."""
    rows, heads, size = queries.shape
    if group.flash is not None and scoring.softcap is None and has_flash(queries, values):
        return _flash(queries, keys[group.slots], values[group.slots], group.flash, scoring)
    packed = queries.reshape(rows, keys.shape[2], -1, size)  # query heads that share a key head are rows of its matrix
    span = slice(group.start(scoring.window), group.longest)
    keys, values = (stored[group.slots, span].transpose(1, 2) for stored in (keys, values))
    attended = _attend(packed, keys, values, group.mask(scoring.window, queries.dtype), scoring)
    return attended.reshape(rows, heads, -1)


def has_flash(queries: Tensor, values: Tensor) -> bool:
    """Whether torch's own flash attention takes these heads."""
    size = queries.shape[-1]
    is_half = queries.dtype in (torch.float16, torch.bfloat16)
    is_taken = is_half and size == values.shape[-1] and size <= 256 and size % 8 == 0
    return queries.is_cuda and is_taken and _device_has_flash(queries.device)


@cache
def _device_has_flash(device: torch.device) -> bool:
    """Whether torch was built with it, and the device is of compute capability 8 (Ampere) or later."""
    return torch.backends.cuda.is_flash_attention_available() and torch.cuda.get_device_capability(device) >= (8, 0)


def _flash(queries: Tensor, keys: Tensor, values: Tensor, rows: FlashRows, scoring: Scoring) -> Tensor:
    """One query per row, each against as many keys as its device-side length says."""
    window = {} if scoring.window is None else {"window_size_left": scoring.window - 1, "window_size_right": 0}
    output = torch.ops.aten._flash_attention_forward(
        queries.contiguous(),
        keys.flatten(0, 1),
        values.flatten(0, 1),
        rows.query_starts,
        rows.key_starts,
        1,
        keys.shape[1],
        0.0,
        False,
        False,
        scale=scoring.scaling,
        seqused_k=rows.lengths,
        **window,
    )
    attended: Tensor = output[0]
    return attended


def _chunk(queries: Tensor, keys: Tensor, values: Tensor, span: ChunkSpan, scoring: Scoring) -> Tensor:
    """Consecutive queries against one row of keys up to the last of them: [tokens, heads, value size]."""
    tokens, heads, size = queries.shape
    key_heads = keys.shape[1]
    # torch's own causal attention skips half the work, but knows only prompts from their start on
    if span.start == 0 and scoring.softcap is None and (scoring.window is None or tokens <= scoring.window):
        keys, values = (row.repeat_interleave(heads // key_heads, 1).transpose(0, 1)[None] for row in (keys, values))
        attended = _attend(queries.transpose(0, 1)[None], keys, values, None, scoring, is_causal=True)
        return attended[0].transpose(0, 1)
    # Repeating thousands of keys for a small chunk took longer than attending to them: pack the query heads instead.
    first = span.first(scoring.window)
    keys, values = (row[first:].transpose(0, 1)[None] for row in (keys, values))
    packed = queries.reshape(tokens, key_heads, -1, size).permute(1, 2, 0, 3).reshape(1, key_heads, -1, size)
    mask = span.mask(scoring.window, queries).repeat(heads // key_heads, 1)
    attended = _attend(packed, keys, values, mask, scoring).reshape(key_heads, -1, tokens, values.shape[-1])
    return attended.permute(2, 0, 1, 3).reshape(tokens, heads, -1)


def _attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scoring: Scoring, *, is_causal: bool = False
) -> Tensor:
    """Attention of [rows, heads, queries, size] over [rows, heads, keys, size]; in steps where scores are capped."""
    if scoring.softcap is None:
        return scaled_dot_product_attention(
            query, key, value, attn_mask=mask, scale=scoring.scaling, is_causal=is_causal
        )
    scores = query @ key.transpose(-1, -2) * scoring.scaling
    scores = torch.tanh(scores / scoring.softcap) * scoring.softcap
    if mask is not None:
        scores = scores + mask
    return torch.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype) @ value
