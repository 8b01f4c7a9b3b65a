"""What a person types, and what they read and get back: bad input is one sentence and an exit code."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from command_line import Answer, CommandLine, command_line

PROBLEM = {
    "task_id": "sum",
    "question": "Add two numbers.",
    "starter_code": "",
    "input_output": json.dumps({"inputs": ["1 2\n", "3 4\n"], "outputs": ["3\n", "7\n"]}),
    "solutions": json.dumps(["print(sum(map(int, input().split())))\n", "print(3)\n"]),
    "difficulty": "EASY",
}


def taco_stream(*arguments: object, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "taco_stream", *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        timeout=550,
        env={**os.environ, **(environ or {})},
    )


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """A command in this process, for what ends before anything is started and for reading what is there."""
    return command_line(monkeypatch, capsys)


def write_dataset(folder: Path) -> Path:
    path = folder / "problems.jsonl"
    path.write_text(json.dumps(PROBLEM) + "\n" + json.dumps(PROBLEM | {"task_id": "sum again"}) + "\n")
    return path


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return write_dataset(tmp_path)


class Replayed(NamedTuple):
    """A complete run of the reference solutions, half of which are wrong: only to be read."""

    path: Path
    dataset: Path
    done: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Replayed:
    folder = tmp_path_factory.mktemp("replayed")
    dataset, run = write_dataset(folder), folder / "run"
    return Replayed(
        run, dataset, taco_stream("run", run, "--engine", "replay", "--dataset", dataset, "--k", 1, "--k", 2)
    )


def records(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "results.jsonl").read_text().splitlines()]


def test_help_is_cheap() -> None:
    """Under 0.2 s of wall time is promised and measured by bench/startup.py; CPU time is what a busy machine leaves alone."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert taco_stream("--help").returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.6


SHADOWS = (
    "json", "random", "typing", "heapq", "math", "collections", "functools", "signal", "socket", "select", "struct",
    "threading", "torch", "numpy", "transformers", "msgspec", "anyio", "typer", "rich",
)  # fmt: skip


@pytest.mark.parametrize(
    "command", [[str(Path(sys.executable).with_name("taco-stream"))], [sys.executable, "-P", "-m", "taco_stream"]]
)
def test_nothing_is_imported_from_the_folder_that_a_run_starts_in(
    tmp_path: Path, dataset: Path, command: list[str]
) -> None:
    """Neither by the command nor by a process that it starts: judging here, generating in the engine's own test."""
    for name in SHADOWS:
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'a').write({name!r})\n")
    (tmp_path / "taco_stream").mkdir()
    (tmp_path / "taco_stream" / "types.py").write_text("raise SystemExit('not the package')\n")
    arguments = ["run", "runs", "--engine", "replay", "--dataset", dataset]
    done = subprocess.run(
        [*command, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=550, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "imported").exists(), (tmp_path / "imported").read_text()


@pytest.mark.parametrize(
    "broken", ["stdout", "stderr", "stdout, a pipe without a reader", "stderr, a pipe without a reader"]
)
def test_a_terminal_that_is_gone_does_not_fail_a_run(tmp_path: Path, dataset: Path, broken: str) -> None:
    """A full device and a closed pipe answer writes as a closed terminal does: with an error."""
    name, _, pipe = broken.partition(", ")
    if pipe:
        reading, writing = os.pipe()
        os.close(reading)
    else:
        writing = os.open("/dev/full", os.O_WRONLY)
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL} | {name: writing}
    command = [sys.executable, "-m", "taco_stream", "run", tmp_path / "run", "--engine", "replay", "--dataset", dataset]
    try:
        done = subprocess.run(command, check=False, timeout=550, **streams)  # type: ignore[call-overload]
    finally:
        os.close(writing)
    assert done.returncode == 0
    assert len(records(tmp_path / "run")) == 4
    assert (tmp_path / "run" / "summary.json").exists()
    assert (tmp_path / "run" / "report.html").exists()


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--k", "0"], "--k"),
        (["--k", "20", "--samples", "2"], "--k 20 needs at least 20 samples"),
        (["--samples", "99999999999999"], "--samples"),
        (["--workers", "100000"], "--workers"),
        (["--dtype", "float8"], "--dtype"),
        (["--quantize", "int4"], "--quantize"),
        (["--ids", "nope"], "no selected problem nope"),
        (["--difficulty", "EASYY"], "leaves no problem"),
        (["--checkers-folder", "nosuch"], "nosuch does not exist"),
    ],
)
def test_what_can_be_refused_is_refused_before_a_model_is_touched(
    tmp_path: Path, dataset: Path, flags: list[str], named: str, invoke: CommandLine
) -> None:
    """The model does not exist, and no sentence about it is printed; and nothing is left behind."""
    done = invoke("run", tmp_path / "run", "--model", tmp_path / "no model", "--dataset", dataset, *flags)
    assert done.code in (1, 2)
    assert named in done.err
    assert "no model" not in done.err
    assert not (tmp_path / "run").exists()


