"""Scratch folders: where tests make their files if there is no file tree of their own to do that in.

Each is a folder in the machine's temporary one, made and removed by the worker. A worker that was killed cannot remove
its own, so each holds a lock on its folder, which the kernel lets go with the process, and a zygote that makes a folder
first removes those that nobody holds. A lock and not a process number in the name: containers that share a temporary
folder do not see each other's processes, and numbers are given out again.

Not covered: temporary folders on file systems without locks, where a folder of a killed worker stays.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator

from taco_stream.evaluator.sandbox.privileges import FIRST_USER

PREFIX = "taco-stream-scratch."
"""Not with a hyphen at the end: so they were named before they were locked, and such a one may be in use."""


class ScratchFolder:
    """An empty folder that is ours until it is closed. Its maker closes it."""

    def __init__(self) -> None:
        parent = tempfile.gettempdir()
        remove_abandoned(parent)
        self._lock: int | None = None
        while self._lock is None:
            self.path = tempfile.mkdtemp(prefix=PREFIX, dir=parent)
            try:
                self._lock = locked(self.path)
            except (BlockingIOError, FileNotFoundError):
                continue  # somebody saw it before it had a lock, took it for an abandoned one and removes it
            except OSError:
                break  # there are no locks here, so nobody takes it for an abandoned one

    def close(self) -> None:
        """Removes the folder with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)


def remove_abandoned(parent: str) -> None:
    """Removes the scratch folders in `parent` that are ours by their owner and that no process holds."""
    for path in scratch_folders(parent):
        with contextlib.suppress(OSError):
            lock = locked(path)
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)


def scratch_folders(parent: str) -> Iterator[str]:
    """The paths of the scratch folders that are this user's, or for root a zygote's own user's."""
    for name in os.listdir(parent):
        path = os.path.join(parent, name)
        if name.startswith(PREFIX):
            with contextlib.suppress(OSError):
                owner = os.lstat(path).st_uid
                if owner == os.geteuid() or (os.geteuid() == 0 and owner >= FIRST_USER):
                    yield path


def locked(path: str) -> int:
    """A descriptor that holds the folder's lock.

    Raises `BlockingIOError` if another process holds it, `FileNotFoundError` if the folder is gone, and `OSError` if
    there are no locks on its file system.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.stat(path)  # its last holder may have removed it
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
