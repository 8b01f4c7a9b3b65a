"""The processes of the evaluators that this process has opened."""

import os
from pathlib import Path


def workers_of_this_process() -> set[int]:
    """The numbers of those that there are now."""
    return {pid for pid in children_of(os.getpid()) if b"taco_stream.evaluator.worker" in read_command_line(pid)}


def children_of(pid: int) -> set[int]:
    """The processes that any thread of a process has started; none if it has ended."""
    found: set[int] = set()
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found |= {int(child) for child in path.read_text().split()}
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def read_command_line(pid: int) -> bytes:
    """Empty if the process has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
