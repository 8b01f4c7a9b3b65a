"""Watching runs of other processes, from the first line to the exit code; and quiet runs."""

import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sample_values import record
from test_runs import write_run

from taco_stream.commands.watch import watch
from taco_stream.errors import StoreError
from taco_stream.store.lock import is_held
from taco_stream.types import Status

PROGRAM = [sys.executable, "-m", "taco_stream"]


def start_run(path: Path, *flags: str, seconds: float = 1.2) -> "subprocess.Popen[bytes]":
    """Starts a run of 24 samples that takes fifteen seconds, and returns when it has begun."""
    script = path.with_suffix(".toml")
    script.write_text(f'texts = ["print(1)\\n"]\nseconds = {seconds}\nrows = 2\n')
    command = [*PROGRAM, "run", path, "--engine", f"scripted:{script}", "--dataset", "demo", "--limit", "12"]
    run = subprocess.Popen([*command, "--samples", "2", *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    ends_at = time.monotonic() + 400
    while not (path / "completions.jsonl").exists() or not (path / "completions.jsonl").stat().st_size:
        assert time.monotonic() < ends_at
        assert run.poll() is None
        time.sleep(0.05)
    return run


@pytest.fixture
def running(tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with start_run(tmp_path / "run") as run:
        yield run
        run.kill()


def watched(path: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*PROGRAM, "watch", path], capture_output=True, text=True, check=False, timeout=550)


def test_a_pipe_gets_plain_lines_and_the_report(tmp_path: Path, running: "subprocess.Popen[bytes]") -> None:
    done = watched(tmp_path / "run")
    assert done.returncode == running.wait(550) == 0
    assert "\x1b" not in done.stderr
    *_, last, ending = done.stderr.splitlines()
    assert "generated 24/24  judged 24/24" in last
    assert ending == f"{tmp_path / 'run'} has ended: it is complete"
    assert done.stdout == running.stdout.read().decode()  # type: ignore[union-attr]


def test_a_terminal_gets_the_panel_and_leaves_the_run_alone(tmp_path: Path, running: "subprocess.Popen[bytes]") -> None:
    """Ctrl-C ends the watching alone."""
    ours, its = pty.openpty()
    terminal = os.environ | {"TERM": "xterm"}
    with subprocess.Popen([*PROGRAM, "watch", tmp_path / "run"], stdout=its, stderr=its, env=terminal) as watching:
        os.close(its)
        text = b""
        while b"of 24" not in text:
            text += os.read(ours, 4096)
        watching.send_signal(signal.SIGINT)
        while read := _read(ours):
            text += read
    os.close(ours)
    assert watching.returncode == 130
    assert re.search(rb"judged .* of 24", text)
    assert b"Traceback" not in text
    assert is_held(tmp_path / "run")
    assert running.wait(550) == 0


def _read(descriptor: int) -> bytes:
    """What a terminal shows; nothing when its last program has ended."""
    try:
        return os.read(descriptor, 4096)
    except OSError:
        return b""


def test_a_run_that_is_killed_is_resumable(tmp_path: Path, running: "subprocess.Popen[bytes]") -> None:
    with subprocess.Popen(
        [*PROGRAM, "watch", tmp_path / "run"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as watching:
        time.sleep(0.5)
        running.kill()
        _, errors = watching.communicate(timeout=550)
    assert watching.returncode == 130
    assert errors.decode().splitlines()[-1].endswith(" it is resumable")


@pytest.mark.parametrize(
    ("statuses", "state", "code"),
    [
        ((Status.PASSED, Status.PASSED), "complete", 0),
        ((Status.PASSED,), "failed", 1),
        ((Status.PASSED, Status.INFRASTRUCTURE_ERROR), "resumable", 3),
    ],
)
def test_of_a_run_that_is_not_running_the_head_of_its_report_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], statuses: Sequence[Status], state: str, code: int
) -> None:
    path = write_run(
        tmp_path / "run", *(record("p", index, status) for index, status in enumerate(statuses)), expected=2
    )
    assert watch(path) == code
    captured = capsys.readouterr()
    assert captured.err == f"{path} is not running: it is {state}\n"
    assert "strict (scored)" in captured.out
    assert "extraction" not in captured.out


def test_a_folder_that_holds_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not a run directory"):
        watch(tmp_path)


def test_a_quiet_run_prints_its_report_and_nothing_else(tmp_path: Path) -> None:
    with start_run(tmp_path / "run", "--quiet", seconds=0.05) as run:
        output, errors = run.communicate(timeout=550)
    assert run.returncode == 0
    assert errors == b""
    assert b"strict (scored)" in output
    refused = subprocess.run(
        [*PROGRAM, "run", tmp_path / "run", "--engine", "replay", "--dataset", "demo", "-q"],
        capture_output=True, check=False, timeout=550,
    )  # fmt: skip
    assert refused.returncode == 2
    assert b"was made with" in refused.stderr
