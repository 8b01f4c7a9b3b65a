"""Generating and judging alone, one after the other, and overlapped: what overlapping costs, and what it saves.

    python bench/overlap.py [--samples 600] [--rounds 3] [--out results/overlap.json]
    python bench/overlap.py --demo [--samples 560]

Each round runs three commands on the same inputs: `generate`, `evaluate` of what that made, and `run`. With the
scripted engine a sample takes a set time in each of a set number of rows and costs no processor time, and each program
sleeps in its first test and then fails it: so neither stage slows the other down by using the cores, and what is left
is the pipeline. The rates go from one at which judging lags behind to one at which it waits. With `--demo` the embedded
model generates on the cores that programs are judged on.

Times are those that the runs noted themselves, without start-up. The bound is the longer of the two stages alone; the
engine's idle share is the row time, before the last sample began, in which a row had no sample.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from taco_stream.machine import hardware

PROGRAM = "import time\ntime.sleep({seconds})\nprint('sample', {number})\n"
JUDGING_SECONDS = 0.04
DISTINCT = 1000
"""Programs that differ, so that no verdict is found in the cache."""

SCRIPTS = {
    "generating takes a third": (6, 0.04),
    "judging takes a little longer": (2, 0.04),
    "about as long": (2, 0.05),
    "generating takes a little longer": (2, 0.065),
    "judging takes a third": (1, 0.07),
}
"""Rows, and the seconds that a sample takes in one, for two evaluator workers."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=600, help="of all problems together")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--demo", action="store_true", help="the demo model instead of the scripted engine")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cases = demo_case() if arguments.demo else scripted_cases(Path(folder))
        result: dict[str, Any] = {"hardware": hardware(), "samples": arguments.samples, "cases": {}}
        for name, flags in cases.items():
            rounds = []
            for number in range(arguments.rounds):
                rounds.append(measure(Path(folder) / f"{name} {number}", flags, arguments.samples))
                print(name, json.dumps(rounds[-1]), flush=True)
            median = {figure: round(statistics.median(each[figure] for each in rounds), 4) for figure in rounds[0]}
            result["cases"][name] = {"median": median, "rounds": rounds}
    print(table(result["cases"]))
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def scripted_cases(folder: Path) -> dict[str, list[str]]:
    """The flags of each case."""
    texts = [PROGRAM.format(seconds=JUDGING_SECONDS, number=number) for number in range(DISTINCT)]
    cases = {}
    for name, (rows, seconds) in SCRIPTS.items():
        script = folder / f"{name}.toml"
        script.write_text(f"rows = {rows}\nseconds = {seconds}\ntexts = {json.dumps(texts)}\n", encoding="utf-8")
        cases[name] = ["--engine", f"scripted:{script}", "--limit", "1", "--workers", "2"]
    return cases


def demo_case() -> dict[str, list[str]]:
    return {"demo model": ["--config", str(demo() / "run.toml")]}


def measure(folder: Path, flags: list[str], samples: int) -> dict[str, float]:
    """The figures of one round."""
    folder.mkdir()
    problems = 1 if "--limit" in flags else sum(1 for _ in (demo() / "problems.jsonl").open(encoding="utf-8"))
    each = ["--samples", str(samples // problems)]
    common = [flag for flag in flags if flag not in ("--workers", "2")]
    workers = ["--workers", "2"] if "--workers" in flags else []
    alone = run("generate", str(folder / "generated"), *common, *each)
    judged = run("evaluate", str(folder / "generated"), str(folder / "judged"), *workers)
    both = run("run", str(folder / "both"), *flags, *each)
    generating, judging = working_seconds(alone), working_seconds(judged)
    overlapped, bound = working_seconds(both), max(generating, judging)
    return {
        "generating_alone_seconds": generating,
        "judging_alone_seconds": judging,
        "one_after_the_other_seconds": alone["elapsed_seconds"] + judged["elapsed_seconds"],
        "overlapped_seconds": overlapped,
        "of_the_bound": overlapped / bound,
        "of_one_after_the_other": both["elapsed_seconds"] / (alone["elapsed_seconds"] + judged["elapsed_seconds"]),
        "efficiency": max(both["generating_seconds"], both["judging_seconds"]) / overlapped,
        "engine_idle_share": idle_share(both),
        "startup_seconds": both["startup_seconds"],
        "first_verdict_seconds": both["first_verdict_seconds"],
    }


def run(*command: str) -> Mapping[str, Any]:
    """The statistics with which a command of ours ended."""
    subprocess.run([sys.executable, "-m", "taco_stream", *command, "--quiet"], check=True, stdout=subprocess.DEVNULL)
    directory = Path(command[2] if command[0] == "evaluate" else command[1])
    events = [json.loads(line) for line in (directory / "events.jsonl").open(encoding="utf-8")]
    found: dict[str, Any] = next(each["statistics"] for each in reversed(events) if each["kind"] == "run_finished")
    return found


def working_seconds(seen: Mapping[str, Any]) -> float:
    """Wall time without start-up."""
    return float(seen["elapsed_seconds"] - seen["startup_seconds"])


def idle_share(seen: Mapping[str, Any]) -> float:
    """The share of the rows' time before the tail in which they had no sample."""
    engine, tail = seen["engine"], seen["tail"]
    window = seen["generating_seconds"] + seen["generating_idle_seconds"] - tail["seconds"]
    used = engine["row_seconds"] - tail["mean_rows"] * tail["seconds"]
    return float(1 - used / (engine["rows_total"] * window))


def table(cases: Mapping[str, Any]) -> str:
    """The medians as Markdown."""
    columns = (
        "generating alone",
        "judging alone",
        "overlapped",
        "of the longer",
        "of both in turn",
        "efficiency",
        "engine idle",
    )
    lines = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for name, case in cases.items():
        median = case["median"]
        lines.append(
            f"| {name} | {median['generating_alone_seconds']:.1f} s | {median['judging_alone_seconds']:.1f} s "
            f"| {median['overlapped_seconds']:.1f} s | {median['of_the_bound']:.3f} "
            f"| {median['of_one_after_the_other']:.2f} | {100 * median['efficiency']:.1f} % "
            f"| {100 * median['engine_idle_share']:.2f} % |"
        )
    return "\n".join(lines)


def demo() -> Path:
    import taco_stream

    return Path(taco_stream.__file__).parent / "demo"


if __name__ == "__main__":
    main()
