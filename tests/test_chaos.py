"""Faults at random moments: nothing is lost, repeated or generated twice, and the aggregates come out the same.

`make test` has twenty of them, `make test-faults` two hundred (`FAULTS` says how many).
"""

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import chain, repeat
from pathlib import Path

import pytest
from faults import COMPLETE, DISK_FAULTS, ENGINE_FAULTS, FAULTS, Disturbed, Fault, descendants

COUNT = int(os.environ.get("FAULTS", "20"))
PROBLEMS, SAMPLES = 60, 8
SECONDS_EACH = 60
"""What a fault may take at the very most, on a machine that does ten other things."""

Keys = Counter[tuple[str, int]]


def problem(number: int) -> dict:
    tests = {
        "inputs": [f"{number} {test}\n" for test in range(5)],
        "outputs": [f"{number + test}\n" for test in range(5)],
    }
    return {
        "task_id": f"chaos/{number}",
        "question": "Add two numbers.",
        "starter_code": "",
        "input_output": json.dumps(tests),
        "solutions": "[]",
        "difficulty": ["EASY", "HARD"][number % 2],
    }


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("chaos")
    dataset = folder / "problems.jsonl"
    dataset.write_text("".join(json.dumps(problem(number)) + "\n" for number in range(PROBLEMS)))
    script = folder / "script.toml"
    right, wrong, broken = "print(sum(map(int, input().split())))", "print(3)", "print(1/0)"
    script.write_text(f"texts = [{right!r}, {wrong!r}, {broken!r}, {right!r}]\nseconds = 0.05\nrows = 4\n")
    samples = ["--samples", str(SAMPLES), "--k", "1", "--k", "5"]
    return ["--engine", f"scripted:{script}", "--dataset", str(dataset), *samples]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, arguments: list[str]) -> dict:
    """The aggregates of an undisturbed run."""
    undisturbed = Disturbed(tmp_path_factory.mktemp("undisturbed") / "run", arguments)
    subprocess.run(undisturbed.command, check=True, capture_output=True)
    return aggregates(undisturbed.path)


def aggregates(run: Path) -> dict:
    """What the summary says about the model: everything but times and counts of this start."""
    report = subprocess.run(
        [sys.executable, "-m", "taco_stream", "report", str(run), "--json"], check=True, capture_output=True, text=True
    )
    summary = json.loads(report.stdout)
    return {name: summary[name] for name in ("pass_at_k", "by_difficulty", "by_skill", "statuses", "extractions")}


def keys(path: Path) -> Keys:
    """The samples of every line that is whole and is JSON; the last may be neither."""
    found: Keys = Counter()
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    for number, line in enumerate(lines, start=1):
        try:
            values = json.loads(line)
            if line.endswith(b"\n"):
                found[values["problem_id"], values["sample_index"]] += 1
        except ValueError:
            assert number == len(lines), f"{path}, line {number} is broken"
    return found


def disturb(
    folder: Path, arguments: list[str], faults: Iterator[str], kinds: Mapping[str, Fault], expected: dict
) -> None:
    """Lets faults happen to runs: to a second one if the first is complete before they are used up, and so on."""
    dice = random.Random(20261123)
    runs = (Disturbed(folder / f"run{number}", arguments) for number in range(COUNT))
    run, safe = next(runs), Keys()
    for name in faults:
        ended = kinds[name](run, dice)
        said = run.said.read_text(errors="replace")
        assert ended.code in ended.allowed | {COMPLETE}, (name, ended, said)
        assert "Traceback" not in said, (name, said)
        on_disk = keys(run.path / "completions.jsonl")
        assert not safe - on_disk, f"{name}: a completion that was on disk is gone"
        safe = on_disk
        if len(keys(run.path / "results.jsonl")) == PROBLEMS * SAMPLES:
            check_end(run, expected)
            run, safe = next(runs), Keys()
    check_end(run, expected)


def check_end(run: Disturbed, expected: dict) -> None:
    """Resumes the run undisturbed and compares what it came to."""
    last = subprocess.run(run.command, check=False, capture_output=True, text=True)
    assert last.returncode == 0, last.stderr
    every = Counter({(f"chaos/{number}", index): 1 for number in range(PROBLEMS) for index in range(SAMPLES)})
    assert keys(run.path / "completions.jsonl") == every
    assert keys(run.path / "results.jsonl") == every
    assert aggregates(run.path) == expected


def all_alike(kinds: Mapping[str, Fault], count: int) -> Iterator[str]:
    """So many faults in a random order, each kind as often as every other but for one."""
    dice = random.Random(20261124)
    rounds = (dice.sample(list(kinds), len(kinds)) for _ in repeat(None))
    return (name for name, _ in zip(chain.from_iterable(rounds), range(count), strict=False))


@pytest.mark.timeout(COUNT * SECONDS_EACH)
def test_whatever_happens_to_a_run_it_comes_out_the_same(tmp_path: Path, arguments: list[str], expected: dict) -> None:
    disturb(tmp_path, arguments, all_alike(FAULTS, COUNT), FAULTS, expected)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of eight megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "taco-stream-test", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root may mount a disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.timeout(COUNT * SECONDS_EACH)
def test_a_run_whose_disk_is_full_again_and_again_comes_out_the_same(
    small_disk: Path, arguments: list[str], expected: dict
) -> None:
    disturb(small_disk, arguments, all_alike(DISK_FAULTS, max(1, COUNT // 20)), DISK_FAULTS, expected)


@pytest.mark.skipif(COUNT <= 20, reason="a model takes a while: make test-faults")
@pytest.mark.timeout(COUNT * SECONDS_EACH)
def test_a_run_whose_generation_workers_are_killed_comes_out_the_same(tmp_path: Path) -> None:
    """The demo's model, which samples alike whatever shares its batch."""
    arguments = ["--samples", "2", "--k", "1"]
    undisturbed = Disturbed(tmp_path / "undisturbed", arguments)
    subprocess.run(undisturbed.command, check=True, capture_output=True)
    run, dice = Disturbed(tmp_path / "run", arguments), random.Random(20261125)
    for _ in range(COUNT // 20):
        (kill,) = ENGINE_FAULTS.values()
        ended = kill(run, dice)
        assert ended.code in ended.allowed | {COMPLETE}, (ended, run.said.read_text())
    last = subprocess.run(run.command, check=False, capture_output=True, text=True)
    assert last.returncode == 0, last.stderr
    for name in ("completions.jsonl", "results.jsonl"):
        assert keys(run.path / name) == keys(undisturbed.path / name)
    assert aggregates(run.path) == aggregates(undisturbed.path)


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie, which only waits for its new parent, does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path, arguments: list[str]) -> None:
    """Killing only the parent ends every process below it."""
    process = subprocess.Popen(Disturbed(tmp_path / "run", arguments).command, stderr=subprocess.DEVNULL)
    results = tmp_path / "run" / "results.jsonl"
    while not (results.exists() and results.stat().st_size):
        assert process.poll() is None
        time.sleep(0.01)  # the first line is the event
    below = descendants(process.pid)
    assert below
    process.kill()
    process.wait()
    deadline = time.monotonic() + 200
    while alive := [pid for pid in below if is_alive(pid)]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.02)
