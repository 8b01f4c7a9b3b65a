"""Signals at the edges of a start: while it opens things, while the model loads, and in its last moments."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
PROBLEM = {
    "task_id": "three",
    "question": "Print 3.",
    "input_output": json.dumps({"inputs": [""], "outputs": ["3\n"]}),
    "solutions": json.dumps(["print(3)"]),
}


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    path = tmp_path / "problems.jsonl"
    path.write_text(json.dumps(PROBLEM) + "\n")
    return path


def interrupted(number: int, arguments: list[str], is_time: Callable[[subprocess.Popen[str]], bool]) -> tuple[int, str]:
    """Sends the signal to a run as soon as it is time; its exit code and what it said."""
    command = [sys.executable, "-m", "taco_stream", "run", *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while not is_time(process):
            assert process.poll() is None
            time.sleep(0.002)
        process.send_signal(number)
        _, said = process.communicate(timeout=550)
    return process.returncode, said


def has_children(process: subprocess.Popen[str]) -> bool:
    return bool(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().strip())


def says_new_run(process: subprocess.Popen[str]) -> bool:
    assert process.stderr is not None
    return process.stderr.readline().startswith("new run")


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("is_time", [has_children, says_new_run])
def test_a_run_that_is_interrupted_before_its_first_sample_leaves_nothing(
    tmp_path: Path, dataset: Path, number: int, is_time: Callable[[subprocess.Popen[str]], bool]
) -> None:
    """Its workers start, and then the demo's model loads, each for longer than a signal takes."""
    run = tmp_path / "run"
    code, said = interrupted(number, [str(run), "--dataset", str(dataset), "--samples", "1"], is_time)
    assert code == 130
    assert "interrupted before anything was generated" in said
    assert "Traceback" not in said
    assert not run.exists()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_run_that_is_complete_is_not_interrupted_in_its_last_moments(
    tmp_path: Path, dataset: Path, number: int
) -> None:
    run = tmp_path / "run"
    arguments = [str(run), "--engine", "replay", "--dataset", str(dataset)]
    code, said = interrupted(number, arguments, lambda _: (run / "summary.json").exists())
    assert code == 0, said
    assert "complete: 1 samples judged" in said
    assert (run / "report.html").exists()


SENDS_ITSELF_CTRL_C = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "taco_stream.cli":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
"""


def test_an_interrupt_while_the_command_is_imported_is_quiet(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(SENDS_ITSELF_CTRL_C)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "taco_stream", "--help"]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=550)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