def test_a_source_named_by_the_environment_is_not_run_with_the_settings_of_the_demo(
    tmp_path: Path, dataset: Path
) -> None:
    environ = {"TACO_STREAM_ENGINE": "scripted", "TACO_STREAM_DATASET": str(dataset)}
    done = taco_stream("run", tmp_path / "run", "--samples", 1, environ=environ)
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / "run" / "run.json").read_text())["settings"]
    assert (written["temperature"], written["max_new_tokens"], written["reproducible"]) == (0.2, 2048, False)


def test_a_k_over_the_samples_is_refused_by_the_report(replayed: Replayed, invoke: CommandLine) -> None:
    done = invoke("report", replayed.path, "--k", 20)
    assert (done.code, done.out) == (2, "")
    assert "--k 20 needs at least 20 samples" in done.err


@pytest.mark.parametrize("device", ["/dev/full", "a pipe without a reader"])
def test_a_result_that_cannot_be_printed_is_a_failure_without_a_traceback(tmp_path: Path, device: str) -> None:
    if device == "/dev/full":
        writing = os.open(device, os.O_WRONLY)
    else:
        reading, writing = os.pipe()
        os.close(reading)
    command = [sys.executable, "-m", "taco_stream", "dataset", "demo"]
    try:
        done = subprocess.run(command, check=False, timeout=550, stdout=writing, stderr=subprocess.PIPE, text=True)
    finally:
        os.close(writing)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert ("cannot be written" in done.stderr) == (device == "/dev/full")


def test_a_replay_of_the_reference_solutions_is_judged_and_reported(replayed: Replayed) -> None:
    assert replayed.done.returncode == 0, replayed.done.stderr
    statuses = sorted(record["statuses"]["strict"] for record in records(replayed.path))
    assert statuses == ["passed", "passed", "wrong_answer", "wrong_answer"]
    assert "pass@1" in replayed.done.stdout


def test_the_same_command_again_has_nothing_left_to_do(tmp_path: Path, replayed: Replayed) -> None:
    run = shutil.copytree(replayed.path, tmp_path / "run")
    before = (run / "results.jsonl").read_bytes()
    again = taco_stream("run", run, "--engine", "replay", "--dataset", replayed.dataset, "--k", 1, "--k", 2)
    assert again.returncode == 0, again.stderr
    assert (run / "results.jsonl").read_bytes() == before


def test_more_samples_reuse_those_that_exist(tmp_path: Path, dataset: Path) -> None:
    arguments = ("run", tmp_path / "run", "--engine", "scripted", "--dataset", dataset, "--samples")
    assert taco_stream(*arguments, 2).returncode == 0
    more = taco_stream(*arguments, 5)
    assert more.returncode == 0, more.stderr
    keys = [(record["problem_id"], record["sample_index"]) for record in records(tmp_path / "run")]
    assert sorted(keys) == [(name, index) for name in ("sum", "sum again") for index in range(5)]


def test_standard_output_holds_the_summary_and_nothing_else(replayed: Replayed) -> None:
    assert "taco-stream" not in replayed.done.stdout
    assert "judged 4/4" in replayed.done.stderr


def test_results_are_on_disk_while_later_samples_are_still_generated(tmp_path: Path, dataset: Path) -> None:
    """What `tail -f RUN/results.jsonl` shows: the first verdict stands there before the last completion exists."""
    script = tmp_path / "script.toml"
    script.write_text("seconds = 0.2\nrows = 1\n")
    run, samples = tmp_path / "run", 10
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "taco_stream", "run", run, "--engine", f"scripted:{script}"),
            *("--dataset", dataset, "--samples", str(samples)),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not ((run / "results.jsonl").exists() and b"\n" in (run / "results.jsonl").read_bytes()):
        assert process.poll() is None
        time.sleep(0.005)  # the line is the event
    generated = (run / "completions.jsonl").read_bytes().count(b"\n")
    assert process.wait(timeout=550) == 0
    assert generated < 2 * samples == (run / "completions.jsonl").read_bytes().count(b"\n")


