"""JSON Lines, plain or gzipped, from a file or from standard input: one object per line, read as it arrives."""

import gzip
import itertools
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from io import BufferedReader

import msgspec

from taco_stream.datasets.rows import BadRow, Row, Value
from taco_stream.errors import NOT_DECODED, DatasetError

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])

_MAX_LINES_SAMPLED = 100
"""Lines that may be broken before a file is not taken for JSON Lines; they are kept until the rows are read."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class JsonLines:
    """A table of JSON Lines. `open_stream` is called once, on first use; blank lines count as lines, not as rows."""

    def __init__(self, name: str, open_stream: Callable[[], BufferedReader]) -> None:
        self._name = name
        self._lines = _numbered_lines(name, open_stream)

    @property
    def name(self) -> str:
        """The file's path, or `standard input`."""
        return self._name

    def columns(self) -> frozenset[str]:
        """The keys of the first line that is an object; all lines stay to be read."""
        looked_at = []
        for number, line in itertools.islice(self._lines, _MAX_LINES_SAMPLED):
            looked_at.append((number, line))
            try:
                found = frozenset(_decode_line(line))
            except NOT_DECODED:
                continue
            self._lines = itertools.chain(looked_at, self._lines)
            return found
        if looked_at:
            raise DatasetError(f"{self._name}:{looked_at[0][0]} is not a JSON object, nor is any line that follows")
        raise DatasetError(f"{self._name} holds no rows")

    def rows(self, wanted: frozenset[str]) -> Iterator[Row | BadRow]:
        """One row per line that is not blank, named `file:line` with lines counted from one."""
        for number, line in self._lines:
            location = f"{self._name}:{number}"
            try:
                yield Row(location, _decode_line(line, wanted))
            except NOT_DECODED as error:
                yield BadRow(location, f"not a JSON object: {error}")


def _numbered_lines(name: str, open_stream: Callable[[], BufferedReader]) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank; the stream is closed at the end, or when the iterator is dropped."""
    number = 0
    try:
        with open_stream() as stream:
            # By its first bytes: standard input has no name, and names lie.
            is_zipped = stream.peek(2)[:2] == b"\x1f\x8b"
            lines: Iterable[bytes] = gzip.GzipFile(fileobj=stream) if is_zipped else stream
            for number, line in enumerate(lines, start=1):
                content = (line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line).strip()
                if content:
                    yield number, content
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(f"{name} cannot be read after line {number}: {error}") from error


def _decode_line(line: bytes, wanted: frozenset[str] | None = None) -> dict[str, Value]:
    """The wanted fields of a line's object. Raises msgspec's error if there is a fault in it."""
    try:
        fields = _OBJECT.decode(line)
    except msgspec.DecodeError as error:
        return _decode_line_leniently(line, error)
    return {name: _decode_value(raw) for name, raw in fields.items() if wanted is None or name in wanted}


def _decode_line_leniently(line: bytes, error: msgspec.DecodeError) -> dict[str, Value]:
    """The same for values that Python's json writes and JSON forbids: NaN, read as None in a field, and Infinity."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise error from None
    if not isinstance(found, dict):
        raise error
    values: dict[str, Value] = {}
    for name, value in found.items():
        text = json.dumps(value, ensure_ascii=False)
        text.encode("utf-8")  # half a surrogate pair cannot be passed on
        values[name] = None if text == "NaN" else text if isinstance(value, list | dict) else value
    return values


def _decode_value(raw: msgspec.Raw) -> Value:
    """A scalar as itself, a list or an object as its JSON text, digit for digit."""
    content = bytes(raw)
    if content[:1] in (b"{", b"["):
        return content.decode("utf-8")
    value: Value = msgspec.json.decode(content)
    return value
