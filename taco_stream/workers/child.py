"""The worker's side of its pipes: frames alone pass through them, and the worker ends with its parent.

Standard input and output are duplicated and replaced before a worker does anything else, so that nothing that a library
prints gets between frames: printed text goes to standard error, which the parent keeps (`process`).

A worker must not outlive its parent, whatever that dies of; the one sign that it cannot fail to give is that the pipe
hangs up. A worker that reads in a thread all the time sees it there; one that reads between its tasks has
`exit_with_parent`. (The kernel's signal at a parent's death would come when the *thread* ends that started the worker.)
"""

import os
import select
import sys
import threading
import time
from typing import BinaryIO


def take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """The pipes from and to the parent, from now on for frames alone."""
    incoming = os.fdopen(os.dup(0), "rb")
    outgoing = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    # For C libraries, which write to the descriptor, and for Python code, which writes to the object.
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return incoming, outgoing


def exit_with_parent(incoming: BinaryIO, *, grace_seconds: float) -> None:
    """Ends this process once the parent has hung up, unless it ends by itself within `grace_seconds`."""

    def wait_and_exit() -> None:
        hung_up = select.poll()
        # No events asked for: a hang-up is reported anyhow, and a frame that waits to be read is not.
        hung_up.register(incoming.fileno(), 0)
        hung_up.poll()
        time.sleep(grace_seconds)
        os._exit(1)

    threading.Thread(target=wait_and_exit, daemon=True).start()
