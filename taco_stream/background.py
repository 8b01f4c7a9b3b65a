"""Tasks that run beside a block of code."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import anyio


@asynccontextmanager
async def in_background(*tasks: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Runs the tasks while the block runs, and cancels them when it ends.

    An error of the block is raised as it is: a task group would wrap it into a group that `except` does not match.
    """
    block_error: Exception | None = None
    async with anyio.create_task_group() as group:
        for task in tasks:
            group.start_soon(task)
        try:
            yield
        except Exception as error:
            block_error = error
        group.cancel_scope.cancel()
    if block_error is not None:
        raise block_error
