"""Comparing run directories: what is printed, in how wide a terminal, what fails a CI job, and what is refused."""

import io
import json
import re
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from rich.console import Console
from sample_values import completion, finished, record

from taco_stream.commands.compare import compare_directories, compare_paths, find_differences
from taco_stream.errors import UsageError
from taco_stream.report.compared_runs import ComparedRuns, print_comparison
from taco_stream.run.settings import RunSettings
from taco_stream.store.manifest import Manifest
from taco_stream.store.run_directory import open_run
from taco_stream.types import ComparisonMode, Status, Verdict

DIFFICULTY = {"a": "EASY", "b": "EASY", "c": "HARD", "d": "HARD", "e": "HARD", "f": "HARD"}


def manifest(**values: Any) -> Manifest:
    settings = RunSettings.resolve(values, environ={})
    return Manifest(
        results={**settings.results(), "dataset_fingerprint": "sha256:1234"},
        settings=settings.values(),
        sandbox_tier="namespaces",
        versions={"python": "3.11"},
        hardware={"cores": "2"},
        git_commit=None,
        created_at=1.0,
    )


def write_run(
    path: Path,
    passed: dict[str, int],
    samples: int = 2,
    expected: int | None = None,
    otherwise: Status = Status.WRONG_ANSWER,
    **settings: Any,
) -> Path:
    """A run in which the first samples of each problem passed: so many by `strict`, all by `official`."""

    def verdicts(is_right: bool) -> dict[ComparisonMode, Verdict]:
        strict = Verdict(status=Status.PASSED if is_right else otherwise)
        return {ComparisonMode.STRICT: strict, ComparisonMode.OFFICIAL: Verdict(status=Status.PASSED)}

    records = [
        record(name, index, verdicts=verdicts(index < count), difficulty=DIFFICULTY[name])
        for name, count in passed.items()
        for index in range(samples)
    ]

    async def write() -> None:
        async with open_run(path, manifest(**settings)) as run:
            await run.append([completion(), *records, finished(samples_expected=expected)])

    anyio.run(write)
    return path


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    return write_run(tmp_path / "baseline", {"a": 2, "b": 1, "c": 0, "d": 1, "e": 0})


@pytest.fixture
def candidate(tmp_path: Path) -> Path:
    return write_run(tmp_path / "candidate", {"a": 2, "b": 2, "c": 1, "d": 0, "f": 1}, temperature=0.8)


def compared(
    capsys: pytest.CaptureFixture[str], *paths: Path, fail_under: float | None = None, **chosen: Any
) -> tuple[int, str, str]:
    """The exit code, standard output and standard error."""
    given: dict[str, Any] = {"mode": None, "ks": (), "difficulties": (), "as_json": False} | chosen
    code = compare_paths(paths, fail_under=fail_under, **given)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_differences_flips_and_settings_are_printed(
    baseline: Path, candidate: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text, errors = compared(capsys, baseline, candidate)
    assert (code, errors) == (0, "")
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line}
    assert rows["pass@1"][1:6] == ["50.0", "%", "62.5", "%", "+12.5"]
    assert rows["pass@1"][-1] == "4"
    assert rows["EASY"][5] == "+25.0"
    assert "B is better on 2 problems, worse on 1 and equal on 1: p = 1.000 (sign test over problems" in text
    assert "solved by B alone (1 problem): c 0/2 → 1/2" in text
    assert "solved by A alone, not by B (1 problem): d 1/2 → 0/2" in text
    assert "solved by both, other share of samples in B (1 problem): b 1/2 → 2/2" in text
    assert "only in A, not in B (1 problem): e" in text
    assert "only in B, not in A (1 problem): f" in text
    assert "sampling differs: temperature 0.2 → 0.8" in text
    assert "B: only 4 problems are compared" in text


