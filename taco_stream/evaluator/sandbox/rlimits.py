"""Resource limits: memory, CPU, file size, descriptors and threads of one test.

All are hard, so nothing that the program does lifts them (without `CAP_SYS_RESOURCE`, which `privileges` takes away
from root). Limits that are the same for every test are set once in the program process, from which tests are forked:
five calls in the test itself cost it 0.15 ms. CPU time alone starts from zero in each test, and the program process
sets it from outside, right after the fork. It has no grace between soft and hard: `SIGXCPU` can be ignored, and the
init of a PID namespace ignores it anyway.

`RLIMIT_NPROC` counts by user. If the user is the sandbox's own or has a namespace of its own, it is what one test
may have. Elsewhere it is set in the test alone, at what the user runs already and a few thousand more: less would take
threads from the user's own processes, and the address space bounds only threads that have a stack.

Not covered: memory outside the address space (memory files are bounded by the file size and the number of
descriptors) and the sum over processes, which are left to `cgroups`; threads of root if it has no other user
to run tests as, for the kernel exempts it.
"""

import contextlib
import functools
import os
import resource
from typing import NamedTuple

DESCRIPTORS = 64
THREADS = 128
SHARED_THREADS = 1024
"""Processes and threads that a user may have beyond those of all tests, if tests run as a user that runs other things
too. Whatever that user starts later than the zygote counts as well."""

MAX_PROCESSES = 1 << 22
"""No system has more processes and threads than this."""
QUEUED_SIGNALS = 64
"""The kernel counts them by user, and a namespace's user counts towards the one outside too: what a program queues to
itself without this limit, the user's other processes cannot."""


class ProgramLimits(NamedTuple):
    """The limits of each test of a program, except time."""

    memory_bytes: int
    output_bytes: int


def shortfall(limits: ProgramLimits, cpu_seconds: float, *, user_is_ours: bool) -> str:
    """The hard limit of this process that is lower than a test's, in words; empty if there is none.

    Such a test would silently get less than its problem promises.
    """
    wanted = [
        ("CPU time in seconds", resource.RLIMIT_CPU, int(cpu_seconds) + 1),
        ("address space in bytes", resource.RLIMIT_AS, limits.memory_bytes),
        ("size of a file in bytes", resource.RLIMIT_FSIZE, limits.output_bytes),
        ("open files", resource.RLIMIT_NOFILE, DESCRIPTORS),
        *([("processes", resource.RLIMIT_NPROC, THREADS)] if user_is_ours else []),
    ]
    for name, kind, least in wanted:
        hard = resource.getrlimit(kind)[1]
        if hard != resource.RLIM_INFINITY and hard < least:
            return f"this session's hard limit of {name} is {hard}, and a test needs {least}"
    return ""


def limit_program(limits: ProgramLimits, *, user_is_ours: bool) -> None:
    """Applies the limits to this process and all that it forks, for good. Root with its capabilities could lift them.

    RLIMIT_NPROC leaves room for the one test that runs at a time.
    """
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits.output_bytes, limits.output_bytes))
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    # A session may have less itself, and a hard limit is never raised.
    queued = least(QUEUED_SIGNALS, resource.getrlimit(resource.RLIMIT_SIGPENDING)[1])
    resource.setrlimit(resource.RLIMIT_SIGPENDING, (queued, queued))
    if user_is_ours:
        resource.setrlimit(resource.RLIMIT_NPROC, (THREADS, THREADS))


@functools.cache
def max_processes_of_user() -> int:
    """Up to how many processes and threads of this user a test may start another; asked once, by the zygote."""
    # How many there are is found by forking under limits, from 1024 on and each twice the last: `/proc` does not show
    # those of another container, and the kernel counts them.
    soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    found = 1024
    try:
        while not forks_under(least(found, hard), hard):
            found *= 2
            if found > MAX_PROCESSES:
                return hard
    finally:
        resource.setrlimit(resource.RLIMIT_NPROC, (soft, hard))
    return least(found + THREADS * (os.cpu_count() or 1) + SHARED_THREADS, hard)


def forks_under(processes: int, hard: int) -> bool:
    """Whether this process can fork with that soft limit, which stays."""
    resource.setrlimit(resource.RLIMIT_NPROC, (processes, hard))
    try:
        child = os.fork()
    except BlockingIOError:
        return False
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return True


def limit_threads() -> None:
    """Bounds the threads of this process, a test, if its user runs other things too; root is exempt."""
    bound = max_processes_of_user()
    resource.setrlimit(resource.RLIMIT_NPROC, (bound, bound))


def limit_test(process: int, cpu_seconds: float) -> None:
    """Bounds the CPU time of `process`, a fork of this one, from its start on, for good.

    One that was quick enough to lower its own hard limit first keeps that: to raise it is not permitted.
    """
    # The kernel's limit is in whole seconds; `outcomes` looks at the time itself.
    seconds = int(cpu_seconds) + 1
    with contextlib.suppress(PermissionError):
        resource.prlimit(process, resource.RLIMIT_CPU, (seconds, seconds))


def limit_compiler(seconds: int, memory_bytes: int) -> None:
    """Bounds this process softly while it compiles a program's text; `free_compiler` ends that.

    The CPU limit counts from the start of the process. Past it the kernel ends the process. A session whose own limits
    are lower keeps those.
    """
    # A program that crashes would leave a file as large as its memory, wherever the machine collects them.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for kind, wanted in ((resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, memory_bytes)):
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (least(wanted, hard), hard))


def free_compiler() -> None:
    """Takes the soft bounds of `limit_compiler` away again."""
    for kind in (resource.RLIMIT_CPU, resource.RLIMIT_AS):
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (hard, hard))


def least(wanted: int, hard: int) -> int:
    """`wanted`, or the hard limit if that is less."""
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
