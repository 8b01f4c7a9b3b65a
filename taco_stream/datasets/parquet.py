"""Parquet files, decoded one row at a time.

Parquet is decompressed by the page, and a page may be as large as its row group: a file of TACO's size takes about
twice its largest row group in memory (measured: 1.1 GiB for 480 MiB in one group, 0.25 GiB in groups of 100 rows).
Arrow files take next to nothing, which is why `BAAI/TACO` is read from its Arrow files.
"""

from collections.abc import Iterator
from typing import Any

from taco_stream.datasets.columnar import ColumnarTable
from taco_stream.errors import DatasetError


class ParquetTable(ColumnarTable):
    """A table over one Parquet file."""

    def columns(self) -> frozenset[str]:
        """The schema's names."""
        import pyarrow
        from pyarrow import parquet

        try:
            return frozenset(parquet.read_schema(self._path).names)
        except (OSError, pyarrow.ArrowException) as error:
            raise DatasetError(f"{self._path} is not a readable Parquet file: {error}") from error

    def _batches(self, wanted: frozenset[str]) -> Iterator[Any]:
        from pyarrow import parquet

        # A pre-buffer would hold whole column chunks, and batches of more rows all of their texts at once.
        with parquet.ParquetFile(self._path, memory_map=True, pre_buffer=False) as file:
            present = [name for name in file.schema_arrow.names if name in wanted]
            yield from file.iter_batches(batch_size=1, columns=present)
