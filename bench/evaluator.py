"""What judging costs: CPU milliseconds per test, ours beside the original's way and the floor, in one run.

    python bench/evaluator.py [--out bench/results/evaluator.json] [--programs 40] [--repeats 3]

On the reference solutions of the embedded problems that read standard input:

* original: a fresh `python` per test with TACO's header of imports, numpy among them, as `testing_util.py` does;
* isolated: a fresh `python -I -S` per test, the cheapest way without a zygote;
* ours: the evaluator, once for every sandbox tier that this machine offers, with everything a verdict needs;
* floor: fork, exit and wait of an interpreter that has imported what programs usually do, below which no design with a
  process per test can go.

With `--official PATH`, a checkout of FlagOpen/TACO, the original is its own `testing_util.py` and not its method
re-created. Programs are judged on 40 tests each, their own repeated, as TACO's have many.

CPU time is user and system time of the whole process tree; tests per second are by the clock, with one worker. Then how
the tests per second grow with the workers, and a workload shaped like a real run: 100 samples of each of ten problems
with 200 tests, two thirds duplicates, eight in a hundred right. Where the wrong ones fail is drawn as it was measured
for the wrong submissions of 112 Kattis problems with at least ten tests: 27 % at the first test, 34 % at the next four,
30 % at the next fifteen, 9 % later. (Samples of CodeGen-16B on HumanEval fail sooner: 74, 22, 3 and 0 %.) There the
original's cost is its measured cost per test times the tests it would run (it runs all of them, for every sample),
since running it would take hours.
"""

import argparse
import json
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import anyio
import msgspec
from official_parity import original

from taco_stream.datasets.open import open_dataset
from taco_stream.datasets.solutions import read_solutions
from taco_stream.evaluator.comparators.official import HEADER
from taco_stream.evaluator.pool import Evaluator, EvaluatorSettings
from taco_stream.evaluator.sandbox.probe import FORCED_TIER, available_plans
from taco_stream.evaluator.zygote import HEADER as WARM_HEADER
from taco_stream.evaluator.zygote import MODULES
from taco_stream.types import Problem, Status

TESTS_EACH = 40
"""Tests of each program; what a program costs once is spread over so many."""


class Cost(NamedTuple):
    """What one way of running tests costs."""

    cpu_milliseconds: float
    tests_per_second: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--official", type=Path)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    problems = [problem for problem in open_dataset("demo") if not problem.fn_name][: arguments.programs]
    work = [(with_tests(problem, TESTS_EACH), read_solutions(problem)[0]) for problem in problems]
    rounds = [one_round(work, arguments.official) for _ in range(arguments.repeats)]
    medians = {
        name: Cost(*(statistics.median(each[name][part] for each in rounds) for part in range(2))) for name in rounds[0]
    }
    for name, cost in medians.items():
        times = medians["original"].cpu_milliseconds / cost.cpu_milliseconds
        print(
            f"{name:42} {cost.cpu_milliseconds:8.2f} ms CPU per test, {times:6.1f} times; "
            f"{cost.tests_per_second:7.1f} tests/s"
        )
    growth = growth_with_workers(work, arguments.repeats)
    print("tests/s by workers:", ", ".join(f"{workers}: {speed:.0f}" for workers, speed in growth.items()))
    shaped = shaped_workload(medians["original"].cpu_milliseconds)
    print(
        f"shaped workload: {shaped['samples']:.0f} samples, {shaped['distinct']:.0f} distinct, {shaped['right']:.0f} "
        f"right, {shaped['tests_of_all']:.0f} tests; ours ran {shaped['tests_run']:.0f} in "
        f"{shaped['cpu_seconds']:.1f} s CPU, {shaped['wall_seconds']:.1f} s wall; {shaped['ratio']:.0f} times less CPU "
        "than the original would take"
    )
    result = {
        "hardware": hardware(),
        "tests_each": TESTS_EACH,
        "per_test": {name: cost._asdict() for name, cost in medians.items()},
        "tests_per_second_by_workers": growth,
        "shaped_workload": shaped,
        "rounds": [{name: cost._asdict() for name, cost in each.items()} for each in rounds],
    }
    print(result["hardware"])
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def one_round(work: list[tuple[Problem, str]], official: Path | None) -> dict[str, Cost]:
    """The cost per test of every way, on the same programs and tests."""
    some = [(with_tests(problem, 8), program) for problem, program in work[:6]]  # the slow ways need no more
    ways = {
        "original": in_original(official, some)
        if official
        else in_fresh_interpreters(some, [sys.executable], HEADER + "import numpy as np\n"),
        "isolated": in_fresh_interpreters(some, [sys.executable, "-I", "-S"], ""),
    }
    for plan in available_plans():
        ways[f"ours ({plan.tier})"] = in_evaluator(work, plan.tier)
    return ways | {"floor": fork_floor()}


