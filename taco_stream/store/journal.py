"""An append-only file of JSON lines that survives being killed at any instant.

A line is written whole, ends with a newline and is not changed while the file is open. So the only damage that a kill
can do is a torn last line, which `repair` cuts off before anything is appended. A write that fails half way (the disk
is full) is cut off at once, back to the last byte that was good. Everything appended survives a kill; what
survives a power cut is everything appended before the last `sync`.

Reading needs no lock: a line is there when its newline is, and a torn last line is left out.

Not covered: a file that something else edits. A broken line before the last is an error that names file and line.
"""

import contextlib
import os
from collections.abc import Callable, Container, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Generic, NamedTuple, TypeVar

import aiofiles
import msgspec
from aiofiles.threadpool.binary import AsyncFileIO
from anyio import to_thread

from taco_stream.errors import NOT_DECODED, StoreError
from taco_stream.store.atomic import replacing

T = TypeVar("T")

_ENCODER = msgspec.json.Encoder()


class Line(NamedTuple, Generic[T]):
    """A decoded line and the byte offset at which it starts."""

    value: T
    offset: int


class Journal:
    """The writing end. The file must have been repaired; one process at a time (the run's lock sees to that)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: AsyncFileIO | None = None
        self._size = 0
        self._synced_size = 0

    async def open(self) -> None:
        """Opens the file for appending and creates it if it is missing."""
        try:
            # Unbuffered: an appended line is with the operating system at once, and survives a kill.
            self._file = await aiofiles.open(self.path, "ab", buffering=0)
            self._size = self._synced_size = self.path.stat().st_size
        except OSError as error:
            raise self._unwritable(error) from error

    async def append(self, values: Sequence[msgspec.Struct]) -> None:
        """Writes all values as one buffer. Raises `StoreError` after cutting off whatever part of it was written.

        Must not be cancelled half way: the caller shields it.
        """
        assert self._file is not None
        data = memoryview(_ENCODER.encode_lines(values))
        try:
            written = 0
            while written < len(data):  # a disk that is filling up takes a part
                written += await self._file.write(data[written:])
        except OSError as error:
            with contextlib.suppress(OSError):  # nothing more can be done; `repair` meets a torn line at the next start
                os.truncate(self.path, self._size)
            raise self._unwritable(error) from error
        self._size += len(data)

    async def sync(self) -> None:
        """Returns when everything appended is on the disk itself."""
        if self._file is None or self._size == self._synced_size:
            return
        size = self._size
        try:
            # In a thread: a disk that is busy keeps a sync waiting for seconds.
            await to_thread.run_sync(os.fsync, self._file.fileno())
        except OSError as error:
            raise self._unwritable(error) from error
        self._synced_size = size

    async def close(self) -> None:
        """Closes the file; appending ends."""
        if self._file is not None:
            await self._file.close()
            self._file = None

    def _unwritable(self, error: OSError) -> StoreError:
        return StoreError(f"{self.path} cannot be written: {error.strerror}")


def repair(path: Path) -> str | None:
    """Cuts off a last line that is torn, or whole and no JSON; a sentence for the user if there was one.

    A kill leaves the first, a power cut may leave the second. Only the last line is looked at: a break further up is no
    trace of either and is left for a person to judge.
    """
    if not path.exists():
        return None
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        end = _end_of_line_before(file, size)
        if end == size:
            # Whole by its newline. After a power cut a file may have its length and not its content: zeros, say.
            end = _end_of_line_before(file, size - 1) if size else 0
            file.seek(end)
            line = file.read(size - end)
            try:
                msgspec.json.decode(line, type=Any)
            except NOT_DECODED:
                if not line:
                    return None
            else:
                return None
        file.truncate(end)
        os.fsync(file.fileno())
    return f"{path.name} ended in a broken line of {size - end:,} bytes, which was cut off"


def withdraw(path: Path, offsets: Container[int]) -> None:
    """Removes the lines that begin at the offsets from a file that is not being written, all or none of them.

    Raises `StoreError` if the file cannot be replaced.
    """
    with replacing(path) as fresh, path.open("rb") as file:
        offset = 0
        for line in file:
            if offset not in offsets:
                fresh.write(line)
            offset += len(line)


def read_lines(path: Path, kind: type[T]) -> Iterator[Line[T]]:
    """Every whole line in order, decoded; a torn last line is left out. Raises `StoreError` at a broken one."""
    return decoded_lines(path, msgspec.json.Decoder(kind).decode)


def decoded_lines(path: Path, decode: Callable[[bytes], T]) -> Iterator[Line[T]]:
    """The items of `read_lines`, by another decoder, which raises one of `NOT_DECODED` if a line is broken."""
    offset = 0
    try:
        # Lines are a few KB long: with the usual buffer of 8 KB, reading them takes three times as long.
        with path.open("rb", buffering=1 << 16) as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):  # being written just now, or torn: either way not there yet
                    return
                try:
                    value = decode(line)
                except NOT_DECODED as error:
                    raise StoreError(f"{path}, line {number} is broken: {error}") from error
                yield Line(value, offset)
                offset += len(line)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from error


def read_values(path: Path, kind: type[T]) -> Iterator[T]:
    """The values of `read_lines` alone."""
    for line in read_lines(path, kind):
        yield line.value


def last_lines(path: Path, limit: int = 1 << 16) -> list[bytes]:
    """The whole lines among the last `limit` bytes of a file, newest first; none if there is no file."""
    try:
        with path.open("rb") as file:
            start = max(0, file.seek(0, os.SEEK_END) - limit)
            file.seek(start)
            lines = file.read().split(b"\n")
    except FileNotFoundError:
        return []
    # A line without a newline at its end is torn, and the first may be half a line.
    return lines[1 if start else 0 : -1][::-1]


def read_at(file: BinaryIO, offset: int, kind: type[T]) -> T:
    """The value whose line starts at `offset`, as `read_lines` reported it. Raises `StoreError` if it is broken."""
    file.seek(offset)
    try:
        return msgspec.json.decode(file.readline(), type=kind)
    except NOT_DECODED as error:
        raise StoreError(f"{file.name}, the line at byte {offset:,} is broken: {error}") from error


def _end_of_line_before(file: BinaryIO, size: int, block: int = 1 << 16) -> int:
    """The offset just behind the last newline of the first `size` bytes, found from the end."""
    end = size
    while end > 0:
        start = max(0, end - block)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
