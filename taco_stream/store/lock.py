"""Locks on files that one process at a time may write: a run directory's `lock`, an audit's ledger.

`flock`: the kernel releases it when its holder dies, however that happens, so a lock is never stale. The holder of a
run directory writes its process id into the file for the error message of a second process; the id is not the lock.

`is_held` only asks. It takes a shared lock for an instant, since the kernel has no question, so
taking the exclusive lock is tried more than once.

Not covered: network file systems whose `flock` is local to each machine.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from taco_stream.errors import RunInUseError, StoreError

ATTEMPTS = 5
"""How often the lock is tried for. A process that only looks has it for microseconds, one that writes for good."""


@contextmanager
def exclusive(directory: Path) -> Iterator[None]:
    """Holds the directory's lock. Raises `RunInUseError` that names the process which holds it."""
    path = directory / "lock"
    try:
        descriptor = lock_file(path)
    except BlockingIOError as error:
        holder = path.read_text(errors="replace").strip() or "unknown"
        raise RunInUseError(
            f"{directory} is being written by process {holder}: wait for it or use another run directory"
        ) from error
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def lock_file(path: Path) -> int:
    """Locks a file, which is made if it is missing; the descriptor that holds the lock until it is closed.

    Raises `BlockingIOError` if the file is locked already, another `OSError` if it cannot be opened, and `StoreError`
    if its file system has no locks.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        for attempt in reversed(range(ATTEMPTS)):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not attempt:
                    raise
                time.sleep(0.02)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise
        raise StoreError(f"{path} cannot be locked ({error.strerror}): use another file system") from error
    return descriptor


def is_held(directory: Path) -> bool:
    """Whether a process holds the directory's lock. Raises `OSError` if that cannot be found out."""
    try:
        descriptor = os.open(directory / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
