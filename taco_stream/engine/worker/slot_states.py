"""What recurrent layers carry from token to token: per layer a few tensors of fixed size, one row per slot.

Gated delta nets, state space models and short convolutions of transformers (Qwen3-Next, Mamba, LFM2, …) read their
states from a `Cache` object and leave the next ones there. `Past` is that object, made of transformers' own layers for
states. Keys and values pass through it: the attention function has them in slots.

A state is overwritten by the next token, unlike keys, so it has two places. A prompt is computed, whole, in a `Past` of
its own, which nothing writes to afterwards. `SlotStates` has the rows that decoding writes to; a sample that begins
gets its prompt's states copied into its slot's row. So a slot remembers its prompt with states as it does without, and
the samples of a prompt share one `Past`. Prompts are not computed in chunks, nor from the beginning of another on:
Mamba's own layers begin from no state but for a single token, and states in the middle of a prompt are not kept.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache
from transformers.cache_utils import (
    CacheLayerMixin,
    DynamicLayer,
    LinearAttentionAndFullAttentionLayer,
    LinearAttentionCacheLayerMixin,
)


class _PassedOn:
    """Keys and values of the tokens at hand, and none from before."""

    def update(self, keys: Tensor, values: Tensor, *_given: Any, **_settings: Any) -> tuple[Tensor, Tensor]:
        return keys, values

    def get_seq_length(self) -> int:
        return 0

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return query_length, 0


class _KeyLayer(_PassedOn, DynamicLayer):  # type: ignore[misc]
    """A layer of attention."""


class _StateLayer(_PassedOn, LinearAttentionAndFullAttentionLayer):  # type: ignore[misc]
    """A recurrent layer, which may attend as well."""


class Past(Cache):  # type: ignore[misc]
    """The states of one sequence or of a batch of them, which a model reads and overwrites in its forward."""

    @classmethod
    def empty(cls, config: Any) -> "Past":
        """Before the first token, for the kinds of layers that transformers' own cache would have."""
        return cls([_layer_like(layer) for layer in DynamicCache(config=config).layers])

    def holding(self, states: Iterable[Tensor]) -> "Past":
        """Another with these in the place of `states()`."""
        given = iter(states)
        layers = [copy(layer) for layer in self.layers]
        for layer in layers:
            if isinstance(layer, _StateLayer):
                layer.conv_states, layer.recurrent_states = (
                    {number: None if state is None else next(given) for number, state in kept.items()}
                    for kept in (layer.conv_states, layer.recurrent_states)
                )
        return Past(layers)

    def states(self) -> list[Tensor]:
        """All that is kept, each [rows, …]."""
        return [state for layer in self.layers if isinstance(layer, _StateLayer) for state in _states(layer)]

    def has_all_states(self) -> bool:
        """Whether every recurrent layer has left a state."""
        return all(_states(layer) for layer in self.layers if isinstance(layer, _StateLayer))


class SlotStates:
    """A row of every state for each of `slots` slots, of the shapes in `template`."""

    def __init__(self, template: Past, slots: int) -> None:
        self._template = template
        self._rows = [
            torch.zeros(slots, *state.shape[1:], dtype=state.dtype, device=state.device) for state in template.states()
        ]

    def empty_past(self) -> Past:
        """Before a prompt's first token."""
        return Past([_layer_like(layer) for layer in self._template.layers])

    def begin(self, slot: int, prompt: Past) -> None:
        """Copies the states behind a prompt into the slot's row."""
        for rows, state in zip(self._rows, prompt.states(), strict=True):
            rows[slot].copy_(state[0])

    @contextmanager
    def decoding(self, slots: Sequence[int]) -> Iterator[Past]:
        """The rows of `slots`, ascending, to be overwritten by one forward."""
        first, end = slots[0], slots[-1] + 1
        if end - first == len(slots):
            yield self._template.holding(rows[first:end] for rows in self._rows)
            return
        chosen = torch.tensor(slots, device=self._rows[0].device)
        past = self._template.holding(rows[chosen] for rows in self._rows)
        yield past
        for rows, state in zip(self._rows, past.states(), strict=True):
            rows.index_copy_(0, chosen, state)


def _layer_like(layer: Any) -> Any:
    if isinstance(layer, LinearAttentionCacheLayerMixin):
        return _StateLayer(layer.number_of_states)
    return _KeyLayer() if isinstance(layer, CacheLayerMixin) else copy(layer)


def _states(layer: _StateLayer) -> list[Tensor]:
    kept = (*layer.conv_states.values(), *layer.recurrent_states.values())
    return [state for state in kept if state is not None]
