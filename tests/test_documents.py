"""What the documents tell a reader to type is there, and their Python runs."""

import json
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

import taco_stream
from taco_stream import Evaluator, EvaluatorSettings, open_dataset, open_evaluator
from taco_stream.cli import app
from taco_stream.commands.run import DEMO_PRESET, default_name
from taco_stream.run.settings import RunSettings

ROOT = Path(__file__).parents[1]
GUIDES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
DESIGN = tuple(sorted((ROOT / "docs" / "design").glob("*.md")))
DEMO_MODEL = Path(taco_stream.__file__).parent / "demo" / "model"
OTHER_PROGRAMS = {"tail", "python", "pip", "git", "cd"}
"""What a reader has without taco-stream."""


def blocks(path: Path, *languages: str) -> Iterator[str]:
    """The fenced blocks of a document that are marked with one of the languages."""
    for language, body in re.findall(r"^```(\w*)\n(.*?)^```", path.read_text(encoding="utf-8"), re.S | re.M):
        if language in languages:
            yield body


def commands() -> Iterator[tuple[Path, str]]:
    """Every command line that a document shows: in a `sh` block each line, in a `console` block those behind `$ `."""
    for path in (*GUIDES, *DESIGN):
        for body in blocks(path, "sh"):
            yield from ((path, line) for line in body.splitlines() if line.strip())
        for body in blocks(path, "console"):
            yield from ((path, line[2:]) for line in body.splitlines() if line.startswith("$ "))
        yield from ((path, line) for line in re.findall(r"`((?:taco-stream|make) [^`]*)`", path.read_text("utf-8")))


def flags_of() -> dict[str, set[str]]:
    """The flags of every command of taco-stream."""
    group = typer.main.get_command(app)
    found = {"": {"--help", "--version", "--debug"}}
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        found[name] = {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)}
    return found


def run(script: Path, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


PYTHON = [
    pytest.param(body, id=f"{path.name}-{number}")
    for path in GUIDES
    for number, body in enumerate(blocks(path, "python"))
]


@pytest.mark.parametrize("body", PYTHON)
def test_python_in_a_guide_runs_in_a_folder_that_holds_a_model(tmp_path: Path, body: str) -> None:
    (tmp_path / "model").symlink_to(DEMO_MODEL)
    (tmp_path / "block.py").write_text(body, encoding="utf-8")
    run(tmp_path / "block.py", tmp_path)


def test_the_example_of_batched_sampling_prints_every_sample_once(tmp_path: Path) -> None:
    (tmp_path / "model").symlink_to(DEMO_MODEL)
    example = next(blocks(ROOT / "docs" / "batched_sampling.md", "python"))
    (tmp_path / "block.py").write_text(example, encoding="utf-8")
    lines = run(tmp_path / "block.py", tmp_path).splitlines()
    keys = sorted(line[:3] for line in lines if re.match(r"\d \d (stop|stop_string|length) ['\"]", line))
    assert keys == [f"{problem} {sample}" for problem in range(3) for sample in range(4)]
    assert lines[-2].endswith(" tokens/s")


def test_the_reward_function_tells_right_from_wrong() -> None:
    passing_reward = runpy.run_path(str(ROOT / "docs" / "reward_function.py"))["passing_reward"]
    problem = next(iter(open_dataset("demo")))
    right = json.loads(problem.solutions)[0]
    with open_evaluator(EvaluatorSettings(workers=1, failures_first=True)) as evaluator:
        reward = passing_reward(evaluator, {problem.problem_id: problem})
        answers = [f"Here it is.\n```python\n{right}\n```", "```python\nraise ValueError\n```", ""]
        assert reward(answers, [problem.problem_id] * 3, prompts=[]) == [1.0, 0.0, 0.0]


def test_the_reward_function_shows_itself(tmp_path: Path) -> None:
    assert re.fullmatch(r"\[\d\.0, \d\.0\]\n", run(ROOT / "docs" / "reward_function.py", tmp_path))


@pytest.mark.parametrize(("path", "line"), list(commands()), ids=lambda value: getattr(value, "name", value))
def test_a_command_in_a_document_exists_with_its_flags(path: Path, line: str) -> None:
    program, *words = shlex.split(line.partition(" | ")[0], comments=True)
    if program == "make":
        assert {word.rstrip("…") for word in words} <= set(
            re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)
        )
    elif program == "taco-stream":
        flags = flags_of()
        command = words[0] if not words[0].startswith("-") else ""
        assert command in flags
        assert {word.partition("=")[0] for word in words if word.startswith("--")} <= flags[command]
    else:
        assert program in OTHER_PROGRAMS


def test_the_readme_is_short_and_shows_what_a_run_prints_first() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.split()) < 700
    assert Evaluator().worst_case in text
    assert f"new run runs/{default_name(RunSettings.resolve({}, DEMO_PRESET, {}))}\n" in text


@pytest.mark.parametrize("path", [*GUIDES, ROOT / "CONTRIBUTING.md", *DESIGN], ids=lambda path: path.name)
def test_files_that_a_document_names_exist(path: Path) -> None:
    named = re.findall(r"`((?:taco_stream|tests|docs|bench)/[\w./-]*)`", path.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_flag_that_the_readme_names_belongs_to_a_command() -> None:
    named = set(re.findall(r"(?<=[`\s(])--[a-z][a-z-]+", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert "--samples" in named
    assert named <= set().union(*flags_of().values())
