"""Finds out which format a file of completions has, and reads it."""

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path

from taco_stream.errors import UsageError
from taco_stream.formats import (
    evalplus_reading,
    livecodebench_reading,
    lm_eval,
    named_fields,
    own,
    taco_reading,
)
from taco_stream.formats.json_files import Entry, read_entries
from taco_stream.formats.named_fields import FieldNames
from taco_stream.formats.numbering import Numbering
from taco_stream.types import Completion


def read_completions(
    path: Path, *, names: FieldNames | None = None, prompts: Mapping[str, str] | None = None
) -> Iterator[Completion]:
    """The completions of a file of any known format; the text is the whole answer, ids are text whatever they were.

    `names` says what the fields of plain JSON lines are called; given, no other format is tried. `prompts` (by problem)
    complete samples in HumanEval's `completion` form. Raises `UsageError` that names the file and the line: for a file
    that cannot be read or has no known format from the call, for a later line when it comes.
    """
    entries = read_entries(path)
    first = next(entries, None)
    if first is None:
        raise UsageError(f"{path} holds no completions")
    return _read(first, chain([first], entries), names, prompts or {}, Numbering(f"replay:{path.name}"))


def _read(
    first: Entry, entries: Iterator[Entry], names: FieldNames | None, prompts: Mapping[str, str], numbering: Numbering
) -> Iterator[Completion]:
    if names is None:
        if own.recognise(first.value):
            return own.read(entries)
        if lm_eval.recognise(first.value):
            return lm_eval.read(entries, numbering)
        if taco_reading.recognise(first.value):
            return taco_reading.read(entries, numbering)
        if livecodebench_reading.recognise(first.value):
            return livecodebench_reading.read(entries, numbering)
        if evalplus_reading.recognise(first.value):
            return evalplus_reading.read(entries, numbering, prompts)
    found = named_fields.complete(names or FieldNames(), first.value)
    if found is None:
        wanted = "" if names is None else f" ({_described(names)})"
        raise UsageError(
            f"{first.place} has the fields {', '.join(first.value) or 'none'}, which no known format of completions "
            f"has: name those that hold the problem's id and the text{wanted} with --id-field and --text-field"
        )
    return named_fields.read(entries, numbering, found)


def _described(names: FieldNames) -> str:
    """What was asked for, for the user who named one field and not the other, or one that is not there."""
    fields = {"id": names.problem_id, "text": names.text}
    return ", ".join(f"{what}: {name or 'not named, and none of the usual'}" for what, name in fields.items())
