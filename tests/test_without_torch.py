"""An installation that only judges: without torch and transformers, everything works that runs no model."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from taco_stream import LocalEngine, UsageError, open_dataset
from taco_stream.engine.libraries import check_libraries

SENTENCE = (
    "a model needs torch and transformers, and torch and transformers are not installed: "
    "pip install 'taco-stream[local]'"
)


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """An environment in which every Python process, workers included, finds neither library."""
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text("import sys\nsys.modules.update(torch=None, transformers=None)\n")
    return {**os.environ, "PYTHONPATH": str(hook), "COLUMNS": "200"}


def taco_stream(bare: dict[str, str], folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "taco_stream", *words]
    return subprocess.run(command, env=bare, cwd=folder, capture_output=True, text=True, check=False, timeout=550)


@pytest.mark.parametrize(
    "words",
    [
        ("run",),
        ("run", "new", "--model", "nosuch", "--dataset", "demo"),
        ("generate", "new", "--model", "demo", "--dataset", "demo"),
        ("prompt", "sum-of-two", "--model", "nosuch"),
    ],
    ids=lambda words: words[0],
)
def test_what_runs_a_model_says_at_once_what_to_install(
    bare: dict[str, str], tmp_path: Path, words: tuple[str, ...]
) -> None:
    done = taco_stream(bare, tmp_path, *words)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"taco-stream: {SENTENCE}\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hook"]


def test_completions_are_judged_reported_and_exported(bare: dict[str, str], tmp_path: Path) -> None:
    problem = next(iter(open_dataset("demo")))
    right = json.loads(problem.solutions)[0]
    answers = [json.dumps({"task_id": problem.problem_id, "text": text}) for text in (right, "print(")]
    (tmp_path / "answers.jsonl").write_text("\n".join(answers))
    judged = taco_stream(
        bare, tmp_path, "evaluate", "answers.jsonl", "judged", "--dataset", "demo", "--ids", problem.problem_id,
        "--id-field", "task_id", "--text-field", "text", "--workers", "1",
    )  # fmt: skip
    assert judged.returncode == 0, judged.stderr
    assert "50.0 %" in judged.stdout
    for command in (("report", "judged"), ("export", "judged"), ("dataset", "demo"), ("prompt", problem.problem_id)):
        done = taco_stream(bare, tmp_path, *command)
        assert done.returncode == 0, done.stderr
        assert done.stdout


def test_a_run_that_was_generated_elsewhere_is_judged_and_not_continued(bare: dict[str, str], tmp_path: Path) -> None:
    flags = ("there", "--model", "demo", "--dataset", "demo", "--limit", "1", "--max-new-tokens", "16")
    elsewhere = {**os.environ, "PYTHONPATH": str(Path(__file__).parent / "engine" / "scripted_worker")}
    generated = taco_stream(elsewhere, tmp_path, "generate", *flags, "--samples", "2")
    assert generated.returncode == 0, generated.stderr
    judged = taco_stream(bare, tmp_path, "run", *flags, "--samples", "2")
    assert judged.returncode == 0, judged.stderr
    assert "complete: 2 samples judged" in judged.stderr
    continued = taco_stream(bare, tmp_path, "run", *flags, "--samples", "3")
    assert continued.returncode == 2
    assert continued.stderr.endswith(f"taco-stream: {SENTENCE}\n")


def test_the_reference_solutions_are_judged(bare: dict[str, str], tmp_path: Path) -> None:
    done = taco_stream(bare, tmp_path, "run", "replayed", "--engine", "replay", "--dataset", "demo", "--limit", "1")
    assert done.returncode == 0, done.stderr


def test_help_and_the_doctor_work(bare: dict[str, str], tmp_path: Path) -> None:
    assert "--samples" in taco_stream(bare, tmp_path, "run", "--help").stdout
    done = taco_stream(bare, tmp_path, "doctor", "--json")
    topics = {each["topic"]: each for each in json.loads(done.stdout)}
    assert topics["accelerator"]["level"] == "note"
    assert topics["accelerator"]["remedy"] == "pip install 'taco-stream[local]'"


def test_one_missing_library_is_named_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    check_libraries()
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UsageError, match="and transformers is not installed: pip install"):
        check_libraries()


@pytest.mark.anyio
async def test_entering_an_engine_raises_before_a_worker_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    engine = LocalEngine("nosuch")
    with pytest.raises(UsageError, match=r"taco-stream\[local\]"):
        async with engine:
            pass
    assert engine.worker_pids() == ()
