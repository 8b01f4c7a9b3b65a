"""The list of runs: the state that each is in, and rows that fit."""

import io
from collections.abc import Sequence
from typing import Any

import pytest
from rich.console import Console
from sample_values import finished, gauges, statistics

from taco_stream.events import RunResumed, RunStarted, UnknownEvent, WrittenEvent
from taco_stream.metrics import mean_estimate
from taco_stream.report.run_list import (
    RunLine,
    RunList,
    RunState,
    UnreadableFolder,
    describe_age,
    find_state,
    print_runs,
    read_last_start,
)
from taco_stream.statistics import EvaluatorStatistics


def state(newest_first: Sequence[WrittenEvent], samples: int = 0, errors: int = 0, is_running: bool = False) -> str:
    last = read_last_start(newest_first)
    return find_state(
        last,
        samples=samples,
        samples_expected=last.samples_expected,
        infrastructure_errors=errors,
        is_running=is_running,
    )


JUDGING = {"evaluator": EvaluatorStatistics(workers=2), "samples_expected": 10}


@pytest.mark.parametrize(
    ("expected", "newest_first", "known"),
    [
        ("running", [gauges(**JUDGING)], {"is_running": True}),
        ("running", [], {"is_running": True}),
        ("complete", [finished(**JUDGING)], {"samples": 10}),
        ("complete", [gauges(**JUDGING)], {"samples": 10}),  # killed between the last record and the summary
        ("resumable", [finished(**JUDGING)], {"samples": 10, "errors": 1}),
        ("resumable", [finished(**JUDGING, draining=True)], {"samples": 9}),
        ("resumable", [gauges(**JUDGING)], {"samples": 9}),  # killed
        ("resumable", [RunResumed(), finished(**JUDGING)], {"samples": 9}),  # killed before its first gauge
        ("resumable", [RunStarted()], {}),
        ("resumable", [], {}),
        ("failed", [finished(**JUDGING)], {"samples": 9}),
        ("failed", [UnknownEvent("later", 0.0), finished(**JUDGING)], {"samples": 9}),
        ("generated", [finished(samples_expected=10, generated=6, samples_resumed=4)], {}),
        ("failed", [finished(samples_expected=10, generated=6)], {}),
    ],
)
def test_the_state_of_a_run(expected: str, newest_first: list[WrittenEvent], known: dict[str, Any]) -> None:
    assert state(newest_first, **known) == expected


def test_the_samples_expected_are_those_of_the_newest_start_that_counted_them() -> None:
    events = [RunResumed(), gauges(), gauges(samples_expected=20, judged=3), finished(samples_expected=10)]
    last = read_last_start(events)
    assert last.samples_expected == 20
    assert last.statistics == statistics()
    assert read_last_start([gauges()]).samples_expected is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0 s"),
        (0.4, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (7199, "1 h"),
        (7200, "2 h"),
        (86_400 * 9, "9 d"),
    ],
)
def test_ages_are_whole_numbers_of_their_largest_unit(seconds: float, text: str) -> None:
    assert describe_age(seconds) == text


def line(**changes: Any) -> RunLine:
    values: dict[str, Any] = {
        "name": "Qwen-Qwen2.5-Coder-7B-Instruct-BAAI-TACO-cebd309c",
        "path": "runs/x",
        "state": RunState.RESUMABLE,
        "model": "Qwen/Qwen2.5-Coder-7B-Instruct",
        "dataset": "BAAI/TACO@deadbeef",
        "samples": 123_456,
        "samples_expected": 200_000,
        "infrastructure_errors": 0,
        "k": 1,
        "score": mean_estimate([0.0, 1.0, 1.0]),
        "created_at": 0.0,
        "written_at": 0.0,
    }
    return RunLine(**values | changes)


def printed(*runs: RunLine, width: int = 80, is_terminal: bool = False, others: Sequence[str] = ()) -> list[str]:
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=is_terminal, no_color=True, color_system=None)
    unreadable = tuple(UnreadableFolder(path=other, reason="is not a run directory") for other in others)
    print_runs(RunList(runs=runs, unreadable=unreadable), console, now=7200.0)
    return file.getvalue().splitlines()


def test_a_pipe_gets_a_row_for_a_run_however_long() -> None:
    rows = printed(line(), line(name="second"), others=["runs/notes"])
    assert len(rows) == 5
    for part in (line().name, "resumable", "123,456/200,000", "66.7 %", "2 h", line().model, line().dataset):
        assert part in rows[2]
    assert rows[4] == "runs/notes: is not a run directory"


def test_eighty_columns_show_everything_in_rows_that_fold() -> None:
    rows = printed(line(), is_terminal=True)
    assert max(map(len, rows)) <= 80
    assert "…" not in "".join(rows)
    assert "123,456/200,000" in rows[2]


def test_scores_of_different_ks_say_so() -> None:
    rows = printed(line(), line(k=10), line(k=None, score=None))
    assert "pass@k" in rows[0]
    assert "@1 66.7 %" in rows[2]
    assert "@10 66.7 %" in rows[3]
    assert "–" in rows[4]
    assert "pass@1" in printed(line())[0]
