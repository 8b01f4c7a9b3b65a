"""A record as a line: read back the same, what is shared stands once, and lines of the first version are still read."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_values import record

from taco_stream.commands.report import count_records
from taco_stream.errors import StoreError
from taco_stream.store.record_line import RecordLine, line_to_record, record_to_line
from taco_stream.store.run_directory import RunFiles
from taco_stream.types import ComparisonMode, Observations, Status, Verdict

STRICT, OFFICIAL, SPJ = ComparisonMode.STRICT, ComparisonMode.OFFICIAL, ComparisonMode.SPJ
VERSION_1 = Path(__file__).with_name("version_1")
AGGREGATES = ("by_difficulty", "by_skill", "statuses", "extractions", "finish_reasons", "coverage")


def encoded(**verdicts: Verdict) -> dict:
    """The line of a record with these verdicts, as JSON."""
    line = record_to_line(record(verdicts={ComparisonMode(mode): verdict for mode, verdict in verdicts.items()}))
    return json.loads(msgspec.json.encode(line))


microseconds = st.integers(0, 10**8).map(lambda number: number / 10**6)
observations = st.fixed_dictionaries(
    {},
    optional={
        "failed_test": st.none() | st.integers(0, 9),
        "tests_run": st.integers(0, 9),
        "cpu_seconds": microseconds,
        "peak_cpu_seconds": microseconds,
        "detail": st.text(max_size=5),
        "output_head": st.text(max_size=5),
        "test_statuses": st.none() | st.lists(st.sampled_from(Status), max_size=3).map(tuple),
        "test_cpu_seconds": st.none() | st.lists(microseconds, max_size=3).map(tuple),
        "sandbox_tier": st.sampled_from(["", "namespaces"]),
    },
)
verdicts = st.builds(lambda status, seen: Verdict(status=status, **seen), st.sampled_from(Status), observations)


@given(st.dictionaries(st.sampled_from(ComparisonMode), verdicts), microseconds)
def test_a_record_comes_back_from_its_line(found: dict[ComparisonMode, Verdict], seconds: float) -> None:
    judged = msgspec.structs.replace(record(skills=("Sorting",), judge_seconds=seconds, cut_after=3), verdicts=found)
    line = msgspec.json.decode(msgspec.json.encode(record_to_line(judged)), type=RecordLine)
    assert line_to_record(line) == judged


def test_what_every_mode_saw_stands_once() -> None:
    seen = {"tests_run": 3, "detail": "line 1: printed 4, expected 5", "failed_test": 2}
    line = encoded(
        strict=Verdict(status=Status.WRONG_ANSWER, **seen),
        official=Verdict(status=Status.WRONG_ANSWER, **seen),
        spj=Verdict(status=Status.NO_CHECKER, **seen),
    )
    assert line["statuses"] == {"strict": "wrong_answer", "official": "wrong_answer", "spj": "no_checker"}
    assert line["observed"] == seen
    assert "differing" not in line


def test_what_a_mode_saw_differently_stands_there_alone() -> None:
    line = encoded(
        strict=Verdict(status=Status.WRONG_ANSWER, failed_test=0, tests_run=2, tests_total=2),
        official=Verdict(status=Status.PASSED, tests_run=2, tests_total=2),
        spj=Verdict(status=Status.WRONG_ANSWER, failed_test=1, tests_run=2, tests_total=2),
    )
    assert line["differing"] == {"official": {"failed_test": None}, "spj": {"failed_test": 1}}


def test_a_line_has_its_version_and_no_defaults() -> None:
    assert encoded(strict=Verdict(status=Status.PASSED)) == {
        "problem_id": "p",
        "sample_index": 0,
        "statuses": {"strict": "passed"},
        "program": "print(1)\n",
        "extraction": "whole_text",
        "finish_reason": "stop",
        "observed": {},
        "version": 2,
    }


def test_seconds_end_with_the_microsecond() -> None:
    assert encoded(strict=Verdict(status=Status.PASSED, cpu_seconds=0.1 + 0.2))["observed"] == {"cpu_seconds": 0.3}


def test_a_line_of_a_newer_version_is_refused() -> None:
    line = msgspec.structs.replace(record_to_line(record()), version=3)
    with pytest.raises(StoreError, match="sample 0 of p is of version 3"):
        line_to_record(line)


def test_a_line_that_contradicts_itself_is_refused() -> None:
    line = msgspec.structs.replace(record_to_line(record()), differing={SPJ: {"tests_run": "three"}})
    with pytest.raises(StoreError, match=r"sample 0 of p is broken under spj.*tests_run"):
        line_to_record(line)


def test_lines_of_the_first_version_are_read_whole() -> None:
    """The verdicts of every mode, also where they differ, are those that the line spells out."""
    lines = [json.loads(line) for line in (VERSION_1 / "run" / "results.jsonl").read_text().splitlines()]
    for line, read in zip(lines, RunFiles(VERSION_1 / "run").records(), strict=True):
        assert (read.problem_id, read.sample_index, read.program) == (
            line["problem_id"],
            line["sample_index"],
            line["program"],
        )
        assert read.verdicts == msgspec.convert(line["verdicts"], dict[ComparisonMode, Verdict])
    nonlocal_at_the_top = list(RunFiles(VERSION_1 / "run").records())[4]
    assert [nonlocal_at_the_top.verdicts[mode].status for mode in (STRICT, OFFICIAL)] == ["compile_error", "passed"]


def test_a_run_of_the_first_version_resumes_and_reports_the_same(tmp_path: Path) -> None:
    """The last of its samples is not judged yet; `summary.json` is that of the same run undisturbed."""
    shutil.copytree(VERSION_1, tmp_path, dirs_exist_ok=True)
    command = [sys.executable, "-m", "taco_stream", "evaluate", "completions.jsonl", "run"]
    command += ["--dataset", "problems.jsonl", "--prompt", "base", "--workers", "1"]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=550, check=False)
    assert done.returncode == 0, done.stderr
    versions = [
        json.loads(line).get("version") for line in (tmp_path / "run" / "results.jsonl").read_text().splitlines()
    ]
    assert versions == [1] * 11 + [2]
    before, after = (json.loads((folder / "run" / "summary.json").read_text()) for folder in (VERSION_1, tmp_path))
    assert {name: after[name] for name in AGGREGATES[2:]} == {name: before[name] for name in AGGREGATES[2:]}
    scores = [summary["pass_at_k"]["1"] for summary in (before, after)]
    assert scores[1]["value"] == pytest.approx(scores[0]["value"])
    for name in AGGREGATES[:2]:
        for split, estimates in before[name].items():
            assert after[name][split]["1"]["value"] == pytest.approx(estimates["1"]["value"])
    assert count_records(RunFiles(tmp_path / "run")).samples == 12


def test_every_observation_has_a_default() -> None:
    """A field that is added later is then missing, and right, in the lines that were written before."""
    assert Observations() == msgspec.json.decode(b"{}", type=Observations)
