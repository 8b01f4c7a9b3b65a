"""What of a run is sent to a tracker, and when."""

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from sample_values import record
from test_runs import write_run
from test_watch import start_run

from taco_stream.commands import log
from taco_stream.commands.log import identify, log_run
from taco_stream.errors import StoreError, TrackerError
from taco_stream.store.run_directory import RESULTS, RunFiles
from taco_stream.trackers.tracker import TrackedRun, Tracker, TrackerKind
from taco_stream.types import Status


class Sent(NamedTuple):
    runs: list[TrackedRun]
    numbers: list[tuple[int, Mapping[str, float]]]


class Recorder:
    def __init__(self, sent: Sent) -> None:
        self._sent = sent

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        self._sent.numbers.append((step, numbers))

    def finish(self) -> None:
        pass


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    """What is sent in place of being so; `tests/trackers` has the real trackers."""
    sent = Sent([], [])

    @contextmanager
    def opened(kind: TrackerKind, run: TrackedRun) -> Iterator[Tracker]:
        sent.runs.append(run)
        yield Recorder(sent)

    monkeypatch.setattr(log, "open_tracker", opened)
    return sent


def test_a_runs_scores_and_counts_are_sent_once(tmp_path: Path, sent: Sent) -> None:
    write_run(tmp_path / "run", record("a", 0), record("a", 1, Status.WRONG_ANSWER), record("b", 0))
    log_run(tmp_path / "run", TrackerKind.WANDB, project="demo", follow=True)
    ((step, numbers),) = sent.numbers
    assert step == 3
    assert numbers["pass@1"] == 0.75
    assert numbers["statuses/wrong_answer"] == 1
    assert {name for name in numbers if name.startswith("pass@1/")} >= {"pass@1/official", "pass@1/spj"}
    assert sent.runs[0].project == "demo"
    assert sent.runs[0].name == "run"


def test_a_run_has_the_same_name_each_time_also_when_it_has_grown(tmp_path: Path, sent: Sent) -> None:
    for problems in (1, 2):
        write_run(tmp_path / "run", *[record("a", 0), record("b", 0)][:problems], limit=problems)
        log_run(tmp_path / "run", TrackerKind.WANDB, project="demo", follow=False)
        shutil.rmtree(tmp_path / "run")
    first, grown = [run.run_id for run in sent.runs]
    assert first == grown


def test_no_other_run_has_its_name(tmp_path: Path) -> None:
    files = RunFiles(write_run(tmp_path / "run", record("a", 0)))
    later = msgspec.structs.replace(files.manifest, created_at=files.manifest.created_at + 1e-6)
    assert identify(files.manifest) != identify(later)


def test_a_running_run_is_followed_to_its_end(tmp_path: Path, sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "FOLLOW_SECONDS", 2.0)
    with start_run(tmp_path / "run", seconds=0.4) as running:
        log_run(tmp_path / "run", TrackerKind.WANDB, project="demo", follow=True)
        assert running.wait(400) == 0
    steps = [step for step, _ in sent.numbers]
    assert steps == sorted(steps)
    assert len(set(steps)) > 1
    assert steps[-1] == 24


def test_what_is_written_while_the_tracker_is_being_told_is_sent_too(
    tmp_path: Path, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(tmp_path / "run", record("a", 0))
    last = RunFiles(write_run(tmp_path / "last", record("b", 0))).path / RESULTS
    running = [True]
    monkeypatch.setattr(RunFiles, "is_running", property(lambda _: running[0]))

    def log_slowly(recorder: Recorder, numbers: Mapping[str, float], step: int) -> None:
        sent.numbers.append((step, numbers))
        if running[0]:
            with (tmp_path / "run" / RESULTS).open("ab") as file:
                file.write(last.read_bytes())
            running[0] = False

    monkeypatch.setattr(Recorder, "log", log_slowly)
    log_run(tmp_path / "run", TrackerKind.WANDB, project="demo", follow=True)
    assert [step for step, _ in sent.numbers] == [1, 2]


def test_a_trackers_outage_ends_the_command_and_not_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def down(kind: TrackerKind, run: TrackedRun) -> Iterator[Tracker]:
        raise TrackerError("wandb failed: the server is down")
        yield

    monkeypatch.setattr(log, "open_tracker", down)
    with start_run(tmp_path / "run", seconds=0.1) as running:
        with pytest.raises(TrackerError, match="the server is down"):
            log_run(tmp_path / "run", TrackerKind.WANDB, project="demo", follow=True)
        assert running.wait(400) == 0
    written = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert "summary.json" in written


def test_nothing_is_written_to_the_run(tmp_path: Path, sent: Sent) -> None:
    write_run(tmp_path / "run", record("a", 0))
    before = {path: path.stat() for path in (tmp_path / "run").iterdir()}
    log_run(tmp_path / "run", TrackerKind.WANDB, project="demo", follow=False)
    assert {path: path.stat() for path in (tmp_path / "run").iterdir()} == before


def test_what_is_no_run_is_refused_before_a_tracker_is_opened(tmp_path: Path, sent: Sent) -> None:
    with pytest.raises(StoreError, match="is not a run directory"):
        log_run(tmp_path, TrackerKind.WANDB, project="demo", follow=False)
    assert sent.runs == []


def test_an_unknown_tracker_is_refused_in_a_sentence(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "taco_stream", "log", str(tmp_path), "--to", "wandbb"]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 2
    assert "--to cannot be 'wandbb': it is wandb, mlflow or trackio; did you mean 'wandb'?" in done.stderr
