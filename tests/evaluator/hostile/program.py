"""What a hostile program is to the suite: its text, the problem it is judged on, and the statuses that mean it failed.

`SUM` has an answer that the program may well give, and asks what becomes of a program that answers and misbehaves.
`SECRET` and `SECRET_CALL` have an expected output that nobody but the evaluator's worker knows, so `passed` means that
it leaked; in `ASSERTED` and `COMPARED` it stands in code, as HumanEval's and EvalPlus' tests do. `ATTACK` expects the word `held`: the program tries something and says `held` only where the kernel refused it;
a program that is killed for trying held, too. Its input is a JSON object that tells the program where to strike (see
`world.World`), so that nothing fails for want of an address.
"""

import platform
import textwrap
from enum import StrEnum
from typing import NamedTuple

from taco_stream.types import Status


class On(StrEnum):
    """The problem that a program is judged on."""

    SUM = "sum"
    SECRET = "secret"
    SECRET_CALL = "secret_call"
    ASSERTED = "asserted"
    COMPARED = "compared"
    ATTACK = "attack"


class HostileProgram(NamedTuple):
    """One property: a program and the statuses it may end with."""

    name: str
    text: str
    statuses: frozenset[Status]
    problem: On

    @property
    def waits(self) -> bool:
        """Whether the program is expected to run until the clock stops it: these take nearly all of the suite's time."""
        return Status.TIME_LIMIT in self.statuses and self.statuses != NOT_PASSED


HELD = frozenset({Status.PASSED, Status.SANDBOX_VIOLATION})
VIOLATION = frozenset({Status.SANDBOX_VIOLATION})
PASSED = frozenset({Status.PASSED})
WRONG = frozenset({Status.WRONG_ANSWER})
TIME = frozenset({Status.TIME_LIMIT})
MEMORY = frozenset({Status.MEMORY_LIMIT})
OUTPUT = frozenset({Status.OUTPUT_LIMIT})
ERROR = frozenset({Status.RUNTIME_ERROR})
NOT_COMPILED = frozenset({Status.COMPILE_ERROR})
NOT_PASSED = frozenset(Status) - {Status.PASSED, Status.INFRASTRUCTURE_ERROR, Status.NO_CHECKER}

PRELUDE = """\
import ctypes, json, os, sys, time
world = json.loads(input())
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    wide = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result = libc.syscall(ctypes.c_long(number), *wide)
    if result == -1:
        raise OSError(ctypes.get_errno(), "refused")
    return result
"""


def program(name: str, statuses: frozenset[Status], text: str, problem: On = On.SUM) -> HostileProgram:
    """A program as it stands."""
    return HostileProgram(name, textwrap.dedent(text), statuses, problem)


def attack(name: str, text: str, statuses: frozenset[Status] = HELD) -> HostileProgram:
    """A program that strikes once: `OSError` is a refusal, coming through is a breach, anything else a broken test."""
    body = textwrap.indent(textwrap.dedent(text).strip(), "    ")
    whole = f"{PRELUDE}try:\n{body}\nexcept OSError:\n    print('held')\nelse:\n    print('breach')\n"
    return HostileProgram(name, whole, statuses, On.ATTACK)


def watch(name: str, text: str, statuses: frozenset[Status] = HELD) -> HostileProgram:
    """A program that prints `held` or a breach itself."""
    return HostileProgram(name, PRELUDE + textwrap.dedent(text), statuses, On.ATTACK)


def call_number(x86_64: int, aarch64: int) -> int:
    """A system call's number on this machine."""
    return {"x86_64": x86_64, "aarch64": aarch64}.get(platform.machine(), -1)


THREAD_BY_MACHINE_CODE = """\
import mmap
code = mmap.mmap(-1, 4096, prot=7)
code.write(bytes.fromhex("b83800000031f631d24d31d24d31c00f0585c07401c3b8220000000f05ebf7"))
clone = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
FULL_THREAD = 0x50F00  # memory, folder, files, signal handlers, System V undo lists, and a thread of this process
"""
"""Text: `clone(flags)` starts a thread that has no stack and pauses, and returns its number or a negative error. Nothing
but machine code starts one: it must never return. x86_64 alone."""

CAN_RUN_MACHINE_CODE = platform.machine() == "x86_64"
