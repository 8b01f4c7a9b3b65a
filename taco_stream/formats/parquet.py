"""A run as a Parquet table, a row per sample: for pandas, polars, DuckDB and the like.

Columns: what a line of `results.jsonl` holds, the verdict of each comparison mode in columns of its own
(`strict_status`, `official_cpu_seconds`, …).
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from taco_stream.formats.grouping import Group
from taco_stream.store.atomic import replacing
from taco_stream.types import ComparisonMode, Record

ROWS_PER_GROUP = 10_000
"""Rows held before they are written: some 20 MB of programs."""


def write_table(groups: Iterable[Group], path: Path) -> Path:
    """Writes the table; the path."""
    import pyarrow
    import pyarrow.parquet

    schema = _schema(pyarrow)
    rows: list[dict[str, Any]] = []
    with replacing(path) as file, pyarrow.parquet.ParquetWriter(file, schema) as writer:
        for group in groups:
            rows += [_row(record) for record in group.records]
            if len(rows) >= ROWS_PER_GROUP:
                writer.write_table(pyarrow.Table.from_pylist(rows, schema))
                rows.clear()
        writer.write_table(pyarrow.Table.from_pylist(rows, schema))
    return path


def _schema(arrow: Any) -> Any:
    text, whole, number = arrow.string(), arrow.int64(), arrow.float64()
    columns = [
        ("problem_id", text),
        ("sample_index", whole),
        ("difficulty", text),
        ("skills", arrow.list_(text)),
        ("program", text),
        ("extraction", text),
        ("cut_before", whole),
        ("cut_after", whole),
        ("finish_reason", text),
        ("prompt_tokens", whole),
        ("completion_tokens", whole),
        ("generate_seconds", number),
        ("judge_seconds", number),
        ("engine", text),
        ("tests_total", whole),
    ]
    of_a_verdict = [
        ("status", text),
        ("failed_test", whole),
        ("tests_run", whole),
        ("cpu_seconds", number),
        ("wall_seconds", number),
        ("peak_memory_bytes", whole),
        ("detail", text),
        ("output_head", text),
    ]
    columns += [(f"{mode}_{name}", kind) for mode in ComparisonMode for name, kind in of_a_verdict]
    return arrow.schema(columns)


def _row(record: Record) -> dict[str, Any]:
    row = {
        "problem_id": record.problem_id,
        "sample_index": record.sample_index,
        "difficulty": record.difficulty,
        "skills": list(record.skills),
        "program": record.program,
        "extraction": str(record.extraction),
        "cut_before": record.cut_before,
        "cut_after": record.cut_after,
        "finish_reason": str(record.finish_reason),
        "prompt_tokens": record.prompt_tokens,
        "completion_tokens": record.completion_tokens,
        "generate_seconds": record.generate_seconds,
        "judge_seconds": record.judge_seconds,
        "engine": record.engine,
        "tests_total": max((verdict.tests_total for verdict in record.verdicts.values()), default=0),
    }
    for mode, verdict in record.verdicts.items():
        row |= {
            f"{mode}_status": str(verdict.status),
            f"{mode}_failed_test": verdict.failed_test,
            f"{mode}_tests_run": verdict.tests_run,
            f"{mode}_cpu_seconds": verdict.cpu_seconds,
            f"{mode}_wall_seconds": verdict.wall_seconds,
            f"{mode}_peak_memory_bytes": verdict.peak_memory_bytes,
            f"{mode}_detail": verdict.detail,
            f"{mode}_output_head": verdict.output_head,
        }
    return row
