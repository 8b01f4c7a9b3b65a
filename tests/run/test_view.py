"""The view shows what a person waits for, on a terminal and in a log."""

import io
import re
from pathlib import Path

import anyio
import pytest
from rich.console import Console

from taco_stream.run.view import Snapshot, occupancy, panel, plain_line, show, time_left_seconds
from taco_stream.statistics import EngineStatistics, EvaluatorStatistics, RunStatistics


def statistics(**changes: object) -> RunStatistics:
    values: dict[str, object] = {
        "elapsed_seconds": 10.0,
        "samples_expected": 100,
        "samples_resumed": 20,
        "generated": 30,
        "judged": 20,
        "infrastructure_errors": 0,
        "completions_waiting": 10,
        "draining": False,
        "loading": False,
        "samples_left_over": 0,
        "generating_seconds": 9.0,
        "judging_seconds": 8.0,
        "overlapped_seconds": 7.0,
        "peak_memory_bytes": 0,
        "engine": EngineStatistics(
            rows_busy=3, rows_total=4, completion_tokens=5000, row_seconds=6.0, row_seconds_available=8.0
        ),
        "evaluator": EvaluatorStatistics(workers=2, busy=1),
    }
    return RunStatistics(**(values | changes))  # type: ignore[arg-type]


def drawn(snapshot: Snapshot) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(panel(snapshot))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_plain_line_holds_every_figure() -> None:
    line = plain_line(Snapshot(statistics=statistics(), pass_at_1=0.25))
    for figure in (
        "0:00:10", "generated 50/100", "judged 40/100", "pass@1 25.0 %", "500 tokens/s", "batch 3/4",
        "occupancy 75.0 %", "unjudged 10", "workers 1/2", "0:00:30 left",
    ):  # fmt: skip
        assert figure in line


def test_the_readme_shows_the_line_as_it_is_printed() -> None:
    def without_figures(text: str) -> str:
        return re.sub(r"[\d.,:]+", "0", text)

    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    line = plain_line(Snapshot(statistics=statistics(), pass_at_1=0.25))
    assert without_figures(line) in without_figures(readme).splitlines()


def test_samples_without_a_verdict_are_generated_and_not_judged() -> None:
    line = plain_line(Snapshot(statistics=statistics(samples_left_over=7, generated=0), pass_at_1=0.5))
    assert "generated 27/100" in line
    assert "judged 40/100" in line


def test_a_model_that_is_being_loaded_is_mentioned() -> None:
    snapshot = Snapshot(statistics=statistics(loading=True), pass_at_1=None)
    for shown in (plain_line(snapshot), drawn(snapshot)):
        assert "loading the model" in shown


def test_what_is_not_known_yet_is_not_made_up() -> None:
    unknown = statistics(samples_expected=None, judged=0, engine=EngineStatistics())
    assert time_left_seconds(unknown) is None
    assert occupancy(EngineStatistics()) is None
    assert "–" in plain_line(Snapshot(statistics=unknown, pass_at_1=None))


def test_a_run_that_only_generates_shows_nothing_of_judging() -> None:
    snapshot = Snapshot(statistics=statistics(evaluator=None, judged=0), pass_at_1=None)
    for shown in (plain_line(snapshot), drawn(snapshot)):
        assert "500 tokens/s" in shown
        assert "0:00:17 left" in shown  # 50 of 80 are to go, 30 took 10 seconds
        assert not any(word in shown for word in ("judge", "pass@1", "workers"))


def test_a_run_that_only_judges_shows_nothing_of_generating() -> None:
    snapshot = Snapshot(statistics=statistics(engine=None), pass_at_1=0.5)
    for shown in (plain_line(snapshot), drawn(snapshot)):
        assert "read" in shown
        assert not any(word in shown for word in ("generated", "tokens/s", "batch"))


@pytest.mark.parametrize("width", [80, 60])
def test_the_panel_fits_a_narrow_terminal(width: int) -> None:
    engine = EngineStatistics(rows_busy=1024, rows_total=1024, completion_tokens=99_999_999)
    large = statistics(engine=engine, samples_expected=200_000, samples_resumed=123_456, completions_waiting=4096)
    console = Console(file=io.StringIO(), width=width)
    console.print(panel(Snapshot(statistics=large, pass_at_1=0.31)))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert len(lines) == 4
    assert "pass@1 31.0 %" in lines[2]
    assert "batch 1024/1024" in lines[3]


def test_the_panel_says_that_the_run_is_stopping() -> None:
    assert "Ctrl-C again" not in drawn(Snapshot(statistics=statistics(), pass_at_1=0.5))
    assert "Ctrl-C again" in drawn(Snapshot(statistics=statistics(draining=True), pass_at_1=0.5))


def test_the_panel_tells_infrastructure_errors_apart() -> None:
    assert "3 infrastructure errors" in drawn(Snapshot(statistics=statistics(infrastructure_errors=3), pass_at_1=0.5))


SNAPSHOT = Snapshot(statistics=statistics(), pass_at_1=0.25)


@pytest.mark.anyio
@pytest.mark.parametrize("is_terminal", [True, False])
async def test_the_last_state_is_shown_when_the_run_ends(is_terminal: bool) -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=is_terminal, width=120)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(show, lambda: panel(SNAPSHOT), lambda: plain_line(SNAPSHOT), console)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert "25.0 %" in file.getvalue()


@pytest.mark.anyio
async def test_a_log_file_gets_no_colours() -> None:
    file = io.StringIO()
    async with anyio.create_task_group() as tasks:
        console = Console(file=file, force_terminal=False)
        tasks.start_soon(show, lambda: panel(SNAPSHOT), lambda: plain_line(SNAPSHOT), console)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert "\x1b" not in file.getvalue()
