"""The attention that models call: it writes a step's keys and values into the slots and reads whole rows from there.

transformers' models look their attention function up by name (`AttentionInterface`), so no model code changes and no
`Cache` object is passed: a model believes it computes one packed sequence without a past. `SlotAttention` is registered
under a name of its own per instance. Before each forward the runner sets its `Layout`: for every token of the
packed sequence the place its key and value go to, and how the queries fall into decoding rows and prompt chunks.

Query heads that share a key-value head are packed as rows of one small matrix, instead of repeating keys and values.
Decoding rows whose slots are neighbours are computed together, over the occupied length of the longest only.
"""

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from inspect import signature
from itertools import count
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from taco_stream.engine.worker.kv_cache import LayerShape, SlotCache
from taco_stream.engine.worker.layer_masks import LayerMasks, UnservedModelError, Window, read_window

_NUMBERS = count()


class Scoring(NamedTuple):
    """How a layer scores keys and weighs them: factor, window, cap, sinks.

    A head's sink takes part in the softmax as the score of a key whose value is zero ("Efficient Streaming Language
    Models with Attention Sinks", 2023; as gpt-oss learns it). `sinks` has one for each head, shaped as its user needs.
    """

    scaling: float
    window: Window | None
    softcap: float | None
    sinks: Tensor | None

    @property
    def is_plain(self) -> bool:
        """Whether a softmax over scaled products is all there is."""
        return self.softcap is None and self.sinks is None


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
    masks: dict[Window | None, Tensor | None] = field(default_factory=dict)
    flash: "FlashRows | None" = None

    def start(self, window: Window | None) -> int:
        """The first position that any row looks at."""
        return 0 if window is None else max(0, window.first(self.shortest - 1))

    def mask(self, window: Window | None, dtype: torch.dtype) -> Tensor | None:
        """What is added to the scores [rows, 1, 1, keys]; None if every row looks at every key."""
        if window not in self.masks:
            self.masks[window] = self._make_mask(window, dtype)
        return self.masks[window]

    def _make_mask(self, window: Window | None, dtype: torch.dtype) -> Tensor | None:
        start = self.start(window)
        if self.shortest == self.longest:  # equal lengths: `start` has cut the window for all
            return None
        positions = torch.arange(start, self.longest, device=self.lengths.device)
        outside = positions >= self.lengths[:, None]
        if window is not None:
            outside |= positions < window.first(self.lengths[:, None] - 1)
        mask = torch.zeros(outside.shape, dtype=dtype, device=outside.device).masked_fill_(outside, float("-inf"))
        return mask[:, None, None, :]


@dataclass(eq=False)
class FlashRows:
    """What CUDA's variable-length attention reads instead of masks: int32 tensors on the device.

    Row i is the queries from `query_starts[i]` to before the next start, `longest` at most, and the `lengths[i]` keys
    from `key_starts[i]` on in the flattened rows of the cache, the last of which is the last query's own.
    """

    query_starts: Tensor
    key_starts: Tensor
    lengths: Tensor
    longest: int = 1
    windows: dict[Window, "FlashRows"] = field(default_factory=dict)

    @classmethod
    def from_lengths(cls, lengths: Tensor, stride: int) -> "FlashRows":
        """Rows of one query and `lengths` [rows] keys, in neighbouring slots `stride` positions apart."""
        starts = torch.arange(len(lengths) + 1, dtype=torch.int32, device=lengths.device)
        return cls(starts, starts * stride, lengths.int())

    @classmethod
    def from_chunks(cls, spans: Sequence["ChunkSpan"], stride: int, device: torch.device) -> "FlashRows":
        """A row for each of consecutive chunks, whose slots are `stride` positions apart."""

        def upload(values: list[int]) -> Tensor:
            return torch.tensor(values, dtype=torch.int32).to(device, non_blocking=True)

        first = spans[0].rows.start
        return cls(
            upload([*(span.rows.start - first for span in spans), spans[-1].rows.stop - first]),
            upload([*(span.slot * stride for span in spans), 0]),  # in any order, for lengths are given
            upload([span.end for span in spans]),
            longest=max(span.end - span.start for span in spans),
        )

    def within(self, window: Window | None) -> "FlashRows":
        """Rows of one query with only the keys in its window, which one query may do as if there were no others.

        Told of a window, the kernel would read keys once for each query head, not once for those that share them.
        """
        if window is None:
            return self
        if window not in self.windows:
            first = window.first(self.lengths - 1).clamp_min(0)
            starts = self.key_starts + torch.nn.functional.pad(first, (0, 1))
            self.windows[window] = FlashRows(self.query_starts, starts, self.lengths - first)
        return self.windows[window]


