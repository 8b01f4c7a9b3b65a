"""Runs in the real trackers, those of them that are installed, each kept on this machine as its users do offline."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from taco_stream.errors import TrackerError, UsageError
from taco_stream.trackers.tracker import TrackedRun, TrackerKind, open_tracker

RUN = TrackedRun(project="demo", name="run", run_id="0123456789abcdef", config={"model": "m", "system": None})
SENT = {"pass@1": 0.5, "pass@1/EASY": 1.0, "statuses/wrong_answer": 3.0}


@pytest.mark.parametrize("kind", TrackerKind)
def test_a_tracker_that_is_not_installed_is_named_with_its_extra(
    kind: TrackerKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, str(kind), None)
    monkeypatch.delitem(sys.modules, f"taco_stream.trackers.to_{kind}", raising=False)
    with pytest.raises(UsageError, match=rf"{kind} is not installed .*: pip install 'taco-stream\[{kind}\]'"):
        open_tracker(kind, RUN).__enter__()


# The libraries warn of things of their own, and start threads that outlive a test: in a process of its own.
SEND = f"""
import sys
from taco_stream.trackers.tracker import TrackedRun, TrackerKind, open_tracker
from taco_stream.errors import TrackerError
run = TrackedRun(project="demo", name="run", run_id={RUN.run_id!r}, config={dict(RUN.config)!r})
try:
    with open_tracker(TrackerKind(sys.argv[1]), run) as tracker:
        tracker.log({SENT!r}, int(sys.argv[2]))
except TrackerError as error:
    sys.exit(str(error))
"""


def send(kind: str, step: int, folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    pytest.importorskip(kind, reason=f"the extra `{kind}` is not installed")
    return subprocess.run(
        [sys.executable, "-c", SEND, kind, str(step)],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "PYTHONPATH": ":".join(sys.path), **environment},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


def test_wandb_keeps_a_run_in_a_folder(tmp_path: Path) -> None:
    for step in (1, 2):
        done = send("wandb", step, tmp_path, WANDB_MODE="offline")
        assert done.returncode == 0, done.stderr
    written = list((tmp_path / "wandb").glob(f"offline-run-*-{RUN.run_id}/run-{RUN.run_id}.wandb"))
    assert written
    assert any(b"pass@1/EASY" in path.read_bytes() for path in written)


def test_mlflow_continues_the_run(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    for step in (1, 2):
        done = send("mlflow", step, tmp_path, MLFLOW_TRACKING_URI=uri)
        assert done.returncode == 0, done.stderr
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        assert database.execute("select name, status from runs").fetchall() == [("run", "FINISHED")]
        logged = database.execute("select step, value from metrics where key = 'pass_at_1/EASY' order by step")
        assert logged.fetchall() == [(1, 1.0), (2, 1.0)]
        assert set(database.execute("select key, value from params")) == {("model", "m"), ("system", "None")}


def test_trackio_continues_the_run(tmp_path: Path) -> None:
    for step in (1, 2):
        done = send("trackio", step, tmp_path, TRACKIO_DIR=str(tmp_path))
        assert done.returncode == 0, done.stderr
    with sqlite3.connect(tmp_path / "demo.db") as database:
        logged = database.execute("select run_name, step, json_extract(metrics, '$.\"pass@1/EASY\"') from metrics")
        assert sorted(logged) == [(f"run-{RUN.run_id}", 1, 1.0), (f"run-{RUN.run_id}", 2, 1.0)]


@pytest.mark.parametrize(
    ("kind", "environment"),
    [
        ("wandb", {"WANDB_MODE": "online", "WANDB_API_KEY": ""}),
        ("mlflow", {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}),
        ("trackio", {"TRACKIO_DIR": "/proc/nowhere"}),
    ],
)
def test_an_outage_is_one_sentence(kind: str, environment: dict[str, str], tmp_path: Path) -> None:
    done = send(kind, 1, tmp_path, **environment)
    assert done.returncode == 1
    assert f"{kind} failed: " in done.stderr.splitlines()[-1]
    assert done.stderr.endswith("; the run is not affected, and the same command sends it again\n")


def test_whatever_a_library_raises_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the library's module: that this one error is translated needs no library."""

    class Broken:
        def start(self, run: TrackedRun) -> "Broken":
            return self

        def log(self, numbers: object, step: int) -> None:
            raise KeyError("server\nis down")

        def finish(self) -> None:
            pass

    monkeypatch.setitem(sys.modules, "taco_stream.trackers.to_wandb", Broken())  # type: ignore[arg-type]
    with pytest.raises(TrackerError, match=r"wandb failed: 'server\\nis down'; the run is not affected"):  # noqa: SIM117
        with open_tracker(TrackerKind.WANDB, RUN) as tracker:
            tracker.log(SENT, 1)
