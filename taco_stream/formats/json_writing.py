"""JSON files written entry by entry, so that one entry is in memory at a time.

Text outside ASCII is escaped, because the original's scripts read their files in whatever the locale's encoding is.
"""

import json
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from taco_stream.store.atomic import replacing


def write_json_array(entries: Iterable[Any], path: Path) -> Path:
    """Writes the entries as one array, byte for byte as `json.dump(list(entries), file, indent=4)` does; the path."""
    # No string holds a newline once it is JSON, so indenting lines indents nothing but the structure.
    lines = (textwrap.indent(json.dumps(entry, indent=4), "    ") for entry in entries)
    return _write_enclosed("[", lines, "]", path)


def write_json_object(entries: Iterable[tuple[str, Any]], path: Path) -> Path:
    """Writes the entries as one object, a line each; the path."""
    lines = (f"    {json.dumps(name)}: {json.dumps(value)}" for name, value in entries)
    return _write_enclosed("{", lines, "}", path)


def write_json_lines(entries: Iterable[Any], path: Path) -> Path:
    """Writes each entry as a line; the path."""
    with replacing(path) as file:
        for entry in entries:
            file.write(json.dumps(entry).encode("ascii") + b"\n")
    return path


def _write_enclosed(start: str, entries: Iterable[str], end: str, path: Path) -> Path:
    with replacing(path) as file:
        before = start + "\n"
        for entry in entries:
            file.write((before + entry).encode("ascii"))
            before = ",\n"
        is_empty = before != ",\n"
        file.write((start + end if is_empty else "\n" + end).encode("ascii"))
    return path
