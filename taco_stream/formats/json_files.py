"""JSON files, one entry in memory at a time: read as an array or as lines, plain or gzipped, and written.

Reading is by the standard library's parser, not msgspec: other programs write NaN and lone surrogates, which it
forgives. Lone surrogates become a question mark here, because nothing that holds one can be written again as UTF-8.
Written text outside ASCII is escaped, because the original's scripts read their files in the locale's encoding,
whatever it is.
"""

import gzip
import json
import textwrap
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import TextIOWrapper
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from taco_stream.errors import UsageError
from taco_stream.readable_file import open_readable
from taco_stream.sample_set import MAX_SAMPLES
from taco_stream.store.atomic import replacing

STANDARD_INPUT = Path("-")

LIST = ""
"""The only field of an entry that is a list."""

CHUNK_CHARACTERS = 1 << 20
"""How much of an array is read at a time; an entry may be larger."""


class Entry(NamedTuple):
    """One object and its place (`generations.json, entry 3`). Each method raises `UsageError` that names the place."""

    value: Mapping[str, Any]
    place: str

    def read_text(self, name: str) -> str:
        """The text of a field."""
        return self.check_text(self.value.get(name), name)

    def read_texts(self, name: str) -> list[str]:
        """The texts of a field that holds a list of them, or just one."""
        value = self.value.get(name)
        return [self.check_text(each, name) for each in (value if isinstance(value, list) else [value])]

    def read_id(self, name: str) -> str:
        """An id as text: `7` and `"7"` name the same problem."""
        value = self.value.get(name)
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise UsageError(f"{self.place}: {name} is neither text nor an integer")
        return self.check_text(str(value), name)

    def read_sample_index(self, name: str) -> int:
        """A sample's index, within the bounds of `SampleSet`."""
        value = self.value.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < MAX_SAMPLES:
            raise UsageError(f"{self.place}: {name} is not an integer from 0 to below {MAX_SAMPLES:,}")
        return value

    def check_text(self, value: Any, name: str) -> str:
        """The value, which must be text and is called `name` in the error."""
        if not isinstance(value, str):
            raise UsageError(f"{self.place}: {name} is {'missing' if value is None else 'not text'}")
        # Lone surrogates become question marks: nothing that holds one can be written again as UTF-8.
        return value.encode("utf-8", "replace").decode("utf-8")


def read_entries(path: Path) -> Iterator[Entry]:
    """The objects of a file in order, or of standard input if the path is `-`: nothing is read twice.

    Lists in the place of objects are entries with one field, `LIST`, if the first is one. Raises `UsageError` that
    names the file and the line or entry.
    """
    name = "standard input" if path == STANDARD_INPUT else str(path)
    kind = None
    try:
        with _open_text(path) as file:
            # Standard input cannot be rewound: its first character is read alone, and tells the kind of the others.
            line, start = 1, file.read(1)
            while start.isspace():
                line += start == "\n"
                start = file.read(1)
            is_array = start == "["
            lines = chain([start + file.readline()], file) if not is_array else ()
            for value, place in _read_array(file, name) if is_array else _read_lines(lines, name, line):
                kind = kind or (list if isinstance(value, list) else dict)
                if not isinstance(value, kind):
                    wanted = "an object" if kind is dict else "a list"
                    raise UsageError(f"{place} is {type(value).__name__}, not {wanted}")
                yield Entry(value if isinstance(value, dict) else {LIST: value}, place)
    except UnicodeDecodeError as error:
        raise UsageError(f"{name} is not UTF-8 text") from error
    except (OSError, EOFError, zlib.error) as error:  # a broken gzip file may be any of these
        raise UsageError(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}") from error


@contextmanager
def _open_text(path: Path) -> Iterator[TextIO]:
    with open(0, "rb", closefd=False) if path == STANDARD_INPUT else open_readable(path) as binary:
        content = gzip.GzipFile(fileobj=binary) if binary.peek(2)[:2] == b"\x1f\x8b" else binary
        with TextIOWrapper(content, encoding="utf-8-sig") as text:  # editors on Windows write a byte order mark
            yield text


def _read_lines(lines: Iterable[str], name: str, first: int) -> Iterator[tuple[Any, str]]:
    for number, line in enumerate(lines, start=first):
        if not line.strip():
            continue
        place = f"{name}, line {number}"
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{place} is not JSON: {error}") from error
        yield value, place


def _read_array(file: TextIO, name: str) -> Iterator[tuple[Any, str]]:
    """Parses the text after an array's bracket entry by entry, so that a file of any size needs the memory of one."""
    decoder = json.JSONDecoder()
    text = file.read(CHUNK_CHARACTERS)
    position, number = 0, 1
    while True:
        place = f"{name}, entry {number}"
        # Commas are skipped wherever they are: text between entries cannot change the entries.
        while position < len(text) and (text[position].isspace() or text[position] == ","):
            position += 1
        if text[position : position + 1] == "]":
            return
        try:
            value, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            # Most likely the entry continues after this chunk. Doubling the chunk keeps the work linear.
            more = file.read(max(CHUNK_CHARACTERS, len(text)))
            if not more:
                raise UsageError(f"{place} is not JSON, or the file is cut short: {error}") from error
            text, position = text[position:] + more, 0
            continue
        yield value, place
        number += 1


def write_json_array(entries: Iterable[Any], path: Path) -> Path:
    """Writes the entries as one array, byte for byte as `json.dump(list(entries), file, indent=4)` does; the path."""
    # A string's newlines are escaped in JSON, so indenting lines indents nothing but the structure.
    lines = (textwrap.indent(json.dumps(entry, indent=4), "    ") for entry in entries)
    return _write_enclosed("[", lines, "]", path)


def write_json_object(entries: Iterable[tuple[str, Any]], path: Path) -> Path:
    """Writes the entries as one object, a line each; the path."""
    lines = (f"    {json.dumps(name)}: {json.dumps(value)}" for name, value in entries)
    return _write_enclosed("{", lines, "}", path)


def _write_enclosed(start: str, entries: Iterable[str], end: str, path: Path) -> Path:
    with replacing(path) as file:
        separator = start + "\n"
        for entry in entries:
            file.write((separator + entry).encode("ascii"))
            separator = ",\n"
        is_empty = separator != ",\n"
        file.write((start + end if is_empty else "\n" + end).encode("ascii"))
    return path


def write_json_lines(entries: Iterable[Any], path: Path) -> Path:
    """Writes each entry as a line; the path."""
    with replacing(path) as file:
        for entry in entries:
            file.write(json.dumps(entry).encode("ascii") + b"\n")
    return path
