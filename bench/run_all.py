"""All performance figures of this machine, in one command, and which of them got worse.

    python bench/run_all.py small|medium|full
    python bench/run_all.py small --compare bench/results/MACHINE.json

Runs the scripts below at a size of a few minutes, a quarter of an hour or an hour, one after the other, and writes what
they found to `results/MACHINE.json` and to the table in `docs/benchmarks.md`. With `--compare` nothing is written: each
figure is set beside that of an earlier file, and those that are worse by more than the tolerance are named; the exit
code is then 1. Only files of the same size and machine can be compared. Figures that hold a ratio or processor time
hardly depend on what else the machine does; the others need it for themselves.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from taco_stream.machine import hardware

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
SIZES = ("small", "medium", "full")
BEGIN, END = "<!-- run_all.py: begin -->", "<!-- run_all.py: end -->"

TOLERANCE = 0.15
"""How much worse a figure may be: medians of three on a shared machine differ by a tenth."""


class Figure(NamedTuple):
    """One number out of a script's result; differences up to `noise`, in its unit, mean nothing."""

    name: str
    unit: str
    is_better_if_lower: bool
    read: Callable[[Any], float]
    noise: float = 0.0


class Script(NamedTuple):
    """A script with its arguments for each of `SIZES`, None where it is left out, and its figures."""

    name: str
    arguments: Sequence[str | None]
    figures: Sequence[Figure]


def _ours(result: Any) -> float:
    return float(next(cost["cpu_milliseconds"] for way, cost in result["per_test"].items() if way.startswith("ours")))


def _loop(name: str) -> Callable[[Any], float]:
    return lambda result: float(result["median"][name])


def _tokens(engine: str) -> Callable[[Any], float]:
    return lambda result: next(
        each["tokens_per_wall_second"] for each in result["results"] if each["engine"] == engine and each["rows"] == 16
    )


SCRIPTS = (
    Script(
        "startup.py",
        ("--repeats 5", "--repeats 20", "--repeats 20"),
        [Figure("taco-stream --help", "s", True, lambda result: result["help_seconds"])],
    ),
    Script(
        "loop.py",
        ("--problems 50", "--problems 100", "--problems 1000 --samples 1000 --rounds 1 --reopen"),
        [
            Figure(
                "the run itself, per sample", "µs CPU", True, lambda each: each["median"]["microseconds_per_sample"]
            ),
            Figure("its memory, from a tenth to the end", "MiB", True, _loop("mib_grown"), noise=5.0),
        ],
    ),
    Script(
        "evaluator.py",
        ("--programs 12 --repeats 1", "--programs 20", ""),
        [
            Figure("judging, per test", "ms CPU", True, _ours),
            Figure("bare fork and wait", "ms CPU", True, lambda each: each["per_test"]["floor"]["cpu_milliseconds"]),
        ],
    ),
    Script(
        "overlap.py",
        ("--samples 200 --rounds 1", "--samples 600 --rounds 1", "--samples 600"),
        [
            Figure(
                "overlapped, by the longer stage alone, worst of five rates",
                "times",
                True,
                lambda each: max(case["median"]["of_the_bound"] for case in each["cases"].values()),
            ),
            Figure(
                "engine idle for want of samples, worst of five rates",
                "%",
                True,
                lambda each: 100 * max(case["median"]["engine_idle_share"] for case in each["cases"].values()),
                noise=0.5,
            ),
        ],
    ),
    Script(
        "end_to_end.py",
        ("--problems 4 --samples 3 --repeats 1", "--problems 6 --samples 5", ""),
        [Figure("a demo run, by the serial way", "times faster", False, lambda each: each["median_ratio"])],
    ),
    Script(
        "engine.py",
        (
            None,
            "--rows 16 --dtypes bfloat16 --engines one_at_a_time ours --repeats 1",
            "--rows 16 --dtypes bfloat16 --engines one_at_a_time ours",
        ),
        [
            Figure("generating, 31M parameters, 16 rows", "tokens/s", False, _tokens("ours")),
            Figure(
                "the same, by one prompt at a time",
                "times",
                False,
                lambda each: _tokens("ours")(each) / _tokens("one_at_a_time")(each),
            ),
        ],
    ),
)

