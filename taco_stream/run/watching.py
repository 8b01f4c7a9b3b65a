"""Tasks that accompany the work of a long command: signals, counting, and which error to report."""

import signal
from collections.abc import Awaitable, Callable, Iterable

import anyio
from anyio import from_thread, to_thread

from taco_stream.errors import TacoStreamError


async def watch_signals(on_signal: Callable[[int], None]) -> None:
    """Calls `on_signal` with the number of each SIGINT, SIGTERM and SIGHUP, until cancelled.

    SIGHUP is left alone if it is ignored: the command was started with `nohup`, to outlive its terminal.
    """
    wanted = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        wanted.append(signal.SIGHUP)
    with anyio.open_signal_receiver(*wanted) as signals:
        async for number in signals:
            on_signal(number)


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
