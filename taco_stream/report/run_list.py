"""A line about each of many runs: its state, its progress and its score. Pure."""

from collections.abc import Iterable, Sequence
from enum import StrEnum

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from taco_stream.events import RunFinished, RunGauges, RunResumed, RunStarted, UnknownEvent, WrittenEvent
from taco_stream.metrics import Estimate
from taco_stream.report.text import interval
from taco_stream.statistics import RunStatistics

WIDEST = 10_000
"""Columns of a row that is not shown on a terminal."""


class RunState(StrEnum):
    """The state of a run."""

    RUNNING = "running"  # a process writes it
    COMPLETE = "complete"  # every sample has a verdict
    GENERATED = "generated"  # by `generate`: every sample has a completion, and none was to be judged
    FAILED = "failed"  # its last start ended with an error
    RESUMABLE = "resumable"  # its last start was stopped or killed, or the evaluator failed on some samples


class LastStart(msgspec.Struct, frozen=True, kw_only=True):
    """A digest of the newest events: the last start's figures, if one has any, and whether the last start ended itself.

    `samples_expected` is the newest start's goal, None if none has counted it.
    """

    samples_expected: int | None
    has_ended: bool
    statistics: RunStatistics | None


class RunLine(msgspec.Struct, frozen=True, kw_only=True):
    """A run in a list. `model` is the engine's name if that is not a local model.

    `samples` are judged, and `samples_expected` is None until they are counted. `score` is pass@`k` by the run's own
    mode, None before the first verdict. Times are seconds since the epoch.
    """

    name: str
    path: str
    state: RunState
    model: str
    dataset: str
    samples: int
    samples_expected: int | None
    infrastructure_errors: int
    k: int | None
    score: Estimate | None
    created_at: float
    written_at: float


class UnreadableFolder(msgspec.Struct, frozen=True, kw_only=True):
    """A folder in the list that is not a run or is damaged, and why it is not taken for one."""

    path: str
    reason: str


class RunList(msgspec.Struct, frozen=True, kw_only=True):
    """The runs of a folder, the one written last first, and its other folders."""

    runs: tuple[RunLine, ...]
    unreadable: tuple[UnreadableFolder, ...]


def read_last_start(newest_first: Iterable[WrittenEvent]) -> LastStart:
    """Sums up events, of which no more are taken than are needed."""
    statistics: RunStatistics | None = None
    has_ended: bool | None = None
    for event in newest_first:
        if isinstance(event, UnknownEvent) or not isinstance(event, RunStarted | RunResumed | RunGauges | RunFinished):
            continue
        if has_ended is None:
            has_ended = isinstance(event, RunFinished)
        if isinstance(event, RunGauges | RunFinished):
            statistics = statistics or event.statistics
            if event.statistics.samples_expected is not None:
                return LastStart(
                    samples_expected=event.statistics.samples_expected, has_ended=has_ended, statistics=statistics
                )
    return LastStart(samples_expected=None, has_ended=bool(has_ended), statistics=statistics)


def find_state(
    last: LastStart, *, samples: int, samples_expected: int | None, infrastructure_errors: int, is_running: bool
) -> RunState:
    """The state of a run of which `samples` are judged."""
    if is_running:
        return RunState.RUNNING
    if samples_expected is not None and samples >= samples_expected:
        return RunState.RESUMABLE if infrastructure_errors else RunState.COMPLETE
    figures = last.statistics
    if not last.has_ended or figures is None or figures.draining:
        return RunState.RESUMABLE
    generated = figures.samples_resumed + figures.samples_left_over + figures.generated
    if figures.evaluator is None and samples_expected is not None and generated >= samples_expected:
        return RunState.GENERATED
    return RunState.FAILED


def print_runs(listed: RunList, console: Console, now: float) -> None:
    """Prints a row for each run and a line for each other folder. Rows that do not go to a terminal are not cut."""
    if listed.runs:
        table = _table(listed.runs, now)
        if not console.is_terminal:  # a program that reads rows must not find them folded at 80 columns
            table.width = table.__rich_measure__(console, console.options.update(max_width=WIDEST)).maximum
        console.print(table, soft_wrap=not console.is_terminal)
    for folder in listed.unreadable:
        console.print(f"{folder.path}: {folder.reason}", soft_wrap=True)


def _table(runs: Sequence[RunLine], now: float) -> Table:
    ks = {run.k for run in runs if run.k is not None}
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("run", overflow="fold", min_width=8)
    table.add_column("state", no_wrap=True)
    table.add_column("judged", no_wrap=True, justify="right")
    table.add_column(f"pass@{ks.pop()}" if len(ks) == 1 else "pass@k", no_wrap=True, justify="right")
    table.add_column("age", no_wrap=True, justify="right")
    table.add_column("model", overflow="fold")
    table.add_column("dataset", overflow="fold")
    for run in runs:
        of = "" if run.samples_expected is None else f"/{run.samples_expected:,}"
        k = f"@{run.k} " if ks else ""  # the only one is in the heading, and no longer among them
        score = "–" if run.score is None else f"{k}{100 * run.score.value:.1f} % ({interval(run.score)})"
        table.add_row(
            run.name,
            run.state,
            f"{run.samples:,}{of}",
            score,
            describe_age(now - run.written_at),
            run.model,
            run.dataset,
        )
    return table


def describe_age(seconds: float) -> str:
    """A time that has passed, in its largest whole unit."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(max(0, seconds))} s"
