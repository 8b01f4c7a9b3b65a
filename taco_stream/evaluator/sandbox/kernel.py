"""Calls to the kernel that Python's standard library does not offer, through `ctypes`.

Every function here either does what its name says or raises `OSError` with the kernel's reason.
"""

import ctypes
import os
from collections.abc import Callable

LIBC = ctypes.CDLL(None, use_errno=True)
# Without types, ctypes passes integers as 32 bits, and the kernel reads 64 of a register.
LIBC.prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong)


def checked(result: int, what: str) -> int:
    """The result of a C call; raises `OSError`, naming `what`, if it is negative."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def prctl(option: int, first: int = 0, second: int | bytes = 0) -> int:
    """`prctl(2)`; bytes are passed as a pointer to them."""
    return checked(LIBC.prctl(option, first, second, 0, 0), "prctl")


def prepared_prctl(option: int, first: int, second: bytes) -> Callable[[], None]:
    """`prctl(2)` with all that can be done before a fork done: a call of it touches a third of the pages."""
    arguments = (
        ctypes.c_int(option),
        ctypes.c_ulong(first),
        ctypes.c_char_p(second),
        ctypes.c_ulong(),
        ctypes.c_ulong(),
    )
    call = ctypes.CDLL(None).prctl

    def prepared() -> None:
        if call(*arguments) != 0:
            prctl(option, first, second)  # fails again, and says why

    return prepared


def syscall(number: int, *arguments: object) -> int:
    """`syscall(2)`; integers are passed as longs, bytes as pointers to them."""
    wide = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    return checked(LIBC.syscall(ctypes.c_long(number), *wide), f"system call {number}")


def mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    """`mount(2)`."""
    source_bytes, kind_bytes, option_bytes = (
        None if each is None else os.fsencode(each) for each in (source, kind, options)
    )
    result = LIBC.mount(source_bytes, os.fsencode(target), kind_bytes, ctypes.c_ulong(flags), option_bytes)
    checked(result, f"mount {target}")


def detach(target: str) -> None:
    """`umount2(2)` with `MNT_DETACH`."""
    checked(LIBC.umount2(os.fsencode(target), 2), f"umount {target}")


def unshare(flags: int) -> None:
    """`unshare(2)`."""
    checked(LIBC.unshare(ctypes.c_int(flags)), "unshare")
