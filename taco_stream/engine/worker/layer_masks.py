"""Reads from a model's masks which window each of its layers has.

transformers makes masks with functions that are looked up by the name of the attention (`AttentionMaskInterface`) and
are given a function of positions that describes the mask. Asked about positions at the end of the context, that
function shows how wide a window is without making a mask of that size, or computing as many tokens as the window has.

Some models tell their attention of a window in its mask alone, others by `sliding_window=` as well. The mask counts: it
is what a model's own forward computes with, while the other is for kernels that take no masks.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sliding_window_causal_mask_function

MaskFunction = Callable[..., Tensor]
"""Whether a query sees a key: of batch, head, and the positions of both, as integers or tensors."""


class UnservedModelError(Exception):
    """The model asks for an attention that slots do not offer."""


class LayerMasks:
    """The masks of one forward, told apart by their memory, which views of a mask share."""

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
        self._made.append((mask, mask_function))
        return mask

    def window(self, mask: Tensor) -> int | None:
        """The window that `mask` stands for. Raises `UnservedModelError` for a mask that was not made here."""
        for made, mask_function in self._made:
            if made.untyped_storage().data_ptr() == mask.untyped_storage().data_ptr():
                return window_size(mask_function, self._context_length, mask.device)
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
            wide = window_size(mask_function, context_length, device)
        except UnservedModelError:  # of no consequence if no layer uses it
            wide = None
        if wide is not None:
            mask_function = sliding_window_causal_mask_function(min(wide, window))
            given["local_size"] = min(wide, window)
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


def window_size(mask_function: MaskFunction, context_length: int, device: torch.device) -> int | None:
    """How many tokens a token sees at most, itself included; None if in a context of that length it sees all before it.

    Raises `UnservedModelError` for what is not a causal window, such as chunks or blocks that see each other.
    """
    positions = torch.arange(context_length, device=device)
    first = torch.zeros((), dtype=torch.int64, device=device)

    def seen(position: int) -> Tensor:
        keys: Tensor = mask_function(first, first, positions[position], positions)
        return keys

    last = context_length - 1
    window = int(seen(last).sum())
    for position in {last, last - 1, last // 2}:
        expected = (positions > position - window) & (positions <= position)
        if not bool((seen(position) == expected).all()):
            raise UnservedModelError("the model has masks that are neither causal nor a sliding window")
    return window if window < context_length else None
