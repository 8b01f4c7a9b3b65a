"""The common part of Arrow and Parquet files: record batches, decoded one row at a time."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from taco_stream.datasets.rows import BadRow, Row, Value
from taco_stream.errors import DatasetError


class ColumnarTable(ABC):
    """A table over one file of record batches."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def name(self) -> str:
        """The file's path."""
        return str(self._path)

    @abstractmethod
    def columns(self) -> frozenset[str]:
        """The schema's names."""

    @abstractmethod
    def _batches(self, wanted: frozenset[str]) -> Iterator[Any]:
        """The file's record batches in order, with at least those of the `wanted` columns that it has."""

    def rows(self, wanted: frozenset[str]) -> Iterator[Row | BadRow]:
        """One row at a time, named `file row N` with rows counted from zero."""
        import pyarrow

        first = 0
        try:
            for batch in self._batches(wanted):
                columns = [(column, batch.column(column)) for column in batch.schema.names if column in wanted]
                for index in range(batch.num_rows):
                    location = f"{self.name} row {first + index}"
                    try:
                        yield Row(location, {column: _scalar(values[index].as_py()) for column, values in columns})
                    except UnicodeDecodeError as error:
                        yield BadRow(location, f"a text is not UTF-8: {error}")
                first += batch.num_rows
        except (OSError, pyarrow.ArrowException) as error:
            raise DatasetError(f"{self._path} is damaged after row {first}: {error}") from error


def _scalar(value: Any) -> Value:
    """A scalar as itself, a list or struct as its JSON text, anything else (a date) as it prints."""
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    if value is None or isinstance(value, str | int | float | bool | bytes):
        return value
    return str(value)
