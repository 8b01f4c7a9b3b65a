"""The command end to end: real programs, every finding that they can make."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

RIGHT = "print(sum(map(int, input().split())))\n"
SLOW = "import time\nwhile time.process_time() < 0.6: pass\n" + RIGHT
FLAKY = "import os\nprint(3 + os.urandom(1)[0] % 2)\n"
MANY = json.dumps({"inputs": ["1 2\n"] * 40, "outputs": ["3\n"] * 40})
UNENCODABLE = r'{"inputs": ["\ud800"], "outputs": ["3"]}'


def row(name: str, *solutions: str, outputs: list[str] | None = None, **others: Any) -> dict[str, Any]:
    tests = {"inputs": ["1 2\n"], "outputs": ["3\n"] if outputs is None else outputs}
    return {
        "task_id": name,
        "question": "Add two numbers.",
        "input_output": json.dumps(tests),
        "solutions": json.dumps(solutions),
        "difficulty": "EASY",
        "time_limit": "0.2 seconds",
        **others,
    }


ROWS = [
    row("fine", RIGHT, RIGHT + "# another\n", source="one"),
    row("bare", source="one"),
    row("wrong", "print(4)\n", source="two"),
    row("partly", RIGHT, "print(4)\n", source="two"),
    row("cased", "print('YES')\n", outputs=["yes\n"], spj=2),
    row("slow", SLOW),
    row("python 2", "print 3\n"),
    row("luck", FLAKY, input_output=MANY),
    row("lone surrogate", RIGHT, input_output=UNENCODABLE),
    row("unreadable", RIGHT, input_output='{"inputs": [], "outputs": []}'),
]


def taco_stream(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "taco_stream", *map(str, arguments)], check=False, capture_output=True, text=True
    )


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    return path


def findings(path: Path) -> dict[str, str]:
    return {line["problem_id"]: line["finding"] for line in map(json.loads, path.read_text().splitlines())}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    folder = tmp_path_factory.mktemp("audit")
    dataset = written(folder / "problems.jsonl", ROWS)
    return taco_stream("audit", dataset, "--out", folder / "audit.jsonl", *HOW), folder


HOW = ("--unsafe-no-sandbox", "--full-results")
Done = tuple[subprocess.CompletedProcess[str], Path]


def test_every_problem_has_its_finding(done: Done) -> None:
    finished, folder = done
    assert finished.returncode == 0, finished.stderr
    assert findings(folder / "audit.jsonl") == {
        "fine": "ok",
        "bare": "no_solutions",
        "wrong": "disagreeing",
        "partly": "some_fail",
        "cased": "needs_special_judge",
        "slow": "too_slow",
        "python 2": "not_supported",
        "luck": "flaky",
        "lone surrogate": "broken",
        str(folder / "problems.jsonl:10"): "broken",
    }


def test_standard_output_lists_the_problems_and_the_rates(done: Done) -> None:
    finished, _ = done
    assert "some_fail  partly  1 of 2 fail: solution 1: wrong_answer at test 0 of 1 (1 of them fail)" in finished.stdout
    rates = [line.split() for line in finished.stdout.splitlines() if line.startswith(("strict (scored)", "spj"))]
    assert [rate[-4:-2] for rate in rates] == [["6", "9"], ["5", "9"]]  # spj knows of letter case


def test_the_same_command_again_judges_nothing(done: Done) -> None:
    finished, folder = done
    before = (folder / "audit.jsonl").read_bytes()
    again = taco_stream("audit", folder / "problems.jsonl", "--out", folder / "audit.jsonl", *HOW)
    assert (again.returncode, again.stdout) == (0, finished.stdout)
    assert (folder / "audit.jsonl").read_bytes() == before


def test_a_run_takes_the_ledger_to_exclude(done: Done) -> None:
    _, folder = done
    listed = taco_stream(
        *("run", folder / "run", "--engine", "replay", "--dataset", folder / "problems.jsonl", "--skip-bad-rows"),
        *("--exclude", folder / "audit.jsonl", "--unsafe-no-sandbox"),
    )
    assert listed.returncode == 0, listed.stderr
    lines = (folder / "run" / "results.jsonl").read_text().splitlines()
    assert {json.loads(line)["problem_id"] for line in lines} == {"fine", "partly"}


def test_ctrl_c_keeps_what_was_found_and_says_how_to_go_on(tmp_path: Path) -> None:
    dataset, out = (
        written(tmp_path / "problems.jsonl", [ROWS[0], row("hanging", "while True: pass\n", time_limit="1 seconds")]),
        tmp_path / "audit.jsonl",
    )
    arguments = ["audit", str(dataset), "--out", str(out), "--unsafe-no-sandbox"]
    process = subprocess.Popen(
        [sys.executable, "-m", "taco_stream", *arguments], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    while not (out.exists() and out.read_bytes()):
        assert process.poll() is None
        time.sleep(0.005)  # the line is the event
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=550)
    assert process.returncode == 130, errors
    assert b"the same command resumes" in errors
    assert findings(out) == {"fine": "ok"}


def test_a_wrong_number_of_solutions_is_a_usage_error(tmp_path: Path) -> None:
    assert taco_stream("audit", "demo", "--solutions", 0).returncode == 2