@dataclass(eq=False)
class ChunkSpan:
    """Tokens `rows` of the batch are consecutive positions of `slot`, from `start` to before `end`."""

    rows: slice
    slot: int
    start: int
    end: int
    masks: dict[Window | None, Tensor] = field(default_factory=dict)

    def first(self, window: Window | None) -> int:
        """The first position that any of the tokens looks at."""
        return 0 if window is None else max(0, window.first(self.start))

    def mask(self, window: Window | None, queries: Tensor) -> Tensor:
        """What is added to the scores [tokens, keys from `first` on]; one serves all layers of a step."""
        if window not in self.masks:
            positions = torch.arange(self.start, self.end, device=queries.device)[:, None]
            keys = torch.arange(self.first(window), self.end, device=queries.device)
            outside = keys > positions
            if window is not None:
                outside |= keys < window.first(positions)
            mask = torch.zeros(outside.shape, dtype=queries.dtype, device=queries.device)
            self.masks[window] = mask.masked_fill_(outside, float("-inf"))
        return self.masks[window]


@dataclass(eq=False)
class Layout:
    """Where a packed sequence's tokens stand. The tokens of `groups` come first, then those of `chunks`."""

    places: Tensor
    groups: Sequence[Group]
    chunks: Sequence[ChunkSpan]
    flash_chunks: FlashRows | None = None

    def read_chunks(self, stride: int, device: torch.device) -> FlashRows:
        """The chunks for flash attention; one upload serves all layers of a step."""
        if self.flash_chunks is None:
            self.flash_chunks = FlashRows.from_chunks(self.chunks, stride, device)
        return self.flash_chunks


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
        self.windows: list[Window | None] = []
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
        s_aux: Tensor | None = None,
        **others: Any,
    ) -> tuple[Tensor, None]:
        """Attends `query` [1, heads, tokens, size], or [tokens, heads, 1, size] of as many rows.

        Returns [1, tokens, heads, value size] or [tokens, 1, heads, value size].
        """
        _refuse_what_is_not_served(module, others)
        # [tokens, heads, size]
        queries, keys, values = (tensor.transpose(1, 2).flatten(0, 1) for tensor in (query, key, value))
        # By the module's identity, for not all models number their layers.
        layer = self._layers.get(id(module))
        if layer is None:
            layer = self._learn(module, keys, values, attention_mask, sliding_window)
        elif attention_mask is not None and self.masks is None:
            raise UnservedModelError("the model makes attention masks of its own")
        scoring = Scoring(query.shape[-1] ** -0.5 if scaling is None else scaling, self.windows[layer], softcap, s_aux)
        if self.cache is None or self.layout is None:
            self.reads_lengths &= scoring.is_plain and has_flash(queries, values)
            attended = _chunk(queries, keys, values, ChunkSpan(slice(0), 0, 0, len(queries)), scoring)
            return attended[None].contiguous(), None
        self.cache.write(layer, self.layout.places, keys, values)
        keys, values = self.cache.keys[layer], self.cache.values[layer]
        parts = [_decode(queries[group.rows], keys, values, group, scoring) for group in self.layout.groups]
        if self.layout.chunks and _can_flash_chunks(queries, values, scoring):
            rows = self.layout.read_chunks(keys.shape[1], queries.device)
            parts.append(_flash(queries[self.layout.chunks[0].rows.start :], keys, values, rows, scoring))
        else:
            for span in self.layout.chunks:
                seen = slice(0, span.end)
                row = keys[span.slot, seen], values[span.slot, seen]
                parts.append(_chunk(queries[span.rows], *row, span, scoring))
        attended = torch.cat(parts)  # contiguous, as models expect; of a single part, too
        return attended.view(query.shape[0], query.shape[2], *attended.shape[1:]), None

    def attach(self, model: Any) -> None:
        """Makes `model` attend by this.

        A few older classes (CodeGen, GPT-J, GPT-Neo) look up no attention function, and transformers does not set its
        name for them. They have a method `_attn` of queries, keys, values and mask, which this takes the place of.
        """
        own = [module for module in model.modules() if _has_own_attention(module)]
        for module in own:
            module._attn = _OwnAttention(_weakly(self), module)
        if own:
            model.config._attn_implementation = self.name  # by which it makes masks
        else:
            model.set_attn_implementation(self.name)

    @staticmethod
    def detach(model: Any, own_attention: str) -> None:
        """Makes `model` attend as it did before, by `own_attention`."""
        own = [module for module in model.modules() if _has_own_attention(module)]
        for module in own:
            vars(module).pop("_attn", None)
        if own:
            model.config._attn_implementation = own_attention
        else:
            model.set_attn_implementation(own_attention)

    @contextmanager
    def shortened_windows(self, window: int) -> Iterator[None]:
        """No window that was read from a mask is wider than `window` meanwhile."""
        windows = self.windows
        self.windows = [
            own if own is None or not is_masked else own.shortened(window)
            for own, is_masked in zip(windows, self.is_masked, strict=True)
        ]
        try:
            yield
        finally:
            self.windows = windows

    def _learn(
        self, module: nn.Module, keys: Tensor, values: Tensor, mask: Tensor | None, sliding_window: int | None
    ) -> int:
        """Notes the layer that `module` attends for, and returns its number."""
        window = None if sliding_window is None else Window(sliding_window)
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


