"""Plain JSON lines (or an array) whose fields the user names, or that have one of the usual names.

The text may be a list of texts: several samples of the problem.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from taco_stream.formats.json_files import Entry
from taco_stream.formats.numbering import Numbering
from taco_stream.types import Completion

USUAL_IDS = ("problem_id", "task_id", "question_id", "id")
USUAL_TEXTS = ("text", "completion", "solution", "response", "generation", "output", "program", "code")
USUAL_INDICES = ("sample_index",)


class FieldNames(NamedTuple):
    """What the fields are called; None means one of the usual names, whichever is there."""

    problem_id: str | None = None
    text: str | None = None
    sample_index: str | None = None


def complete(names: FieldNames, first: Mapping[str, Any]) -> FieldNames | None:
    """The names with those that were not given found in the first object; None where the id or the text has none."""
    problem_id = names.problem_id or _first_of(USUAL_IDS, first)
    text = names.text or _first_of(USUAL_TEXTS, first)
    if problem_id is None or text is None or not {problem_id, text} <= first.keys():
        return None
    return FieldNames(problem_id, text, names.sample_index or _first_of(USUAL_INDICES, first))


def read(entries: Iterator[Entry], numbering: Numbering, names: FieldNames) -> Iterator[Completion]:
    """A completion for each text. `names` is complete; without a name for it the sample index is counted."""
    assert names.problem_id is not None
    assert names.text is not None
    for entry in entries:
        problem_id = entry.problem_id(names.problem_id)
        sample_index = None if names.sample_index is None else entry.sample_index(names.sample_index)
        for text in entry.texts(names.text):
            yield numbering.completion(problem_id, text, sample_index)


def _first_of(usual: tuple[str, ...], first: Mapping[str, Any]) -> str | None:
    return next((name for name in usual if name in first), None)
