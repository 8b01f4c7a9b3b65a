"""What decoding on a GPU comes to, proven right before it is timed, beside what the device allows; random weights.

python bench/gpu.py --out FOLDER [--parts proof decode profile nano rivals] [--shapes 0.5B 1.5B 7B] [--rows 64 256 1024]
                    [--temperatures 0.2 0.8] [--samples-per-prompt 16 1] [--budget-seconds 540] [--limit-seconds 120]

roofs    always first: bytes per second of a large copy, and operations per second of a large matrix product
proof    greedy tokens of our core in float32 and in `--dtype`, each beside the logits of transformers' eager attention
         for the same text (the rule is `PROOFS` in gpu_measurements.py); timings say whether their shape is `proven`
decode   tokens/s of our core while every row decodes; a step's time on the host and on the device apart; prompts and
         copies apart from it; captured shapes, events, the peak of memory. Beside two limits: `memory_limit`, at which
         a step reads the weights and the occupied cache once, and `roof`, at which it also computes two operations per
         parameter and row
profile  what 50 decoding steps spend their time on, by torch's profiler
nano     nano-vllm's `bench.py`: 256 sequences, 133,966 output tokens, T=0.6, on the shape of Qwen3-0.6B
rivals   tokens/s of the same samples from prompt to last token: ours, transformers' static and continuous batches

Each measurement is one line of JSON, appended to FOLDER/gpu.jsonl as soon as it is known: figures, or `error`, or
`timed_out`, or `skipped`. They run in a process that is killed if one of them takes longer than `--limit-seconds`, or
than what is left of the budget; a new process takes on those that follow, as it does after an error, which may have
left the device unusable. One that is not expected to end within the budget is not begun.

`--shapes tiny --device cpu --dtype float32 --rows 4 8 --lengths 32 64` tries all of it without a GPU.
"""

import argparse
import itertools
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from random_models import SHAPES

PARTS = ("proof", "decode", "profile", "nano", "rivals")
RIVALS = ("ours", "static_batches", "continuous_batching")
EXPECTED_SECONDS = 20.0
"""For a measurement while none of its part and shape has ended. Starting a process takes about ten of them."""


@dataclass(frozen=True)
class Measurement:
    """One thing to measure. `way` is whose generation it is, if not only ours."""

    part: str
    shape: str = ""
    dtype: str = ""
    rows: int = 0
    samples_per_prompt: int = 4
    temperature: float = 0.2
    way: str = "ours"


@dataclass(frozen=True)
class Setup:
    """What holds for all measurements of a call."""

    device: str
    out: Path
    prompt: int
    length: int
    budget_seconds: float
    limit_seconds: float


Measure = Callable[[Setup, Measurement], dict[str, Any]]
"""Runs in a process of its own; what it raises becomes the measurement's `error`."""


def main() -> None:
    options = parse()
    setup = Setup(options.device, options.out, *options.lengths, options.budget_seconds, options.limit_seconds)
    results = Results(options.out / "gpu.jsonl")
    carry_out(plan(options), measure, setup, results)
    results.print_table()


