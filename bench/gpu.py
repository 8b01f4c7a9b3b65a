"""Decoding on a GPU against what its memory allows, and against transformers' own ways, with random weights.

python bench/gpu.py --out FOLDER [--parts decode rivals nano profile] [--shapes 0.5B 1.5B 7B] [--rows 16 64 256]
                    [--budget-seconds 540]

decode   tokens/s of our core once every row decodes, beside the limit: the weights and the occupied cache are read
         once per step at the measured copy speed
rivals   tokens/s of the same samples from prompt to last token: ours, transformers' continuous batching, static batches
nano     nano-vllm's `bench.py`: 256 sequences, 133,966 output tokens, T=0.6, on the shape of Qwen3-0.6B
profile  what 50 decoding steps spend their time on, by torch's profiler

Every figure is written to FOLDER/gpu.json as soon as it is known, and no new one is begun after the budget.
`--shapes tiny --device cpu --rows 4 8 --lengths 32 64` tries the logic without a GPU.
"""

import argparse
import gc
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from random_models import SHAPES, Shape, letters, make_model, make_tokenizer, tokens_text
from rivals import (
    TEMPERATURE,
    TOP_P,
    Cost,
    Sample,
    Spread,
    continuous_batching,
    count_tokens,
    make_workload,
    static_batches,
)

from taco_stream.engine.protocol import Load
from taco_stream.engine.worker import load as loading
from taco_stream.engine.worker.checkpoint import Checkpoint
from taco_stream.engine.worker.core import EngineCore
from taco_stream.engine.worker.layer_masks import UnservedModelError
from taco_stream.types import Request, SamplingParameters, TextPrompt

PARTS = ("decode", "rivals", "nano", "profile")
SAMPLES_PER_PROMPT = 4
WARM_UP_TOKENS = 24
NANO_SEQUENCES = 256


def main() -> None:
    options = parse()
    report = Report(options.out, options.budget_seconds, describe(options.device))
    report.note("copy_bytes_per_second", copy_speed(options.device))
    for part in options.parts:
        nano = ["0.6B" if options.device.startswith("cuda") else "tiny"]
        for name in nano if part == "nano" else options.shapes:
            if report.is_out_of_time():
                break
            try:
                measure(part, name, options, report)
            except (RuntimeError, UnservedModelError, loading.SlotsFailedError) as error:  # out of memory among them
                report.add({"part": part, "shape": name, "error": str(error).splitlines()[0]})
            forget()
    report.print_table()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=["decode", "rivals", "nano"])
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=["0.5B", "1.5B", "7B"])
    parser.add_argument("--rows", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--lengths", type=int, nargs=2, default=[512, 256], help="tokens of prompts and completions")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--budget-seconds", type=float, default=540)
    options = parser.parse_args()
    if options.lengths[1] <= 2 * WARM_UP_TOKENS:
        parser.error(f"--lengths: completions must be longer than {2 * WARM_UP_TOKENS} tokens: the first are a warm-up")
    return options


