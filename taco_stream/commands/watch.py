"""The command `watch`: the view of a run that another process writes, from the run's files.

It ends when the run does, with the run's report. The run has ended when no process holds its lock, which the
kernel releases however the run ends. Of a run that is not running the head of the report is printed.
"""

import time
from pathlib import Path

import anyio
from rich.console import Console, RenderableType
from rich.text import Text

from taco_stream.commands.report import count_records, read_run, sum_up
from taco_stream.metrics import Tally
from taco_stream.report.run_list import RunState, find_state, read_last_start
from taco_stream.report.summary import Summary
from taco_stream.report.text import print_head, print_report
from taco_stream.run.pace import OBSERVATION_SECONDS
from taco_stream.run.settings import RunSettings
from taco_stream.run.view import panel, plain_line, show
from taco_stream.run.watched import WatchedRun
from taco_stream.store.run_directory import RunFiles
from taco_stream.terminal import stderr_console, stdout_console
from taco_stream.types import Status

EXIT_CODES = {
    RunState.COMPLETE: 0,
    RunState.GENERATED: 0,
    RunState.FAILED: 1,
    RunState.RESUMABLE: 130,
}
"""The exit code of `taco-stream run` when it leaves a run so; 3 if the evaluator failed on some samples."""


def watch(path: Path) -> int:
    """Shows the run at `path` until it ends; returns the exit code with which the run itself would end.

    Raises `StoreError` if there is no run.
    """
    return anyio.run(_watch, path, stderr_console(), backend_options={"use_uvloop": True})


async def _watch(path: Path, console: Console) -> int:
    files, settings = read_run(path, None, ())
    if not files.is_running:
        summary, tally = _sum_up(files, settings)
        state, code = _outcome(files, tally, summary)
        console.print(f"{path} is not running: it is {state}", soft_wrap=True)
        print_head(summary, stdout_console())
        return code
    await _show_until_ended(files, WatchedRun(path, settings.evaluator.mode), console)
    summary, tally = _sum_up(files, settings)
    print_report(summary, stdout_console(lenient=True))
    state, code = _outcome(files, tally, summary)
    console.print(f"{path} has ended: it is {state}", soft_wrap=True)
    return code


async def _show_until_ended(files: RunFiles, run: WatchedRun, console: Console) -> None:
    def live() -> RenderableType:
        snapshot = run.snapshot(time.time())
        return Text(f"{files.path} is starting") if snapshot is None else panel(snapshot)

    def plain() -> str:
        snapshot = run.snapshot(time.time())
        return f"{files.path} is starting" if snapshot is None else plain_line(snapshot)

    run.refresh(time.time())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(show, live, plain, console)
        while files.is_running:
            await anyio.sleep(OBSERVATION_SECONDS)
            run.refresh(time.time())
        tasks.cancel_scope.cancel()


def _sum_up(files: RunFiles, settings: RunSettings) -> tuple[Summary, Tally]:
    tally = count_records(files)
    return sum_up(tally, files, settings), tally


def _outcome(files: RunFiles, tally: Tally, summary: Summary) -> tuple[RunState, int]:
    """The state that a run ended in, and the exit code for it."""
    errors = tally.statuses[summary.mode][Status.INFRASTRUCTURE_ERROR]
    expected = summary.coverage.samples_expected
    state = find_state(
        read_last_start(files.newest_events()),
        samples=tally.samples,
        samples_expected=expected,
        infrastructure_errors=errors,
        is_running=False,
    )
    is_judged = expected is not None and tally.samples >= expected
    return state, 3 if errors and is_judged else EXIT_CODES[state]
