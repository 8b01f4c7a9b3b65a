"""Shards and other samples made into one run, which is then a run like any other."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import CommandLine, command_line

from taco_stream.store.run_directory import COMPLETIONS, RunFiles

PROBLEMS, SAMPLES = 11, 3


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return command_line(monkeypatch, capsys)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a dataset and scripts of an engine, a fast one and one of a second for a sample."""
    monkeypatch.chdir(tmp_path)
    rows = [
        {
            "task_id": f"p{number}",
            "question": "Print 3.",
            "input_output": json.dumps({"inputs": [""], "outputs": [f"{number % 2}\n"]}),
            "difficulty": ("EASY", "HARD")[number % 2],
        }
        for number in range(PROBLEMS)
    ]
    (tmp_path / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    texts = 'texts = ["print(0)", "print(1)", "print(2)"]\n'
    (tmp_path / "engine.toml").write_text(texts)
    (tmp_path / "slow.toml").write_text(f"{texts}seconds = 1.0\nrows = 1\n")
    return tmp_path


def flags(run: str, *more: str, samples: int = SAMPLES) -> list[str]:
    engine = ["--engine", "scripted:engine.toml", "--dataset", "problems.jsonl"]
    return ["run", run, *engine, "--samples", str(samples), "--unsafe-no-sandbox", "--workers", "1", "-q", *more]


def kill_in_the_middle(run: str, *more: str) -> None:
    """Starts a run of a slow engine and kills it with SIGKILL when something is generated."""
    Path("engine.toml").rename("fast.toml")
    Path("slow.toml").rename("engine.toml")
    command = [sys.executable, "-m", "taco_stream", *flags(run, *more)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        completions, deadline = Path(run, COMPLETIONS), time.monotonic() + 300
        while not (completions.exists() and completions.read_bytes().count(b"\n") >= 2):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
    Path("engine.toml").rename("slow.toml")
    Path("fast.toml").rename("engine.toml")


def metrics(invoke: CommandLine, run: str) -> list[bytes]:
    assert invoke("export", run).code == 0
    return [Path(run, name).read_bytes() for name in ("taco_metrics.json", "taco_results.json", "generations.json")]


def test_five_shards_of_which_two_were_killed_and_one_resumed_are_the_single_run(
    folder: Path, invoke: CommandLine
) -> None:
    assert invoke(*flags("whole")).code == 0
    for shard in (0, 2, 4):
        assert invoke(*flags(f"s{shard}", "--shard", f"{shard}/5")).code == 0
    for shard in (1, 3):
        kill_in_the_middle(f"s{shard}", "--shard", f"{shard}/5")
    assert invoke(*flags("s1", "--shard", "1/5")).code == 0
    shards = [f"s{number}" for number in range(5)]

    partly = invoke("merge", *shards, "--out", "partly")
    assert partly.code == 3
    assert "1 problem without any sample: p8" in partly.err
    assert "incomplete: " in partly.err

    assert invoke(*flags("s3", "--shard", "3/5")).code == 0
    answer = invoke("merge", *shards, "--out", "merged")
    assert (answer.code, "complete: 33 completions and 33 results" in answer.err) == (0, True)
    assert metrics(invoke, "merged") == metrics(invoke, "whole")

    # The merged run is a run: the whole's flags resume the one with gaps, and every command reads the other.
    assert invoke(*flags("partly")).code == 0
    assert metrics(invoke, "partly") == metrics(invoke, "whole")
    assert invoke("report", "merged").out.startswith("mode")
    assert invoke("show", "merged", "p1").code == 0
    assert invoke("compare", "whole", "merged").code == 0
    assert " complete " in invoke("runs", str(folder)).out
    assert Path("merged/report.html").exists()


def test_a_missing_shard_is_named(folder: Path, invoke: CommandLine) -> None:
    for shard in (0, 2):
        assert invoke(*flags(f"s{shard}", "--shard", f"{shard}/3")).code == 0
    answer = invoke("merge", "s0", "s2", "--out", "merged")
    assert answer.code == 3
    assert "1 shard missing: 1/3" in answer.err
    assert "4 problems without any sample: p1, p4, p7, p10" in answer.err
    assert invoke(*flags("merged")).code == 0


def test_runs_with_other_seeds_are_more_samples_of_the_same_problems(folder: Path, invoke: CommandLine) -> None:
    for seed in (0, 1):
        assert invoke(*flags(f"seed{seed}", "--seed", str(seed))).code == 0
    answer = invoke("merge", "seed0", "seed1", "--out", "merged")
    assert (answer.code, "complete: 66 completions" in answer.err) == (0, True)
    assert RunFiles(Path("merged")).manifest.settings["samples"] == 2 * SAMPLES


def test_selections_that_are_no_shards_become_a_list_of_ids(folder: Path, invoke: CommandLine) -> None:
    assert invoke(*flags("easy", "--difficulty", "EASY", "--limit", "2")).code == 0
    assert invoke(*flags("hard", "--difficulty", "HARD", "--limit", "2")).code == 0
    assert invoke("merge", "easy", "hard", "--out", "merged").code == 0
    results = RunFiles(Path("merged")).manifest.results
    assert (results["ids"], results["difficulty"], results["limit"]) == (["p0", "p2", "p1", "p3"], [], None)
    ids = [part for name in ("p0", "p1", "p2", "p3") for part in ("--ids", name)]
    assert invoke(*flags("merged", *ids)).code == 0


def test_overlapping_samples_are_counted(folder: Path, invoke: CommandLine) -> None:
    assert invoke(*flags("few", "--limit", "2", samples=1)).code == 0
    assert invoke(*flags("more")).code == 0
    answer = invoke("merge", "few", "more", "--out", "merged")
    assert answer.code == 0
    assert "2 samples of more are in a run before it: the first counts" in answer.err


@pytest.mark.parametrize(
    ("runs", "complaint"),
    [
        (["one"], "merge needs two runs at least"),
        (["one", "./one"], "merge was given one run twice"),
        (["one", "nowhere"], "nowhere is not a run directory"),
        (["one", "hot"], "one and hot cannot be merged: they have temperature 0.2 and 0.9"),
    ],
)
def test_what_cannot_be_merged_is_one_sentence(
    folder: Path, invoke: CommandLine, runs: list[str], complaint: str
) -> None:
    assert invoke(*flags("one", "--limit", "1", "--temperature", "0.2", samples=1)).code == 0
    assert invoke(*flags("hot", "--limit", "1", "--temperature", "0.9", samples=1)).code == 0
    answer = invoke("merge", *runs, "--out", "merged")
    assert complaint in answer.err
    assert len(answer.sentences) == 1
    assert not Path("merged").exists()


def test_a_dataset_that_is_gone_leaves_only_what_runs_have(folder: Path, invoke: CommandLine) -> None:
    for shard in (0, 1):
        assert invoke(*flags(f"s{shard}", "--shard", f"{shard}/2")).code == 0
    Path("problems.jsonl").unlink()
    answer = invoke("merge", "s0", "s1", "--out", "merged")
    assert answer.code == 0
    assert "problems that no run has begun are not noticed" in answer.err
