"""Samples of EvalPlus and of HumanEval: `{"task_id": …, "solution": …}` or `{"task_id": …, "completion": …}` a line.

A `solution` is a program by itself. A `completion` is what follows the problem's prompt and is none without it, so the
prompt is put before it where the caller knows the prompt.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from taco_stream.errors import UsageError
from taco_stream.formats.json_files import Entry
from taco_stream.formats.numbering import Numbering
from taco_stream.types import Completion


def recognise(first: Mapping[str, Any]) -> bool:
    """Whether a file that starts with this object is one."""
    return "task_id" in first and bool({"solution", "completion"} & first.keys())


def read(entries: Iterator[Entry], numbering: Numbering, prompts: Mapping[str, str]) -> Iterator[Completion]:
    """A completion for each line."""
    for entry in entries:
        problem_id = entry.problem_id("task_id")
        if "solution" in entry.value:
            yield numbering.completion(problem_id, entry.text("solution"))
        elif "completion" not in entry.value:
            raise UsageError(f"{entry.place}: solution and completion are both missing")
        else:
            yield numbering.completion(problem_id, prompts.get(problem_id, "") + entry.text("completion"))
