"""What it saves that a beginning which prompts share is computed once: prompt tokens computed, and processor time.

python bench/shared_beginning.py [--problems 20] [--samples 4] [--rows 16] [--shape 31M] [--out FILE]

Every prompt begins with the same two worked examples (`--beginning` tokens) and ends with a problem of its own; each
sample has `--length` tokens. The same requests are generated with and without sharing, in turn, in one process.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from engine import machine
from random_core import add, make_core
from random_models import SHAPES, Shape, letters, make_model
from rivals import Sample, Spread, make_workload

from taco_stream.engine.worker import scheduler
from taco_stream.engine.worker.model_runner import Launched
from taco_stream.engine.worker.scheduler import Step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=20)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--beginning", type=int, default=600)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--shape", choices=SHAPES, default="31M")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    shape = SHAPES[options.shape]
    workload = make_workload(
        samples=options.problems * options.samples,
        samples_per_prompt=options.samples,
        alphabet=letters(),
        prompts=Spread(100, 300),
        lengths=Spread(options.length, options.length),
    )
    examples = tuple((letters() * options.beginning)[: options.beginning])
    workload = [sample._replace(prompt=(*examples, *sample.prompt)) for sample in workload]
    runs: dict[bool, list[tuple[int, float]]] = {True: [], False: []}
    for _ in range(options.repeats):
        for is_shared, measured in runs.items():
            scheduler.SHARED_TOKENS = 16 if is_shared else 1 << 30
            measured.append(measure(shape, workload, options))
    tokens, seconds = (
        {is_shared: statistics.median(run[place] for run in each) for is_shared, each in runs.items()}
        for place in (0, 1)
    )
    results = {
        "prompt tokens computed, shared": tokens[True],
        "prompt tokens computed, each by itself": tokens[False],
        "tokens, as a multiple": tokens[False] / tokens[True],
        "processor seconds, shared": seconds[True],
        "processor seconds, as a multiple": seconds[False] / seconds[True],
    }
    for name, value in results.items():
        print(f"{name:45} {value:10.2f}")
    if options.out:
        settings = {name: value for name, value in vars(options).items() if name != "out"}
        report = {"machine": machine(), "settings": settings, "figures": results}
        options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def measure(shape: Shape, workload: list[Sample], options: argparse.Namespace) -> tuple[int, float]:
    """Prompt tokens computed and processor seconds."""
    model = make_model(shape, dtype=options.dtype, device=options.device)
    core = make_core(shape, model, workload, options.rows, device=options.device)
    launch = core.runner.launch
    computed = 0

    def counted(step: Step) -> Launched:
        nonlocal computed
        computed += sum(len(chunk.tokens) for chunk in step.chunks)
        return launch(step)

    core.runner.launch = counted  # type: ignore[method-assign]
    started_at = time.process_time()
    add(core, workload)
    while not core.is_idle:
        core.step()
    return computed, time.process_time() - started_at


if __name__ == "__main__":
    main()
