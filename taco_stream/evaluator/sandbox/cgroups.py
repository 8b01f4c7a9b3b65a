"""Control groups, version 2: how much memory and how many processes a zygote and all its descendants may use.

Resource limits bound each process by itself, and of memory the address space alone. A leaf group bounds the sum, over
every process, of what they map, of their files in memory (the scratch folder and the outputs) and of what the kernel
keeps for them: pipes, sockets, page tables. `memory.max` is one test's memory limit and an allowance for the rest, so
that an honest test meets its own limits first; there is no swap; `pids.max` bounds processes and threads.

The worker makes the leaf, the zygote enters it as its first step, and all that it forks is born in it. Nothing is
written per test, and per program only if its problem has a larger limit than all before. At the end the worker
kills whatever is left in the leaf by one write, and removes it. A worker that was killed cannot; its sandbox dies with
it, and the next worker removes the empty leaf.

The kernel's out-of-memory killer takes the whole leaf at once (`memory.oom.group`). By itself it would pick the
process with the most mapped memory, and a program that fills pipes or files could see to it that this is the zygote,
which would look like a fault of ours. Now there is nothing to steer: the worker finds the zygote gone and the leaf's
own limit reached, calls the test out of memory, and starts another zygote. If memory ran out further up, the leaf's
own limit was not reached, and no program is blamed: that is a fault of the machine's, after which it is judged again.

Location: the folder that `TACO_STREAM_CGROUP` names, else the group above our own if systemd has marked that one as
delegated. It must be writable, have the controllers and hold no process itself; they are switched on for its
children if they are off. No other group is touched, and no process is moved but the zygote, by itself.

Not covered: CPU time, which has a limit per test (`rlimits`). The memory that a zygote with numpy takes beyond one
without: each has a leaf. A program that can write to the tree of groups could leave its leaf; the other layers above
the floor keep it from there. Memory that the worker fills, which is the input of a test, is the worker's.
"""

import contextlib
import itertools
import os
import time
from collections.abc import Iterator
from typing import NamedTuple

from taco_stream.evaluator.sandbox.namespaces import SCRATCH_BYTES
from taco_stream.evaluator.sandbox.rlimits import THREADS, ProgramLimits

FOLDER_VARIABLE = "TACO_STREAM_CGROUP"
"""The environment variable that names the folder of a group to make leaves in."""

TREE = "/sys/fs/cgroup"
CONTROLLERS = {"memory", "pids"}

OUTPUTS = 3
PROCESSES_BYTES = 256 << 20
"""For the zygote, its program processes and the kernel's own records. A zygote with numpy was seen to take 21 MiB."""

MAX_PROCESSES_IN_LEAF = THREADS + 32
"""A test's threads, the zygote, the process outside its namespaces, program processes, and those that just ended."""

REMOVAL_SECONDS = 2.0
LEAF_PREFIX = "taco-stream-"

_numbers = itertools.count()


class NotDelegatedError(OSError):
    """No group is delegated to us, so none can be made."""


class MemoryEvents(NamedTuple):
    """The kernel's counts for a leaf.

    `limit_reached`: the group hit its own `memory.max`. `killed`: the OOM killer ran; without `limit_reached`, an
    ancestor ran out.
    """

    limit_reached: bool
    killed: bool


class LeafGroup:
    """The group of one zygote, with room for it but for no test. Its maker closes it.

    Raises `OSError` if nothing is delegated.
    """

    def __init__(self) -> None:
        parent = delegated_folder()
        remove_abandoned(parent)
        self.folder = f"{parent}/{LEAF_PREFIX}{os.getpid()}-{next(_numbers)}"
        self.memory_bytes = 0
        os.mkdir(self.folder)
        try:
            self.allow(ProgramLimits(memory_bytes=0, output_bytes=0))
            # All or none: by itself the kernel would pick the process with the most memory, and a program can see to it
            # that this is the zygote.
            write(self.folder, "memory.oom.group", "1")
            write(self.folder, "pids.max", str(MAX_PROCESSES_IN_LEAF))
            os.stat(f"{self.folder}/cgroup.kill")  # since Linux 5.14
            with contextlib.suppress(FileNotFoundError):  # the kernel cannot swap
                write(self.folder, "memory.swap.max", "0")
        except OSError:
            self.close()
            raise

    def allow(self, limits: ProgramLimits) -> None:
        """Makes room for tests with these limits, if there is less. Raises `OSError`."""
        needed = group_memory_bytes(limits)
        if needed > self.memory_bytes:
            write(self.folder, "memory.max", str(needed))
            self.memory_bytes = needed

    def memory_events(self) -> MemoryEvents:
        """The events in the leaf so far that a lack of memory caused."""
        counts = dict(line.split() for line in read(self.folder, "memory.events").splitlines())
        return MemoryEvents(limit_reached=int(counts["oom"]) > 0, killed=int(counts["oom_kill"]) > 0)

    def close(self) -> None:
        """Kills all that is left in the leaf and removes it; gives up after a while."""
        with contextlib.suppress(OSError):
            write(self.folder, "cgroup.kill", "1")
        # A group can be removed once the last of the killed has been reaped, for which the kernel gives no sign.
        give_up_at = time.monotonic() + REMOVAL_SECONDS
        while not is_removed(self.folder) and time.monotonic() < give_up_at:
            time.sleep(0.01)


