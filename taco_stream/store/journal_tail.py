"""The lines of a journal as they come: each call reads the lines added since the last one.

For readers of a run that is being written. A line counts once its newline is there; a torn last line is read when it
is whole. A file that got shorter, or that another file has taken the place of (`journal.withdraw`), is not the one that
was read: a sum over its lines has to begin again.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from taco_stream.errors import StoreError
from taco_stream.store.journal import Line

T = TypeVar("T")


class JournalTail(Generic[T]):
    """The reading end of a journal that may still grow. `decode` raises `msgspec.MsgspecError` if a line is broken."""

    def __init__(self, path: Path, decode: Callable[[bytes], T]) -> None:
        self.path = path
        self.offset = 0
        self._decode = decode
        self._inode: int | None = None

    def was_replaced(self) -> bool:
        """Whether the file no longer begins with the part read so far."""
        try:
            now = self.path.stat()
        except FileNotFoundError:
            return self._inode is not None
        return now.st_size < self.offset or self._inode not in (None, now.st_ino)

    def new_lines(self) -> Iterator[Line[T]]:
        """The whole lines that were not there at the last call; none if there is no file.

        Raises `StoreError` at a broken line; the next call begins behind it.
        """
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreError(f"{self.path} cannot be read: {error.strerror}") from error
        with file:
            self._inode = self.path.stat().st_ino
            file.seek(self.offset)
            for text in file:
                if not text.endswith(b"\n"):
                    return
                start, self.offset = self.offset, self.offset + len(text)
                try:
                    yield Line(self._decode(text), start)
                except msgspec.MsgspecError as error:
                    raise StoreError(f"{self.path}, the line at byte {start:,} is broken: {error}") from error
