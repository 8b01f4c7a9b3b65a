"""Files that a person names to be read: regular ones, and pipes such as `<(zcat problems.jsonl.gz)`.

A device never ends (`/dev/zero`), and opening a named pipe without a writer waits for ever without a word. Both
are refused here with an `OSError` whose `strerror` says so, like every other reason why a file cannot be read.
"""

import errno
import os
import queue
import stat
import threading
from io import BufferedReader
from pathlib import Path

WRITER_SECONDS = 10.0
"""How long a pipe may be without a writer: one that is started beside the command is there in far less."""


def open_readable(path: Path) -> BufferedReader:
    """Opens a file or a pipe for reading. Raises `OSError` if it cannot be read to an end."""
    mode = path.stat().st_mode
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        raise OSError(errno.EINVAL, "it is a device, not a file", str(path))
    return _open_pipe(path) if stat.S_ISFIFO(mode) else path.open("rb")


def read_small_file(path: Path) -> bytes:
    """The content of a file that fits in memory. Raises `OSError` as `open_readable` does."""
    with open_readable(path) as file:
        return file.read()


def _open_pipe(path: Path) -> BufferedReader:
    opened: queue.SimpleQueue[int | OSError] = queue.SimpleQueue()

    def wait_for_writer() -> None:
        try:
            opened.put(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            opened.put(error)

    # The call that waits has no time-out, so it may be left behind in a thread of its own.
    threading.Thread(target=wait_for_writer, daemon=True).start()
    try:
        outcome = opened.get(timeout=WRITER_SECONDS)
    except queue.Empty:
        raise OSError(errno.EPIPE, "it is a pipe that no process writes to", str(path)) from None
    if isinstance(outcome, OSError):
        raise outcome
    return os.fdopen(outcome, "rb")
