"""The view shows what a person waits for, on a terminal and in a log."""

import io
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import anyio
import msgspec
import pytest
from rich.console import Console, RenderableType

from taco_stream.run.view import Snapshot, occupancy, panel, plain_line, show
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


NOON = datetime(2026, 11, 28, 12).timestamp()


def shot(pass_at_1: float | None = 0.25, seconds_left: float | None = 30.0, **changes: object) -> Snapshot:
    return Snapshot(statistics=statistics(**changes), pass_at_1=pass_at_1, taken_at=NOON, seconds_left=seconds_left)


def drawn(snapshot: Snapshot, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(panel(snapshot))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_plain_line_holds_every_figure() -> None:
    line = plain_line(shot(0.25))
    for figure in (
        "0:00:10", "generated 50/100", "judged 40/100", "pass@1 25.0 %", "500 tokens/s", "batch 3/4",
        "occupancy 75.0 %", "unjudged 10", "workers 1/2", "0:00:30 left",
    ):  # fmt: skip
        assert figure in line


def test_the_readme_shows_the_line_as_it_is_printed() -> None:
    def without_figures(text: str) -> str:
        return re.sub(r"[\d.,:]+", "0", text)

    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    line = plain_line(shot(0.25))
    assert without_figures(line) in without_figures(readme).splitlines()


def test_samples_without_a_verdict_are_generated_and_not_judged() -> None:
    line = plain_line(shot(0.5, samples_left_over=7, generated=0))
    assert "generated 27/100" in line
    assert "judged 40/100" in line


def test_a_model_that_is_being_loaded_is_mentioned() -> None:
    snapshot = shot(None, loading=True)
    for shown in (plain_line(snapshot), drawn(snapshot)):
        assert "loading the model" in shown


def test_what_is_not_known_yet_is_not_made_up() -> None:
    line = plain_line(shot(None, seconds_left=None, samples_expected=None, engine=EngineStatistics()))
    assert occupancy(EngineStatistics()) is None
    assert "–" in line
    assert "left" not in line


@pytest.mark.parametrize("ending", [{"judged": 80}, {"draining": True}])
def test_a_run_that_is_over_or_stopping_has_no_time_left(ending: dict[str, object]) -> None:
    """The pace that is left over from a second ago would have some."""
    assert "left" in plain_line(shot())
    for shown in (plain_line(shot(**ending)), drawn(shot(**ending))):
        assert "left" not in shown


@pytest.mark.parametrize(
    ("hours", "text"),
    [
        (2, "2:00:00 left (ends 14:00)"),
        (14, "(ends Sun 02:00)"),
        (24 * 6, "(ends Fri 12:00)"),
        (24 * 8, "(ends 2026-12-06)"),
    ],
)
def test_the_end_is_a_time_of_day(hours: float, text: str) -> None:
    """It is Saturday, 12 o'clock."""
    for shown in (plain_line(shot(seconds_left=3600 * hours)), drawn(shot(seconds_left=3600 * hours))):
        assert text in shown


def test_a_watched_run_may_fall_silent_and_is_not_stopped_from_here() -> None:
    watched = msgspec.structs.replace(shot(draining=True), is_watched=True, silent_seconds=61.0)
    for shown in (plain_line(watched), drawn(watched)):
        assert "no sign of life for 0:01:01" in shown
        assert "Ctrl-C" not in shown
    assert "no sign of life" not in drawn(msgspec.structs.replace(watched, silent_seconds=6.0))


def test_a_run_that_only_generates_shows_nothing_of_judging() -> None:
    snapshot = shot(None, evaluator=None, judged=0)
    for shown in (plain_line(snapshot), drawn(snapshot)):
        assert "500 tokens/s" in shown
        assert not any(word in shown for word in ("judge", "pass@1", "workers"))


def test_a_run_that_only_judges_shows_nothing_of_generating() -> None:
    snapshot = shot(0.5, engine=None)
    for shown in (plain_line(snapshot), drawn(snapshot)):
        assert "read" in shown
        assert not any(word in shown for word in ("generated", "tokens/s", "batch"))


@pytest.mark.parametrize(("width", "rows"), [(80, 4), (60, 5), (50, 6), (40, 6)])
def test_the_panel_fits_a_narrow_terminal(width: int, rows: int) -> None:
    engine = EngineStatistics(rows_busy=1024, rows_total=1024, completion_tokens=99_999_999)
    large = shot(
        0.31, 86_399, engine=engine, samples_expected=200_000, samples_resumed=123_456, completions_waiting=4096
    )
    lines = drawn(large, width).splitlines()
    assert len(lines) == rows
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    for figure in (
        "123,486 of 200,000", "123,476 of 200,000", "0:00:10", "23:59:59 left (ends Sun 11:59)", "pass@1 31.0 %",
        "10,000,000 tokens/s", "batch 1024/1024", "workers 1/2", "unjudged 4,096",
    ):  # fmt: skip
        assert figure in text


def test_the_panel_says_that_the_run_is_stopping() -> None:
    assert "Ctrl-C again" not in drawn(shot(0.5))
    assert "Ctrl-C again" in drawn(shot(0.5, draining=True))


def test_the_panel_tells_infrastructure_errors_apart() -> None:
    assert "3 infrastructure errors" in drawn(shot(0.5, infrastructure_errors=3))


SNAPSHOT = shot(0.25)


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


class Terminal(io.StringIO):
    """A terminal of a few rows that wraps what it shows when it gets narrower, as most do."""

    def rows(self, widths: Sequence[int]) -> list[str]:
        """Its rows, when it had the widths one after the other, each until the next form feed."""
        lines, row = [""], 0  # logical lines: what was written without a newline in between
        for width, part in zip(widths, self.getvalue().split("\f"), strict=True):
            lines = [line[start : start + width] for line in lines for start in range(0, max(1, len(line)), width)]
            row = len(lines) - 1 if part is not None else row
            for token in re.findall(r"\x1b\[[?\d;]*[A-Za-z]|[^\x1b]", part):
                if token == "\n":
                    row += 1
                    lines += [""] * (row + 1 - len(lines))
                elif token == "\x1b[2K":
                    lines[row] = ""
                elif token == "\x1b[1A":
                    row = max(0, row - 1)
                elif len(token) == 1 and token != "\r":
                    lines[row] += token
            while len(lines) > row + 1 and not lines[-1]:
                lines.pop()
        return [line.rstrip() for line in lines]


@pytest.mark.anyio
async def test_a_narrower_terminal_shows_the_panel_once() -> None:
    file = Terminal()
    widths = (100, 50, 30, 80)
    console = Console(file=file, force_terminal=True, width=widths[0], color_system=None)
    console.print("a message above")
    is_drawn = anyio.Event()

    def live() -> RenderableType:
        is_drawn.set()
        return panel(SNAPSHOT)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(show, live, lambda: plain_line(SNAPSHOT), console)
        await is_drawn.wait()
        for width in widths[1:]:
            await anyio.wait_all_tasks_blocked()
            file.write("\f")
            console.width = width
            is_drawn = anyio.Event()
            await is_drawn.wait()
        tasks.cancel_scope.cancel()
    rows = [row for row in file.rows(widths) if row]
    assert rows[0] == "a message above"
    assert [row for row in rows[1:] if row.startswith(("generated", "judged"))] == rows[1:3]
    assert sum("workers 1/2" in row for row in rows) == 1
    assert len(rows) == 5
