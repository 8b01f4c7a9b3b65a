"""Outputs of LiveCodeBench: `[{"question_id": …, "code_list": [program, …]}]`, with or without its other fields.

`python -m lcb_runner.runner.custom_evaluator --custom_output_file` reads our files. It wants an entry for every
problem of its benchmark and sorts both sides by id, so a problem without a record has an empty list.

The format cannot hold a sample's index or the difference between no program and an empty one.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from taco_stream.formats.json_files import Entry, write_json_array
from taco_stream.formats.samples import ProblemRecords, SampleText


def recognise(first: Mapping[str, Any]) -> bool:
    """Whether a file that starts with this object is one."""
    return {"question_id", "code_list"} <= first.keys()


def read(entries: Iterable[Entry]) -> Iterator[SampleText]:
    """A sample for each program of each list."""
    for entry in entries:
        for program in entry.read_texts("code_list"):
            yield SampleText(entry.read_id("question_id"), program)


def write(problems: Iterable[ProblemRecords], path: Path) -> Path:
    """Writes the file; the path. A sample without a program is an empty text."""
    return write_json_array(
        (
            {"question_id": problem.problem_id, "code_list": [record.program or "" for record in problem.records]}
            for problem in problems
        ),
        path,
    )
