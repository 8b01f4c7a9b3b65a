"""Listing runs: from summaries if these are current, without a traceback for whatever else lies there."""

import json
import os
from pathlib import Path
from typing import Any

import anyio
import pytest
from sample_values import finished, gauges, record
from test_compare import manifest

from taco_stream.commands.report import count_records, read_run, sum_up
from taco_stream.commands.runs import list_runs, read_runs
from taco_stream.errors import UsageError
from taco_stream.report.run_list import RunLine
from taco_stream.store.lock import exclusive
from taco_stream.store.run_directory import RunDirectory, open_run
from taco_stream.types import Record, Status


def write_run(path: Path, *records: Record, expected: int = 2, has_summary: bool = True, **settings: Any) -> Path:
    async def write() -> None:
        async with open_run(path, manifest(**settings)) as run:
            await run.append([*records, finished(samples_expected=expected)])
            if has_summary:
                summarise_into(run)

    anyio.run(write)
    return path


def summarise_into(run: RunDirectory) -> None:
    files, settings = read_run(run.path, None, ())
    run.write_summary(sum_up(count_records(files), files, settings))


def only_line(folder: Path) -> RunLine:
    (line,) = read_runs(folder).runs
    return line


@pytest.mark.parametrize("has_summary", [True, False])
def test_a_run_is_a_line(tmp_path: Path, has_summary: bool) -> None:
    records = [record("a"), record("b", 0, Status.WRONG_ANSWER)]
    path = write_run(tmp_path / "one", *records, has_summary=has_summary, model="org/model", dataset="problems.jsonl")
    line = only_line(tmp_path)
    assert (line.name, line.state, line.samples, line.samples_expected) == ("one", "complete", 2, 2)
    assert (line.model, line.dataset, line.k, line.path) == ("org/model", "problems.jsonl", 1, str(path))
    assert line.score is not None
    assert (line.score.value, line.score.problems) == (0.5, 2)
    assert line == only_line(path)


def test_a_current_summary_saves_reading_the_records(tmp_path: Path) -> None:
    """What the records hold is not even JSON, so a list that read them would not have the run."""
    path = write_run(tmp_path / "one", record("a"), record("b")) / "results.jsonl"
    path.write_bytes(b"\xff\n" * 2)
    os.utime(path, (0, 0))
    assert only_line(tmp_path).state == "complete"


def test_an_old_or_broken_summary_is_not_believed(tmp_path: Path) -> None:
    path = write_run(tmp_path / "one", record("a"))
    (path / "summary.json").write_text('{"mode": ')
    assert only_line(tmp_path).samples == 1

    async def add() -> None:
        async with open_run(path, manifest()) as run:
            summarise_into(run)
            os.utime(path / "summary.json", (0, 0))
            await run.append([record("b"), gauges(samples_expected=2)])

    anyio.run(add)
    assert (only_line(tmp_path).samples, only_line(tmp_path).state) == (2, "complete")


def test_a_run_that_is_being_written_is_running_and_is_not_disturbed(tmp_path: Path) -> None:
    path = write_run(tmp_path / "one", record("a"), expected=9)
    with exclusive(path):
        assert only_line(tmp_path).state == "running"
    assert only_line(tmp_path).state == "failed"
    with exclusive(path):
        pass


def test_the_run_written_last_comes_first(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "older", "oldest")):
        path = write_run(tmp_path / name, record("a"))
        for file in path.iterdir():
            os.utime(file, (2e9 - age, 2e9 - age))
    assert [line.name for line in read_runs(tmp_path).runs] == ["new", "older", "oldest"]


def test_whatever_else_lies_there_has_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "good", record("a"), record("b"))
    (tmp_path / "notes").mkdir()
    (tmp_path / "file.txt").touch()
    damaged = {
        "no-json": ("run.json", b"{"),
        "other-json": ("run.json", b'{"name": "something else"}'),
        "broken-records": ("results.jsonl", b"\xff\n"),
    }
    for name, (file, content) in damaged.items():
        path = write_run(tmp_path / name, record("a"), has_summary=False)
        (path / file).write_bytes(content)
    (tmp_path / "folder-for-a-file" / "run.json").mkdir(parents=True)
    (write_run(tmp_path / "records-folder", has_summary=False) / "results.jsonl").unlink(missing_ok=True)
    list_runs(tmp_path, as_json=False)
    rows = capsys.readouterr().out.splitlines()
    assert sum(row.startswith("good ") for row in rows) == 1
    for name in ("notes", "no-json", "other-json", "broken-records", "folder-for-a-file"):
        assert sum(row.startswith(f"{tmp_path / name}: ") for row in rows) == 1, name
    assert not any("file.txt" in row for row in rows)


def test_json_has_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "good", record("a"), record("b"))
    (tmp_path / "notes").mkdir()
    list_runs(tmp_path, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["runs"][0]["state"] == "complete"
    assert found["unreadable"][0]["path"] == str(tmp_path / "notes")


def test_an_empty_folder_says_so_and_a_missing_one_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    list_runs(tmp_path, as_json=False)
    assert capsys.readouterr().out == f"{tmp_path} holds no runs\n"
    with pytest.raises(UsageError, match="missing cannot be read: No such file or directory"):
        list_runs(tmp_path / "missing", as_json=False)