def _has_own_attention(module: nn.Module) -> bool:
    method = getattr(type(module), "_attn", None)
    return method is not None and list(signature(method).parameters)[1:] == ["query", "key", "value", "attention_mask"]


class _OwnAttention:
    """Stands for the method `_attn` of `module`; takes and returns tensors [1, heads, tokens, size]."""

    def __init__(self, attend: Callable[..., tuple[Tensor, None]], module: nn.Module) -> None:
        self._attend = attend
        self._module = module
        self._scaling = 1.0 / getattr(module, "scale_attn", 1.0)
        visible = getattr(module, "bias", None)  # GPT-Neo's own mask [1, 1, queries, keys], which may be a window
        self._window: int | None = None
        self._has_mask = isinstance(visible, Tensor) and visible.dtype is torch.bool
        if isinstance(visible, Tensor) and visible.dtype is torch.bool:
            window = read_window(
                lambda _batch, _head, query, key: visible[0, 0, query, key], visible.shape[-1], visible.device
            )
            self._window = window.size if window else None

    def __call__(
        self, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None = None
    ) -> tuple[Tensor, None]:
        attended, _ = self._attend(
            self._module,
            query.to(value.dtype),  # float32 where it is rotated
            key.to(value.dtype),
            value,
            None if self._has_mask else attention_mask,
            scaling=self._scaling,
            sliding_window=self._window,
        )
        return attended.transpose(1, 2), None


def _refuse_what_is_not_served(module: nn.Module, others: dict[str, Any]) -> None:
    """Raises `UnservedModelError` for biases of a model's own, which slots would silently leave out."""
    if not getattr(module, "is_causal", True):
        raise UnservedModelError("the model attends in both directions")
    for name in ("position_bias", "head_mask"):
        if others.get(name) is not None:
            raise UnservedModelError(f"the model's attention needs {name}")


def _decode(queries: Tensor, keys: Tensor, values: Tensor, group: Group, scoring: Scoring) -> Tensor:
    """One query per row against the row's slot: [rows, heads, value size]."""
    rows, heads, size = queries.shape
    if group.flash is not None and scoring.is_plain and has_flash(queries, values):
        alone = group.flash.within(scoring.window)
        return _flash(queries, keys[group.slots], values[group.slots], alone, scoring._replace(window=None))
    packed = queries.reshape(rows, keys.shape[2], -1, size)  # query heads that share a key head are rows of its matrix
    span = slice(group.start(scoring.window), group.longest)
    keys, values = (stored[group.slots, span].transpose(1, 2) for stored in (keys, values))
    if scoring.sinks is not None:
        scoring = scoring._replace(sinks=scoring.sinks.reshape(packed.shape[1:3]))
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
    # Cached, for it is asked for each layer of each step.
    return torch.backends.cuda.is_flash_attention_available() and torch.cuda.get_device_capability(device) >= (8, 0)


