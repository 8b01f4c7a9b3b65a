"""Judges every labelled program of the open data and lists each verdict that is not the label.

    python bench/labelled_truth.py [--data ../shared/data/open] [--sources kattis,mbpp] [--out bench/results/FILE.json]

A label is the status of a program's first failing test, measured with plain CPython (the data's README says how). A
program is judged under `strict`, or under `spj` with the rule of the problem's own checker where that allows letter
case or a tolerance. A right program must pass. Of a wrong one the status is compared too; those that are refused, but
under another name than the label's, are counted and listed apart. The exit status is 1 where right and wrong are
confused.
"""

import argparse
import gzip
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import msgspec

from taco_stream.datasets.open import open_dataset
from taco_stream.evaluator.pool import Evaluator, EvaluatorSettings
from taco_stream.types import ComparisonMode, Problem, SpecialJudge, Status, Verdict

SOURCES = "taco_example,kattis,leetcode,debugbench,humaneval,quixbugs,mbpp"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/open"))
    parser.add_argument("--sources", default=SOURCES)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    totals: Counter[str] = Counter()
    figures = {}
    for source in arguments.sources.split(","):
        started_at = time.perf_counter()
        labelled = list(labelled_programs(arguments.data, source))
        verdicts = anyio.run(judge_all, [(problem, row["program"]) for problem, row in labelled], arguments.workers)
        counts = Counter(outcome(problem, row, each) for (problem, row), each in zip(labelled, verdicts, strict=True))
        figures[source] = dict(counts) | {"seconds": round(time.perf_counter() - started_at, 1)}
        print(f"{source}: {figures[source]}", flush=True)
        totals += counts
    print(f"all: {dict(totals)}")
    if arguments.out:
        arguments.out.write_text(json.dumps(figures | {"all": dict(totals)}, indent=2) + "\n", encoding="utf-8")
    sys.exit(1 if totals["confused"] else 0)


def labelled_programs(data: Path, source: str) -> Iterator[tuple[Problem, dict[str, Any]]]:
    """Every labelled program of a source beside its problem, which has the class of its checker."""
    checkers = {row["task_id"]: row.get("checker") for row in read_rows(data / f"{source}.jsonl.gz")}
    problems = {each.problem_id: each for each in open_dataset(str(data / f"{source}.jsonl.gz"))}
    for row in read_rows(data / f"{source}_programs.jsonl.gz"):
        problem = problems[row["task_id"]]
        checker = str(checkers[row["task_id"]] or row.get("checker"))  # in words, or an object of words
        yield msgspec.structs.replace(problem, special_judge=special_judge_for(checker, problem)), row


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def special_judge_for(checker: str, problem: Problem) -> SpecialJudge:
    """The published class that stands for a checker of the data."""
    if "float" in checker:
        return SpecialJudge.FLOAT_TOLERANCE
    return SpecialJudge.LETTER_CASE if "casefold" in checker else problem.special_judge


def mode_for(problem: Problem) -> ComparisonMode:
    """The mode whose verdict is compared with the label."""
    by_rule = problem.special_judge in (SpecialJudge.FLOAT_TOLERANCE, SpecialJudge.LETTER_CASE)
    return ComparisonMode.SPJ if by_rule else ComparisonMode.STRICT


def outcome(problem: Problem, row: dict[str, Any], verdicts: dict[ComparisonMode, Verdict]) -> str:
    """`agrees`, `renamed` (refused under another name) or `confused`; what does not agree is printed."""
    verdict = verdicts[mode_for(problem)]
    if verdict.status == row["expected"]:
        return "agrees"
    is_confused = Status.PASSED in (verdict.status, row["expected"]) or not verdict.status.is_scored
    kind = "confused" if is_confused else "renamed"
    needs = f", checker {row['checker']}" if row.get("checker") else ""
    print(
        f"{kind}: {row['task_id']} ({row['origin'][-50:]}{needs}): labelled {row['expected']} "
        f"({row['verdicts'][:40]}), "
        f"found {verdict.status} at test {verdict.failed_test}, {verdict.cpu_seconds:.2f} s CPU, {verdict.detail!r}"
    )
    return kind


async def judge_all(items: list[tuple[Problem, str]], workers: int) -> list[dict[ComparisonMode, Verdict]]:
    """Our verdicts, in order."""
    verdicts: list[Any] = [None] * len(items)
    async with Evaluator(EvaluatorSettings(workers=workers)) as evaluator, anyio.create_task_group() as tasks:

        async def judge(number: int) -> None:
            verdicts[number] = await evaluator.judge_all_modes(*items[number])

        for number in range(len(items)):
            tasks.start_soon(judge, number)
    return verdicts


if __name__ == "__main__":
    main()
