"""Locks on files that one process at a time may write: a run directory's `lock`, an audit's ledger.

`flock`: the kernel releases it when its holder dies, however that happens, so a lock is never stale. The holder of a
run directory writes its process id into the file for the error message of a second process; the id is not the lock.

Not covered: network file systems whose `flock` is local to each machine.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from taco_stream.errors import RunInUseError, StoreError


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
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise
        raise StoreError(f"{path} cannot be locked ({error.strerror}): use another file system") from error
    return descriptor
