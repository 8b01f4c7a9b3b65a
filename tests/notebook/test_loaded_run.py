"""A run read from Python, finished or not."""

from pathlib import Path

import msgspec
import pytest
from sample_values import completion, manifest, record

from taco_stream import ComparisonMode, Record, Status, StoreError, Verdict, load_run
from taco_stream.store.record_line import record_to_line


def append(path: Path, *values: msgspec.Struct) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("ab") as file:
        file.writelines(msgspec.json.encode(value) + b"\n" for value in values)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    settings = {"model": "demo", "samples": 2, "mode": "official"}
    append(folder / "run.json", msgspec.structs.replace(manifest(), settings=settings))
    append(folder / "completions.jsonl", completion("a", 0), completion("a", 1), completion("b", 0))
    mixed = {
        ComparisonMode.STRICT: Verdict(status=Status.WRONG_ANSWER, tests_total=3, failed_test=1),
        ComparisonMode.OFFICIAL: Verdict(status=Status.PASSED, tests_total=3),
    }
    records: list[Record] = [record("a", 0, verdicts=mixed), record("a", 1, Status.TIME_LIMIT)]
    append(folder / "results.jsonl", *map(record_to_line, [*records, records[0]]))
    return folder


def test_records_are_typed_and_each_sample_counts_once(run: Path) -> None:
    records = list(load_run(run).records())
    assert [record.key for record in records] == [("a", 0), ("a", 1)]
    assert records[0].verdicts[ComparisonMode.OFFICIAL].status is Status.PASSED
    assert [each.key for each in load_run(str(run)).completions()] == [("a", 0), ("a", 1), ("b", 0)]


def test_the_mode_is_the_runs_own_or_the_one_asked_for(run: Path) -> None:
    assert load_run(run).passed() == {"a": 1}
    assert load_run(run, mode=ComparisonMode.STRICT).passed() == {"a": 0}
    assert load_run(run).summary().pass_at_k[1].value == 0.5
    assert load_run(run).settings["samples"] == 2


def test_a_run_that_is_being_written_is_read_as_far_as_it_is(run: Path) -> None:
    loaded = load_run(run)
    with (run / "results.jsonl").open("ab") as file:
        file.write(b'{"problem_id": "b", "sample_')
    assert loaded.passed() == {"a": 1}
    with (run / "results.jsonl").open("r+b") as file:
        file.truncate(file.seek(0, 2) - len(b'{"problem_id": "b", "sample_'))
    append(run / "results.jsonl", record_to_line(record("b", 0)))
    assert loaded.passed() == {"a": 1, "b": 1}


def test_the_table_has_a_row_per_sample_with_every_mode(run: Path) -> None:
    table = load_run(run).to_arrow()
    assert table.select(
        ["problem_id", "sample_index", "strict_status", "official_status", "strict_failed_test"]
    ).to_pydict() == {
        "problem_id": ["a", "a"],
        "sample_index": [0, 1],
        "strict_status": ["wrong_answer", "time_limit"],
        "official_status": ["passed", "time_limit"],
        "strict_failed_test": [1, None],
    }


def test_the_table_of_a_run_without_a_record_has_the_columns(run: Path) -> None:
    (run / "results.jsonl").unlink()
    table = load_run(run).to_arrow()
    assert (table.num_rows, "spj_status" in table.column_names) == (0, True)


def test_the_table_becomes_a_data_frame(run: Path) -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    frame = load_run(run).to_arrow().to_pandas()
    assert (frame.official_status == "passed").groupby(frame.problem_id).mean().to_dict() == {"a": 0.5}


def test_a_run_of_an_earlier_version_is_read() -> None:
    loaded = load_run(Path(__file__).parents[1] / "store" / "version_1" / "run")
    assert loaded.passed() == {"sum": 1, "half": 0, "double": 1}
    assert loaded.to_arrow().num_rows == len(list(loaded.records())) == 11


def test_a_folder_without_a_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not a run directory"):
        load_run(tmp_path)
