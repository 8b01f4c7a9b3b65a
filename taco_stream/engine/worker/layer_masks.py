"""Reads from a model's masks which window each of its layers has.

A window slides, or is the chunk of the context that a token stands in (Llama 4). transformers makes masks with
functions that are looked up by the name of the attention (`AttentionMaskInterface`) and are given a function of
positions that describes the mask. Asked about positions at the end of the context, that function shows how wide a
window is without making a mask of that size, or computing as many tokens as the window has.

Some models apply a window in the mask alone, others by `sliding_window=` as well. The mask counts: it
is what a model's own forward computes with, while the other is for kernels that take no masks.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

Position = TypeVar("Position", int, Tensor)

MaskFunction = Callable[..., Tensor]
"""Whether a query sees a key: of batch, head, and the positions of both, as integers or tensors."""


class UnservedModelError(Exception):
    """The model asks for an attention that slots do not offer."""


class Window(NamedTuple):
    """A token sees the last `size` tokens, itself included; or, `in_chunks`, those of its own chunk of `size`."""

    size: int
    in_chunks: bool = False

    def first(self, position: Position) -> Position:
        """The first position that a token at `position` sees; negative if there are fewer before it."""
        return position - position % self.size if self.in_chunks else position + 1 - self.size

    def shortened(self, size: int) -> "Window":
        """The same kind of window, of at most `size` tokens."""
        return self._replace(size=min(self.size, size))

    def sees(self, _batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        """The function by which transformers makes a mask of this window."""
        return (key <= query) & (key >= self.first(query))


class LayerMasks:
    """The masks of one forward, distinguished by their memory, which views of a mask share."""

    def __init__(self, context_length: int) -> None:
        self._context_length = context_length
        self._made: list[tuple[Tensor, MaskFunction]] = []

    def make(
        self,
        *,
        batch_size: int,
        q_length: int,
        kv_length: int,
        mask_function: MaskFunction,
        dtype: torch.dtype,
        device: torch.device,
        **_others: Any,
    ) -> Tensor:
        """A mask [batch, 1, queries, keys] without a meaning of its own, to be recognised in the attention."""
        mask = torch.zeros(batch_size, 1, q_length, kv_length, dtype=dtype, device=device)
        # Kept, so that its memory is not freed: another mask would get it, and be taken for this one.
        self._made.append((mask, mask_function))
        return mask

    def window(self, mask: Tensor) -> Window | None:
        """The window of `mask`. Raises `UnservedModelError` for a mask that was not made here."""
        for made, mask_function in self._made:
            if made.untyped_storage().data_ptr() == mask.untyped_storage().data_ptr():
                return read_window(mask_function, self._context_length, mask.device)
        raise UnservedModelError("the model makes attention masks of its own")


@contextmanager
def learned_masks(name: str, context_length: int) -> Iterator[LayerMasks]:
    """Models whose attention is called `name` make these masks meanwhile, and no masks before and after."""
    masks = LayerMasks(context_length)
    ALL_MASK_ATTENTION_FUNCTIONS.register(name, masks.make)
    try:
        yield masks
    finally:
        del ALL_MASK_ATTENTION_FUNCTIONS._global_mapping[name]  # there is no way to take a registration back


@contextmanager
def short_windows(name: str, window: int, context_length: int) -> Iterator[None]:
    """Models whose attention is called `name` make masks meanwhile in which no window is wider than `window`."""
    make: Callable[..., Any] = ALL_MASK_ATTENTION_FUNCTIONS[name]

    def make_short(*, mask_function: MaskFunction, device: torch.device, **given: Any) -> Any:
        try:
            wide = read_window(mask_function, context_length, device)
        except UnservedModelError:  # of no consequence if no layer uses it
            wide = None
        if wide is not None:
            short = wide.shortened(window)
            mask_function = short.sees
            # By this size the function decides whether a mask is needed at all.
            given["local_size"] = short.size
        return make(mask_function=mask_function, device=device, **given)

    ALL_MASK_ATTENTION_FUNCTIONS[name] = make_short
    try:
        yield
    finally:
        del ALL_MASK_ATTENTION_FUNCTIONS[name]


def named_windows(config: Any, context_length: int) -> set[int]:
    """The windows below `context_length` that the configuration names, as `generate` reads them for its cache."""
    windows = {getattr(layer, "sliding_window", None) for layer in DynamicCache(config=config).layers}
    return {window for window in windows if window is not None and window < context_length}


def read_window(mask_function: MaskFunction, context_length: int, device: torch.device) -> Window | None:
    """The window that a mask is; None if a token in a context of that length sees all tokens before it.

    Raises `UnservedModelError` for other masks, such as blocks that see each other.
    """
    positions = torch.arange(context_length, device=device)
    first = torch.zeros((), dtype=torch.int64, device=device)

    def seen(position: int) -> Tensor:
        keys: Tensor = mask_function(first, first, positions[position], positions)
        return keys

    last = context_length - 1
    visible = int(seen(last).sum())
    if visible == context_length:
        candidates = [Window(context_length)]
    else:
        # In chunks, the token before the first that is seen ends a whole chunk.
        candidates = [Window(visible), Window(int(seen(last - visible).sum()), in_chunks=True)]
    for window in candidates:
        asked = {last, last - 1, last // 2, last - visible} if window.in_chunks else {last, last - 1, last // 2}
        if window.size and all(_agrees(seen(position), window, positions, position) for position in asked):
            return window if window.size < context_length else None
    raise UnservedModelError("the model has masks that are neither causal nor a window")


def _agrees(seen: Tensor, window: Window, positions: Tensor, position: int) -> bool:
    expected = (positions >= window.first(position)) & (positions <= position)
    return bool((seen == expected).all())
