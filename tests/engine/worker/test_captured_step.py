"""What is captured as a CUDA graph, computed on `meta` tensors: nothing in it waits, and its kernels only get fewer."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from engine.step_checker import StepChecker, captured_step

TABLE = json.loads((Path(__file__).parents[3] / "bench/results/step_kernels.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "architecture", ["llama", "qwen3", "mistral", "gemma2", "gpt_neox", "deepseek_v3", "qwen3_moe"]
)
def test_a_captured_step_neither_waits_nor_reaches_host_memory(architecture: str) -> None:
    checker = captured_step(architecture)
    assert checker.flags == []
    versions = {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__}
    if versions == TABLE["versions"]:  # another version's models have other kernels
        # Fewer is welcome: `bench/step_kernels.py --out bench/results/step_kernels.json` notes it.
        assert checker.kernels.total() <= TABLE["kernels"][architecture]


@pytest.mark.parametrize(
    "wait",
    [
        lambda row: row.nonzero(),
        lambda row: row[row > 0],
        lambda row: row.sum().item(),
        lambda row: row.to("meta"),
    ],
    ids=["nonzero", "mask", "item", "host memory"],
)
def test_the_checker_sees_what_a_captured_step_must_not_do(wait: Callable[[torch.Tensor], object]) -> None:
    with StepChecker() as checker:
        wait(torch.ones(3))
    assert len(checker.flags) == 1