def measure(setup: Setup, measurement: Measurement) -> dict[str, Any]:
    import gpu_measurements  # torch is for the processes that are killed, not for this one

    return gpu_measurements.measure(setup, measurement)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=["proof", "decode", "nano", "rivals"])
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=["0.5B", "1.5B", "7B"])
    parser.add_argument("--rows", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--temperatures", type=float, nargs="+", default=[0.2, 0.8])
    parser.add_argument("--samples-per-prompt", type=int, nargs="+", default=[16, 1])
    parser.add_argument("--lengths", type=int, nargs=2, default=[512, 256], help="tokens of prompts and completions")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--budget-seconds", type=float, default=540)
    parser.add_argument("--limit-seconds", type=float, default=120)
    options = parser.parse_args()
    if options.lengths[1] < 64:
        parser.error("--lengths: completions must have 64 tokens, of which the first 24 are a warm-up")
    return options


def plan(options: argparse.Namespace) -> list[Measurement]:
    """The measurements in their order: a shape's proofs, then its timings; the roofs before everything."""
    dtype, parts = options.dtype, options.parts
    nano = "0.6B" if options.device.startswith("cuda") else "tiny"
    measurements = [Measurement("roofs", dtype=dtype)]
    # nano's shape is its own: it needs a proof of its own.
    for shape in [*options.shapes, *({nano} - {*options.shapes} if "nano" in parts else ())]:
        if "proof" in parts:
            measurements += [Measurement("proof", shape, each) for each in dict.fromkeys(("float32", dtype))]
        is_asked_for = shape in options.shapes
        if "decode" in parts and is_asked_for:
            # Rows outside: all settings of one number of rows share a core, and so its captured shapes.
            settings = itertools.product(options.rows, options.samples_per_prompt, options.temperatures)
            measurements += [Measurement("decode", shape, dtype, *each) for each in settings]
        if "profile" in parts and is_asked_for:
            measurements.append(Measurement("profile", shape, dtype, options.rows[0]))
        if "nano" in parts and shape == nano:
            measurements.append(Measurement("nano", shape, dtype, max(options.rows), 1, 0.6))
        if "rivals" in parts and is_asked_for:
            ways = itertools.product(options.rows, RIVALS)
            measurements += [Measurement("rivals", shape, dtype, rows, way=way) for rows, way in ways]
    return measurements


class Results:
    """The lines of this call, each on disk as soon as it is known, behind those of earlier calls."""

    def __init__(self, path: Path) -> None:
        self.lines: list[dict[str, Any]] = []
        self._path = path
        self._began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        path.parent.mkdir(parents=True, exist_ok=True)

    def add(self, measurement: Measurement, outcome: dict[str, Any]) -> None:
        line = {"call": self._began} | asdict(measurement) | outcome
        if measurement.part not in ("roofs", "proof"):
            line["proven"] = self._is_proven(measurement)
            line |= limits(line, self._roofs())
        self.lines.append(line)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        print(line, file=sys.stderr, flush=True)

    def longest_seconds(self, measurement: Measurement) -> float:
        """What to expect of a measurement from those of its part and shape that have ended."""
        part, shape = measurement.part, measurement.shape
        ended = [line["seconds"] for line in self.lines if (line["part"], line["shape"]) == (part, shape)]
        return max(ended, default=EXPECTED_SECONDS)

    def print_table(self) -> None:
        for line in self.lines:
            shown = {key: value for key, value in line.items() if key not in ("call", "traceback", "captured_shapes")}
            print("  ".join(f"{key}={short(value)}" for key, value in shown.items()))

    def _is_proven(self, measurement: Measurement) -> bool:
        proofs = [line for line in self.lines if line["part"] == "proof" and line["shape"] == measurement.shape]
        are_right = [line.get("is_right", False) for line in proofs]
        return all(are_right) and measurement.dtype in [line["dtype"] for line in proofs]

    def _roofs(self) -> dict[str, Any]:
        return next((line for line in self.lines if line["part"] == "roofs"), {})


def short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def limits(line: dict[str, Any], roofs: dict[str, Any]) -> dict[str, float]:
    """Tokens per second that the device allows, and the share of them that was reached; empty if unknown.

    The cache is taken to be read for each row, though samples of one prompt have a part of it in common.
    """
    if "step_weight_bytes" not in line or "copy_bytes_per_second" not in roofs:
        return {}
    rows, bandwidth = line["rows"], roofs["copy_bytes_per_second"]
    reading_weights, reading_cache = line["step_weight_bytes"] / bandwidth, line["step_cache_bytes"] / bandwidth
    computing = 2 * line["step_parameters"] * rows / roofs["operations_per_second"]
    memory_limit = rows / (reading_weights + reading_cache)
    roof = rows / (max(reading_weights, computing) + reading_cache)
    reached = line["tokens_per_second"]
    return {
        "memory_limit": memory_limit,
        "roof": roof,
        "share_of_memory_limit": reached / memory_limit,
        "share_of_roof": reached / roof,
    }


def carry_out(measurements: Iterable[Measurement], measure: Measure, setup: Setup, results: Results) -> None:
    """Runs each measurement under a time limit and adds its outcome, whatever that is, to the results."""
    ends_at = time.monotonic() + setup.budget_seconds
    worker: Worker | None = None
    shape = ""
    try:
        for measurement in measurements:
            left = ends_at - time.monotonic()
            if left < results.longest_seconds(measurement):
                results.add(measurement, {"skipped": f"{left:.0f} s of the budget are left", "seconds": 0.0})
                continue
            # Memory that one shape did not give back is not missing from the next.
            if worker is not None and shape and measurement.shape != shape:
                worker.kill()
                worker = None
            shape = measurement.shape
            began_at = time.monotonic()
            worker = worker or Worker(measure, setup)
            outcome = worker.run(measurement, min(left, setup.limit_seconds))
            results.add(measurement, outcome | {"seconds": round(time.monotonic() - began_at, 2)})
            if "error" in outcome or "timed_out" in outcome:
                worker.kill()
                worker = None
    finally:
        if worker is not None:
            worker.kill()


class Worker:
    """A process that takes on one measurement after another."""

    def __init__(self, measure: Measure, setup: Setup) -> None:
        context = multiprocessing.get_context("spawn")  # CUDA does not outlive a fork
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, measure, setup), daemon=True)
        self._process.start()
        theirs.close()

    def run(self, measurement: Measurement, limit_seconds: float) -> dict[str, Any]:
        """The figures, or `error`, or `timed_out`; after either of these the process is good for nothing more."""
        try:
            self._connection.send(measurement)
            if not self._connection.poll(limit_seconds):
                return {"timed_out": f"not finished after {limit_seconds:.0f} s"}
            outcome: dict[str, Any] = self._connection.recv()
        except (EOFError, OSError):
            self._process.join(10)
            return {"error": f"the process ended with {self._process.exitcode}"}
        return outcome

    def kill(self) -> None:
        self._process.kill()
        self._process.join(10)  # one that hangs in a driver may never end
        self._connection.close()


def serve(connection: Connection, measure: Measure, setup: Setup) -> None:
    """The process of a worker."""
    while True:
        try:
            measurement = connection.recv()
        except EOFError:
            return
        try:
            outcome = measure(setup, measurement)
        except Exception as error:
            outcome = describe(error)
        connection.send(outcome)


def describe(error: BaseException) -> dict[str, str]:
    import traceback

    first_line = next(iter(str(error).splitlines()), "")
    trace = "".join(traceback.format_exception(error))
    return {"error": f"{type(error).__name__}: {first_line}", "traceback": trace[-4000:]}


if __name__ == "__main__":
    main()
