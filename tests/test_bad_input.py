"""Bad input of every kind ends in a sentence and an exit code: a table of what once did not, and seeded mutations."""

import json
import os
import random
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import anyio
import msgspec
import pytest
from command_line import Answer, CommandLine, command_line
from sample_values import completion, gauges, record

from taco_stream import readable_file
from taco_stream.commands import run as run_command
from taco_stream.errors import EvaluatorError
from taco_stream.events import RunStarted
from taco_stream.run.settings import SETTINGS, RunSettings
from taco_stream.store.manifest import Manifest
from taco_stream.store.run_directory import open_run

ROW: dict[str, object] = {
    "task_id": "sum",
    "question": "Add two numbers.",
    "starter_code": "",
    "input_output": json.dumps({"inputs": ["1 2\n"], "outputs": ["3\n"]}),
    "solutions": json.dumps(["print(sum(map(int, input().split())))\n"]),
    "difficulty": "EASY",
    "time_limit": "2 seconds",
    "tags": "['math']",
}
DEEP = 100_000 * "["


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return command_line(monkeypatch, capsys)


@pytest.fixture
def no_evaluator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs end where they would begin to judge: all input has been read by then."""

    def refuse(*_: object, **__: object) -> None:
        raise EvaluatorError("all input has been read")

    monkeypatch.setattr(run_command, "Evaluator", refuse)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return written(tmp_path / "problems.jsonl", ROW)


def written(path: Path, *rows: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def check(answer: Answer, code: int, *named: str) -> None:
    assert answer.code == code, answer
    assert len(answer.sentences) == 1, answer
    for each in named:
        assert each in answer.sentences[0]


# --- a table


@pytest.mark.parametrize("command", ["dataset", "run"])
@pytest.mark.parametrize(
    "line",
    [
        DEEP,
        '{"question": "q", "input_output": "{}", "other": ' + DEEP,
        json.dumps(ROW | {"input_output": '{"inputs": ' + 20_000 * "[" + 20_000 * "]" + ', "outputs": [1]}'}),
        json.dumps(ROW | {"tags": DEEP}),
        json.dumps(ROW | {"time_limit": -3}),
        json.dumps(ROW | {"time_limit": "abc seconds"}),
    ],
)
@pytest.mark.usefixtures("no_evaluator")
def test_a_row_that_cannot_be_read_is_named(tmp_path: Path, invoke: CommandLine, command: str, line: str) -> None:
    path = written(tmp_path / "bad.jsonl", ROW)
    with path.open("a") as file:
        file.write(line + "\n")
    named = (
        ["dataset", path]
        if command == "dataset"
        else ["run", tmp_path / "run", "--dataset", path, "--engine", "replay"]
    )
    answer = invoke(*named)
    if command == "run" and answer.sentences == ["taco-stream: all input has been read"]:
        answer = invoke(
            "evaluate", written(tmp_path / "c.jsonl", {"task_id": "sum", "output": ["x"]}), "--dataset", path
        )
    check(answer, 1, "bad.jsonl:2")
    assert invoke("dataset", path, "--skip-bad-rows").code == 0


@pytest.mark.parametrize("solutions", ["[", "{}", "[1, 2]", DEEP])
def test_broken_solutions_are_named_when_they_are_replayed(tmp_path: Path, invoke: CommandLine, solutions: str) -> None:
    path = written(tmp_path / "problems.jsonl", ROW | {"solutions": solutions})
    arguments = ["generate", tmp_path / "run", "--dataset", path, "--engine", "replay"]
    check(invoke(*arguments), 1, "the reference solutions of problem sum")
    check(invoke(*arguments, "--skip-bad-rows"), 1, "the reference solutions of problem sum")


@pytest.mark.parametrize(
    "content", [f"k = {20_000 * '['}", "dataset = 'a\\u0000b'", "k = 3", "seed = nan", "seed = 1.5"]
)
def test_settings_that_make_no_sense_are_refused(tmp_path: Path, invoke: CommandLine, content: str) -> None:
    file = tmp_path / "run.toml"
    file.write_text(content)
    answer = invoke("run", tmp_path / "run", "--config", file, "--engine", "scripted")
    check(answer, answer.code)
    assert answer.code in (1, 2)


def test_settings_may_begin_with_a_byte_order_mark(tmp_path: Path, invoke: CommandLine) -> None:
    file = tmp_path / "run.toml"
    file.write_bytes(b"\xef\xbb\xbflimit = 3\n")
    assert invoke("dataset", "demo", "--config", file).code == 0


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--time-limit-factor", "1e308"),
        ("--time-limit-factor", "nan"),
        ("--temperature", "inf"),
        ("--temperature", "nan"),
        ("--seed", 23 * "9"),
        ("--limit", 23 * "9"),
        ("--shuffle", 23 * "9"),
        ("--memory-limit", 23 * "9"),
        ("--completions-buffer", 23 * "9"),
        ("--max-new-tokens", 23 * "9"),
        ("--model", ""),
        ("--dataset", ""),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_its_flag(
    tmp_path: Path, invoke: CommandLine, flag: str, value: str
) -> None:
    check(invoke("run", tmp_path / "run", flag, value), 2, flag)


def test_names_that_are_too_long_are_one_sentence(invoke: CommandLine, dataset: Path) -> None:
    name = 300 * "x"
    check(invoke("run", name, "--engine", "scripted", "--dataset", dataset, "--workers", 1), 1, "name too long")
    for arguments in (["report", name], ["export", name], ["dataset", name], ["evaluate", name, "--dataset", dataset]):
        answer = invoke(*arguments)
        check(answer, answer.code, "name too long")


@pytest.mark.parametrize(
    "arguments",
    [
        ["report", "nosuch"],
        ["report", "nosuch", "--json"],
        ["export", "nosuch"],
        ["dataset", "nosuch.jsonl"],
        ["audit", "nosuch.jsonl"],
        ["run", "r", "--dataset", "nosuch.jsonl", "--engine", "replay"],
        ["run", "r", "--config", "nosuch"],
        ["run", "r", "--exclude", "nosuch", "--engine", "replay"],
        ["run", "r", "--few-shot", "nosuch", "--engine", "replay"],
        ["run", "r", "--prompt", "nosuch", "--engine", "replay"],
        ["run", "r", "--special-judges", "nosuch", "--engine", "replay"],
        ["run", "r", "--checkers-folder", "nosuch", "--engine", "replay"],
        ["run", "r", "--engine", "replay:nosuch"],
        ["run", "r", "--engine", "scripted:nosuch"],
        ["evaluate", "nosuch"],
    ],
)
def test_a_name_that_does_not_exist_is_a_usage_error(
    tmp_path: Path, invoke: CommandLine, monkeypatch: pytest.MonkeyPatch, dataset: Path, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    check(invoke(*arguments), 2, "nosuch")
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("name", ["completions.jsonl", "results.jsonl", "events.jsonl", "run.json"])
def test_a_folder_in_the_place_of_a_file_is_named(tmp_path: Path, invoke: CommandLine, run: Path, name: str) -> None:
    (run / name).unlink()
    (run / name).mkdir()
    for arguments in (["report", run], ["report", run, "--json"], ["export", run, "--to", tmp_path / "out"]):
        answer = invoke(*arguments)
        assert answer.code == 0 or name in answer.sentences[0]
    # Only what a command reads can stop it.
    assert invoke("report", run).code == {"completions.jsonl": 0, "run.json": 2}.get(name, 1)


# --- what is no regular file


def test_a_pipe_without_a_writer_is_refused(
    tmp_path: Path, invoke: CommandLine, monkeypatch: pytest.MonkeyPatch, dataset: Path
) -> None:
    monkeypatch.setattr(readable_file, "WRITER_SECONDS", 0.1)
    os.mkfifo(tmp_path / "pipe")
    try:
        check(invoke("dataset", tmp_path / "pipe"), 1, "a pipe that no process writes to")
        check(invoke("evaluate", tmp_path / "pipe", "--dataset", dataset), 2, "a pipe that no process writes to")
        check(invoke("run", "--config", tmp_path / "pipe"), 2, "a pipe that no process writes to")
    finally:
        os.close(os.open(tmp_path / "pipe", os.O_RDWR))  # lets go of the threads that wait for a writer


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_a_device_is_refused(invoke: CommandLine, dataset: Path, device: str) -> None:
    check(invoke("dataset", device), 1, "a device")
    check(invoke("evaluate", device, "--dataset", dataset), 2, "a device")
    check(invoke("run", "--config", device), 2, "a device")


def test_a_dataset_comes_through_a_pipe(tmp_path: Path, invoke: CommandLine, dataset: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(dataset.read_bytes()))
    writer.start()
    assert "problems" in invoke("dataset", pipe).out
    writer.join()
    reading, writing = os.pipe()  # as the shell makes them of `<(cat problems.jsonl)`
    os.write(writing, dataset.read_bytes())
    os.close(writing)
    assert "Add two numbers." in invoke("prompt", "sum", "--dataset", f"/dev/fd/{reading}").out
    os.close(reading)


def test_completions_come_through_a_pipe(
    tmp_path: Path, invoke: CommandLine, dataset: Path, no_evaluator: None
) -> None:
    """Which is read once: nothing may be looked at beforehand."""
    reading, writing = os.pipe()
    os.write(writing, b'[{"task_id": "sum", "output": ["print(3)"]}]')
    os.close(writing)
    check(invoke("evaluate", f"/dev/fd/{reading}", "--dataset", dataset), 1, "all input has been read")
    os.close(reading)


# --- seeded mutations

WRONG_VALUES = [
    "",
    "x",
    "-1",
    "0",
    "1e400",
    "nan",
    "[]",
    "{}",
    "null",
    "true",
    "\x1b[2J",
    "ä",
    400 * "9",
    DEEP,
    "'",
    "\\",
]


@pytest.fixture
def run(tmp_path: Path, dataset: Path) -> Path:
    settings = RunSettings.from_values(dataset=str(dataset), engine="scripted")
    manifest = Manifest(
        results={**settings.results(), "dataset_fingerprint": "none"},
        settings=settings.values(),
        sandbox_tier="none",
        versions={},
        hardware={},
        git_commit=None,
        created_at=1.0,
    )

    async def write() -> None:
        async with open_run(tmp_path / "made", manifest) as opened:
            for number in range(4):
                await opened.append([completion("sum", number), record("sum", number)])
            await opened.append([RunStarted(), gauges(elapsed_seconds=5), gauges(elapsed_seconds=9)])

    anyio.run(write)
    return tmp_path / "made"


def mutated(content: bytes, dice: random.Random) -> bytes:
    """The content with one thing wrong: a byte, a stretch, or a value of the JSON in a line."""
    lines = content.splitlines(keepends=True)
    number = dice.randrange(len(lines))
    line = lines[number]
    place = dice.randrange(len(line))
    match dice.randrange(6):
        case 0:
            line = line[:place] + bytes([dice.randrange(256)]) + line[place + 1 :]
        case 1:
            line = line[:place]
        case 2:
            line = line[:place] + dice.randbytes(8) + line[place:]
        case 3:
            line = line + line
        case _:
            line = wrong_value(line, dice)
    return b"".join([*lines[:number], line, *lines[number + 1 :]])


def wrong_value(line: bytes, dice: random.Random) -> bytes:
    """The line with a wrong value somewhere in its object; another mutation may have made it unreadable before."""
    try:
        whole = json.loads(line)
    except ValueError:
        return line
    values = whole
    name = dice.choice(list(values))
    while isinstance(values[name], dict) and values[name] and dice.random() < 0.8:
        values = values[name]
        name = dice.choice(list(values))
    text = dice.choice(WRONG_VALUES)
    values[name] = "PLACE"
    wrong = text if dice.random() < 0.5 else json.dumps(text)
    return json.dumps(whole).replace('"PLACE"', wrong).encode() + b"\n"


def settled(answer: Answer) -> None:
    assert answer.code in (0, 1, 2, 3), answer
    assert "Traceback" not in answer.err
    assert len(answer.sentences) <= 1, answer
    assert answer.code in (0, 3) or answer.err.strip(), answer


@pytest.fixture
def dice() -> random.Random:
    return random.Random(20261128)


def mutations(original: bytes, dice: random.Random, count: int) -> Iterator[bytes]:
    for _ in range(count):
        content = mutated(original, dice)
        yield mutated(content, dice) if content.strip() and dice.random() < 0.3 else content


def test_mutated_datasets_are_read_or_refused(tmp_path: Path, invoke: CommandLine, dice: random.Random) -> None:
    path = written(tmp_path / "problems.jsonl", *(ROW | {"task_id": str(number)} for number in range(3)))
    for content in mutations(path.read_bytes(), dice, 150):
        path.write_bytes(content)
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        command = [["dataset", path], ["generate", tmp_path / "run", "--engine", "replay", "--dataset", path]]
        settled(invoke(*dice.choice(command), *(["--skip-bad-rows"] if dice.random() < 0.5 else [])))


@pytest.mark.usefixtures("no_evaluator")
@pytest.mark.parametrize(
    "original",
    [
        b'{"task_id": "sum", "output": ["print(3)"]}\n',
        b'{"task_id": "sum", "completion": "print(3)"}\n',
        b'{"problem_id": "sum", "sample_index": 0, "text": "print(3)", "finish_reason": "stop"}\n',
        b'{"question_id": "sum", "code_list": ["print(3)"]}\n',
        b'{"doc_id": 0, "doc": {"task_id": "sum"}, "resps": [["print(3)"]], "target": ""}\n',
    ],
)
def test_mutated_completions_are_read_or_refused(
    tmp_path: Path, invoke: CommandLine, dataset: Path, dice: random.Random, original: bytes
) -> None:
    path = tmp_path / "completions"
    for content in mutations(2 * original, dice, 40):
        path.write_bytes(content if dice.random() < 0.7 else b"[" + content.replace(b"}\n{", b"},\n{") + b"]")
        settled(invoke("evaluate", path, tmp_path / "run", "--dataset", dataset))


def test_mutated_runs_are_read_or_refused(tmp_path: Path, invoke: CommandLine, run: Path, dice: random.Random) -> None:
    for name in ("run.json", "completions.jsonl", "results.jsonl", "events.jsonl"):
        whole = (run / name).read_bytes()
        one_line = msgspec.json.encode(msgspec.json.decode(whole)) + b"\n" if name == "run.json" else whole
        for content in mutations(one_line, dice, 40):
            (run / name).write_bytes(content)
            commands: list[list[object]] = [
                ["report", run],
                ["report", run, "--json", "--k", "1"],
                ["export", run, "--to", tmp_path / "out", "--format", dice.choice(["taco", "evalplus", "parquet"])],
                ["show", run, "sum"],
                ["show", run, "sum", "1"],
                ["runs", run.parent],
                ["compare", run, run],
            ]
            settled(invoke(*dice.choice(commands)))
        (run / name).write_bytes(whole)


@pytest.mark.usefixtures("no_evaluator")
def test_random_flags_are_parsed_or_refused(tmp_path: Path, invoke: CommandLine, dice: random.Random) -> None:
    flags = [each.flag for each in SETTINGS.values() if each.kind is not bool]
    for _ in range(150):
        chosen = dice.sample(flags, 2)
        given = [text for flag in chosen for text in (flag, dice.choice(WRONG_VALUES).replace("\0", ""))]
        if "--dataset" not in chosen:
            given += ["--dataset", tmp_path / "nosuch.jsonl"]
        settled(invoke("run", tmp_path / "run", *given))


def test_random_settings_files_are_parsed_or_refused(tmp_path: Path, invoke: CommandLine, dice: random.Random) -> None:
    file = tmp_path / "run.toml"
    texts = [
        "''",
        "-1",
        "0",
        "1.5",
        "inf",
        "nan",
        "[]",
        "[1, 'a']",
        "{}",
        "true",
        "1979-05-27",
        "'a\\u0000b'",
        30 * "9",
    ]
    for _ in range(150):
        names = dice.sample(list(SETTINGS), 2)
        file.write_text("".join(f"{name} = {dice.choice(texts)}\n" for name in names))
        settled(invoke("dataset", tmp_path / "nosuch.jsonl", "--config", file))