def _can_flash_chunks(queries: Tensor, values: Tensor, scoring: Scoring) -> bool:
    """Whether one call serves all chunks: the kernel slides windows, but knows none that end where a chunk does."""
    is_sliding = scoring.window is None or not scoring.window.in_chunks
    return scoring.is_plain and is_sliding and has_flash(queries, values)


def _flash(queries: Tensor, keys: Tensor, values: Tensor, rows: FlashRows, scoring: Scoring) -> Tensor:
    """The queries of every row, each against as many keys as the device-side length says: [queries, heads, size]."""
    window = {} if scoring.window is None else {"window_size_left": scoring.window.size - 1, "window_size_right": 0}
    output = torch.ops.aten._flash_attention_forward(
        queries.contiguous(),
        keys.flatten(0, 1),
        values.flatten(0, 1),
        rows.query_starts,
        rows.key_starts,
        rows.longest,
        keys.shape[1],
        0.0,
        rows.longest > 1,  # causal, from the last query and key backwards
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
    if span.start == 0 and scoring.is_plain and (scoring.window is None or tokens <= scoring.window.size):
        keys, values = (row.repeat_interleave(heads // key_heads, 1).transpose(0, 1)[None] for row in (keys, values))
        attended = _attend(queries.transpose(0, 1)[None], keys, values, None, scoring, is_causal=True)
        return attended[0].transpose(0, 1)
    # Repeating thousands of keys for a small chunk took longer than attending to them: pack the query heads instead.
    first = span.first(scoring.window)
    keys, values = (row[first:].transpose(0, 1)[None] for row in (keys, values))
    packed = queries.reshape(tokens, key_heads, -1, size).permute(1, 2, 0, 3).reshape(1, key_heads, -1, size)
    mask = span.mask(scoring.window, queries).repeat(heads // key_heads, 1)
    if scoring.sinks is not None:
        sinks = scoring.sinks.reshape(key_heads, -1, 1).expand(-1, -1, tokens)
        scoring = scoring._replace(sinks=sinks.reshape(packed.shape[1:3]))
    attended = _attend(packed, keys, values, mask, scoring).reshape(key_heads, -1, tokens, values.shape[-1])
    return attended.permute(2, 0, 1, 3).reshape(tokens, heads, -1)


def _attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scoring: Scoring, *, is_causal: bool = False
) -> Tensor:
    """Attention of [rows, heads, queries, size] over [rows, heads, keys, size]; `scoring.sinks` is [heads, queries]."""
    if scoring.is_plain:
        return scaled_dot_product_attention(
            query, key, value, attn_mask=mask, scale=scoring.scaling, is_causal=is_causal
        )
    if scoring.softcap is None and query.device.type == "cpu" and query.shape[-1] == value.shape[-1]:
        assert scoring.sinks is not None
        attended, log_sums = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, attn_mask=mask, scale=scoring.scaling
        )
        # A sink adds to the sum under the softmax and nothing to the values.
        weighed: Tensor = attended * torch.sigmoid(log_sums - scoring.sinks.float())[..., None].to(query.dtype)
        return weighed
    scores = query @ key.transpose(-1, -2) * scoring.scaling
    if scoring.softcap is not None:
        scores = torch.tanh(scores / scoring.softcap) * scoring.softcap
    if mask is not None:
        scores = scores + mask
    if scoring.sinks is not None:
        sinks = scoring.sinks[:, :, None].expand(len(scores), -1, -1, -1)
        scores = torch.cat([scores, sinks.to(scores.dtype)], dim=-1)
    # In float32, as the models do it themselves. The sinks' shares go: the value behind a sink is zero.
    shares = torch.softmax(scores, dim=-1, dtype=torch.float32)[..., : key.shape[2]]
    return shares.to(query.dtype) @ value
