"""`samples_*.jsonl` of lm-evaluation-harness (`--log_samples`).

A line has the problem in `doc`, the answers in `resps` and, after the task's filter, in `filtered_resps`; for tasks
that write code the filter builds whole programs, so those are taken. Both are nested lists, as deep as the task made
them. Several filters repeat the lines under another `filter`; the first one's count. The id is the one that `doc` has,
else `doc_id`, its position.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from taco_stream.errors import UsageError
from taco_stream.formats.json_files import Entry
from taco_stream.formats.numbering import Numbering
from taco_stream.types import Completion

ID_FIELDS = ("task_id", "problem_id", "question_id", "id")


def recognise(first: Mapping[str, Any]) -> bool:
    """Whether a file that starts with this object is one."""
    return {"doc_id", "doc"} <= first.keys() and bool({"resps", "filtered_resps"} & first.keys())


def read(entries: Iterator[Entry], numbering: Numbering) -> Iterator[Completion]:
    """A completion for each answer."""
    counted: list[Any] = []
    for entry in entries:
        counted = counted or [entry.value.get("filter")]
        if entry.value.get("filter") != counted[0]:
            continue
        answers = list(_texts_in(entry, entry.value.get("filtered_resps", entry.value.get("resps"))))
        problem_id = _problem_id(entry)
        for text in answers:
            yield numbering.completion(problem_id, text)


def _problem_id(entry: Entry) -> str:
    doc = entry.value["doc"]
    if not isinstance(doc, dict):
        raise UsageError(f"{entry.place}: doc is not an object")
    for name in ID_FIELDS:
        if name in doc:
            return Entry(doc, entry.place).problem_id(name)
    return entry.problem_id("doc_id")


def _texts_in(entry: Entry, value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from _texts_in(entry, each)
    else:
        yield entry.as_text(value, "an answer")
