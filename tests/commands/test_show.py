"""One sample of a run, as a person and as a program see it; nothing that is missing is a traceback."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sample_values import completion, record

from taco_stream.commands.show import show_problem, show_sample
from taco_stream.datasets.open import dataset_fingerprint
from taco_stream.errors import UsageError
from taco_stream.run.settings import RunSettings
from taco_stream.store.manifest import Manifest
from taco_stream.store.record_line import record_to_line
from taco_stream.types import ComparisonMode, Completion, Record, Status, Verdict

PROGRAM = "print(sum(map(int, input().split())) + 1)\n"
PROBLEMS = (
    {
        "task_id": "sums/001",
        "question": "Add two numbers.",
        "starter_code": "",
        "input_output": json.dumps({"inputs": ["1 2\n", "3 4\n"], "outputs": ["3\n", "7\n"]}),
        "difficulty": "EASY",
    },
    {
        "task_id": "sums/002",
        "question": "Add a list.",
        "starter_code": "def total(values):",
        "input_output": json.dumps({"fn_name": "total", "inputs": [[[1, 2]]], "outputs": [[3]]}),
    },
)
WRONG = Verdict(
    status=Status.WRONG_ANSWER,
    failed_test=0,
    tests_run=1,
    tests_total=2,
    detail="line 1: printed 4, expected 3",
    output_head="4\n",
)


def wrong(sample_index: int = 0, verdict: Verdict = WRONG) -> Record:
    verdicts = dict.fromkeys(ComparisonMode, verdict)
    return record("sums/001", sample_index, program=PROGRAM, verdicts=verdicts, difficulty="EASY")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    path = tmp_path / "problems.jsonl"
    path.write_text("".join(json.dumps(problem) + "\n" for problem in PROBLEMS))
    return path


class Run:
    """A run directory made by hand, and what the command prints of it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path = folder / "run"
        self._capsys = capsys

    def write(self, records: Sequence[Record], completions: Sequence[Completion] = (), **settings: Any) -> None:
        self.path.mkdir()
        resolved = RunSettings.resolve(settings, environ={})
        fingerprint = dataset_fingerprint(settings["dataset"]) if settings["dataset"] != "-" else "stdin"
        manifest = Manifest(
            results={**resolved.results(), "dataset_fingerprint": fingerprint},
            settings=resolved.values(),
            sandbox_tier="none",
            versions={},
            hardware={},
            git_commit=None,
            created_at=1.0,
        )
        (self.path / "run.json").write_bytes(msgspec.json.encode(manifest))
        for name, values in (("results", map(record_to_line, records)), ("completions", completions)):
            (self.path / f"{name}.jsonl").write_bytes(b"".join(msgspec.json.encode(each) + b"\n" for each in values))

    def problem(self, problem_id: str = "sums/001", *, as_json: bool = False, dataset: str | None = None) -> str:
        show_problem(self.path, problem_id, dataset=dataset, mode=None, as_json=as_json)
        return self._capsys.readouterr().out

    def sample(self, index: int = 0, problem_id: str = "sums/001", **asked: Any) -> str:
        wanted = {"dataset": None, "mode": None, "as_json": False, "rerun": False, "save": None} | asked
        show_sample(self.path, problem_id, index, **wanted)
        return self._capsys.readouterr().out


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(tmp_path, capsys)


def test_a_failing_sample_is_shown_with_its_test_and_both_answers(run: Run, dataset: Path) -> None:
    run.write([wrong()], [completion("sums/001", 0, PROGRAM)], dataset=str(dataset))
    text = run.sample()
    parts = [
        "sums/001, sample 0  wrong_answer",
        "Add two numbers.",
        "   1 │ print(sum(map(int, input().split())) + 1)",
        "failing test 0  of 2, counted from 0",
        "input:\n  │ 1 2\n",
        "expected:\n  │ 3\n",
        "actual:\n  │ 4\n",
        "first difference: line 1: printed 4, expected 3",
        "limits of a test  8 s of CPU time",
        "strict (scored)   wrong_answer",
    ]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)


