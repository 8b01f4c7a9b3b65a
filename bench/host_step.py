"""Host work of a decoding step as on CUDA, against a device that costs nothing: milliseconds of thread time, by part.

python bench/host_step.py [--rows 64 256 1024] [--steps 200] [--rounds 3] [--out bench/results/host_step.json]

The core, scheduler, model runner and stop strings are the engine's own, on the path that CUDA takes: fixed shapes,
tokens read a step late. Only the model, the replay of a captured step and the sampler do nothing. What CUDA adds to the
host (pinned memory, events, the launch of the graph and of a dozen small kernels) is not in the figures; those small
kernels are computed on the CPU instead.

steady    every row decodes, none ends
turnover  samples of 200 to 400 tokens, 16 of a prompt: in nearly every step some end and others begin
"""

import argparse
import itertools
import json
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from random_core import add
from random_models import SHAPES, letters, make_tokenizer
from rivals import Sample, Spread, make_workload
from torch import Tensor
from transformers import Qwen2Config

from taco_stream.engine.worker import model_runner
from taco_stream.engine.worker.attention import SlotAttention
from taco_stream.engine.worker.checkpoint import Checkpoint
from taco_stream.engine.worker.core import EngineCore
from taco_stream.engine.worker.fixed_decode import FixedDecode
from taco_stream.engine.worker.model_runner import Launched, ModelRunner
from taco_stream.machine import hardware

SHAPE = SHAPES["31M"]
PROMPT = 512
CPU = torch.device("cpu")
PARTS = (
    "budget",
    "plan",
    "inputs",
    "beginning, sending",
    "reading",
    "recording",
    "stop strings, ends",
    "the rest",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = []
    for workload, rows in itertools.product(("steady", "turnover"), options.rows):
        rounds = [measure(workload, rows, options.steps) for _ in range(options.rounds)]
        figures = {part: statistics.median(each[part] for each in rounds) for part in rounds[0]}
        whole = [each["whole step"] for each in rounds]
        results.append({"workload": workload, "rows": rows, "milliseconds": figures, "whole step by round": whole})
        print(f"{workload} {rows:5} rows  " + "  ".join(f"{name} {value:.3f}" for name, value in figures.items()))
    if options.out:
        report = {"hardware": hardware(), "load": os.getloadavg()[0], "steps": options.steps, "results": results}
        options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def measure(workload: str, rows: int, steps: int) -> dict[str, float]:
    """The median of each part over the steps, and of the whole."""
    core = null_core(rows)
    is_steady = workload == "steady"
    add(core, make_samples(rows if is_steady else 8 * rows, 2 * steps + PROMPT if is_steady else 0))
    while core._scheduler.decoding < rows:
        core.step()
    for _ in range(0 if is_steady else 300):  # until the rows that began together have parted
        core.step()
    parts = PartTimes()
    parts.watch(core, "step", "the rest")
    parts.watch(core, "_prefill_budget", "budget")
    parts.watch(core._scheduler, "plan", "plan")
    parts.watch(core.runner, "launch", "beginning, sending")
    parts.watch(core.runner._fixed, "run", "inputs")
    parts.watch(core._scheduler, "record", "recording")
    parts.watch(core, "_take_tokens", "stop strings, ends")
    read = Launched.read
    parts.watch(Launched, "read", "reading")
    taken: dict[str, list[float]] = defaultdict(list)
    for _ in range(steps):
        parts.seconds.clear()
        core.step()
        for part in PARTS:
            taken[part].append(parts.seconds[part])
        taken["whole step"].append(sum(parts.seconds.values()))
    Launched.read = read  # type: ignore[method-assign]
    return {part: round(1e3 * statistics.median(seconds), 4) for part, seconds in taken.items()}


def make_samples(samples: int, length: int) -> list[Sample]:
    lengths = Spread(length, length) if length else Spread(200, 400)
    prompts = Spread(PROMPT, PROMPT)
    return make_workload(samples=samples, samples_per_prompt=16, alphabet=letters(), prompts=prompts, lengths=lengths)


class PartTimes:
    """Thread time by part; what a part calls that is a part of its own is not counted twice."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._inside: list[float] = []

    def watch(self, owner: Any, name: str, part: str) -> None:
        function: Callable[..., Any] = getattr(owner, name)

        def timed(*arguments: Any) -> Any:
            self._inside.append(0.0)
            began = time.thread_time()
            try:
                return function(*arguments)
            finally:
                spent = time.thread_time() - began
                self.seconds[part] += spent - self._inside.pop()
                if self._inside:
                    self._inside[-1] += spent

        setattr(owner, name, timed)


class NullModel:
    """Answers every prompt with logits of one token."""

    dtype = torch.bfloat16
    config = Qwen2Config(vocab_size=SHAPE.vocabulary)

    def forward(self, input_ids: Tensor, position_ids: Tensor) -> Any: ...

    def get_input_embeddings(self) -> None:
        """The size of the vocabulary is in the configuration."""

    def __call__(self, logits_to_keep: Tensor, **_: Any) -> Any:
        return SimpleNamespace(logits=torch.zeros(1, len(logits_to_keep), 1))


class NullGraph:
    def replay(self) -> None:
        """Computes nothing: the tokens drawn stay those of the last time."""


class NullDecode(FixedDecode):
    """Fixed shapes that are captured without having been computed."""

    def _compute(self, shape: Any) -> None:
        shape.drawn = torch.arange(300, 300 + shape.inputs.shape[1])
        shape.graph = NullGraph()


def null_core(rows: int) -> EngineCore:
    checkpoint = Checkpoint(
        model=NullModel(), tokenizer=make_tokenizer(SHAPE), device=CPU, end_tokens=frozenset(), context_length=4096
    )
    attention = SlotAttention()
    runner = ModelRunner(checkpoint.model, attention, device=CPU, fixed_shapes=True, reads_late=True)
    runner._sample = lambda logits, sampling, numbers: torch.full((len(logits),), 300)
    with patch.object(model_runner, "FixedDecode", NullDecode):
        return EngineCore(
            checkpoint,
            runner,
            slots=lambda length: rows,
            length=2048,
            context_length=4096,
            identity="null",
            emit=lambda event: None,
            largest_chunk=4096,
        )


if __name__ == "__main__":
    main()
