"""`samples_*.jsonl` of lm-evaluation-harness (`--log_samples`); only read.

A line has the problem in `doc`, the answers in `resps` and, after the task's filter, in `filtered_resps`; for tasks
that write code the filter builds whole programs, so those are taken. Both are nested lists, as deep as the task made
them. Several filters repeat the lines under another `filter`; the first one's count. The id is the one that `doc` has,
else `doc_id`, its position.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from taco_stream.errors import UsageError
from taco_stream.formats.json_files import Entry
from taco_stream.formats.samples import SampleText

ID_FIELDS = ("task_id", "problem_id", "question_id", "id")


def recognise(first: Mapping[str, Any]) -> bool:
    """Whether a file that starts with this object is one."""
    return {"doc_id", "doc"} <= first.keys() and bool({"resps", "filtered_resps"} & first.keys())


def read(entries: Iterable[Entry]) -> Iterator[SampleText]:
    """A sample for each answer."""
    counted_filter = None
    for position, entry in enumerate(entries):
        name = entry.value.get("filter")
        if position == 0:
            counted_filter = name
        # The same answers once more, as another filter of the task left them.
        if name != counted_filter:
            continue
        doc = entry.value.get("doc")
        if not isinstance(doc, dict):
            raise UsageError(f"{entry.place}: doc is not an object")
        id_field = next((field for field in ID_FIELDS if field in doc), None)
        problem_id = entry.read_id("doc_id") if id_field is None else Entry(doc, entry.place).read_id(id_field)
        for text in _flatten(entry, entry.value.get("filtered_resps", entry.value.get("resps"))):
            yield SampleText(problem_id, text)


def _flatten(entry: Entry, answers: Any) -> Iterator[str]:
    if isinstance(answers, list):
        for each in answers:
            yield from _flatten(entry, each)
    else:
        yield entry.check_text(answers, "an answer")
