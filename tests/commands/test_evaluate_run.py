"""Completions of a run are judged as that run would have judged them."""

import json
from pathlib import Path

import pytest
from command_line import CommandLine, command_line

ANSWER = "Here it is:\n```python\nprint(3)\n```\n"


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return command_line(monkeypatch, capsys)


def problems(path: Path, expected: str) -> Path:
    rows = [
        {
            "task_id": name,
            "question": "Print 3.",
            "input_output": json.dumps({"inputs": [""], "outputs": [expected]}),
        }
        for name in ("a", "b", "c")
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def run(tmp_path: Path, invoke: CommandLine) -> Path:
    """Chat answers to two of three problems, not judged yet."""
    script = tmp_path / "script.toml"
    script.write_text(f"texts = [{json.dumps(ANSWER)}]\n")
    dataset = problems(tmp_path / "problems.jsonl", "3\n")
    generated = invoke(
        *("generate", tmp_path / "run", "--engine", f"scripted:{script}", "--samples", 1),
        *("--dataset", dataset, "--limit", 2, "--prompt", "chat"),
    )
    assert generated.code == 0, generated
    return tmp_path / "run"


def statuses(run: Path) -> list[tuple[str, str]]:
    lines = (run / "results.jsonl").read_text().splitlines()
    return [(line["problem_id"], line["statuses"]["strict"]) for line in map(json.loads, lines)]


@pytest.mark.parametrize("name", ["", "completions.jsonl"])
def test_the_problems_and_the_prompt_of_a_run_are_taken_with_its_completions(
    tmp_path: Path, invoke: CommandLine, run: Path, name: str
) -> None:
    judged = invoke("evaluate", run / name, tmp_path / "judged", "--workers", 1)
    assert judged.code == 0, judged
    assert sorted(statuses(tmp_path / "judged")) == [("a", "passed"), ("b", "passed")]
    assert "no completion" not in judged.err  # of the third problem, which was not asked


def test_what_is_given_counts_instead(tmp_path: Path, invoke: CommandLine, run: Path) -> None:
    others = problems(tmp_path / "others.jsonl", "4\n")
    judged = invoke("evaluate", run, tmp_path / "judged", "--dataset", others, "--workers", 1)
    assert judged.code == 0, judged
    assert sorted(statuses(tmp_path / "judged")) == [("a", "wrong_answer"), ("b", "wrong_answer")]
    assert json.loads((tmp_path / "judged" / "run.json").read_text())["settings"]["limit"] is None
