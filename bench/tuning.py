"""A run that is tuned beside runs with fixed numbers of threads and workers, from judging-bound to generation-bound.

    python bench/tuning.py [--samples 400] [--rounds 1] [--out results/tuning.json]
    python bench/tuning.py --contended [--samples 2] [--rounds 2] [--repeats 1 4 12] [--out results/tuning.json]

The first takes the rates of `bench/overlap.py`: a scripted engine that costs no processor time and programs that sleep,
so only the number of workers can be chosen. With `--contended` the embedded model generates on the cores that programs
are judged on, and every test of its problems is there so many times: the more, the longer judging takes. There
`taco-stream tune` writes the settings first, and a run without any choice is measured as well.

Times are wall time without start-up, the shortest of the rounds: what else the machine does can only lengthen them. The
goal is at most 1.05 times that of the best fixed choice.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from overlap import demo, run, scripted_cases, working_seconds

from taco_stream.machine import available_cores, hardware

TUNED, DEFAULT = "tuned", "default"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, help="of the scripted problem, or of each of the demo's")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--contended", action="store_true", help="generate on the cores that programs are judged on")
    parser.add_argument("--repeats", type=int, nargs="+", default=[1, 4, 12], help="of every test, one case each")
    parser.add_argument("--out", type=Path, help="cases are added to those that it has")
    arguments = parser.parse_args()
    result: dict[str, Any] = {"hardware": hardware(), "cases": {}}
    if arguments.out and arguments.out.exists():
        result["cases"] = json.loads(arguments.out.read_text(encoding="utf-8"))["cases"]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if arguments.contended:
            cases = {f"every test {each} times": contended_choices(folder, each) for each in arguments.repeats}
        else:
            cases = {name: scripted_choices(flags) for name, flags in scripted_cases(folder).items()}
        samples = arguments.samples or (2 if arguments.contended else 400)
        for name, choices in cases.items():
            result["cases"][name] = measure(folder / name, choices, samples, arguments.rounds)
            print(name, json.dumps(result["cases"][name]), flush=True)
    print(table(result["cases"]))
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def scripted_choices(flags: list[str]) -> dict[str, list[str]]:
    """The flags of each choice for a scripted engine, which has no threads: tuned is what a run does by itself."""
    common = flags[: flags.index("--workers")]
    fixed = {f"{count} workers": [*common, "--workers", str(count)] for count in fixed_counts()}
    return {**fixed, TUNED: common}


def contended_choices(folder: Path, repeats: int) -> dict[str, list[str]]:
    """The same for the demo's model on problems whose tests are repeated."""
    problems, preset, tuned = (folder / f"{repeats} {name}" for name in ("problems.jsonl", "run.toml", "tuned.toml"))
    with problems.open("w", encoding="utf-8") as file:
        for line in (demo() / "problems.jsonl").open(encoding="utf-8"):
            row = json.loads(line)
            tests = json.loads(row["input_output"])
            for name in ("inputs", "outputs"):
                tests[name] *= repeats
            file.write(json.dumps({**row, "input_output": json.dumps(tests)}) + "\n")
    text = (demo() / "run.toml").read_text(encoding="utf-8")
    preset.write_text(text.replace('dataset = "demo"', f"dataset = {json.dumps(str(problems))}"), encoding="utf-8")
    subprocess.run(
        [sys.executable, "-m", "taco_stream", "tune", str(tuned), "--config", str(preset)],
        check=True,
        stdout=sys.stderr,
    )
    print("tuned:", tomllib.loads(tuned.read_text(encoding="utf-8"))["threads"], "threads", flush=True)
    common = ["--config", str(preset)]
    fixed = {
        f"{threads} threads, {workers} workers": [*common, "--threads", str(threads), "--workers", str(workers)]
        for threads in fixed_counts()
        for workers in fixed_counts()
    }
    return {**fixed, DEFAULT: common, TUNED: ["--config", str(tuned)]}


def fixed_counts() -> list[int]:
    """The numbers to try for threads and for workers: powers of two up to the cores."""
    return [1 << power for power in range(available_cores().bit_length())]


def measure(folder: Path, choices: Mapping[str, list[str]], samples: int, rounds: int) -> dict[str, Any]:
    """The seconds of each choice in rounds in which all take turns, and the shortest of tuned by that of the best."""
    folder.mkdir()
    seconds: dict[str, list[float]] = {name: [] for name in choices}
    for number in range(rounds):
        for name, flags in choices.items():
            seen = run("run", str(folder / f"{name} {number}"), *flags, "--samples", str(samples))
            seconds[name].append(round(working_seconds(seen), 3))
    best = min((name for name in seconds if name not in (TUNED, DEFAULT)), key=lambda name: min(seconds[name]))
    return {"seconds": seconds, "best": best, "of_the_best": round(min(seconds[TUNED]) / min(seconds[best]), 3)}


def table(cases: Mapping[str, Any]) -> str:
    """The shortest times as Markdown."""
    lines = ["| | fixed choices | tuned | of the best |", "|---|---|---|---|"]
    for name, case in cases.items():
        shortest = {choice: min(each) for choice, each in case["seconds"].items()}
        tuned = shortest.pop(TUNED)
        fixed = "; ".join(f"{choice} {each:.1f} s" for choice, each in shortest.items())
        lines.append(f"| {name} | {fixed} | {tuned:.1f} s | {case['of_the_best']:.3f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
