"""Attention with sinks, computed as a softmax over one score more; and by torch's flash kernel, with one of our own in its
place, which shows what that is asked for.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from engine.bench import BRIEF, Bench, greedy_reference, requests, texts
from torch import Tensor

from taco_stream.engine.worker import attention
from taco_stream.engine.worker.attention import FlashRows, Group, Scoring, _attend
from taco_stream.engine.worker.fixed_decode import FixedDecode

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


def variable_length(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    query_starts: Tensor,
    key_starts: Tensor,
    *rest: Any,
    scale: float,
    seqused_k: Tensor,
    window_size_left: int = -1,
    window_size_right: int = -1,
) -> tuple[Tensor, ...]:
    """`_flash_attention_forward` as its documentation has it: causal from the last query and key backwards."""
    longest_queries, longest_keys, _, is_causal, _ = rest
    attended = torch.empty(len(queries), queries.shape[1], values.shape[2], dtype=values.dtype)
    for row, length in enumerate(seqused_k.tolist()):
        ours = slice(int(query_starts[row]), int(query_starts[row + 1]))
        theirs = slice(int(key_starts[row]), int(key_starts[row]) + length)
        asked = queries[ours].transpose(0, 1).float()
        groups = queries.shape[1] // keys.shape[1]
        seen, given = (each[theirs].repeat_interleave(groups, 1).transpose(0, 1).float() for each in (keys, values))
        assert asked.shape[1] <= longest_queries
        assert length <= longest_keys
        scores = asked @ seen.transpose(1, 2) * scale
        own = torch.arange(asked.shape[1])[:, None] + length - asked.shape[1]  # the key of each query
        places = torch.arange(length)
        outside = torch.zeros(len(own), length, dtype=torch.bool)
        if is_causal or window_size_right == 0:
            outside |= places > own
        if window_size_left >= 0:
            outside |= places < own - window_size_left
        shares = scores.masked_fill(outside, float("-inf")).softmax(-1)
        attended[ours] = (shares @ given).transpose(0, 1).to(values.dtype)
    return (attended,)


@pytest.fixture
def flash_calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Decoding and prompts go through flash attention, as on CUDA; the most queries of a row in each call."""
    calls: list[int] = []

    def noted(*given: Any, **settings: Any) -> tuple[Tensor, ...]:
        calls.append(given[5])
        return variable_length(*given, **settings)

    def one_group(fixed: FixedDecode, longest: int, lengths: Tensor) -> list[Group]:
        everyone = slice(0, len(lengths))
        flash = FlashRows.from_lengths(lengths, fixed._cache.stride)
        return [Group(everyone, everyone, longest=longest, shortest=0, lengths=lengths, flash=flash)]

    monkeypatch.setattr(attention, "has_flash", lambda queries, values: queries.shape[-1] == values.shape[-1])
    monkeypatch.setattr(torch.ops.aten, "_flash_attention_forward", noted)
    monkeypatch.setattr(FixedDecode, "_groups", one_group)
    return calls


@pytest.mark.parametrize("architecture", ["llama", "mistral", "gemma3_text", "llama4_text", "gpt_neox"])
def test_samples_through_flash_attention_equal_generate(
    model_folder: Callable[[str], Path], flash_calls: list[int], architecture: str
) -> None:
    """Windows that slide and windows in chunks, prompts cut into chunks, several of them in a call."""
    folder = model_folder(architecture)
    bench = Bench(folder, as_on_cuda=True)
    bench.core.limit_prefill(50)
    asked = requests(BRIEF, samples=2, count=5)
    assert texts(bench.generate(asked)) == greedy_reference(bench.checkpoint, asked, folder)
    assert 1 in flash_calls
    assert max(flash_calls) > 1
