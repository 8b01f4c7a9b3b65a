"""The original's `generations.json`: `[{"task_id": 0, "prompt": …, "output": [text, …]}]`."""

from collections.abc import Iterator, Mapping
from typing import Any

from taco_stream.formats.json_files import Entry
from taco_stream.formats.numbering import Numbering
from taco_stream.types import Completion


def recognise(first: Mapping[str, Any]) -> bool:
    """Whether a file that starts with this object is one."""
    return {"task_id", "output"} <= first.keys()


def read(entries: Iterator[Entry], numbering: Numbering) -> Iterator[Completion]:
    """A completion for each text of each output."""
    for entry in entries:
        for text in entry.texts("output"):
            yield numbering.completion(entry.problem_id("task_id"), text)
