"""Files that are there whole or not at all: a reader, or a kill, meets the old content or the new, nothing between.

A kill leaves the temporary file behind, whose name starts with a dot.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from taco_stream.errors import StoreError


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write to that takes the place of `path` when the block ends, and vanishes if it fails.

    Raises `StoreError` if it cannot be written; the file at `path` is then as it was.
    """
    # A name of its own for each writer: two that write one file at a time, say `report --html`, must not meet half-way.
    fresh = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.new")
    try:
        try:
            with fresh.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
            sync_folder(path.parent)
        finally:
            fresh.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}") from error


def remove_leftovers(path: Path) -> None:
    """Removes the files that killed writers of `path` left; a lock must ensure that none is running now."""
    for leftover in path.parent.glob(f".{path.name}.*.new"):
        leftover.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Replaces a file's content."""
    with replacing(path) as file:
        file.write(content)


def sync_folder(path: Path) -> None:
    """Returns when the names in a folder are on the disk itself: a file's own fsync does not cover its name."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