def test_generate_alone_leaves_completions_that_the_same_run_judges(tmp_path: Path, dataset: Path) -> None:
    script = tmp_path / "script.toml"
    script.write_text("seconds = 0.3\n")  # several times what lies between two looks at the rows
    arguments = (tmp_path / "run", "--engine", f"scripted:{script}", "--dataset", dataset, "--samples", 3)
    generated = taco_stream("generate", *arguments)
    assert generated.returncode == 0, generated.stderr
    assert generated.stdout == f"{tmp_path / 'run' / 'completions.jsonl'}\n"
    assert re.search(r"\d tokens/s while generating; occupancy \d+ %", generated.stderr)
    assert "judged" not in generated.stderr
    before = (tmp_path / "run" / "completions.jsonl").read_bytes()
    assert (before.count(b"\n"), records(tmp_path / "run")) == (6, [])
    judged = taco_stream("run", *arguments)
    assert judged.returncode == 0, judged.stderr
    assert len(records(tmp_path / "run")) == 6
    assert (tmp_path / "run" / "completions.jsonl").read_bytes() == before


def test_what_was_only_generated_is_judged_by_evaluate_from_its_file_or_its_folder(
    tmp_path: Path, dataset: Path
) -> None:
    taco_stream("generate", tmp_path / "run", "--engine", "replay", "--dataset", dataset)
    for number, named in enumerate((tmp_path / "run", tmp_path / "run" / "completions.jsonl")):
        done = taco_stream("evaluate", named, tmp_path / str(number), "--dataset", dataset)
        assert done.returncode == 0, done.stderr
        statuses = sorted(record["statuses"]["strict"] for record in records(tmp_path / str(number)))
        assert statuses == ["passed", "passed", "wrong_answer", "wrong_answer"]


