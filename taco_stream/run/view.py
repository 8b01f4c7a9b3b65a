"""The view of a run on standard error: one live panel on a terminal, one plain line every ten seconds elsewhere.

The view polls `Snapshot`s and sees nothing else of the run; a run without a view is the same run. On a terminal the
panel stays in place while other messages scroll above it; in a log file every line is complete and has no colour.

The panel is no wider than the terminal, so no line of it wraps. When a terminal gets narrower, though, it wraps what it
already shows, and the panel has more rows than were printed; `show` then erases those as well. Terminals that cut
instead of wrapping (xterm, the Linux console) lose a few rows above the panel that way.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

import anyio
import msgspec
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.control import Control
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.segment import ControlType
from rich.table import Table
from rich.text import Text

from taco_stream.run.pace import count_done, count_total
from taco_stream.statistics import EngineStatistics, RunStatistics

LIVE_SECONDS = 0.25
PLAIN_SECONDS = 10.0

LOADING = "loading the model"

SILENT_SECONDS = 15.0
"""After this long without a sign of life a watched run may be suspended: gauges come every five seconds."""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The content of the view: a run's figures at a time, in seconds since the epoch.

    `pass_at_1` is over everything judged so far, None before that. `seconds_left` is None while it is unknown. The view
    of another process `is_watched`, and `silent_seconds` have passed since its last sign of life.
    """

    statistics: RunStatistics
    pass_at_1: float | None
    taken_at: float
    seconds_left: float | None = None
    is_watched: bool = False
    silent_seconds: float = 0.0


async def show(live: Callable[[], RenderableType], plain: Callable[[], str], console: Console) -> None:
    """Shows the progress of a long command until cancelled, and once more at the end.

    On a terminal `live` is drawn in place; elsewhere `plain` is printed every ten seconds, and nothing if the console
    is quiet.
    """
    if console.quiet:
        await anyio.sleep_forever()
    if console.is_terminal:
        await _show_live(live, console)
    try:
        while True:
            await anyio.sleep(PLAIN_SECONDS)
            console.print(plain(), soft_wrap=True)
    finally:
        console.print(plain(), soft_wrap=True)


async def _show_live(live: Callable[[], RenderableType], console: Console) -> None:
    drawn, width = live(), console.width
    # rich would refresh from a thread of its own, in the middle of a step of the event loop.
    with Live(drawn, console=console, auto_refresh=False, transient=False) as view:

        def draw() -> None:
            nonlocal drawn, width
            if console.width < width:
                console.control(_erase_wrapped(drawn, width, console))
            drawn, width = live(), console.width
            view.update(drawn, refresh=True)

        try:
            while True:
                draw()
                await anyio.sleep(LIVE_SECONDS)
        finally:
            draw()


def _erase_wrapped(drawn: RenderableType, width: int, console: Console) -> Control:
    """Erases as many rows as a terminal that got narrower has made of the panel's lines, less those it had before."""
    lines = console.render_lines(drawn, console.options.update(width=width), pad=False)
    lengths = [len("".join(segment.text for segment in line).rstrip()) for line in lines]
    more = sum(max(1, math.ceil(length / console.width)) for length in lengths) - len(lines)
    erasing = [(ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2)] * more
    return Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2), *erasing)


