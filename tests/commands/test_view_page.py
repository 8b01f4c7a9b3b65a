"""The command `view`: one page over a folder of runs, or over one run."""

import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest
from sample_values import completion, manifest, record

from taco_stream.errors import StoreError, UsageError
from taco_stream.events import RunStarted
from taco_stream.report.run_list import RunState
from taco_stream.store.run_directory import RESULTS, open_run
from taco_stream.types import Completion, Record, Status

pytest.importorskip("starlette", reason="starlette is not installed: pip install 'taco-stream[view]'")
pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install 'taco-stream[view]'")

from taco_stream.commands.view_page import RunsOfFolder


def write(path: Path, entries: Sequence[Completion | Record | RunStarted]) -> None:
    async def append() -> None:
        async with open_run(path, manifest()) as run:
            await run.append(entries)

    anyio.run(append)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, status in (("first", Status.PASSED), ("second", Status.WRONG_ANSWER)):
        write(tmp_path / "runs" / name, [completion("a", 0), record("a", 0, status), RunStarted()])
    (tmp_path / "secret").mkdir()
    (tmp_path / "runs" / "notes").mkdir()
    return tmp_path / "runs"


def test_the_runs_of_a_folder_are_listed_with_their_scores_and_other_folders_with_a_reason(folder: Path) -> None:
    listing = RunsOfFolder(folder).runs()
    assert {run.name: run.score.value for run in listing.runs if run.score} == {"first": 1, "second": 0}
    assert {run.state for run in listing.runs if run.score} == {RunState.RESUMABLE}
    assert [(run.name, bool(run.error)) for run in listing.runs if not run.score] == [("notes", True)]


def test_a_run_directory_is_a_folder_of_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [run.name for run in RunsOfFolder(folder / "first").runs().runs] == ["first"]
    monkeypatch.chdir(folder / "first")
    served = RunsOfFolder(Path())
    (run,) = served.runs().runs
    assert served.run(run.name) is not None


def test_a_run_is_followed_while_it_is_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taco_stream.commands.view_page.FRESH_SECONDS", 0)
    monkeypatch.setattr("taco_stream.commands.view_page.SHARE_OF_TIME", float("inf"))
    served = RunsOfFolder(folder)
    page = served.run("first")
    assert page is not None
    assert page.summary.coverage.samples == 1
    write(folder / "first", [completion("b", 0), record("b", 0, Status.TIME_LIMIT)])
    page = served.run("first")
    assert page is not None
    assert (page.summary.coverage.samples, page.summary.pass_at_k[1].value) == (2, 0.5)


def test_answers_that_come_together_are_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taco_stream.commands.view_page.FRESH_SECONDS", 1e6)
    served = RunsOfFolder(folder)
    before = served.run("first")
    write(folder / "first", [completion("b", 0), record("b", 0)])
    assert served.run("first") is before


def test_a_problem_and_a_sample_say_what_is_missing_of_the_dataset(folder: Path) -> None:
    served = RunsOfFolder(folder)
    problem, sample = served.problem("second", "a"), served.sample("second", "a", 0)
    assert problem is not None
    assert sample is not None
    assert [row.status for row in problem.samples] == [Status.WRONG_ANSWER]
    assert sample.program == "print(1)\n"
    assert served.sample("second", "a", 1) is None
    assert served.problem("second", "b") is None


@pytest.mark.parametrize(
    "name", ["../secret", "..", ".", "", "/etc", "first/../second", "nope", "notes/../first", "<script>"]
)
def test_only_the_name_of_a_run_opens_it(folder: Path, name: str) -> None:
    served = RunsOfFolder(folder)
    assert served.run(name) is None
    assert served.problem(name, "a") is None
    assert served.sample(name, "a", 0) is None
    assert served.compare(name, "first") is None


def test_a_folder_that_is_no_run_and_a_broken_run_are_errors_of_ours(folder: Path) -> None:
    with pytest.raises(StoreError, match="not a run directory"):
        RunsOfFolder(folder).run("notes")
    with (folder / "first" / RESULTS).open("a") as file:
        file.write("nonsense\n")
    with pytest.raises(StoreError, match="is broken"):
        RunsOfFolder(folder).run("first")
    with pytest.raises(UsageError, match="cannot be read"):
        RunsOfFolder(folder / "nope").runs()


def test_two_runs_are_compared(folder: Path) -> None:
    compared = RunsOfFolder(folder).compare("first", "second")
    assert compared is not None
    assert compared.comparisons[0].pass_at_k[1].value == -1
    assert [change.problem_id for change in compared.comparisons[0].lost] == ["a"]


def test_the_command_prints_its_address_answers_on_this_machine_and_ends_with_ctrl_c(folder: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "taco_stream", "view", str(folder), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", address)
            with urllib.request.urlopen(f"{address}api/runs", timeout=550) as reply:
                assert b'"first"' in reply.read()
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=550)
        finally:
            process.kill()
    assert (process.returncode, errors) == (0, "on this machine alone; Ctrl-C ends it\n")


def test_without_its_packages_the_command_says_which_extra_to_install(folder: Path) -> None:
    code = (
        "import sys; sys.modules['starlette'] = sys.modules['starlette.applications'] = None\n"
        f"sys.argv = ['taco-stream', 'view', {str(folder)!r}]\n"
        "from taco_stream.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=550)
    assert done.returncode == 2
    assert done.stderr == "taco-stream: view needs the package starlette: pip install 'taco-stream[view]'\n"