Figures = dict[str, dict[str, Any]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("--compare", type=Path, metavar="FILE", help="an earlier result of the same size")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE)
    parser.add_argument("--only", nargs="+", metavar="SCRIPT", help="leave the other scripts out")
    arguments = parser.parse_args()
    before = json.loads(arguments.compare.read_text(encoding="utf-8")) if arguments.compare else None
    if before and (before["size"], before["hardware"]) != (arguments.size, hardware()):
        parser.error(f"{arguments.compare} is of size {before['size']} on {before['hardware']['processor']}")
    figures = measure(arguments.size, arguments.only)
    if before:
        worse = compare(before["figures"], figures, arguments.tolerance)
        print("\n".join(worse) or f"nothing is worse by more than {100 * arguments.tolerance:.0f} %")
        return 1 if worse else 0
    result = {
        "size": arguments.size,
        "date": time.strftime("%Y-%m-%d"),
        "hardware": hardware(),
        "figures": figures,
    }
    path = HERE / "results" / f"{machine_name(hardware())}.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), table(result)), encoding="utf-8")
    print(table(result))
    return 0


def measure(size: str, only: Sequence[str] | None) -> Figures:
    """Runs the scripts and reads their figures; one that fails ends all."""
    found: Figures = {}
    for script in SCRIPTS:
        arguments = script.arguments[SIZES.index(size)]
        if arguments is None or (only and script.name not in only):
            continue
        print(f"== {script.name} {arguments}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "result.json"
            command = [sys.executable, str(HERE / script.name), *arguments.split(), "--out", str(out)]
            subprocess.run(command, check=True)
            result = json.loads(out.read_text(encoding="utf-8"))
        for figure in script.figures:
            found[figure.name] = {
                "value": figure.read(result),
                "unit": figure.unit,
                "is_better_if_lower": figure.is_better_if_lower,
                "noise": figure.noise,
                "script": script.name,
            }
    return found


def compare(before: Figures, now: Figures, tolerance: float) -> list[str]:
    """A line for each figure that is worse than before by more than the tolerance, the worst first."""
    worse: list[tuple[float, str]] = []
    for name in [name for name in now if name in before]:
        figure, then, value = now[name], before[name]["value"], now[name]["value"]
        good, bad = (then, value) if figure["is_better_if_lower"] else (value, then)
        if bad - good <= max(figure["noise"], tolerance * abs(good)):
            continue
        worse.append(
            (bad / max(good, 1e-9), f"{name}: {then:.4g} {figure['unit']} before, {value:.4g} now ({figure['script']})")
        )
    return [line for _, line in sorted(worse, reverse=True)]


def table(result: Mapping[str, Any]) -> str:
    """The figures as Markdown."""
    machine = f"{result['hardware']['cores']} cores, {result['hardware']['processor']}"
    head = f"`bench/run_all.py {result['size']}`, {result['date']}, {machine}:"
    rows = [
        f"| {name} | {each['value']:.3g} {each['unit']} | `bench/{each['script']}` |"
        for name, each in result["figures"].items()
    ]
    return "\n".join([head, "", "| what | figure | script |", "|---|---|---|", *rows])


def with_table(page: str, text: str) -> str:
    """The page with the text between its two marks. Raises `ValueError` if it has none."""
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"the page has no {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def machine_name(machine: Mapping[str, str]) -> str:
    """A file's name for a machine: its processor and how many cores of it there are."""
    words = re.sub(r"\(.*?\)|[^a-zA-Z0-9]+", " ", machine["processor"]).lower().split()
    return "-".join([*(word for word in words if word != "processor"), machine["cores"], "cores"])


if __name__ == "__main__":
    sys.exit(main())
