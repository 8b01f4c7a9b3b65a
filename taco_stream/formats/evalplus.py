"""Samples of EvalPlus and of HumanEval: `{"task_id": …, "solution": …}` or `{"task_id": …, "completion": …}` a line.

A `solution` is a program by itself, the kind that we write; `evalplus.evaluate --samples` reads it. A `completion`
continues the problem's prompt and is not a program without it, so the prompt is put before it if the caller has the
prompt.

The format cannot hold a sample's index, a problem without samples, or the difference between no program and an empty
one.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from taco_stream.errors import UsageError
from taco_stream.formats.json_files import Entry, write_json_lines
from taco_stream.formats.samples import ProblemRecords, SampleText


def recognise(first: Mapping[str, Any]) -> bool:
    """Whether a file that starts with this object is one."""
    return "task_id" in first and bool({"solution", "completion"} & first.keys())


def read(entries: Iterable[Entry], prompts: Mapping[str, str]) -> Iterator[SampleText]:
    """A sample for each line."""
    for entry in entries:
        problem_id = entry.read_id("task_id")
        if "solution" in entry.value:
            yield SampleText(problem_id, entry.read_text("solution"))
        elif "completion" in entry.value:
            yield SampleText(problem_id, prompts.get(problem_id, "") + entry.read_text("completion"))
        else:
            raise UsageError(f"{entry.place}: solution and completion are both missing")


def write(problems: Iterable[ProblemRecords], path: Path) -> Path:
    """Writes `samples.jsonl`; the path. A sample without a program is an empty solution."""
    return write_json_lines(
        (
            {"task_id": problem.problem_id, "solution": record.program or ""}
            for problem in problems
            for record in problem.records
        ),
        path,
    )
