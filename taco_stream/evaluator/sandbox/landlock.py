"""Landlock: which files a process may touch, without any privilege and without a namespace.

A ruleset handles every file access, every TCP port and, if the kernel can, signals and abstract sockets that leave
the domain. Read access is given back for the interpreter's library, read and write for the scratch folder. Nothing may
be executed. Restrictions are inherited by forks and only ever tighten.

Without namespaces a test may not even create a file in its scratch folder, which is on a real disk there
(`forbid_new_files`): nothing else bounds how much it would write.

Not covered: looking. `stat`, `chdir` and `access` work on every path, so a program can find out that a file exists, and
how large it is. Memory files and pipes are never restricted. UDP and other sockets are left to `seccomp`.
"""

import ctypes
import os
import struct
from collections.abc import Sequence

from taco_stream.evaluator.sandbox.kernel import syscall

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = (1 << bit for bit in range(6))
MAKE_CHAR, MAKE_DIR, MAKE_REG, MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK, MAKE_SYM = (1 << bit for bit in range(6, 13))
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15

ALL_TCP = 0b11
ALL_SCOPES = 0b11
MAKE_ANYTHING = MAKE_CHAR | MAKE_DIR | MAKE_REG | MAKE_SOCK | MAKE_FIFO | MAKE_BLOCK | MAKE_SYM
ON_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV


def version() -> int:
    """The kernel's Landlock version. Raises `OSError` if there is none."""
    return syscall(CREATE_RULESET, ctypes.c_void_p(None), 0, 1)


def file_accesses(version: int) -> int:
    """Every kind of file access that this version can restrict."""
    # 13 from the first version on; then REFER, TRUNCATE and IOCTL_DEV. The others came for networks and signals.
    return (1 << (13 + (version >= 2) + (version >= 3) + (version >= 5))) - 1


def restrict(read: Sequence[str], write: Sequence[str], devices: Sequence[str]) -> None:
    """Leaves this process reading below `read`, writing below `write`, and using `devices`. Raises `OSError`."""
    current = version()
    handled = file_accesses(current)
    rules = [(path, READ_FILE | READ_DIR) for path in read]
    rules += [(path, READ_FILE | READ_DIR | WRITE_FILE | TRUNCATE | MAKE_REG | REMOVE_FILE) for path in write]
    rules += [(path, READ_FILE | WRITE_FILE | TRUNCATE) for path in devices]
    networks, scopes = ALL_TCP if current >= 4 else 0, ALL_SCOPES if current >= 6 else 0
    apply(ruleset(handled, networks, scopes), [(path, access & handled) for path, access in rules])


def forbid_new_files() -> None:
    """Takes the right to make files away from this process on top of all else. Raises `OSError`."""
    apply(ruleset(MAKE_ANYTHING, 0, 0), [])


def ruleset(files: int, networks: int, scopes: int) -> int:
    """A ruleset that handles, and thereby forbids, the given accesses; an older kernel takes a shorter structure."""
    size = 24 if scopes else 16 if networks else 8
    return syscall(CREATE_RULESET, struct.pack("=QQQ", files, networks, scopes)[:size], size, 0)


def apply(rules: int, allowed: Sequence[tuple[str, int]]) -> None:
    """Adds the exceptions, by path, to a ruleset and puts this process under it."""
    try:
        for path, access in allowed:
            allow(rules, path, access)
        syscall(RESTRICT_SELF, rules, 0)
    finally:
        os.close(rules)


def allow(rules: int, path: str, access: int) -> None:
    """Adds one exception; a path that is not there needs none."""
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        # The kernel refuses a rule on a file that grants rights of folders.
        given = access if os.path.isdir(path) else access & ON_FILES
        syscall(ADD_RULE, rules, 1, struct.pack("=Qi", given, descriptor), 0)
    finally:
        os.close(descriptor)
