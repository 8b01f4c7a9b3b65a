"""A run as a Parquet table, a row per sample: for pandas, polars, DuckDB and the like; only written.

Columns: what a line of `results.jsonl` holds, the verdict of each comparison mode in columns of its own
(`strict_status`, `official_cpu_seconds`, …).
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from taco_stream.formats.samples import ProblemRecords
from taco_stream.store.atomic import replacing
from taco_stream.types import ComparisonMode, Record

ROWS_PER_GROUP = 10_000
"""Rows held before they are written: some 20 MB of programs."""


def write(problems: Iterable[ProblemRecords], path: Path) -> Path:
    """Writes the table; the path."""
    import pyarrow
    import pyarrow.parquet

    text, integer, number = pyarrow.string(), pyarrow.int64(), pyarrow.float64()
    record_columns = {
        "problem_id": text,
        "sample_index": integer,
        "difficulty": text,
        "skills": pyarrow.list_(text),
        "program": text,
        "extraction": text,
        "cut_before": integer,
        "cut_after": integer,
        "finish_reason": text,
        "prompt_tokens": integer,
        "completion_tokens": integer,
        "generate_seconds": number,
        "judge_seconds": number,
        "engine": text,
    }
    verdict_columns = {
        "status": text,
        "failed_test": integer,
        "tests_run": integer,
        "cpu_seconds": number,
        "wall_seconds": number,
        "peak_memory_bytes": integer,
        "detail": text,
        "output_head": text,
    }

    def row(record: Record) -> dict[str, Any]:
        values = {name: getattr(record, name) for name in record_columns}
        values["tests_total"] = max((verdict.tests_total for verdict in record.verdicts.values()), default=0)
        for mode, verdict in record.verdicts.items():
            values |= {f"{mode}_{name}": getattr(verdict, name) for name in verdict_columns}
        return values

    schema = pyarrow.schema(
        record_columns
        | {"tests_total": integer}
        | {f"{mode}_{name}": kind for mode in ComparisonMode for name, kind in verdict_columns.items()}
    )
    rows: list[dict[str, Any]] = []
    with replacing(path) as file, pyarrow.parquet.ParquetWriter(file, schema) as writer:
        for problem in problems:
            rows += [row(record) for record in problem.records]
            if len(rows) >= ROWS_PER_GROUP:
                writer.write_table(pyarrow.Table.from_pylist(rows, schema))
                rows.clear()
        writer.write_table(pyarrow.Table.from_pylist(rows, schema))
    return path