def test_as_json_nothing_is_cut(run: Run, dataset: Path) -> None:
    long = PROGRAM + "# " + "x" * 5000
    run.write([wrong()], [completion("sums/001", 0, long)], dataset=str(dataset))
    story = json.loads(run.sample(as_json=True))
    assert story["completion"] == long
    assert story["failing"]["test"]["expected"] == "3\n"
    assert story["verdicts"]["strict"]["status"] == "wrong_answer"
    assert story["limits"]["cpu_seconds"] == 8


def test_lines_that_are_too_long_are_cut_with_a_word(run: Run, dataset: Path) -> None:
    verdict = msgspec.structs.replace(WRONG, output_head="9" * 499, stderr_tail="oops\n" * 99)
    run.write([wrong(verdict=verdict)], dataset=str(dataset))
    text = run.sample()
    assert "… and 99 more characters" in text
    assert "… 83 lines above" in text


def test_a_problem_is_shown_with_its_samples(run: Run, dataset: Path) -> None:
    run.write([wrong(1), record("sums/001", 0)], [completion("sums/001", 2)], dataset=str(dataset))
    lines = run.problem().splitlines()
    assert "  │ Add two numbers." in lines
    assert "tests: 2, standard input" in lines
    assert "limits of a test: 8 s of CPU time, 25 s idle, 4,096 MiB, 64 MiB of output" in lines
    rows = [line.split() for line in lines[-3:]]
    assert [row[:2] for row in rows] == [["0", "passed"], ["1", "wrong_answer"], ["2", "not"]]
    assert rows[1][2:4] == ["0", "0"]
    assert max(map(len, lines)) <= 80
    assert [each["status"] for each in json.loads(run.problem(as_json=True))["samples"]] == [
        "passed",
        "wrong_answer",
        None,
    ]


