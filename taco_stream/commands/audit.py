"""The command `taco-stream audit`: judges the reference solutions of a dataset and reports its faults.

It runs the audit (`audit.examination`) with three tasks beside it: one watches for signals, one shows progress, and one
counts the problems in a thread. The first Ctrl-C, SIGTERM or SIGHUP ends the audit at once, for it has nothing to
bring to an end: finished problems are on disk.
"""

from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import anyio
from rich.console import Console
from rich.text import Text

from taco_stream.audit.examination import Audit
from taco_stream.audit.ledger import Rules, open_ledger
from taco_stream.audit.tables import print_audit
from taco_stream.datasets.open import open_dataset
from taco_stream.datasets.rows import BadRow
from taco_stream.datasets.selection import read_selection
from taco_stream.datasets.settings import DatasetSettings
from taco_stream.evaluator.pool import Evaluator
from taco_stream.run.problems import with_readable_dataset
from taco_stream.run.settings import RunSettings
from taco_stream.run.view import show
from taco_stream.run.watching import count, raising_ours, watch_signals
from taco_stream.terminal import stderr_console, stdout_console
from taco_stream.types import Problem


def start(settings: RunSettings, *, solutions: int, out: Path | None) -> int:
    """Audits until done or interrupted and prints the result to standard output; the exit code."""
    return anyio.run(_start, settings, solutions, out, stderr_console(), backend_options={"use_uvloop": True})


async def _start(settings: RunSettings, solutions: int, out: Path | None, console: Console) -> int:
    async with AsyncExitStack() as opened:
        readable = with_readable_dataset(settings.dataset, opened.enter_context(ExitStack()))
        rules = audit_rules(settings, solutions)
        bad_rows: list[BadRow] = []
        problems = _problems(readable, bad_rows)
        ledger = await opened.enter_async_context(open_ledger(out, rules))
        if ledger.resumed:
            console.print(f"{ledger.resumed:,} problems are in {out} already", soft_wrap=True, style="dim")
        evaluator = await opened.enter_async_context(Evaluator(settings.evaluator))
        console.print(f"sandbox {evaluator.sandbox_tier}; {evaluator.settings.worst_case}", soft_wrap=True, style="dim")
        audit = Audit(evaluator, settings.evaluator, rules, ledger, bad_rows)
        interrupted = await _carry_out(audit, problems, readable, console)
    print_audit(ledger.audited.values(), settings.evaluator.mode, stdout_console(lenient=True))
    if interrupted:
        goes_on = f"; the same command resumes {out}" if out else "; --out FILE would have kept the findings"
        console.print(f"interrupted{goes_on}", soft_wrap=True)
        return 130
    return 3 if any(each.infrastructure_errors for each in ledger.audited.values()) else 0


async def _carry_out(audit: Audit, problems: Iterator[Problem], settings: DatasetSettings, console: Console) -> bool:
    """Runs the audit under its view until its end or a signal; whether it was a signal."""
    interrupted = False

    async def count_problems() -> None:
        # The second reading's bad rows are those of the first, which the audit records.
        audit.expected = await count(lambda: (1 for _ in _problems(settings, [])))

    async def everything() -> None:
        async with anyio.create_task_group() as tasks:

            def stop(_: int) -> None:
                nonlocal interrupted
                interrupted = True
                tasks.cancel_scope.cancel()

            tasks.start_soon(watch_signals, stop)
            tasks.start_soon(show, lambda: Text(audit.so_far()), audit.so_far, console)
            tasks.start_soon(count_problems)
            await audit.run(problems)
            tasks.cancel_scope.cancel()

    await raising_ours(everything)
    return interrupted


def audit_rules(settings: RunSettings, solutions: int) -> Rules:
    """The settings that the findings of this start depend on."""
    return Rules(
        dataset=settings.dataset.dataset,
        split=settings.dataset.split,
        mode=settings.evaluator.mode,
        solutions=solutions,
        time_limit_factor=settings.evaluator.time_limit_factor,
        memory_limit_bytes=settings.evaluator.memory_limit_bytes,
        full_results=settings.evaluator.full_results,
        special_judges=settings.dataset.special_judges,
        checkers_folder=settings.evaluator.checkers_folder,
    )


def _problems(settings: DatasetSettings, bad_rows: list[BadRow]) -> Iterator[Problem]:
    """The selected problems; rows that cannot be read are put on the list."""
    return open_dataset(
        settings.dataset,
        selection=read_selection(settings),
        special_judges=Path(settings.special_judges) if settings.special_judges else None,
        on_bad_row=bad_rows.append,
    )