def test_a_run_compared_with_itself_differs_in_nothing(baseline: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, text, _ = compared(capsys, baseline, baseline)
    assert "50.0" not in text.split("pass@1")[0]
    assert " 0.0 (" in text
    assert "equal on 5: p = 1.000" in text
    assert not any(word in text for word in ("differs", "alone", "only in"))


def test_the_mode_is_that_of_the_first_run_or_the_one_asked_for(
    tmp_path: Path, baseline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_run(tmp_path / "official", {"a": 0, "b": 0}, mode="official")
    _, text, _ = compared(capsys, baseline, other)
    assert "by strict" in text
    assert "score by other modes (A by strict, B by official); here all are scored by strict" in text
    _, text, _ = compared(capsys, baseline, other, mode=ComparisonMode.OFFICIAL)
    assert "100.0 %   100.0 %" in text


def test_every_k_that_both_runs_report_is_compared(
    tmp_path: Path, baseline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_run(tmp_path / "other", {"a": 0, "b": 0}, samples=3, k=[1, 2, 3])
    assert "pass@2" not in compared(capsys, baseline, other)[1]  # the baseline reports 1 alone
    text = compared(capsys, baseline, other, ks=(2,))[1]
    assert "pass@2" in text
    assert "pass@1 " not in text
    with pytest.raises(UsageError, match="--k 3 needs at least 3 samples of each problem, there are 2"):
        compared(capsys, baseline, other, ks=(3,))


def test_difficulties_narrow_the_problems_down(
    baseline: Path, candidate: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads(compared(capsys, baseline, candidate, difficulties=("HARD",), as_json=True)[1])
    assert found["comparisons"][0]["pass_at_k"]["1"]["problems"] == 2
    with pytest.raises(UsageError, match="--difficulty HARDER: the runs have EASY, HARD"):
        compared(capsys, baseline, candidate, difficulties=("HARDER",))


def test_json_is_the_whole_comparison(baseline: Path, candidate: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = compared(capsys, baseline, candidate, as_json=True)[1]
    found = msgspec.json.decode(text, type=ComparedRuns)
    assert [run.letter for run in found.runs] == ["A", "B"]
    assert found.comparisons[0].pass_at_k[1].value == 0.125
    assert [change.problem_id for change in found.comparisons[0].changes] == ["b", "c", "d"]
    assert found.setting_differences[0].values == (0.2, 0.8)


def test_several_runs_are_compared_with_the_first(
    tmp_path: Path, baseline: Path, candidate: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    third = write_run(tmp_path / "third", {"a": 0, "b": 0, "c": 0, "d": 0, "e": 0}, temperature=0.5)
    _, text, _ = compared(capsys, baseline, candidate, third)
    rows = [line.split() for line in text.splitlines()]
    assert ["B", "50.0", "%", "62.5", "%", "+12.5"] in [row[:6] for row in rows]
    assert ["C", "40.0", "%", "0.0", "%", "−40.0"] in [row[:6] for row in rows]
    assert ["C", "0", "3", "2", "0.250", "0.500"] in rows
    assert "solved by A alone, not by C (3 problems): a 2/2 → 0/2" in text
    assert "temperature A 0.2, B 0.8, C 0.5" in text


@pytest.mark.parametrize(
    ("delta", "code"), [(None, 0), (-13.0, 0), (-12.5, 0), (-12.4, 1), (0.0, 1), (2.0, 1), (-100.0, 0)]
)
def test_a_loss_of_more_than_the_allowed_points_fails(
    delta: float | None, code: int, baseline: Path, candidate: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The candidate has 12.5 points less: both the other way round."""
    found, text, errors = compared(capsys, candidate, baseline, fail_under=delta)
    assert found == code
    assert "pass@1" in text
    expected = (
        f"taco-stream: pass@1 of {baseline} is 50.0 %, −12.5 points from the 62.5 % of {candidate} over 4 problems"
    )
    assert (expected in errors) == bool(code)
    assert bool(errors) == bool(code)


def test_a_gain_may_be_asked_for(baseline: Path, candidate: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compared(capsys, baseline, candidate, fail_under=12.5)[0] == 0
    assert compared(capsys, baseline, candidate, fail_under=12.6)[0] == 1
    with pytest.raises(UsageError, match="--fail-under nan is not a difference"):
        compared(capsys, baseline, candidate, fail_under=float("nan"))


def test_a_candidate_that_is_not_complete_fails(
    tmp_path: Path, baseline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A job that died half way must not pass for the half that it did."""
    half = write_run(tmp_path / "half", {"a": 2, "b": 2}, expected=10)
    code, text, errors = compared(capsys, baseline, half, fail_under=-100)
    assert code == 1
    assert f"{half} is not complete: 4 of 10 samples are judged" in errors
    assert "B: not complete: 4 of 10 samples are judged" in text
    assert compared(capsys, half, baseline, fail_under=-100)[0] == 0


def test_a_candidate_that_the_evaluator_failed_to_judge_fails(
    tmp_path: Path, baseline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A judge that broke on the wrong samples must not raise the score."""
    broken = write_run(tmp_path / "broken", {"a": 2, "b": 1}, otherwise=Status.INFRASTRUCTURE_ERROR)
    code, _, errors = compared(capsys, baseline, broken, fail_under=-100)
    assert code == 1
    assert f"{broken} is not complete: the evaluator failed to judge 1 samples" in errors


def test_problems_with_too_few_samples_are_named(
    tmp_path: Path, baseline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run", {"a": 1, "b": 1})
    with (run / "results.jsonl").open("a") as file:
        lines = (run / "results.jsonl").read_text().splitlines()
        file.write(lines[0].replace('"a"', '"c"') + "\n")
    _, text, _ = compared(capsys, baseline, run, ks=(1, 2))
    assert "B: 1 problems have fewer samples than the others: c" in text
    assert "B: pass@2 is of the 2 problems with at least 2 scored samples in both runs, of 3" in text


def test_runs_without_a_problem_in_common_are_refused(
    tmp_path: Path, baseline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, passed in (("other", {"f": 1}), ("empty", {})):
        other = write_run(tmp_path / name, passed)
        with pytest.raises(UsageError, match="have no judged problem in common"):
            compared(capsys, baseline, other)


def test_one_run_and_too_many_are_refused(baseline: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for paths in ([baseline], [baseline] * 27):
        with pytest.raises(UsageError, match="from 2 to 26 runs"):
            compared(capsys, *paths)


def test_what_may_change_results_is_told_apart_by_component() -> None:
    first = manifest(model="small", workers=1)
    second = msgspec.structs.replace(
        manifest(model="large", workers=2, time_limit_factor=4.0, prompt="chat", seed=1),
        sandbox_tier="rlimits",
        versions={"python": "3.12", "torch": "2.13"},
    )
    found = {(each.component, each.name): each.values for each in find_differences([first, second])}
    assert found == {
        ("model", "model"): ("small", "large"),
        ("samples", "seed"): (0, 1),
        ("prompt", "prompt"): ("base", "chat"),
        ("evaluator", "time_limit_factor"): (2.0, 4.0),
        ("evaluator", "sandbox"): ("namespaces", "rlimits"),
        ("versions", "python"): ("3.11", "3.12"),
        ("versions", "torch"): (None, "2.13"),
    }


def test_a_setting_that_an_older_run_lacks_had_its_default() -> None:
    new = manifest()
    results = {name: value for name, value in new.results.items() if name != "reproducible"}
    assert find_differences([msgspec.structs.replace(new, results=results), new]) == []


def test_other_rules_and_other_contents_are_pointed_out(
    tmp_path: Path, baseline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_run(tmp_path / "other", {"a": 1}, memory_limit=64)
    path = other / "run.json"
    path.write_text(path.read_text().replace("sha256:1234", "sha256:5678"))
    _, text, _ = compared(capsys, baseline, other)
    assert "evaluator differs: memory_limit 4096 → 64" in text
    assert "the programs were not judged under the same rules" in text
    assert [note for note in compare_directories([baseline, other]).notes if "rules" in note]  # a page has them too
    assert "the datasets differ in content" in text


@pytest.mark.parametrize("is_terminal", [True, False])
def test_eighty_columns_are_enough(
    baseline: Path, candidate: Path, is_terminal: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    third = write_run(baseline.parent / "third", dict.fromkeys("abcdef", 1), samples=1, temperature=0.5)
    for paths in ((baseline, candidate), (baseline, candidate, third)):
        found = msgspec.json.decode(compared(capsys, *paths, as_json=True)[1], type=ComparedRuns)
        file = io.StringIO()
        print_comparison(found, Console(file=file, width=80, force_terminal=is_terminal, no_color=True))
        text = file.getvalue()
        assert "…" not in text
        if is_terminal:
            lines = re.sub(r"\x1b\[[\d;]*m", "", text).splitlines()
            assert max(len(line) for line in lines if str(baseline.parent) not in line) <= 80
        else:
            assert "\x1b" not in text
            assert "equal on 1: p = 1.000 (sign test over problems, two-sided)" in text or len(paths) == 3
