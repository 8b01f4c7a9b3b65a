"""Arrow files, in the stream format (written by `datasets`) or the file format, over a memory map.

A record batch is a view into the map, so a row costs its own text and nothing else. Pages that were read would count as
resident memory until the kernel wants them back; they are handed back after every few megabytes, so that a file of any
size is read in the same memory.
"""

import mmap
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from taco_stream.datasets.columnar import ColumnarTable
from taco_stream.datasets.rows import BadRow, Row
from taco_stream.errors import DatasetError

_FILE_MAGIC = b"ARROW1"

_RELEASE_AFTER_BYTES = 8 << 20
"""Text handed over between two releases: small compared with an
interpreter, large compared with the cost of the call (0.1 ms)."""


class ArrowTable(ColumnarTable):
    """A table over one Arrow file."""

    def columns(self) -> frozenset[str]:
        """The schema's names."""
        return frozenset(self._open().schema.names)

    def rows(self, wanted: frozenset[str]) -> Iterator[Row | BadRow]:
        """One row at a time, named `file row N` with rows counted from zero."""
        handed_over = 0
        for row in super().rows(wanted):
            if isinstance(row, Row):
                handed_over += sum(len(value) for value in row.values.values() if isinstance(value, str))
            if handed_over > _RELEASE_AFTER_BYTES:
                self._mapped.madvise(mmap.MADV_DONTNEED)
                handed_over = 0
            yield row
        self._mapped.madvise(mmap.MADV_DONTNEED)

    def _batches(self, wanted: frozenset[str]) -> Iterator[Any]:
        reader = self._open()
        if self._has_footer:
            yield from (reader.get_batch(index) for index in range(reader.num_record_batches))
        else:
            yield from reader

    def _open(self) -> Any:
        import pyarrow

        source = pyarrow.BufferReader(pyarrow.py_buffer(self._mapped))
        try:
            return pyarrow.ipc.open_file(source) if self._has_footer else pyarrow.ipc.open_stream(source)
        except (OSError, pyarrow.ArrowException) as error:
            raise DatasetError(f"{self._path} is not an Arrow file: {error}") from error

    @cached_property
    def _mapped(self) -> mmap.mmap:
        try:
            with self._path.open("rb") as file:
                return mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        except (OSError, ValueError) as error:
            raise DatasetError(f"{self._path} cannot be read: {error}") from error

    @property
    def _has_footer(self) -> bool:
        """Whether the file has the file format, which lists its batches at the end, or the stream format."""
        return self._mapped[: len(_FILE_MAGIC)] == _FILE_MAGIC