@pytest.mark.parametrize("columns", [60, 80, 160])
def test_a_long_reason_is_cut_and_nothing_else(
    run: Run, dataset: Path, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    run.write([wrong(verdict=msgspec.structs.replace(WRONG, detail="long " * 40))], dataset=str(dataset))
    line = run.problem().splitlines()[-1]
    assert line.startswith("0        wrong_answer           0      0   long long")
    assert line.endswith("…")
    assert len(line) <= columns


def test_control_characters_of_a_program_are_signs(run: Run, dataset: Path) -> None:
    hostile = "\x1b[2Jgone\x9b31m"
    verdict = msgspec.structs.replace(WRONG, output_head=hostile, detail=hostile, stderr_tail=hostile)
    run.write([wrong(verdict=verdict)], [completion("sums/001", 1, hostile)], dataset=str(dataset))
    texts = [run.sample(), run.problem(), run.sample(1)]
    assert all("␛[2Jgone" in text for text in texts)
    assert not any("\x1b" in text or "\x9b" in text for text in texts)


@pytest.mark.parametrize(("typed", "meant"), [("sums/1", "sums/001"), ("2", "sums/002"), ("SUM/001", "sums/001")])
def test_an_unknown_problem_is_named_with_the_nearest(run: Run, dataset: Path, typed: str, meant: str) -> None:
    run.write([wrong()], dataset=str(dataset))
    with pytest.raises(UsageError, match=f"has no problem {typed}: did you mean {meant}"):
        run.problem(typed)
    with pytest.raises(UsageError, match=f"did you mean {meant}"):
        run.sample(0, typed)


def test_a_sample_that_is_not_there_is_said_with_those_that_are(run: Run, dataset: Path) -> None:
    run.write([wrong(0), wrong(1)], [completion("sums/001", 4)], dataset=str(dataset))
    with pytest.raises(UsageError, match="has no sample 9 of sums/001: it has 0 to 1, 4"):
        run.sample(9)
    with pytest.raises(UsageError, match="has no sample 0 of sums/002: it has none"):
        run.sample(0, "sums/002")
    assert "the run has no sample of this problem" in run.problem("sums/002")


def test_without_its_dataset_a_sample_is_what_the_record_says(run: Run, dataset: Path) -> None:
    run.write([wrong()], [completion("sums/001", 0, PROGRAM)], dataset=str(dataset))
    moved = dataset.rename(dataset.with_name("moved.jsonl"))
    text = run.sample()
    assert "the dataset cannot be read, so question and tests are unknown: there is no file or folder" in text
    assert "--dataset FILE says where it is now" in text
    assert "actual:\n  │ 4\n" in text
    assert "expected:" not in text
    assert "wrong_answer" in run.problem()
    assert "expected:\n  │ 3\n" in run.sample(dataset=str(moved))


def test_a_dataset_of_standard_input_is_not_waited_for(run: Run, dataset: Path) -> None:
    run.write([wrong()], dataset="-")
    assert "the problems came on standard input" in run.sample()
    assert "expected:\n  │ 3\n" in run.sample(dataset=str(dataset))


def test_a_dataset_that_has_changed_is_noted(run: Run, dataset: Path) -> None:
    run.write([wrong()], dataset=str(dataset))
    assert "has changed" not in run.sample()
    dataset.write_text(dataset.read_text() + "\n")
    assert "has changed since the run" in run.sample()


def test_a_template_that_is_gone_is_noted(run: Run, dataset: Path, tmp_path: Path) -> None:
    run.write([wrong()], dataset=str(dataset), prompt=str(tmp_path / "gone.jinja"))
    assert "the prompt cannot be made again" in run.sample()


def test_completions_that_were_read_from_a_file_have_no_prompt(run: Run, dataset: Path) -> None:
    run.write([wrong()], dataset=str(dataset), engine="replay:samples.jsonl")
    assert "QUESTION" not in run.sample()


def test_an_answer_without_a_program_is_shown_whole(run: Run, dataset: Path) -> None:
    none = record("sums/001", 0, Status.NO_PROGRAM, program=None)
    run.write([none], [completion("sums/001", 0, "I cannot.")], dataset=str(dataset))
    text = run.sample()
    assert "completion  no program was found in it\n  │ I cannot.\n" in text
    for asked in ({"rerun": True}, {"save": Path("anywhere")}):
        with pytest.raises(UsageError, match="none was found"):
            run.sample(**asked)


def test_judging_again_says_whether_the_verdict_is_the_same(run: Run, dataset: Path) -> None:
    run.write([wrong(0), record("sums/001", 1, program=PROGRAM)], dataset=str(dataset))
    assert "judged again  the same verdicts" in run.sample(0, rerun=True)
    text = run.sample(1, rerun=True)
    assert "judged again  another verdict" in text
    assert "strict: wrong_answer at test 0, where the run has passed" in text
    assert "first difference: line 1: printed 4, expected 3" in text


def test_a_program_is_not_judged_again_without_its_tests(run: Run) -> None:
    run.write([wrong()], dataset="-")
    with pytest.raises(UsageError, match="--rerun needs the tests: the problems came on standard input"):
        run.sample(rerun=True)


def test_a_sample_is_saved_with_the_test_that_it_fails(run: Run, dataset: Path, tmp_path: Path) -> None:
    run.write([wrong()], dataset=str(dataset))
    folder = tmp_path / "new" / "saved"
    run.sample(save=folder)
    assert (folder / "program.py").read_text() == PROGRAM
    assert ((folder / "input.txt").read_text(), (folder / "expected.txt").read_text()) == ("1 2\n", "3\n")
    done = subprocess.run([sys.executable, folder / "run.py"], capture_output=True, text=True, check=True)
    assert done.stdout == "4\n"
    (folder / "program.py").write_text("changed\n")
    with pytest.raises(UsageError, match="has files in it, and none is overwritten"):
        run.sample(save=folder)
    assert (folder / "program.py").read_text() == "changed\n"


def test_a_run_that_is_being_written_is_shown(run: Run, dataset: Path) -> None:
    run.write([wrong()], dataset=str(dataset))
    with (run.path / "results.jsonl").open("ab") as file:
        file.write(b'{"problem_id": "sums/001", "sample_in')
    assert "wrong_answer" in run.sample()