class Report:
    """The figures so far, on disk after each."""

    def __init__(self, folder: Path, budget_seconds: float, machine: dict[str, Any]) -> None:
        self.rows: list[dict[str, Any]] = []
        self.facts: dict[str, Any] = machine
        self._path = folder / "gpu.json"
        self._ends_at = time.monotonic() + budget_seconds
        folder.mkdir(parents=True, exist_ok=True)

    def is_out_of_time(self) -> bool:
        return time.monotonic() > self._ends_at

    def note(self, name: str, value: Any) -> None:
        self.facts[name] = value

    def add(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        self._path.write_text(json.dumps(self.facts | {"results": self.rows}, indent=1) + "\n", encoding="utf-8")
        print(row, file=sys.stderr, flush=True)

    def print_table(self) -> None:
        print(self.facts)
        for row in self.rows:
            cells = (
                f"{key}={value:,.0f}" if isinstance(value, float) and value > 10 else f"{key}={value}"
                for key, value in row.items()
            )
            print("  ".join(cells))


def measure(part: str, name: str, options: argparse.Namespace, report: Report) -> None:
    """One part with one shape, at every number of rows."""
    shape = SHAPES[name]
    if part == "nano":
        measure_nano(name, options, report)
        return
    for rows in options.rows if part != "profile" else [options.rows[min(1, len(options.rows) - 1)]]:
        if report.is_out_of_time():
            return
        prompt, length = options.lengths
        workload = make_workload(
            samples=rows,
            samples_per_prompt=SAMPLES_PER_PROMPT,
            alphabet=letters(),
            prompts=Spread(prompt, prompt),
            lengths=Spread(length, length),
        )
        row = {"part": part, "shape": name, "rows": rows}
        if part == "decode":
            report.add(row | measure_decoding(shape, workload, rows, options, report.facts["copy_bytes_per_second"]))
        elif part == "profile":
            profile_steps(shape, workload, rows, options)
        else:
            measure_rivals(row, shape, workload, options, report)


def measure_decoding(
    shape: Shape, workload: Sequence[Sample], rows: int, options: argparse.Namespace, copy_bytes_per_second: float
) -> dict[str, Any]:
    model = make_model(shape, dtype=options.dtype, device=options.device)
    weight_bytes = sum(p.numel() * p.element_size() for p in model.parameters())
    weight_bytes -= model.get_input_embeddings().weight.nbytes  # a step looks up a few rows of it
    with_all_rows, core = decoding_core(shape, model, workload, rows, options)
    steps: list[float] = []
    begun_with, started_at = core.statistics().completion_tokens, time.perf_counter()
    last = count_tokens(workload) - rows * WARM_UP_TOKENS  # before the first rows finish
    while core.statistics().completion_tokens < last:
        step_at = time.perf_counter()
        core.step()
        steps.append(time.perf_counter() - step_at)
    synchronize(options.device)
    seconds = time.perf_counter() - started_at
    decoded = core.statistics().completion_tokens - begun_with
    positions = len(workload[0].prompt) + workload[0].length // 2
    step_bytes = weight_bytes + rows * positions * shape.key_value_numbers * model.dtype.itemsize
    limit = rows * copy_bytes_per_second / step_bytes
    speed = decoded / seconds
    return {
        "ours": speed,
        "limit": limit,
        "share_of_limit": round(speed / limit, 3),
        "step_milliseconds": round(1e3 * statistics.median(steps), 3),
        "seconds_until_all_rows_decode": round(with_all_rows, 2),
    }


def decoding_core(
    shape: Shape, model: Any, workload: Sequence[Sample], rows: int, options: argparse.Namespace
) -> tuple[float, EngineCore]:
    """A core in which every row of the workload decodes, and the seconds that took."""
    core = make_core(shape, model, workload, rows, options)
    started_at = time.perf_counter()
    add(core, workload)
    while core.statistics().completion_tokens < rows * WARM_UP_TOKENS:
        core.step()
    synchronize(options.device)
    return time.perf_counter() - started_at, core


def measure_rivals(
    row: dict[str, Any], shape: Shape, workload: Sequence[Sample], options: argparse.Namespace, report: Report
) -> None:
    rows = row["rows"]

    def ours() -> float:
        core = make_core(shape, make_model(shape, dtype=options.dtype, device=options.device), workload, rows, options)
        warm_up(core, workload)
        return run_all(core, workload)

    def rival(generate: Callable[[Any, Sequence[Sample], int], Cost]) -> float:
        model = make_model(shape, dtype=options.dtype, device=options.device)
        generate(model, [sample._replace(length=4) for sample in workload[:2]], rows)
        return generate(model, workload, rows).wall_seconds

    ways: dict[str, Callable[[], float]] = {
        "ours": ours,
        "static_batches": lambda: rival(static_batches),
        "continuous_batching": lambda: rival(continuous_batching),
    }
    for way, seconds_of in ways.items():
        if report.is_out_of_time():
            return
        try:
            seconds = seconds_of()
        except Exception as error:  # another project's code: its failure is a result of this bench
            report.add(row | {"way": way, "error": f"{type(error).__name__}: {error}"[:200]})
            continue
        report.add(row | {"way": way, "tokens_per_second": count_tokens(workload) / seconds})
        forget()


def measure_nano(name: str, options: argparse.Namespace, report: Report) -> None:
    longest = 1024 if name != "tiny" else 110
    workload = nano_workload(longest)
    model = make_model(SHAPES[name], dtype=options.dtype, device=options.device)
    rows = max(options.rows)
    core = make_core(SHAPES[name], model, workload, rows, options)
    warm_up(core, workload)
    seconds = run_all(core, workload, temperature=0.6, top_p=1.0)
    tokens = count_tokens(workload)
    report.add(
        {"part": "nano", "shape": name, "rows": rows, "output_tokens": tokens, "seconds": round(seconds, 2)}
        | {"tokens_per_second": tokens / seconds}
    )


def warm_up(core: EngineCore, workload: Sequence[Sample]) -> None:
    """Lets every batch size be met once, and so captured: all rows begin, and end one prompt after another."""
    run_all(core, [sample._replace(length=min(sample.length, 4 + sample.problem)) for sample in workload])


def forget() -> None:
    """Gives back what the last measurement held: models and cores refer to themselves."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def nano_workload(longest: int) -> list[Sample]:
    """The lengths of GeeeekExplorer/nano-vllm `bench.py`, drawn in its order from its seed; the tokens are letters."""
    chooser = random.Random(0)
    alphabet = letters()
    prompts = []
    for _ in range(NANO_SEQUENCES):
        size = chooser.randint(100, longest)
        prompts.append(tuple(alphabet[chooser.randint(0, 10000) % len(alphabet)] for _ in range(size)))
    return [Sample(rank, 0, prompt, chooser.randint(100, longest)) for rank, prompt in enumerate(prompts)]


def profile_steps(shape: Shape, workload: Sequence[Sample], rows: int, options: argparse.Namespace) -> None:
    model = make_model(shape, dtype=options.dtype, device=options.device)
    _, core = decoding_core(shape, model, workload, rows, options)
    with torch.profiler.profile() as profiler:
        for _ in range(min(50, workload[0].length // 4)):
            core.step()
        synchronize(options.device)
    sort_by = "self_cuda_time_total" if options.device.startswith("cuda") else "self_cpu_time_total"
    table = profiler.key_averages().table(sort_by=sort_by, row_limit=30, max_name_column_width=70)
    (options.out / f"profile-{shape.hidden}-{rows}.txt").write_text(table, encoding="utf-8")
    by_host = profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=30, max_name_column_width=70)
    (options.out / f"profile-{shape.hidden}-{rows}-host.txt").write_text(by_host, encoding="utf-8")
    print("\n".join(line[:120] for line in table.splitlines()[:24]))


def make_core(
    shape: Shape, model: Any, workload: Sequence[Sample], rows: int, options: argparse.Namespace
) -> EngineCore:
    """Our engine around a model in memory."""
    longest = max(len(sample.prompt) + sample.length for sample in workload)
    checkpoint = Checkpoint(
        model=model,
        tokenizer=make_tokenizer(shape),
        device=torch.device(options.device),
        end_tokens=frozenset(),
        context_length=-(-longest // 256) * 256,
    )
    load = Load(
        model="random", device=options.device, batch_size=rows, context_length=checkpoint.context_length, dtype="auto"
    )
    return loading.start_slots(
        load, checkpoint, lambda event: print(type(event).__name__, event.message, file=sys.stderr)
    )


def add(core: EngineCore, workload: Sequence[Sample], temperature: float = TEMPERATURE, top_p: float = TOP_P) -> None:
    """Asks for every sample, the samples of a prompt together."""
    problems: dict[int, list[Sample]] = {}
    for sample in workload:
        problems.setdefault(sample.problem, []).append(sample)
    for ticket, samples in enumerate(problems.values()):
        sampling = SamplingParameters(
            max_new_tokens=samples[0].length, temperature=temperature, top_p=top_p, stop=("\nQUESTION",)
        )
        request = Request(
            problem_id=str(samples[0].problem),
            prompt=TextPrompt(tokens_text(samples[0].prompt)),
            sample_indices=tuple(sample.index for sample in samples),
            sampling=sampling,
        )
        core.add(ticket, request, time.monotonic())


def run_all(
    core: EngineCore, workload: Sequence[Sample], temperature: float = TEMPERATURE, top_p: float = TOP_P
) -> float:
    """Generates a workload; the seconds it took."""
    started_at = time.perf_counter()
    add(core, workload, temperature, top_p)
    finished = []
    while not core.is_idle:
        finished += core.step()
    finished += core.step()
    seconds = time.perf_counter() - started_at
    generated = sum(one.completion.completion_tokens for one in finished)
    if generated != count_tokens(workload):
        errors = {one.completion.error for one in finished}
        raise RuntimeError(f"generated {generated} tokens of {count_tokens(workload)}: {errors}")
    return seconds


def copy_speed(device: str) -> float:
    """Bytes read and written per second by a large copy within the device's memory, the median of several."""
    size = (1 << 31) if device.startswith("cuda") else (1 << 26)
    source = torch.empty(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    speeds = []
    for _ in range(12):
        synchronize(device)
        started_at = time.perf_counter()
        target.copy_(source)
        synchronize(device)
        speeds.append(2 * size / (time.perf_counter() - started_at))
    return statistics.median(speeds[2:])


def synchronize(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def describe(device: str) -> dict[str, Any]:
    import transformers

    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else "CPU"
    return {"device": name, "torch": torch.__version__, "transformers": transformers.__version__}


if __name__ == "__main__":
    main()
