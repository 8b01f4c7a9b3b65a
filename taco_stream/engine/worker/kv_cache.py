"""The keys and values of everything that decodes: per layer two preallocated tensors, one row per slot.

A row is `length` positions of every key-value head, position-major: `[slots, length, heads, size]`. That is the layout
in which a step's tokens are written with one indexed copy per layer, in which CUDA's variable-length attention reads,
and in which CPU attention measured no slower than head-major. The cache knows no requests and no policy: it writes,
copies and shows rows.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class LayerShape(NamedTuple):
    """The shape of one layer's keys and values per position; keys and values may differ in size (latent attention)."""

    heads: int
    key_size: int
    value_size: int


def bytes_per_position(shapes: Sequence[LayerShape], dtype: torch.dtype) -> int:
    """Memory that one position of one slot takes, over all layers."""
    return sum(shape.heads * (shape.key_size + shape.value_size) for shape in shapes) * dtype.itemsize


class SlotCache:
    """Keys and values of `slots` rows of `length` positions for each layer, allocated at once.

    A row has one position more, `scratch`, for tokens that must be written somewhere and mean nothing; `stride` counts
    it too.
    """

    def __init__(
        self, shapes: Sequence[LayerShape], slots: int, length: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.slots = slots
        self.length = self.scratch = length
        self.stride = stride = length + 1
        # Zeros, not empty memory: masked positions are multiplied by zero, and zero times a stray NaN is NaN. The
        # operating system hands out zero pages on first touch, so unused length costs nothing on a CPU.
        self.keys = [
            torch.zeros(slots, stride, shape.heads, shape.key_size, dtype=dtype, device=device) for shape in shapes
        ]
        self.values = [
            torch.zeros(slots, stride, shape.heads, shape.value_size, dtype=dtype, device=device) for shape in shapes
        ]

    def write(self, layer: int, places: Tensor, keys: Tensor, values: Tensor) -> None:
        """Stores `keys` and `values` [tokens, heads, size] at `places` [tokens], each slot * `stride` + position."""
        self.keys[layer].flatten(0, 1).index_copy_(0, places, keys)
        self.values[layer].flatten(0, 1).index_copy_(0, places, values)

    def copy(self, source: int, target: int, length: int) -> None:
        """Copies the first `length` positions of one slot to another, in all layers."""
        for stored in (*self.keys, *self.values):
            stored[target, :length].copy_(stored[source, :length])