def panel(snapshot: Snapshot) -> RenderableType:
    """The live view: a bar per stage, then the figures of each."""
    statistics, engine, evaluator = snapshot.statistics, snapshot.statistics.engine, snapshot.statistics.evaluator
    expected = statistics.samples_expected
    bars = Table.grid(padding=(0, 1))
    for is_bar in (False, True, False):
        bars.add_column(no_wrap=not is_bar)  # if there is too little room, the bar gives way
    for name, done in _stages(statistics):
        bar = ProgressBar(total=expected or None, completed=done, width=32, pulse=expected is None)
        bars.add_row(name, bar, f"{done:,} of {expected:,}" if expected else f"{done:,}")
    whole = [_duration(statistics.elapsed_seconds), _time_left(snapshot)]
    stages = []
    if engine:
        stages.append(f"{_tokens_per_second(engine, statistics):,.0f} tokens/s")
        stages.append(f"batch {engine.rows_busy}/{engine.rows_total}")
    if evaluator:
        whole.append(f"pass@1 {_percent(snapshot.pass_at_1)}")
        stages += [f"workers {evaluator.busy}/{evaluator.workers}", f"unjudged {statistics.completions_waiting:,}"]
    parts: list[RenderableType] = [bars, _FiguresBeside(whole), _FiguresBeside(stages)]
    if statistics.loading:
        parts.append(Text(LOADING))
    if statistics.infrastructure_errors:
        parts.append(Text(f"{statistics.infrastructure_errors} infrastructure errors (not scored)", style="yellow"))
    if engine is not None and engine.devices_dropped:
        parts.append(Text(_dropped(engine), style="yellow"))
    if statistics.draining:
        hint = "" if snapshot.is_watched else "; Ctrl-C again stops at once"
        parts.append(Text(f"stopping: finishing in-flight samples{hint}", style="yellow"))
    if silence := _silence(snapshot):
        parts.append(Text(silence, style="yellow"))
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
        figures += [_dropped(engine)] if engine.devices_dropped else []
    if evaluator:
        figures += [f"unjudged {statistics.completions_waiting:,}", f"workers {evaluator.busy}/{evaluator.workers}"]
    figures += [_silence(snapshot), _time_left(snapshot)]
    return "  ".join(filter(None, figures))


def _dropped(engine: EngineStatistics) -> str:
    return f"{engine.devices_dropped} of {engine.devices + engine.devices_dropped} devices dropped"


class _FiguresBeside:
    """Figures beside each other, in as many lines as they need: one that wraps is unreadable."""

    def __init__(self, figures: Sequence[str]) -> None:
        self._figures = [figure for figure in figures if figure]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        line = ""
        for figure in self._figures:
            longer = f"{line}   {figure}" if line else figure
            if line and len(longer) > options.max_width:
                yield Text(line, no_wrap=True, overflow="ellipsis")
                longer = figure
            line = longer
        yield Text(line, no_wrap=True, overflow="ellipsis")


def _stages(statistics: RunStatistics) -> list[tuple[str, int]]:
    """How many samples of the whole run each stage has done, by what the stage does."""
    resumed = statistics.samples_resumed
    verb = "generated" if statistics.engine else "read"
    stages = [(verb, resumed + statistics.samples_left_over + statistics.generated)]
    return [*stages, ("judged", resumed + statistics.judged)] if statistics.evaluator else stages


def occupancy(engine: EngineStatistics) -> float | None:
    """The share of batch rows that were busy while any was; None before generation starts."""
    return engine.row_seconds / engine.row_seconds_available if engine.row_seconds_available else None


def _time_left(snapshot: Snapshot) -> str:
    statistics = snapshot.statistics
    # The pace is observed every second, so it may not know yet that nothing is left; and stopping is sooner.
    is_ending = statistics.draining or count_done(statistics) == count_total(statistics)
    if snapshot.seconds_left is None or is_ending:
        return ""
    return f"{_duration(snapshot.seconds_left)} left (ends {_time_of_day(snapshot)})"


def _time_of_day(snapshot: Snapshot) -> str:
    """When the run ends, as a person would say it on the day of the snapshot."""
    assert snapshot.seconds_left is not None
    now = datetime.fromtimestamp(snapshot.taken_at)
    end = now + timedelta(seconds=snapshot.seconds_left)
    days = (end.date() - now.date()).days
    return f"{end:%H:%M}" if not days else f"{end:%a %H:%M}" if days < 7 else f"{end:%Y-%m-%d}"


def _silence(snapshot: Snapshot) -> str:
    if snapshot.silent_seconds < SILENT_SECONDS:
        return ""
    return f"no sign of life for {_duration(snapshot.silent_seconds)}"


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _tokens_per_second(engine: EngineStatistics, statistics: RunStatistics) -> float:
    return engine.completion_tokens / max(statistics.elapsed_seconds, 1e-9)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"
