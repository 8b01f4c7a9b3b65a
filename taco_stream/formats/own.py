"""Our own `completions.jsonl`: every field is kept. `RunDirectory` writes it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from taco_stream.errors import UsageError
from taco_stream.formats.json_files import Entry
from taco_stream.types import Completion


def recognise(first: Mapping[str, Any]) -> bool:
    """Whether a file that starts with this object is one."""
    return {"problem_id", "sample_index", "text", "finish_reason"} <= first.keys()


def read(entries: Iterable[Entry]) -> Iterator[Completion]:
    """The completions as they were written."""
    for entry in entries:
        entry.read_sample_index("sample_index")  # its bounds: the type has none
        value = {**entry.value, "problem_id": entry.read_id("problem_id"), "text": entry.read_text("text")}
        try:
            yield msgspec.convert(value, Completion)
        except msgspec.ValidationError as error:
            raise UsageError(f"{entry.place} is not a completion: {error}") from error
