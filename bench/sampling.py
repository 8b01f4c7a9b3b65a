"""What sampling costs beside the model: milliseconds per step of the sampler, and its share of a decoding step.

python bench/sampling.py [--rows 256] [--positions 256] [--shape 0.5B] [--device cpu] [--threads 1] [--out FILE]

Logits spread like a trained model's are drawn at temperatures that need the first window, the wider one and the full
sort. The step is the engine's own, with all rows decoding behind `--positions` tokens each, its sampling at T=0.2
included; what other settings would make of it is told by putting their cost in that one's place. On a CPU all is
processor time.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from engine import machine
from random_core import WARM_UP_TOKENS, decode_all_rows, make_core
from random_models import LOGIT_SPREAD, SHAPES, Shape, letters, make_model
from rivals import Spread, make_workload
from torch import Tensor

from taco_stream.engine.worker.sampling import RowSampling, sample_in_window, sample_tokens, uniform_numbers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--positions", type=int, default=256)
    parser.add_argument("--shape", choices=SHAPES, default="0.5B")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    results = measure(options)
    for name, value in results.items():
        print(f"{name:50} {value:10.3f}")
    if options.out:
        figures = {
            "machine": machine(),
            "rows": options.rows,
            "positions": options.positions,
            "shape": options.shape,
            "figures": results,
        }
        options.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


@torch.inference_mode()
def measure(options: argparse.Namespace) -> dict[str, float]:
    shape = SHAPES[options.shape]
    torch.manual_seed(0)
    logits = (torch.randn(options.rows, shape.vocabulary, device=options.device) * LOGIT_SPREAD).bfloat16()
    numbers = uniform_numbers(torch.arange(options.rows), torch.zeros(options.rows, dtype=torch.int64)).to(
        options.device
    )
    results: dict[str, float] = {}

    def sample(temperature: float, top_p: float) -> Callable[[], object]:
        settings = row_sampling(options.rows, temperature, top_p, options.device)
        _, is_short = sample_in_window(logits, settings, numbers)
        results[f"T={temperature} top-p {top_p}: rows beyond the window"] = float(is_short.float().mean())
        return lambda: sample_tokens(logits, settings, numbers)

    step = step_milliseconds(shape, options)
    results["the engine's step at T=0.2 top-p 0.95, ms"] = step
    taken = {each: milliseconds(sample(*each), options) for each in ((0.2, 0.95), (0.0, 1.0), (0.4, 0.95), (1.0, 0.95))}
    for temperature in (0.6, 0.8):
        settings = row_sampling(options.rows, temperature, 0.95, options.device)
        now = milliseconds(lambda chosen=settings: sample_tokens(logits, chosen, numbers), options)
        in_pairs = milliseconds(lambda chosen=settings: sample_in_pairs(logits, chosen, numbers), options)
        results[f"T={temperature} top-p 0.95: ms"] = now
        results[f"T={temperature}: short rows in pairs, as a multiple"] = in_pairs / now
    without = step - taken[0.2, 0.95]
    for (temperature, top_p), cost in taken.items():
        results[f"T={temperature} top-p {top_p}: ms"] = cost
        results[f"T={temperature} top-p {top_p}: share of the step"] = cost / (without + cost)
    return results


def sample_in_pairs(logits: Tensor, settings: RowSampling, numbers: Tensor) -> Tensor:
    """As `sample_tokens` once did: what the first window leaves open is drawn again two rows at a time."""
    tokens, is_short = sample_in_window(logits, settings, numbers)
    for window in (2048, logits.shape[1]):
        for rows in torch.split(is_short.nonzero()[:, 0], 2):
            chosen = RowSampling(*(setting[rows] for setting in settings))
            tokens[rows], is_short[rows] = sample_in_window(logits[rows], chosen, numbers[rows], window)
    return tokens


def step_milliseconds(shape: Shape, options: argparse.Namespace) -> float:
    """The median step of the engine while every row decodes."""
    workload = make_workload(
        samples=options.rows,
        samples_per_prompt=4,
        alphabet=letters(),
        prompts=Spread(options.positions, options.positions),
        lengths=Spread(3 * WARM_UP_TOKENS, 3 * WARM_UP_TOKENS),
    )
    model = make_model(shape, dtype="bfloat16", device=options.device)
    core = make_core(shape, model, workload, options.rows, device=options.device)
    decode_all_rows(core, workload)
    return milliseconds(core.step, options)


def row_sampling(rows: int, temperature: float, top_p: float, device: str) -> RowSampling:
    return RowSampling(
        torch.full((rows,), temperature, device=device),
        torch.full((rows,), top_p, device=device),
        torch.zeros(rows, dtype=torch.int64, device=device),
        torch.zeros(rows, device=device),
    )


def milliseconds(run: Callable[[], object], options: argparse.Namespace) -> float:
    """The median time of a call: processor time on a CPU, wall time on a GPU."""
    is_on_gpu = options.device.startswith("cuda")
    clock = time.perf_counter if is_on_gpu else time.process_time
    run()
    taken = []
    for _ in range(options.repeats):
        started_at = clock()
        run()
        if is_on_gpu:
            torch.cuda.synchronize()
        taken.append(clock() - started_at)
    return 1e3 * statistics.median(taken)


if __name__ == "__main__":
    main()
