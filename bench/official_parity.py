"""How far the `official` mode agrees with the original, program by program.

    python bench/official_parity.py --official PATH/TO/TACO [--data ../shared/data/open] [--limit N] [--out FILE]

Imports `metrics/testing_util.py` from a checkout of FlagOpen/TACO that you name (none of it is in this repository) and
runs both judges on every labelled program of the data folder. Each program of the original's runs in a process and a
folder of its own, since it patches its process and writes temporary files. Differences are printed with both sides'
statuses; agreement is per program: both accept, or both refuse. The original's time limit is four seconds of wall time
on a machine that may be busy; programs that either side stops for time are counted apart. It reports a function that it
stopped as crashed, so what differs is given to it once more, alone: `load` counts what agrees then.
"""

import argparse
import gzip
import inspect
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio

from taco_stream.datasets.open import open_dataset
from taco_stream.evaluator.pool import Evaluator, EvaluatorSettings
from taco_stream.types import ComparisonMode, Problem, Status, Verdict

ORIGINAL_SECONDS = 120


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--official", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/open"))
    parser.add_argument("--sources", default="taco_example,humaneval,quixbugs,mbpp,debugbench,leetcode,kattis")
    parser.add_argument("--limit", type=int, help="programs per source, spread evenly")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        run_original(arguments.official)
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # the original calls `python`
    by_source = {source: compare(source, arguments) for source in arguments.sources.split(",")}
    totals = sum(by_source.values(), Counter[str]())
    totals["agree"] += totals["load"]
    compared = totals["agree"] + totals["differ"]
    print(f"all: {totals['agree']} of {compared} agree ({100 * totals['agree'] / compared:.2f} %); {dict(totals)}")
    if arguments.out:
        arguments.out.write_text(json.dumps(by_source | {"all": totals}, indent=2) + "\n", encoding="utf-8")


def compare(source: str, arguments: argparse.Namespace) -> Counter[str]:
    """Judges the programs of one source on both sides and prints the differences."""
    problems = {each.problem_id: each for each in open_dataset(str(arguments.data / f"{source}.jsonl.gz"))}
    with gzip.open(arguments.data / f"{source}_programs.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    if arguments.limit and len(rows) > arguments.limit:
        rows = rows[:: len(rows) // arguments.limit]
    ours = anyio.run(judge_all, rows, problems)
    counts: Counter[str] = Counter()
    different: list[tuple[dict, Verdict]] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        theirs = pool.map(
            lambda row: original(arguments.official, row["program"], problems[row["task_id"]].tests), rows
        )
        for row, verdict, results in zip(rows, ours, theirs, strict=True):
            accepted = bool(results) and all(result is True for result in results)
            timed_out = verdict.status is Status.TIME_LIMIT or results is None or -1 in results
            outcome = "agree" if accepted == (verdict.status is Status.PASSED) else "differ"
            if outcome == "differ" and timed_out:
                outcome = "time"
            if outcome == "differ":
                different.append((row, verdict))
                continue
            counts[outcome] += 1
            if outcome != "agree":
                show(outcome, row, verdict, results)
    for row, verdict in different:
        results = original(arguments.official, row["program"], problems[row["task_id"]].tests)
        accepted = bool(results) and all(result is True for result in results)
        outcome = "load" if accepted == (verdict.status is Status.PASSED) else "differ"
        counts[outcome] += 1
        show(outcome, row, verdict, results)
    print(f"{source}: {dict(counts)}", flush=True)
    return counts


def show(outcome: str, row: dict, verdict: Verdict, results: list | None) -> None:
    """Prints what both sides say of one program."""
    said = dict(Counter(map(str, results or ["killed"])))
    print(f"{outcome}: {row['task_id']} ({row['origin'][-60:]}), labelled {row['expected']}")
    print(f"    ours {verdict.status}, test {verdict.failed_test}, {verdict.detail!r}; original {said}")


async def judge_all(rows: list[dict], problems: dict[str, Problem]) -> list:
    """Our verdict under `official` on every program."""
    verdicts: list = [None] * len(rows)
    limit = anyio.CapacityLimiter(4)
    async with (
        Evaluator(EvaluatorSettings(mode=ComparisonMode.OFFICIAL)) as evaluator,
        anyio.create_task_group() as tasks,
    ):

        async def judge(number: int) -> None:
            async with limit:
                verdicts[number] = await evaluator.judge(problems[rows[number]["task_id"]], rows[number]["program"])

        for number in range(len(rows)):
            tasks.start_soon(judge, number)
    return verdicts


def original(checkout: Path, program: str, tests: str) -> list | None:
    """What the original's `run_test` returns, None where it had to be killed."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(Path(__file__).resolve()), "--child", "--official", str(checkout.resolve())]
        try:
            done = subprocess.run(
                command,
                check=False,
                input=json.dumps([program, tests]).encode(),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=folder,
                timeout=ORIGINAL_SECONDS,
                env=os.environ | {"TMPDIR": folder},
            )
        except subprocess.TimeoutExpired:
            return None
    return json.loads(done.stdout) if done.stdout else [-2]


def run_original(checkout: Path) -> None:
    """The child: judges the one program on standard input with the original and prints its list of results."""
    program, tests = json.load(sys.stdin)
    answer = os.fdopen(os.dup(1), "w")
    silence = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(silence, descriptor)
    sys.path.insert(0, str(checkout))
    inspect.getargspec = inspect.getfullargspec  # the original's loader was written for Python before 3.11
    from metrics.testing_util import run_test

    try:
        results = run_test({"input_output": tests}, test=program, debug=False)
    except Exception:  # as compute_metric.py does: a fault of the test framework counts against the program
        results = [-2]
    answer.write(json.dumps([bool(each) if isinstance(each, bool) else int(each) for each in results]))
    answer.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
