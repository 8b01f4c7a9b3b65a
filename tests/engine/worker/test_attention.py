"""Attention with sinks, computed as a softmax over one score more."""

import pytest
import torch

from taco_stream.engine.worker.attention import Scoring, _attend

ROWS, HEADS, QUERIES, KEYS, SIZE = 3, 2, 4, 9, 16


@pytest.mark.parametrize("value_size", [SIZE, 2 * SIZE], ids=["kernel", "steps"])
@pytest.mark.parametrize("softcap", [None, 2.0], ids=["plain", "capped"])
@pytest.mark.parametrize("has_mask", [False, True], ids=["all keys", "masked"])
def test_sinks_take_a_share_of_the_softmax(value_size: int, softcap: float | None, has_mask: bool) -> None:
    torch.manual_seed(0)
    query, key = torch.randn(ROWS, HEADS, QUERIES, SIZE), torch.randn(ROWS, HEADS, KEYS, SIZE)
    value = torch.randn(ROWS, HEADS, KEYS, value_size)
    sinks = torch.randn(HEADS, QUERIES) * 3
    mask = torch.zeros(ROWS, 1, 1, KEYS)
    mask[1, ..., 5:] = float("-inf")

    scores = query @ key.transpose(-1, -2) * 0.3
    if softcap:
        scores = torch.tanh(scores / softcap) * softcap
    if has_mask:
        scores = scores + mask
    weights = torch.exp(scores)
    expected = weights @ value / (weights.sum(-1, keepdim=True) + torch.exp(sinks)[None, :, :, None])

    attended = _attend(query, key, value, mask if has_mask else None, Scoring(0.3, None, softcap, sinks))
    assert torch.allclose(attended, expected, atol=1e-5)
