"""Files that are there whole or not at all: a reader, or a kill, meets the old content or the new, nothing between."""

import os
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
    fresh = path.with_name(f".{path.name}.new")
    try:
        try:
            with fresh.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
            sync_folder(path.parent)
        finally:
            fresh.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}") from error


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
