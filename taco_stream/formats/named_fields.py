"""Plain JSON lines (or an array) whose fields the user names, or that have one of the usual names; only read.

The text may be a list of texts: several samples of the problem.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from taco_stream.errors import UsageError
from taco_stream.formats.json_files import Entry
from taco_stream.formats.samples import SampleText

USUAL_IDS = ("problem_id", "task_id", "question_id", "id")
USUAL_TEXTS = ("text", "completion", "solution", "response", "generation", "output", "program", "code")
SAMPLE_INDEX = "sample_index"


class FieldNames(NamedTuple):
    """The names that the user gives to the fields; None means one of the usual names, whichever is there."""

    problem_id: str | None = None
    text: str | None = None


class FoundFields(NamedTuple):
    """The fields that a file has; without one for the sample index, samples are counted."""

    problem_id: str
    text: str
    sample_index: str | None


def find(names: FieldNames, first: Entry) -> FoundFields:
    """Finds the fields in the first object of a file. Raises `UsageError` if the id or the text has none."""
    problem_id = names.problem_id or next((name for name in USUAL_IDS if name in first.value), None)
    text = names.text or next((name for name in USUAL_TEXTS if name in first.value), None)
    if problem_id is None or text is None or not {problem_id, text} <= first.value.keys():
        asked = ""
        if names != FieldNames():  # one was named and the other was not, or one that is not there
            unnamed = "not named, and none of the usual"
            asked = f" (id: {names.problem_id or unnamed}, text: {names.text or unnamed})"
        raise UsageError(
            f"{first.place} has the fields {', '.join(first.value) or 'none'}, which no known format of completions "
            f"has: name those that hold the problem's id and the text{asked} with --id-field and --text-field"
        )
    return FoundFields(problem_id, text, SAMPLE_INDEX if SAMPLE_INDEX in first.value else None)


def read(entries: Iterable[Entry], fields: FoundFields) -> Iterator[SampleText]:
    """A sample for each text."""
    for entry in entries:
        problem_id = entry.read_id(fields.problem_id)
        sample_index = None if fields.sample_index is None else entry.read_sample_index(fields.sample_index)
        for text in entry.read_texts(fields.text):
            yield SampleText(problem_id, text, sample_index)
