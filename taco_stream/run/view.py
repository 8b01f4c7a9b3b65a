"""The view of a run on standard error: one live panel on a terminal, one plain line every ten seconds elsewhere.

The view polls `Snapshot`s and sees nothing else of the run; a run without a view is the same run. On a terminal the
panel stays in place while other messages scroll above it; in a log file every line is complete and has no colour.
"""

from collections.abc import Callable
from datetime import timedelta

import anyio
import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from taco_stream.statistics import EngineStatistics, RunStatistics

LIVE_SECONDS = 0.25
PLAIN_SECONDS = 10.0

LOADING = "loading the model"


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The content of the view: a run's figures, and the score over everything judged so far (None before that)."""

    statistics: RunStatistics
    pass_at_1: float | None


async def show(live: Callable[[], RenderableType], plain: Callable[[], str], console: Console) -> None:
    """Shows the progress of a long command until cancelled, and once more at the end.

    On a terminal `live` is drawn in place; elsewhere `plain` is printed every ten seconds.
    """
    if console.is_terminal:
        # rich would refresh from a thread of its own, in the middle of a step of the event loop.
        with Live(live(), console=console, auto_refresh=False, transient=False) as view:
            try:
                while True:
                    view.update(live(), refresh=True)
                    await anyio.sleep(LIVE_SECONDS)
            finally:
                view.update(live(), refresh=True)
    try:
        while True:
            await anyio.sleep(PLAIN_SECONDS)
            console.print(plain(), soft_wrap=True)
    finally:
        console.print(plain(), soft_wrap=True)


def panel(snapshot: Snapshot) -> RenderableType:
    """The live view: a bar per stage, then the figures of each."""
    statistics, engine, evaluator = snapshot.statistics, snapshot.statistics.engine, snapshot.statistics.evaluator
    expected = statistics.samples_expected
    bars = Table.grid(padding=(0, 1))
    for name, done in _stages(statistics):
        bar = ProgressBar(total=expected or None, completed=done, width=32, pulse=expected is None)
        bars.add_row(name, bar, f"{done:,} of {expected:,}" if expected else f"{done:,}")
    whole = [_duration(statistics.elapsed_seconds), _time_left(statistics)]
    stages = []
    if engine:
        stages.append(f"{_tokens_per_second(engine, statistics):,.0f} tokens/s")
        stages.append(f"batch {engine.rows_busy}/{engine.rows_total}")
    if evaluator:
        whole.append(f"pass@1 {_percent(snapshot.pass_at_1)}")
        stages += [f"workers {evaluator.busy}/{evaluator.workers}", f"unjudged {statistics.completions_waiting:,}"]
    # Lines of their own, each short enough for 80 columns: a cell that wraps is unreadable.
    lines = [Text("   ".join(filter(None, figures)), no_wrap=True, overflow="ellipsis") for figures in (whole, stages)]
    parts: list[RenderableType] = [bars, *lines]
    if statistics.loading:
        parts.append(Text(LOADING))
    if statistics.infrastructure_errors:
        parts.append(Text(f"{statistics.infrastructure_errors} infrastructure errors (not scored)", style="yellow"))
    if statistics.draining:
        parts.append(Text("stopping: finishing in-flight samples; Ctrl-C again stops at once", style="yellow"))
    return Group(*parts)


def plain_line(snapshot: Snapshot) -> str:
    """The same figures as one line for a log."""
    statistics, engine, evaluator = snapshot.statistics, snapshot.statistics.engine, snapshot.statistics.evaluator
    expected = f"/{statistics.samples_expected:,}" if statistics.samples_expected else ""
    figures = [_duration(statistics.elapsed_seconds)]
    figures += [f"{name} {done:,}{expected}" for name, done in _stages(statistics)]
    figures += [LOADING] if statistics.loading else []
    figures += ["stopping"] if statistics.draining else []
    if evaluator:
        figures.append(f"pass@1 {_percent(snapshot.pass_at_1)}")
    if engine:
        figures += [
            f"{_tokens_per_second(engine, statistics):,.0f} tokens/s",
            f"batch {engine.rows_busy}/{engine.rows_total} (occupancy {_percent(occupancy(engine))})",
        ]
    if evaluator:
        figures += [f"unjudged {statistics.completions_waiting:,}", f"workers {evaluator.busy}/{evaluator.workers}"]
    figures.append(_time_left(statistics))
    return "  ".join(figures)


def _stages(statistics: RunStatistics) -> list[tuple[str, int]]:
    """How many samples of the whole run each stage has done, by what the stage does."""
    resumed = statistics.samples_resumed
    verb = "generated" if statistics.engine else "read"
    stages = [(verb, resumed + statistics.samples_left_over + statistics.generated)]
    return [*stages, ("judged", resumed + statistics.judged)] if statistics.evaluator else stages


def occupancy(engine: EngineStatistics) -> float | None:
    """The share of batch rows that were busy while any was; None before generation starts."""
    return engine.row_seconds / engine.row_seconds_available if engine.row_seconds_available else None


def time_left_seconds(statistics: RunStatistics) -> float | None:
    """Seconds to go at the mean pace of this start's last stage; None while that is unknown."""
    done = statistics.judged if statistics.evaluator else statistics.generated
    if statistics.samples_expected is None or not done:
        return None
    left = statistics.samples_expected - statistics.samples_resumed - done
    return left * statistics.elapsed_seconds / done


def _time_left(statistics: RunStatistics) -> str:
    seconds = time_left_seconds(statistics)
    return "" if seconds is None else f"{_duration(seconds)} left"


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _tokens_per_second(engine: EngineStatistics, statistics: RunStatistics) -> float:
    return engine.completion_tokens / max(statistics.elapsed_seconds, 1e-9)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"
