"""Outputs of LiveCodeBench: `[{"question_id": …, "code_list": [program, …]}]`, with or without its other fields."""

from collections.abc import Iterator, Mapping
from typing import Any

from taco_stream.formats.json_files import Entry
from taco_stream.formats.numbering import Numbering
from taco_stream.types import Completion


def recognise(first: Mapping[str, Any]) -> bool:
    """Whether a file that starts with this object is one."""
    return {"question_id", "code_list"} <= first.keys()


def read(entries: Iterator[Entry], numbering: Numbering) -> Iterator[Completion]:
    """A completion for each program of each list."""
    for entry in entries:
        for text in entry.texts("code_list"):
            yield numbering.completion(entry.problem_id("question_id"), text)
