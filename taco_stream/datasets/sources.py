"""From the name of a dataset to tables: files are known by their first bytes, never by their names."""

import gzip
import re
from collections.abc import Callable, Sequence
from enum import StrEnum
from importlib import resources
from pathlib import Path

import msgspec

from taco_stream.datasets.arrow import ArrowTable
from taco_stream.datasets.hub import fetch, hub_reference
from taco_stream.datasets.jsonl import JsonLines
from taco_stream.datasets.parquet import ParquetTable
from taco_stream.datasets.rows import Table
from taco_stream.errors import NOT_DECODED, DatasetError, NoDatasetError
from taco_stream.readable_file import open_readable

DEMO = "demo"
STANDARD_INPUT = "-"

_SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet", ".arrow")
_NAMED_AFTER_A_SPLIT = re.compile(r"(?:train|test|validation|valid|dev)\b")


class Format(StrEnum):
    """The formats of a file of problems."""

    JSON_LINES = "JSON Lines"
    ARROW = "Arrow"
    PARQUET = "Parquet"


_FOREIGN = {
    b"PK\x03\x04": "a zip archive: unpack it",
    b"\x28\xb5\x2f\xfd": "compressed with zstd: decompress it",
    b"BZh": "compressed with bzip2: decompress it",
    b"\xfd7zXZ": "compressed with xz: decompress it",
    b"[": "a JSON array: write one object per line, for instance with jq -c '.[]'",
    b"\x80": "a pickle, which is never loaded",
}
"""First bytes of files that people pass by mistake, and the description that the error gives."""


def find_files(spec: str, split: str) -> Sequence[Path]:
    """The files of a spec in reading order, fetched if it names a hub dataset and not a local path.

    Raises `DatasetError` if there are none.
    """
    path = demo_file() if spec == DEMO else Path(spec).expanduser()
    try:
        if path.is_dir():
            return _find_files(path, split)
        if path.exists():
            return (path,)
    except OSError as error:
        raise DatasetError(f"{spec} cannot be read: {error.strerror}") from error
    if reference := hub_reference(spec):
        return fetch(reference, split)
    raise NoDatasetError(f"there is no file or folder {spec}")


def demo_file() -> Path:
    """The embedded problems."""
    return Path(str(resources.files("taco_stream.demo") / "problems.jsonl"))


def open_tables(files: Sequence[Path]) -> Sequence[Table]:
    """A table for every file. Raises `DatasetError` if one has an unknown format."""
    return [_TABLES[detect_format(path)](path) for path in files]


def standard_input() -> Table:
    """JSON Lines, plain or gzipped, as they arrive on standard input."""
    return JsonLines("standard input", lambda: open(0, "rb", closefd=False))


def detect_format(path: Path) -> Format:
    """A file's format, by its first bytes."""
    try:
        with open_readable(path) as file:
            head = file.read(16)
        if head[:2] == b"\x1f\x8b":
            with gzip.open(path) as unzipped:
                head = unzipped.read(16)
    except (OSError, EOFError) as error:
        raise DatasetError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    content = head.removeprefix(b"\xef\xbb\xbf").lstrip()  # editors on Windows write a byte order mark
    if content.startswith(b"{"):
        return Format.JSON_LINES
    if head.startswith(b"PAR1"):
        return Format.PARQUET
    # A stream begins with the continuation mark and the length of its schema message.
    if head.startswith(b"ARROW1") or re.match(rb"\xff\xff\xff\xff...\x00", head, re.DOTALL):
        return Format.ARROW
    if not content:
        raise DatasetError(f"{path} is empty")
    for start, what in _FOREIGN.items():
        if content.startswith(start):
            raise DatasetError(f"{path} is {what}; problems are read from JSON Lines, Parquet and Arrow files")
    raise DatasetError(f"{path} is not JSON Lines, Parquet or Arrow (it begins with {head[:8]!r})")


_TABLES: dict[Format, Callable[[Path], Table]] = {
    Format.JSON_LINES: lambda path: JsonLines(str(path), lambda: path.open("rb")),
    Format.ARROW: ArrowTable,
    Format.PARQUET: ParquetTable,
}


class _SaveToDiskFile(msgspec.Struct):
    filename: str


class _SaveToDiskState(msgspec.Struct):
    """`state.json` of a folder written by `datasets.Dataset.save_to_disk`."""

    files: list[_SaveToDiskFile] = msgspec.field(name="_data_files")


def _find_files(folder: Path, split: str) -> Sequence[Path]:
    """The split's files: those of its own folder, those named after it, or all if nothing is named after a split."""
    if (folder / split).is_dir():
        folder = folder / split
    state = folder / "state.json"
    # `save_to_disk` names the files of its folder, which may hold others: caches of the library that wrote it.
    if state.is_file():
        try:
            listed = msgspec.json.decode(state.read_bytes(), type=_SaveToDiskState).files
        except (OSError, *NOT_DECODED) as error:
            raise DatasetError(f"{state} does not describe a dataset saved to disk: {error}") from error
        return [folder / Path(file.filename).name for file in listed]
    files = sorted(path for path in folder.iterdir() if path.name.endswith(_SUFFIXES))
    if not files:
        splits = sorted(path.name for path in folder.iterdir() if path.is_dir())
        hint = f"; it has the folders {', '.join(splits[:8])} (--split chooses one)" if splits else ""
        raise DatasetError(f"the folder {folder} holds no {', '.join(_SUFFIXES)} files{hint}")
    of_split = [path for path in files if re.match(rf"{re.escape(split)}\b", path.name)]
    others = [path.name for path in files if _NAMED_AFTER_A_SPLIT.match(path.name)]
    if others and not of_split:
        raise DatasetError(f"the folder {folder} holds no files of the split {split!r}, but {', '.join(others[:8])}")
    return of_split or files
