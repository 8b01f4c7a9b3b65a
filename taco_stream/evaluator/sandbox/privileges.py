"""A process's identity and rights: users, capabilities, and the flags that tie it to its parent.

`no_new_privs` makes set-user-ID files harmless and lets an ordinary user install filters. `PR_SET_PDEATHSIG` ends a
process with its parent, so that nothing outlives a killed worker. The zygote is a subreaper: processes that a test
would orphan come to it. A process that is not dumpable cannot be traced and its `/proc` entries belong to root. Root
gives up every capability, and its user for one that nothing else runs as, if that user can read Python's library.

Not covered: the rights that the zygote's user has itself. Files are left to `landlock` and `namespaces`, signals
of `seccomp`.
"""

import os
import signal
import struct

from taco_stream.evaluator.sandbox.kernel import LIBC, checked, prctl

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP = 1, 4, 24
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 36, 38
CAPABILITY_VERSION = 0x20080522

FIRST_USER = 1_879_048_192
"""Users from here on are unused on any system we know of; a zygote takes the one its process number points at."""


def dedicated_user() -> int:
    """The user id that only this zygote has."""
    return FIRST_USER + os.getpid()


def switch_user(user: int) -> None:
    """Switches to `user`, and the group of that number, for good. Raises `OSError` if that is not allowed."""
    try:
        os.setgroups([])
    except PermissionError:
        # An ordinary user's namespace forbids setgroups; its groups then stay.
        if os.getuid() == 0 and len(os.getgroups()) > 1:
            raise
    # The group first: after the change of user there is no right left to change it.
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def drop_capabilities() -> None:
    """Gives up every capability, and the chance of getting one back by executing a file."""
    # How many there are depends on the kernel; it knows no more than the 64 bits of a set.
    for number in range(64):
        try:
            prctl(PR_CAPBSET_DROP, number)
        except OSError:
            break  # past the last one, or without the right to: then there is none to drop
    header = struct.pack("=Ii", CAPABILITY_VERSION, 0)
    checked(LIBC.capset(header, bytes(24)), "capset")


def forbid_new_privileges() -> None:
    """Keeps this process and its forks from gaining rights and from being traced; they become its to reap."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    prctl(PR_SET_DUMPABLE, 0)


def die_with_parent(parent: int) -> None:
    """Has the kernel kill this process when its parent, whose number is given, ends; at once if it has."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have ended before the call, and then no signal ever comes.
    if os.getppid() != parent:
        os._exit(1)