def in_original(checkout: Path, work: list[tuple[Problem, str]]) -> Cost:
    """The checkout's own `run_test`, one process per program as its `compute_metric.py` has."""
    before, started_at, count = cpu_seconds(), time.perf_counter(), 0
    for problem, program in work:
        results = original(checkout, program, problem.tests)
        assert results is not None
        assert all(result is True for result in results), results
        count += len(results)
    return Cost(1000 * (cpu_seconds() - before) / count, count / (time.perf_counter() - started_at))


def in_fresh_interpreters(work: list[tuple[Problem, str]], command: list[str], header: str) -> Cost:
    before, started_at, count = cpu_seconds(), time.perf_counter(), 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "program.py"
        for problem, program in work:
            path.write_text(header + program, encoding="utf-8")
            for given in json.loads(problem.tests)["inputs"]:
                text = given if isinstance(given, str) else "\n".join(given)
                subprocess.run([*command, str(path)], check=False, input=text.encode(), capture_output=True)
                count += 1
    return Cost(1000 * (cpu_seconds() - before) / count, count / (time.perf_counter() - started_at))


def in_evaluator(work: list[tuple[Problem, str]], tier: str) -> Cost:
    """The cost per test in one worker, start-up taken off by running the same with a third of the repetitions."""
    os.environ[FORCED_TIER] = tier
    short_cpu, short_wall, few = anyio.run(judge_all, work, 1, 1)
    long_cpu, long_wall, many = anyio.run(judge_all, work, 3, 1)
    del os.environ[FORCED_TIER]
    return Cost(1000 * (long_cpu - short_cpu) / (many - few), (many - few) / (long_wall - short_wall))


async def judge_all(work: list[tuple[Problem, str]], repetitions: int, workers: int) -> tuple[float, float, int]:
    """CPU seconds, seconds by the clock, and tests, of judging everything so many times."""
    before, started_at = cpu_seconds(), time.perf_counter()
    settings = EvaluatorSettings(workers=workers, full_results=True, unsafe_no_sandbox=True)
    async with Evaluator(settings) as evaluator:
        for number in range(repetitions):
            items = [(problem, f"{program}\n# {number}\n") for problem, program in work]
            for verdict in await evaluator.judge_batch(items):
                assert verdict.status is Status.PASSED, verdict
        tests = evaluator.statistics().tests_run
    return cpu_seconds() - before, time.perf_counter() - started_at, tests


def growth_with_workers(work: list[tuple[Problem, str]], repeats: int) -> dict[int, float]:
    """Tests per second with 1, 2, 4, … workers up to the cores, medians; start-up taken off as above."""
    speeds: dict[int, list[float]] = {}
    for _ in range(repeats):
        workers = 1
        while workers <= len(os.sched_getaffinity(0)):
            _, short, few = anyio.run(judge_all, work, 1, workers)
            _, long, many = anyio.run(judge_all, work, 3, workers)
            speeds.setdefault(workers, []).append((many - few) / (long - short))
            workers *= 2
    return {workers: statistics.median(each) for workers, each in speeds.items()}


def fork_floor(count: int = 500) -> Cost:
    """Fork, exit and wait in a warm interpreter, without the hooks of `random` and `threading`."""
    warm = "import os\nos.register_at_fork = lambda **_: None\n" + f"import {', '.join(MODULES)}\n" + WARM_HEADER
    code = (
        f"{warm}"
        f"for _ in range({count}):\n"
        "    child = os.fork()\n"
        "    if not child: os._exit(0)\n"
        "    os.waitpid(child, 0)\n"
    )
    times = []
    for text in (code, warm):
        before, started_at = cpu_seconds(), time.perf_counter()
        subprocess.run([sys.executable, "-I", "-S", "-c", text], check=True)
        times.append((cpu_seconds() - before, time.perf_counter() - started_at))
    (cpu, wall), (start_cpu, start_wall) = times
    return Cost(1000 * (cpu - start_cpu) / count, count / (wall - start_wall))


