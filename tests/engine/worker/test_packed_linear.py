"""Packed weights compute what the layers computed before."""

import pytest
import torch
from torch import nn

from taco_stream.engine.worker.packed_linear import pack_linears

PLENTY = 1 << 40


def make_layers(dtype: torch.dtype) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 96, bias=True), nn.SiLU(), nn.Linear(96, 40, bias=False)).to(dtype)


@pytest.mark.parametrize("rows", [1, 16, 70])
def test_products_are_bitwise_the_same(rows: int) -> None:
    layers = make_layers(torch.bfloat16)
    inputs = torch.randn(1, rows, 64, dtype=torch.bfloat16)
    with torch.inference_mode():
        expected = layers(inputs)
        assert pack_linears(layers, 16, PLENTY)
        assert torch.equal(layers(inputs), expected)


def test_float32_is_left_alone() -> None:
    assert not pack_linears(make_layers(torch.float32), 16, PLENTY)


def test_nothing_is_packed_without_memory_to_spare() -> None:
    layers = make_layers(torch.bfloat16)
    assert not pack_linears(layers, 16, free_bytes=1000)
    assert "forward" not in vars(layers[0])
