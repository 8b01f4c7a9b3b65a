"""The demo end to end: taco-stream beside the serial way, on the same problems and the same model in one run.

    python bench/end_to_end.py [--problems 12] [--samples 10] [--repeats 3] [--out bench/results/end_to_end.json]

The serial way is what the scripts it replaces do: `model.generate` for one prompt and one sample at a time, then, when
everything is generated, one fresh interpreter per test with the usual header of imports, every test of every program.
Both sides sample at the demo's settings and are timed as whole commands, interpreter start and model load included.
The ratio is of wall seconds, medians of the repeats; the sides alternate so that a noisy machine disturbs both.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HEADER = (
    "import sys, time, itertools, collections, math, fractions, random, heapq\n"
    "from itertools import accumulate, product, permutations, combinations\n"
    "from collections import Counter, OrderedDict, deque, defaultdict, ChainMap\n"
    "from functools import lru_cache\nfrom typing import List, Tuple\nimport numpy as np\n"
)
TIME_LIMIT_SECONDS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=12)
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--serial-side", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serial_side:
        serial_side(arguments.problems, arguments.samples)
    else:
        compare(arguments)


def compare(arguments: argparse.Namespace) -> None:
    """Times both sides in turn and prints the ratio."""
    shape = ["--problems", str(arguments.problems), "--samples", str(arguments.samples)]
    rounds = []
    for number in range(arguments.repeats):
        serial = timed([sys.executable, __file__, "--serial-side", *shape])
        ours, summary = timed_run(arguments.problems, arguments.samples)
        rounds.append({"serial_seconds": serial, "taco_stream_seconds": ours, "ratio": serial / ours} | summary)
        print(f"round {number + 1}: serial {serial:.1f} s, taco-stream {ours:.1f} s, {serial / ours:.1f} times")
    result = {
        "hardware": f"{os.cpu_count()} cores, {platform.processor() or platform.machine()}, {cpu_name()}",
        "problems": arguments.problems,
        "samples": arguments.samples,
        "median_ratio": statistics.median(each["ratio"] for each in rounds),
        "rounds": rounds,
    }
    print(f"median: {result['median_ratio']:.1f} times the serial way; {result['hardware']}")
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def timed(command: list[str]) -> float:
    started_at = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started_at


def timed_run(problems: int, samples: int) -> tuple[float, dict[str, float]]:
    """Wall seconds of `taco-stream run` on the demo, and what its last event says of the overlap."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [sys.executable, "-m", "taco_stream", "run", str(run), "--config", str(demo() / "run.toml")]
        seconds = timed([*command, "--limit", str(problems), "--samples", str(samples)])
        events = [json.loads(line) for line in (run / "events.jsonl").open(encoding="utf-8")]
    figures = next(event["statistics"] for event in reversed(events) if event["kind"] == "run_finished")
    return seconds, {name: figures[name] for name in ("generating_seconds", "judging_seconds", "overlapped_seconds")}


def serial_side(problems: int, samples: int) -> None:
    """Generates everything one sample at a time, then judges it with one fresh interpreter per test."""
    import tomllib

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    preset = tomllib.loads((demo() / "run.toml").read_text(encoding="utf-8"))
    tokenizer = AutoTokenizer.from_pretrained(demo() / "model")
    model = AutoModelForCausalLM.from_pretrained(demo() / "model").eval()
    rows = [json.loads(line) for line in (demo() / "problems.jsonl").open(encoding="utf-8")][:problems]
    programs: list[list[str]] = []
    for row in rows:
        inputs = tokenizer(make_prompt(row), return_tensors="pt")
        programs.append([])
        for seed in range(samples):
            torch.manual_seed(seed)
            with torch.no_grad():
                output = model.generate(
                    **inputs,
                    do_sample=True,
                    temperature=preset["temperature"],
                    top_p=preset["top_p"],
                    max_new_tokens=preset["max_new_tokens"],
                )
            programs[-1].append(tokenizer.decode(output[0][inputs["input_ids"].shape[1] :], skip_special_tokens=True))
    for row, written in zip(rows, programs, strict=True):
        for program in written:
            judge_serially(row, program)


def make_prompt(row: dict) -> str:
    call_based = json.loads(row["input_output"]).get("fn_name") or row["starter_code"]
    kind = "Call-Based" if call_based else "Standard Input"
    return f"\nQUESTION:\n{row['question']}{row['starter_code']}\nUse {kind} format\nANSWER:\n"


def judge_serially(row: dict, program: str) -> None:
    """Runs every test in a fresh interpreter; call-based programs print the function's value."""
    tests = json.loads(row["input_output"])
    for given, expected in zip(tests["inputs"], tests["outputs"], strict=True):
        text = given if isinstance(given, str) else "\n".join(map(str, given))
        source = HEADER + program
        if tests.get("fn_name"):
            source, text = f"{source}\nprint([{tests['fn_name']}(*{given!r})] == {expected!r})\n", ""
        try:
            subprocess.run(
                [sys.executable, "-c", source],
                check=False,
                input=text,
                text=True,
                capture_output=True,
                timeout=TIME_LIMIT_SECONDS,
            )
        except subprocess.TimeoutExpired:
            continue


def demo() -> Path:
    import taco_stream

    return Path(taco_stream.__file__).parent / "demo"


def cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown processor"


if __name__ == "__main__":
    main()