ANSWERS = (
    "[sum(a)]", "[max(a) - min(a)]", "sorted(a)", "[len(set(a))]", "[sum(x * x for x in a)]", "a[::-1]",
    "sorted(set(a))", "[sum(x % 2 for x in a)]", "[max(map(sum, zip(a, a[1:])))]",
    "[sum(i * x for i, x in enumerate(a))]",
)  # fmt: skip
"""What the programs of the shaped workload print of a list `a`, one for each problem."""

PROGRAM = "n = int(input())\na = list(map(int, input().split()))\nprint(*{})\n"

FAILING_TESTS = ((27, 0, 0), (34, 1, 4), (30, 5, 19), (9, 20, 199))
"""Where wrong programs fail: of a hundred so many, from this test to that (the module's docstring says whose)."""


def shaped_workload(original_milliseconds: float) -> dict[str, float]:
    """Judges 100 samples of each of 10 problems with 200 tests each, as models write them."""
    dice = random.Random(0)
    items = [item for answer in ANSWERS for item in read_samples(answer, dice)]

    async def judge() -> tuple[int, int]:
        async with Evaluator(EvaluatorSettings()) as evaluator:
            verdicts = await evaluator.judge_batch(items)
            return evaluator.statistics().tests_run, sum(verdict.status is Status.PASSED for verdict in verdicts)

    before, started_at = cpu_seconds(), time.perf_counter()
    tests_run, right = anyio.run(judge)
    wall, ours = time.perf_counter() - started_at, cpu_seconds() - before
    tests_of_all = 200 * len(items)
    return {
        "samples": len(items),
        "distinct": len({(problem.problem_id, program) for problem, program in items}),
        "right": right,
        "tests_of_all": tests_of_all,
        "tests_run": tests_run,
        "cpu_seconds": ours,
        "wall_seconds": wall,
        "ratio": original_milliseconds / 1000 * tests_of_all / ours,
    }


def read_samples(answer: str, dice: random.Random) -> list[tuple[Problem, str]]:
    """A problem and a hundred programs for it: 8 right, alike; 4 that do not compile or crash; the others wrong."""
    lists = [[dice.randrange(-1000, 1000) for _ in range(dice.randrange(2, 60))] for _ in range(200)]
    tests = {
        "inputs": [f"{len(a)}\n{' '.join(map(str, a))}\n" for a in lists],
        "outputs": [" ".join(map(str, eval(answer, {"a": a}))) for a in lists],
    }
    problem = Problem(problem_id=answer, position=0, question="", tests=json.dumps(tests))
    programs = [PROGRAM.format(answer)] * 8 + ["print(undefined)", "import sys\nprint(input().x)"] + ["for\n"] * 2
    wrong = []
    for share, first, last in FAILING_TESTS:
        for number in range(share * 30 // 100 + 1):  # 88 wrong programs, about 31 of them distinct
            failing = lists[dice.randrange(first, last + 1)]
            wrong.append(PROGRAM.format(f"({answer} if a != {failing} else [{number}.5])"))
    return [(problem, program) for program in programs + wrong + dice.choices(wrong, k=88 - len(wrong))]


def with_tests(problem: Problem, count: int) -> Problem:
    """The problem with its tests repeated up to `count`."""
    tests = json.loads(problem.tests)
    for name in ("inputs", "outputs"):
        tests[name] = (tests[name] * count)[:count]
    return msgspec.structs.replace(problem, tests=json.dumps(tests))


def cpu_seconds() -> float:
    """User and system time of this process and of every process below it that has been waited for."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def hardware() -> str:
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    ]
    return f"{os.cpu_count()} cores, {names[0] if names else platform.machine()}, Python {platform.python_version()}"


if __name__ == "__main__":
    main()
