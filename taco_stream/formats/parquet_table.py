"""A run as a Parquet table, a row per sample: for pandas, polars, DuckDB and the like; only written.

Columns: the fields of a line of `results.jsonl`, the verdict of each comparison mode in columns of its own
(`strict_status`, `official_cpu_seconds`, …).
"""

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taco_stream.formats.samples import ProblemRecords
from taco_stream.store.atomic import replacing
from taco_stream.types import ComparisonMode, Record

if TYPE_CHECKING:
    import pyarrow

ROWS_PER_GROUP = 10_000
"""Rows held before they are written: some 20 MB of programs."""


VERDICT_COLUMNS = {
    "status": "string",
    "failed_test": "int64",
    "tests_run": "int64",
    "cpu_seconds": "double",
    "wall_seconds": "double",
    "peak_memory_bytes": "int64",
    "detail": "string",
    "output_head": "string",
}
RECORD_COLUMNS = {
    "problem_id": "string",
    "sample_index": "int64",
    "difficulty": "string",
    "skills": "list",
    "program": "string",
    "extraction": "string",
    "cut_before": "int64",
    "cut_after": "int64",
    "finish_reason": "string",
    "prompt_tokens": "int64",
    "completion_tokens": "int64",
    "generate_seconds": "double",
    "judge_seconds": "double",
    "engine": "string",
}
"""The fields of records and verdicts that are columns, in their order, with pyarrow's names of their types."""


def write(problems: Iterable[ProblemRecords], path: Path) -> Path:
    """Writes the table; the path."""
    import pyarrow.parquet

    rows: list[dict[str, Any]] = []
    schema = _schema()
    with replacing(path) as file, pyarrow.parquet.ParquetWriter(file, schema) as writer:
        for problem in problems:
            rows += map(_row, problem.records)
            if len(rows) >= ROWS_PER_GROUP:
                writer.write_table(pyarrow.Table.from_pylist(rows, schema))
                rows.clear()
        writer.write_table(pyarrow.Table.from_pylist(rows, schema))
    return path


def records_table(records: Iterable[Record]) -> "pyarrow.Table":
    """The records as a table in memory."""
    import pyarrow

    schema = _schema()
    batches = []
    left = iter(records)
    while rows := [_row(record) for record in islice(left, ROWS_PER_GROUP)]:
        batches.append(pyarrow.RecordBatch.from_pylist(rows, schema))
    return pyarrow.Table.from_batches(batches, schema)


def _schema() -> "pyarrow.Schema":
    import pyarrow

    def kind(name: str) -> "pyarrow.DataType":
        return pyarrow.list_(pyarrow.string()) if name == "list" else pyarrow.type_for_alias(name)

    columns = RECORD_COLUMNS | {"tests_total": "int64"}
    columns |= {f"{mode}_{name}": type_name for mode in ComparisonMode for name, type_name in VERDICT_COLUMNS.items()}
    return pyarrow.schema([(name, kind(type_name)) for name, type_name in columns.items()])


def _row(record: Record) -> dict[str, Any]:
    values = {name: getattr(record, name) for name in RECORD_COLUMNS}
    values["tests_total"] = max((verdict.tests_total for verdict in record.verdicts.values()), default=0)
    for mode, verdict in record.verdicts.items():
        values |= {f"{mode}_{name}": getattr(verdict, name) for name in VERDICT_COLUMNS}
    return values
