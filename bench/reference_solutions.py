"""Judges every reference solution of datasets in TACO's columns and lists each one that does not pass, with the reason.

    python bench/reference_solutions.py ../shared/data/open/*.jsonl.gz [--out bench/results/FILE.json]

A file of the open data is a source; its `*_programs` and `*_responses` are passed over. Beside the three modes each
solution is judged by the rule of its problem's own `checker`: `strict`, or `spj` with letter case or a tolerance. By
that rule it has to pass, unless its row says that it `needs` the original's wrapper or a file, or it imports a module
that is not installed here. Exit status 1 where one that has to pass does not.
"""

import argparse
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import msgspec
from labelled_truth import judge_all, mode_for, read_rows, special_judge_for

from taco_stream.datasets.open import open_dataset
from taco_stream.datasets.solutions import read_solutions
from taco_stream.types import ComparisonMode, Problem, Status, Verdict

MISSING_MODULE = re.compile(r"ModuleNotFoundError: No module named '([\w.]+)'")


class Reference(NamedTuple):
    """One reference solution: which of its problem's it is, and the problem's row."""

    problem: Problem
    number: int
    program: str
    row: dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="+", type=Path)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    figures = {}
    for path in arguments.datasets:
        if not path.name.removesuffix(".gz").endswith(("_programs.jsonl", "_responses.jsonl")):
            figures[path.name.partition(".")[0]] = judged_source(path, arguments.workers)
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    sys.exit(1 if any(each["broken"] for each in figures.values()) else 0)


def judged_source(path: Path, workers: int) -> dict[str, Any]:
    """The figures of one file, which are printed as well."""
    started_at = time.perf_counter()
    references = list(references_in(path))
    verdicts = anyio.run(judge_all, [(each.problem, each.program) for each in references], workers)
    passed = Counter(mode.value for each in verdicts for mode in ComparisonMode if each[mode].status is Status.PASSED)
    failures = [
        failure
        for reference, verdict in zip(references, verdicts, strict=True)
        if (failure := describe_failure(reference, verdict))
    ]
    figures = {
        "problems": len({each.problem.problem_id for each in references}),
        "solutions": len(references),
        "tests": sum(int(each.row["n_tests"]) for each in references),
        "passed": dict(passed),
        "passed_own_checker": len(references) - sum(not each["own_checker_passes"] for each in failures),
        "broken": sum(each["reason"] == "HAS TO PASS" for each in failures),
        "seconds": round(time.perf_counter() - started_at, 1),
        "failures": failures,
    }
    print(f"{path.name}: { ({name: figure for name, figure in figures.items() if name != 'failures'}) }", flush=True)
    for failure in failures:
        print("   ", ", ".join(f"{name} {value}" for name, value in failure.items()), flush=True)
    return figures


def references_in(path: Path) -> Iterator[Reference]:
    """Every solution of every problem, whose special judge is the class that stands for its checker."""
    rows = {row["task_id"]: row for row in read_rows(path)}
    for problem in open_dataset(str(path)):
        row = rows[problem.problem_id]
        rule = str(row.get("checker") or row.get("verified_by"))
        judged = msgspec.structs.replace(problem, special_judge=special_judge_for(rule, problem))
        for number, program in enumerate(read_solutions(problem)):
            yield Reference(judged, number, program, row)


def describe_failure(reference: Reference, verdicts: dict[ComparisonMode, Verdict]) -> dict[str, Any] | None:
    """What is to be said of a solution that a mode or its own checker refuses; None where all pass it."""
    if all(verdict.status is Status.PASSED for verdict in verdicts.values()):
        return None
    own = verdicts[mode_for(reference.problem)]
    worst = (
        own
        if own.status is not Status.PASSED
        else next(verdict for verdict in verdicts.values() if verdict.status is not Status.PASSED)
    )
    return {
        "problem": reference.problem.problem_id,
        "solution": reference.number,
        **{mode.value: verdict.status.value for mode, verdict in verdicts.items()},
        "own_checker_passes": own.status is Status.PASSED,
        "failed_test": worst.failed_test,
        "reason": reason_for(reference.row, own, verdicts),
        "detail": worst.detail[:160],
    }


def reason_for(row: dict[str, Any], own: Verdict, verdicts: dict[ComparisonMode, Verdict]) -> str:
    """Why a solution fails: what its row or the failure itself says, else that it should not."""
    if row.get("needs"):
        return f"needs {row['needs']}"
    if own.status is Status.PASSED:
        refused = [mode.value for mode, verdict in verdicts.items() if verdict.status is not Status.PASSED]
        return f"checker {json.dumps(row.get('checker') or row.get('verified_by'))}; refused by {' and '.join(refused)}"
    if missing := MISSING_MODULE.search(own.detail):
        return f"{missing[1]} is not installed"
    return "HAS TO PASS"


if __name__ == "__main__":
    main()
