"""Looking at runs, datasets and prompts: what is printed and what is refused."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from taco_stream.commands.export import export_run
from taco_stream.commands.prompt import print_prompt
from taco_stream.errors import DatasetError, UsageError
from taco_stream.formats import ExportFormat
from taco_stream.run.settings import RunSettings

PROBLEM = {
    "task_id": "sum",
    "question": "Add two numbers.",
    "starter_code": "",
    "input_output": json.dumps({"inputs": ["1 2\n"], "outputs": ["3\n"]}),
    "solutions": json.dumps(["print(sum(map(int, input().split())))\n", "print(3)\n"]),
}


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    path = tmp_path / "problems.jsonl"
    path.write_text(json.dumps(PROBLEM) + "\n")
    return path


def prompt(capsys: pytest.CaptureFixture[str], **settings: object) -> str:
    print_prompt("sum", RunSettings.resolve(settings, environ={}))
    return capsys.readouterr().out


def test_a_base_prompt_is_printed_to_the_byte(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = prompt(capsys, dataset=str(dataset))
    assert text == "\nQUESTION:\nAdd two numbers.\nUse Standard Input format\nANSWER:\n"


def test_a_conversation_is_printed_with_its_roles(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = prompt(capsys, dataset=str(dataset), prompt="chat", system="Be brief.")
    assert text.startswith("[system]\nBe brief.\n\n[user]\nAdd two numbers.\n")


def test_a_problem_that_is_not_there_is_named(dataset: Path) -> None:
    with pytest.raises(DatasetError, match="has no selected problem product$"):
        print_prompt("product", RunSettings.resolve({"dataset": str(dataset)}, environ={}))


def test_the_problem_that_was_meant_is_named() -> None:
    with pytest.raises(DatasetError, match=r"demo has no selected problem 7; did you mean demo/007\?"):
        print_prompt("7", RunSettings.resolve({"dataset": "demo"}, environ={}))


def command(*arguments: object, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    line = [sys.executable, "-m", "taco_stream", *map(str, arguments)]
    return subprocess.run(line, input=given, check=True, capture_output=True, timeout=550)


def test_the_problem_of_a_prompt_comes_from_standard_input(dataset: Path) -> None:
    assert b"Add two numbers." in command("prompt", "sum", "--dataset", "-", given=dataset.read_bytes()).stdout


def test_thinking_is_switched_on_or_off(dataset: Path) -> None:
    assert command("prompt", "sum", "--dataset", dataset, "--prompt", "chat", "--thinking", "off").stdout
    with pytest.raises(subprocess.CalledProcessError) as refused:
        command("prompt", "sum", "--dataset", dataset, "--prompt", "chat", "--thinking", "maybe")
    assert b"it is on or off" in refused.value.stderr


@pytest.fixture
def run(tmp_path: Path, dataset: Path) -> Path:
    """A run whose dataset came on standard input."""
    command("run", tmp_path / "run", "--engine", "replay", "--dataset", "-", given=dataset.read_bytes())
    return tmp_path / "run"


def test_a_dataset_of_standard_input_is_given_to_the_export_again(tmp_path: Path, run: Path, dataset: Path) -> None:
    command("export", run, "--to", tmp_path / "exported", given=dataset.read_bytes())
    assert [row["task_id"] for row in json.loads((tmp_path / "exported" / "generations.json").read_text())] == ["sum"]


def test_a_k_that_the_run_has_no_samples_for_is_refused(tmp_path: Path, run: Path) -> None:
    with pytest.raises(UsageError, match="--k 3 needs at least 3 samples of each problem, there are 2"):
        export_run(run, tmp_path / "exported", ExportFormat.TACO, mode=None, ks=(3,))


def test_a_damaged_event_keeps_neither_a_report_nor_the_end_of_a_run(run: Path, dataset: Path) -> None:
    events = run / "events.jsonl"
    first, *others = events.read_bytes().splitlines(keepends=True)
    events.write_bytes(b"".join((first, b"{damaged\n", *others)))
    (run / "summary.json").unlink()
    assert b"events.jsonl is damaged (line 2)" in command("report", run).stdout
    command("run", run, "--engine", "replay", "--dataset", "-", given=dataset.read_bytes())
    assert json.loads((run / "summary.json").read_bytes())["damaged_events"] == [2]
