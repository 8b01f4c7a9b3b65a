"""What accompanies the work of a long command: signals, counting, and which error to report.

SIGINT, SIGTERM and SIGHUP ask a command to stop. Inside `interruptible` each raises `KeyboardInterrupt`, whatever the
command is doing, so that everything that it opened is closed. An exception that is raised in a destructor or in a
callback of the interpreter is lost, silently here, so the block can ask whether there was a signal. While
`under_signals` awaits work, they are handed to a function instead, and are ignored after it, when the command has only
to end. SIGHUP is left alone if it is ignored: the command was started with `nohup`, to outlive its terminal.
"""

import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import anyio
from anyio import from_thread, to_thread
from anyio.abc import TaskStatus

from taco_stream.errors import TacoStreamError
from taco_stream.run.pace import OBSERVATION_SECONDS, Pace, count_done
from taco_stream.statistics import RunStatistics

T = TypeVar("T")


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Raises `KeyboardInterrupt` in the block at each signal that asks to stop, unless `under_signals` takes it.

    Yields whether there was one.
    """
    was_interrupted = False

    def interrupt(number: int, frame: object) -> None:
        nonlocal was_interrupted
        was_interrupted = True
        raise KeyboardInterrupt

    def drop_interrupts(lost: "sys.UnraisableHookArgs") -> None:
        if lost.exc_type is not KeyboardInterrupt:
            hook_before(lost)

    hook_before, sys.unraisablehook = sys.unraisablehook, drop_interrupts
    before = {number: signal.signal(number, interrupt) for number in _stopping_signals()}
    try:
        yield lambda: was_interrupted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.unraisablehook = hook_before


async def under_signals(work: Callable[[], Awaitable[T]], on_signal: Callable[[int], None]) -> T:
    """Awaits work while `on_signal` is called with the number of each signal that asks to stop.

    Of the errors that end the work, one of ours is raised, else the first.
    """
    results: list[T] = []

    async def watched() -> None:
        async with anyio.create_task_group() as tasks:
            await tasks.start(watch_signals, on_signal)
            results.append(await work())
            tasks.cancel_scope.cancel()

    numbers = _stopping_signals()
    try:
        await raising_ours(watched)
    finally:
        # The command has only to close its files, which an interrupt must not cut short.
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
    return results[0]


async def watch_signals(
    on_signal: Callable[[int], None], *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Calls `on_signal` with the number of each signal that asks to stop, until cancelled."""
    with anyio.open_signal_receiver(*_stopping_signals()) as signals:
        task_status.started()
        async for number in signals:
            on_signal(number)


def _stopping_signals() -> list[signal.Signals]:
    is_hang_up_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([] if is_hang_up_ignored else [signal.SIGHUP])]


async def count(things: Callable[[], Iterable[int]]) -> int | None:
    """The sum over an iterable that takes long, made and read in a thread; None if it fails with an error of ours.

    The task that reads the same things for its work meets the error and reports it.
    """

    def add_up() -> int | None:
        total = 0
        try:
            for number in things():
                total += number
                from_thread.check_cancelled()
        except TacoStreamError:
            return None
        return total

    return await to_thread.run_sync(add_up, abandon_on_cancel=True)


async def keep_pace(pace: Pace, statistics: Callable[[], RunStatistics]) -> None:
    """Observes a run's pace every second, until cancelled."""
    while True:
        now = statistics()
        pace.observe(count_done(now), time.monotonic(), is_working=not now.loading)
        await anyio.sleep(OBSERVATION_SECONDS)


async def raising_ours(work: Callable[[], Awaitable[None]]) -> None:
    """Awaits work that is made of task groups; of the errors that end it one of ours is raised, else the first."""
    try:
        await work()
    except BaseExceptionGroup as group:
        leaves = list(_leaves(group))
        raise next((error for error in leaves if isinstance(error, TacoStreamError)), leaves[0]) from group


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterable[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
