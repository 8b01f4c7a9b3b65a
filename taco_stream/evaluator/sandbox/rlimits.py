"""Resource limits: what one test may use of memory, CPU, file size, descriptors and threads.

All are hard, so nothing that the program does lifts them (without `CAP_SYS_RESOURCE`, which `privileges` takes away
from root). What is the same for every test is set once in the program process, from which tests are forked: five calls
in the test itself cost it 0.15 ms. CPU time alone counts anew in each test, and the program process sets that limit
from outside, right after the fork. It has no grace between soft and hard: `SIGXCPU` can be ignored, and the init of a
PID namespace ignores it anyway.

Not covered: memory outside the address space (memory files are bounded by the file size and the number of
descriptors) and the sum over processes, which are the matter of `cgroups`; threads where the user that runs the test
runs other things too, for `RLIMIT_NPROC` counts by user and is set only where the user is the sandbox's own or has a
namespace of its own. The address space bounds threads elsewhere.
"""

import contextlib
import resource
from typing import NamedTuple

DESCRIPTORS = 64
THREADS = 128


class ProgramLimits(NamedTuple):
    """What each test of a program may use, but for time."""

    memory_bytes: int
    output_bytes: int


def shortfall(limits: ProgramLimits, cpu_seconds: float, *, user_is_ours: bool) -> str:
    """Which hard limit of this process is below what a test is to have, in words; empty where none is.

    Such a test would fail for want of what its problem grants it, and nothing in it could tell.
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
            return f"this session's hard limit of {name} is {hard}, and a test is to have {least}"
    return ""


def limit_program(limits: ProgramLimits, *, user_is_ours: bool) -> None:
    """Applies the limits to this process and all that it forks, for good. Root with its capabilities could lift them.

    Whoever waits for a test before it forks the next has room for it in the number of threads.
    """
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits.output_bytes, limits.output_bytes))
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    if user_is_ours:
        resource.setrlimit(resource.RLIMIT_NPROC, (THREADS, THREADS))


def limit_test(process: int, cpu_seconds: float) -> None:
    """Bounds the CPU time of `process`, a fork of this one, from its start on, for good.

    One that was quick enough to lower its own hard limit first keeps that: to raise it is not permitted.
    """
    seconds = int(cpu_seconds) + 1
    with contextlib.suppress(PermissionError):
        resource.prlimit(process, resource.RLIMIT_CPU, (seconds, seconds))


def limit_compiler(seconds: int, memory_bytes: int) -> None:
    """Bounds this process softly while it compiles a program's text; `free_compiler` ends that.

    The CPU limit counts from the start of the process. Past it the kernel ends the process. A session whose own limits
    are lower keeps those.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for kind, wanted in ((resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, memory_bytes)):
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def free_compiler() -> None:
    """Takes the soft bounds of `limit_compiler` away again."""
    for kind in (resource.RLIMIT_CPU, resource.RLIMIT_AS):
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (hard, hard))