def test_an_interrupted_generate_goes_on_where_it_stopped(tmp_path: Path, dataset: Path) -> None:
    script = tmp_path / "script.toml"
    script.write_text("seconds = 0.2\nrows = 1\n")
    run = tmp_path / "run"
    arguments = ("generate", run, "--engine", f"scripted:{script}", "--dataset", dataset, "--samples", 20)
    process = subprocess.Popen(
        [sys.executable, "-m", "taco_stream", *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not ((run / "completions.jsonl").exists() and (run / "completions.jsonl").read_bytes()):
        assert process.poll() is None
        time.sleep(0.005)  # the line is the event
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=550) == 130
    before = (run / "completions.jsonl").read_bytes()
    assert before.endswith(b"\n")
    script.write_text("rows = 1\n")
    assert taco_stream(*arguments).returncode == 0
    after = (run / "completions.jsonl").read_bytes()
    assert after.startswith(before)
    assert after.count(b"\n") == 40 > before.count(b"\n")


def test_generate_knows_no_flag_that_only_judging_needs(tmp_path: Path, invoke: CommandLine) -> None:
    done = invoke("generate", tmp_path / "r", "--workers", 2)
    assert done.code == 2
    assert "--workers" in done.err


def test_a_dataset_comes_from_standard_input(tmp_path: Path, dataset: Path) -> None:
    command = [sys.executable, "-m", "taco_stream", "run", tmp_path / "run", "--engine", "replay", "--dataset", "-"]
    for _ in range(2):  # the same rows again have the same fingerprint, whatever file they were kept in
        with dataset.open() as rows:
            subprocess.run(command, check=True, stdin=rows, capture_output=True, timeout=550)
        assert len(records(tmp_path / "run")) == 4


def test_json_report_reads_back(replayed: Replayed) -> None:
    report = taco_stream("report", replayed.path, "--json")
    assert report.returncode == 0, report.stderr
    assert json.loads(report.stdout)


def test_export_writes_the_two_files_of_the_original(tmp_path: Path, replayed: Replayed) -> None:
    run = shutil.copytree(replayed.path, tmp_path / "run")
    done = taco_stream("export", run)
    assert done.returncode == 0, done.stderr
    generations = json.loads((run / "generations.json").read_text())
    metrics = json.loads((run / "taco_metrics.json").read_text())
    assert [entry["task_id"] for entry in generations] == ["sum", "sum again"]
    assert metrics["pass@1"] == pytest.approx(0.5)
    assert metrics["detail"]["pass@1"]["sum"] == pytest.approx(0.5)


def test_lists_without_ids_are_judged_by_the_row_of_their_problem(tmp_path: Path, dataset: Path) -> None:
    """The second list is the second row's, also where only that row is selected."""
    generations = tmp_path / "generations.json"
    generations.write_text(json.dumps([["print(0)\n"], ["print(sum(map(int, input().split())))\n", "print(3)\n"]]))
    done = taco_stream("evaluate", generations, tmp_path / "run", "--dataset", dataset, "--ids", "sum again")
    assert "1 problems of the completions were not asked for: row 0" in done.stderr
    found = [(each["problem_id"], each["statuses"]["strict"]) for each in records(tmp_path / "run")]
    assert sorted(found) == [("sum again", "passed"), ("sum again", "wrong_answer")]


def test_exported_generations_are_judged_alike_by_evaluate(
    tmp_path: Path, replayed: Replayed, invoke: CommandLine
) -> None:
    invoke("export", replayed.path, "--to", tmp_path)
    done = taco_stream("evaluate", tmp_path / "generations.json", tmp_path / "again", "--dataset", replayed.dataset)
    assert done.returncode == 0, done.stderr

    def verdicts(run: Path) -> list[tuple[str, int, str]]:
        return sorted((r["problem_id"], r["sample_index"], r["statuses"]["strict"]) for r in records(run))

    assert verdicts(tmp_path / "again") == verdicts(replayed.path)


def one_sentence(done: subprocess.CompletedProcess[str] | Answer, code: int, *named: str) -> None:
    found, err = (done.code, done.err) if isinstance(done, Answer) else (done.returncode, done.stderr)
    assert found == code, err
    assert "Traceback" not in err
    lines = [line for line in err.splitlines() if line.startswith("taco-stream: ")]
    assert len(lines) == 1, err
    for each in named:
        assert each in lines[0]


def test_no_such_model(tmp_path: Path, dataset: Path) -> None:
    environ = {"HF_HUB_OFFLINE": "1"}
    done = taco_stream("run", tmp_path / "r", "--model", "no/such-model", "--dataset", dataset, environ=environ)
    one_sentence(done, 1, "no/such-model")
    assert not (tmp_path / "r").exists()


def test_no_such_dataset(tmp_path: Path, invoke: CommandLine) -> None:
    done = invoke("run", tmp_path / "r", "--engine", "scripted", "--dataset", tmp_path / "none.jsonl")
    one_sentence(done, 2, "none.jsonl")
    assert not (tmp_path / "r").exists()


def test_a_dataset_of_another_format(tmp_path: Path, invoke: CommandLine) -> None:
    path = tmp_path / "picture.jsonl"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    one_sentence(invoke("run", tmp_path / "r", "--engine", "scripted", "--dataset", path), 1, "picture.jsonl")


def test_unknown_columns(tmp_path: Path, invoke: CommandLine) -> None:
    path = tmp_path / "other.jsonl"
    path.write_text('{"text": "x", "label": 1}\n')
    one_sentence(invoke("run", tmp_path / "r", "--engine", "scripted", "--dataset", path), 1, "label", "text")


def test_a_bad_row_is_named_by_file_and_line(tmp_path: Path, invoke: CommandLine) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(json.dumps(PROBLEM) + "\n{broken\n")
    done = invoke("run", tmp_path / "r", "--engine", "scripted", "--dataset", path)
    one_sentence(done, 1, "bad.jsonl")
    assert re.search(r"line 2|:2", done.err)


def test_k_over_the_number_of_samples(tmp_path: Path, dataset: Path, invoke: CommandLine) -> None:
    done = invoke(
        "run", tmp_path / "r", "--engine", "scripted", "--dataset", dataset, "--samples", 5, "--k", 1, "--k", 10
    )
    one_sentence(done, 2, "--k 10", "5")
    assert not (tmp_path / "r").exists()


def test_a_run_directory_with_other_settings(replayed: Replayed, invoke: CommandLine) -> None:
    arguments = ("run", replayed.path, "--engine", "replay", "--dataset", replayed.dataset)
    one_sentence(invoke(*arguments, "--memory-limit", 99), 2, "memory_limit", "99")


def test_a_run_directory_with_another_dataset(tmp_path: Path, replayed: Replayed, invoke: CommandLine) -> None:
    other = tmp_path / "problems.jsonl"
    other.write_text(json.dumps(PROBLEM | {"question": "Something else."}) + "\n")
    one_sentence(invoke("run", replayed.path, "--engine", "replay", "--dataset", other), 2, "dataset")


def test_a_run_directory_in_use(tmp_path: Path, dataset: Path) -> None:
    script = tmp_path / "slow.toml"
    script.write_text("seconds = 60.0\n")
    arguments = ["run", str(tmp_path / "r"), "--engine", f"scripted:{script}", "--dataset", str(dataset)]
    first = subprocess.Popen([sys.executable, "-m", "taco_stream", *arguments], stderr=subprocess.DEVNULL)
    try:
        while not (tmp_path / "r" / "run.json").exists():
            assert first.poll() is None
            time.sleep(0.01)  # the file's appearance is the event
        one_sentence(taco_stream(*arguments), 2, str(first.pid))
    finally:
        first.kill()
        first.wait()


def test_an_unwritable_directory(dataset: Path, invoke: CommandLine) -> None:
    """Not even root makes a folder in /proc."""
    one_sentence(invoke("run", "/proc/run", "--engine", "scripted", "--dataset", dataset), 1, "/proc/run")


def test_a_run_directory_that_is_a_file(tmp_path: Path, dataset: Path, invoke: CommandLine) -> None:
    (tmp_path / "r").write_text("")
    one_sentence(invoke("run", tmp_path / "r", "--engine", "scripted", "--dataset", dataset), 1, str(tmp_path))


@pytest.mark.parametrize(("model", "code"), [("missing", 2), ("broken", 1)])
def test_a_model_that_its_worker_refuses(tmp_path: Path, dataset: Path, model: str, code: int) -> None:
    """By a script, which answers in place of a worker that imports torch (`engine/scripted_worker`)."""
    environ = {"PYTHONPATH": str(Path(__file__).parent / "engine" / "scripted_worker")}
    done = taco_stream("run", tmp_path / "r", "--model", model, "--dataset", dataset, environ=environ)
    one_sentence(done, code, model)
    assert not (tmp_path / "r").exists()


def test_an_unknown_engine(tmp_path: Path, dataset: Path, invoke: CommandLine) -> None:
    done = invoke("run", tmp_path / "r", "--engine", "telepathy", "--dataset", dataset)
    one_sentence(done, 2, "--engine", "telepathy")


def test_an_unknown_flag_suggests_the_nearest(tmp_path: Path, invoke: CommandLine) -> None:
    done = invoke("run", tmp_path / "r", "--temprature", 0.5)
    assert done.code == 2
    assert "--temperature" in done.err


def test_a_folder_that_is_no_run(tmp_path: Path, invoke: CommandLine) -> None:
    one_sentence(invoke("report", tmp_path), 2, str(tmp_path))


def test_completions_of_unknown_problems_are_named(tmp_path: Path, dataset: Path) -> None:
    path = tmp_path / "generations.json"
    path.write_text(json.dumps([{"task_id": "sum", "output": ["print(3)"]}, {"task_id": "stranger", "output": ["x"]}]))
    done = taco_stream("evaluate", path, tmp_path / "r", "--dataset", dataset)
    assert done.returncode == 0, done.stderr
    assert "stranger" in done.stderr
    refused = taco_stream("evaluate", path, tmp_path / "s", "--dataset", dataset, "--strict-ids")
    one_sentence(refused, 2, "stranger")


def test_completions_in_fields_of_any_name_are_judged(tmp_path: Path, dataset: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text(json.dumps({"name": "sum", "answer": "print(sum(map(int, input().split())))"}) + "\n")
    arguments = ("evaluate", path, tmp_path / "r", "--dataset", dataset)
    one_sentence(taco_stream(*arguments), 2, "answers.jsonl, line 1", "--id-field")
    done = taco_stream(*arguments, "--id-field", "name", "--text-field", "answer")
    assert done.returncode == 0, done.stderr
    assert [record["statuses"]["strict"] for record in records(tmp_path / "r")] == ["passed"]


def test_a_run_leaves_a_report_for_people(replayed: Replayed) -> None:
    page = (replayed.path / "report.html").read_text()
    document = json.loads(page.split('id="data">', 1)[1].split("</script>", 1)[0])
    assert document["summary"]["pass_at_k"]["1"]["value"] == 0.5
    assert (document["state"], document["embedded"]["left_out"]) == ("complete", 0)
    assert all(problem["question"] for problem in document["embedded"]["problems"].values())


def test_settings_come_from_the_environment_and_the_file(tmp_path: Path, dataset: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(f'dataset = "{dataset}"\nengine = "scripted"\nsamples = 7\nseed = 3\n')
    done = taco_stream("run", tmp_path / "r", "--config", file, "--samples", 1, environ={"TACO_STREAM_SEED": "4"})
    assert done.returncode == 0, done.stderr
    assert len(records(tmp_path / "r")) == 2
    assert '"seed":4' in (tmp_path / "r" / "run.json").read_text().replace(" ", "")