def enter(leaf: str) -> None:
    """Moves this process into a leaf. Raises `OSError`."""
    write(leaf, "cgroup.procs", "0")


def group_memory_bytes(limits: ProgramLimits) -> int:
    """The most that a leaf uses while every process in it stays within its own limits."""
    return limits.memory_bytes + OUTPUTS * limits.output_bytes + SCRATCH_BYTES + PROCESSES_BYTES


def delegated_folder() -> str:
    """The folder of the group that leaves can be made in, ready for it. Raises `OSError`, which names the fault."""
    named = os.environ.get(FOLDER_VARIABLE)
    folder = os.path.abspath(named) if named else marked_parent(read("/proc/self", "cgroup"), TREE)
    try:
        offered = set(read(folder, "cgroup.controllers").split())
    except FileNotFoundError as error:
        raise NotDelegatedError(f"{folder} is not a control group of version 2") from error
    if lacking := CONTROLLERS - offered:
        raise NotDelegatedError(f"{folder} has no controller for {' and '.join(sorted(lacking))}")
    if read(folder, "cgroup.procs"):
        raise NotDelegatedError(f"{folder} has processes of its own, and then the groups in it can have no limits")
    if not os.access(folder, os.W_OK):
        raise NotDelegatedError(f"{folder} is not writable")
    if not set(read(folder, "cgroup.subtree_control").split()) >= CONTROLLERS:
        write(folder, "cgroup.subtree_control", " ".join(f"+{name}" for name in sorted(CONTROLLERS)))
    return folder


def marked_parent(membership: str, tree: str) -> str:
    """The group above our own, whose text of `/proc/self/cgroup` is given. Raises `OSError` if it is not ours."""
    own = next((line.removeprefix("0::") for line in membership.splitlines() if line.startswith("0::")), "")
    if not os.path.exists(f"{tree}/cgroup.controllers"):
        raise NotDelegatedError(f"there are no control groups of version 2 at {tree}")
    if own in ("", "/"):
        raise NotDelegatedError("there is no group above our own")
    parent = os.path.dirname(tree + own)
    try:
        # systemd's mark (Delegate=yes): the group is the service's to arrange, and systemd keeps out of it.
        mark = os.getxattr(parent, "user.delegate")
    except OSError:
        mark = b""
    if mark != b"1":
        raise NotDelegatedError(f"{parent}, the group above our own, is not delegated")
    return parent


def remove_abandoned(parent: str) -> None:
    """Removes leaves whose workers are gone. One that has processes in it stays, for the kernel does not remove it."""
    for folder, worker in leaves(parent):
        if not os.path.exists(f"/proc/{worker}"):
            is_removed(folder)


def leaves(parent: str) -> Iterator[tuple[str, str]]:
    """The leaves in a group, with the number of the process that made each."""
    for name in os.listdir(parent):
        if name.startswith(LEAF_PREFIX):
            yield f"{parent}/{name}", name.removeprefix(LEAF_PREFIX).partition("-")[0]


def is_removed(folder: str) -> bool:
    """Removes an empty group; whether it is gone."""
    try:
        os.rmdir(folder)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def read(folder: str, name: str) -> str:
    """The content of one of the kernel's files."""
    with open(f"{folder}/{name}") as file:
        return file.read().strip()


def write(folder: str, name: str, content: str) -> None:
    """Writes to one of the kernel's files, which must be there. Raises `OSError`, which names it."""
    path = f"{folder}/{name}"
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, content.encode())
    except OSError as error:
        raise OSError(error.errno, f"{path}: {error.strerror}") from error
    finally:
        os.close(descriptor)
