"""How long decoding rows wait while a long prompt is computed beside them.

python bench/prefill.py [--rows 16] [--prompt 4096] [--shape 31M] [--threads 1] [--out FILE]

Rows decode; then a request with a long prompt arrives, whose steps are timed until it is computed. Decoding alone gets
dearer all the while, since every row grows. So each step is held against the median without the prompt at that point:
between the medians before and after it, in a straight line. The claim: no step is longer than twice that.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from engine import machine
from random_core import WARM_UP_TOKENS, add, make_core
from random_models import SHAPES, letters, make_model
from rivals import Sample, Spread, make_workload

from taco_stream.engine.worker.core import EngineCore


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--prompt", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=60, help="steps measured before the prompt arrives")
    parser.add_argument("--shape", choices=SHAPES, default="31M")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    results = measure(options)
    for name, value in results.items():
        print(f"{name:55} {value:10.2f}")
    if options.out:
        figures = {"machine": machine(), "rows": options.rows, "prompt": options.prompt, "figures": results}
        options.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def measure(options: argparse.Namespace) -> dict[str, float]:
    shape = SHAPES[options.shape]
    decoding = make_workload(
        samples=options.rows - 1,
        samples_per_prompt=1,
        alphabet=letters(),
        prompts=Spread(100, 100),
        lengths=Spread(2048, 2048),
    )
    arriving = Sample(len(decoding), 0, tuple((letters() * options.prompt)[: options.prompt]), 4)
    model = make_model(shape, dtype=options.dtype, device=options.device)
    core = make_core(shape, model, [*decoding, arriving], options.rows, device=options.device)
    add(core, decoding)
    while core.statistics().completion_tokens < len(decoding) * WARM_UP_TOKENS:
        core.step()
    clock = time.perf_counter if options.device.startswith("cuda") else time.process_time
    before = [step_seconds(core, clock) for _ in range(options.steps)]
    add(core, [arriving])
    beside = []
    finished = core.statistics().samples_finished
    while core.statistics().samples_finished == finished:
        beside.append(step_seconds(core, clock))
    del beside[1 - arriving.length :]  # the last chunk's step draws its first token
    after = [step_seconds(core, clock) for _ in range(options.steps)]
    first, last = statistics.median(before), statistics.median(after)
    multiples = [seconds / (first + (last - first) * number / len(beside)) for number, seconds in enumerate(beside)]
    return {
        "decoding alone before, median step, ms": 1e3 * first,
        "decoding alone after, median step, ms": 1e3 * last,
        "decoding alone, longest step as a multiple": max(max(before) / first, max(after) / last),
        "steps while the prompt is computed": len(beside),
        "beside the prompt, median step as a multiple": statistics.median(multiples),
        "beside the prompt, longest step as a multiple": max(multiples),
        "beside the prompt, steps above twice": sum(multiple > 2 for multiple in multiples),
    }


def step_seconds(core: EngineCore, clock: Callable[[], float]) -> float:
    started_at = clock()
    core.step()
    return clock() - started_at


if __name__ == "__main__":
    main()
