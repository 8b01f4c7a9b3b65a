"""The exclusive lock on a run directory.

`flock` on the file `lock`: the kernel releases it when its holder dies, however that happens, so a lock is never stale.
The holder writes its process id into the file for the error message of a second process; the id is not the lock.

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
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _take(descriptor, directory)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, directory: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
        raise RunInUseError(
            f"{directory} is being written by process {holder}: wait for it or use another run directory"
        ) from error
    except OSError as error:
        raise StoreError(
            f"{directory} cannot be locked ({error.strerror}): use a run directory on another file system"
        ) from error
