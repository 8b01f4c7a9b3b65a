"""A run as a Parquet table, read by pyarrow."""

from pathlib import Path

import pytest
from foreign_files import PROMPTS, RECORDS, STRICT, few_examples, problem_records, write_run, written
from hypothesis import given
from hypothesis import strategies as st

from taco_stream.formats import ExportFormat, export, parquet_table
from taco_stream.formats.samples import ProblemRecords
from taco_stream.store.run_directory import RunFiles
from taco_stream.types import ComparisonMode

pytestmark = pytest.mark.anyio


@given(problem_records(), st.integers(1, 5))
@few_examples
def test_tables_hold_every_sample_in_order_with_all_that_was_measured(
    folder: Path, problems: list[ProblemRecords], rows_per_group: int
) -> None:
    """All but what has no column: prompts, and problems without samples."""
    pyarrow_parquet = pytest.importorskip("pyarrow.parquet")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(parquet_table, "ROWS_PER_GROUP", rows_per_group)
        path = parquet_table.write(problems, folder / "results.parquet")
    rows = pyarrow_parquet.read_table(path).to_pylist()
    records = [record for problem in problems for record in problem.records]
    assert len(rows) == len(records)
    for row, record in zip(rows, records, strict=True):
        expected = {
            "problem_id": record.problem_id,
            "sample_index": record.sample_index,
            "difficulty": record.difficulty,
            "skills": list(record.skills),
            "program": record.program,
            "extraction": record.extraction.value,
            "cut_before": record.cut_before,
            "cut_after": record.cut_after,
            "finish_reason": record.finish_reason.value,
            "prompt_tokens": record.prompt_tokens,
            "completion_tokens": record.completion_tokens,
            "generate_seconds": record.generate_seconds,
            "judge_seconds": record.judge_seconds,
            "engine": record.engine,
            "tests_total": max(verdict.tests_total for verdict in record.verdicts.values()),
        }
        for mode in ComparisonMode:
            verdict = record.verdicts[mode]
            expected |= {
                f"{mode}_status": verdict.status.value,
                f"{mode}_failed_test": verdict.failed_test,
                f"{mode}_tests_run": verdict.tests_run,
                f"{mode}_cpu_seconds": verdict.cpu_seconds,
                f"{mode}_wall_seconds": verdict.wall_seconds,
                f"{mode}_peak_memory_bytes": verdict.peak_memory_bytes,
                f"{mode}_detail": verdict.detail,
                f"{mode}_output_head": verdict.output_head,
            }
        assert list(row.items()) == list(expected.items()), "columns stand in another order, or other values"


async def test_parquet_has_a_row_per_sample_with_every_mode(run: RunFiles) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    table = pytest.importorskip("pyarrow.parquet").read_table(written(run, ExportFormat.PARQUET)[0])
    assert isinstance(table, pyarrow.Table)
    rows = table.to_pylist()
    found = [(row["problem_id"], row["sample_index"], row["program"], row["strict_status"]) for row in rows]
    expected = [(each.problem_id, each.sample_index, each.program, each.verdicts[STRICT].status) for each in RECORDS]
    assert sorted(found, key=str) == sorted(expected, key=str)
    hard = next(row for row in rows if row["problem_id"] == "HumanEval/2" and row["sample_index"] == 0)
    assert (hard["difficulty"], hard["skills"], hard["official_status"]) == ("HARD", ["Sorting"], "wrong_answer")


async def test_parquet_of_an_empty_run_has_the_columns(tmp_path: Path) -> None:
    run = await write_run(tmp_path / "run", [])
    (path,) = export(run, ExportFormat.PARQUET, run.path, prompts=lambda: PROMPTS, mode=STRICT, ks=(1,))
    table = pytest.importorskip("pyarrow.parquet").read_table(path)
    assert table.num_rows == 0
    assert "spj_status" in table.column_names
