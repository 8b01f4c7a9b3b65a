"""What sampling costs beside the model: milliseconds per step of the sampler, and its share of a decoding step.

python bench/sampling.py [--rows 256] [--model-shape 0.5B] [--device cpu] [--threads 1] [--out FILE]

Logits spread like a trained model's are drawn at temperatures that need the first window, the wider one and the full
sort. The step is the model's forward of one token per row, without attention to earlier tokens, which flatters it: the
share is an upper bound. On a CPU both are given in processor time.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from engine import machine
from random_models import LOGIT_SPREAD, SHAPES, make_model

from taco_stream.engine.sampling import RowSampling, sample_in_window, sample_tokens, uniform_numbers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--model-shape", choices=SHAPES, default="0.5B")
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
        figures = {"machine": machine(), "rows": options.rows, "shape": options.model_shape, "figures": results}
        options.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


@torch.inference_mode()
def measure(options: argparse.Namespace) -> dict[str, float]:
    shape = SHAPES[options.model_shape]
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

    model = make_model(shape, dtype="bfloat16", device=options.device)
    tokens = torch.arange(options.rows, device=options.device)[:, None] % shape.vocabulary
    step = milliseconds(lambda: model(input_ids=tokens, use_cache=False), options)
    results["the model's step, ms"] = step
    for temperature, top_p in ((0.0, 1.0), (0.2, 0.95), (0.4, 0.95), (1.0, 0.95)):
        taken = milliseconds(sample(temperature, top_p), options)
        results[f"T={temperature} top-p {top_p}: ms"] = taken
        results[f"T={temperature} top-p {top_p}: share of the step"] = taken / step
    return results


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
