"""Seccomp: which system calls a process may make, as filters that the kernel runs before each.

Two filters, because installing a long one in every fork costs a third of a millisecond. The long one is put over the
zygote once, when its own set-up is done, and every fork inherits it: an allow-list of an interpreter's calls, with
the few calls more that the zygote needs to fork, wait and pass descriptors. The short one is stacked in the fork that
becomes a test and takes those away: no process can be made (threads can), no signal sent but to oneself, no other
process's limits set, no process flag changed.

The answer to a call that is not allowed: `SIGSYS`, which ends the test as a violation, if no honest program comes near
it; "not permitted" if libraries or careless programs try and can go on; "no such call" for the rest, from which the
C library falls back to older calls. A call in another machine's convention (32 bits, x32) ends the test.

Not covered: the files that allowed calls touch (that is `landlock` and `namespaces`), and their cost (`rlimits`).
A filter sees numbers, not the memory that they point at; hence `clone3`, whose flags lie in memory, is refused always.
"""

import ctypes
import errno
import functools
import os
import struct
from collections.abc import Sequence

from taco_stream.evaluator.sandbox.kernel import prepared_prctl
from taco_stream.evaluator.sandbox.syscall_numbers import of_this_machine

LOAD, EQUAL, AT_LEAST, ANY_BIT, AND, RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
KILL_PROCESS, ALLOW = 0x80000000, 0x7FFF0000
NUMBER, MACHINE = 0, 4
PR_SET_SECCOMP, MODE_FILTER = 22, 2
PR_SET_NAME, PR_GET_NAME = 15, 16
X32 = 0x40000000
ANY_PROCESS = 0x7FFFFFFF
"""Placeholder in a filter for the number of the process that will install it; no process has that number."""

CLONE_THREAD, CLONE_FILES = 0x10000, 0x400
CLONE_ANY_NAMESPACE = 0x7E020080
CLOSE_ON_EXECUTION = 4

FUTEX_PRIVATE = 128
SHARED_WAITS = (0, 9, 256, 9 | 256)
"""`futex`: to wait, by either clock. The C library's `pthread_join` waits so for the kernel, which wakes it at the
thread's end. A shared wake finds waiters of *other* processes too, at any page that both have mapped, a library's for
example, and says how many there were."""

TERMINAL_QUESTIONS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
"""TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX: the requests of `isatty` and of file objects."""

FILE_COMMANDS = (0, 1, 2, 3, 4, 1030, 1031, 1032)
"""`fcntl`: duplicate, flags, sizes of pipes. Not who is signalled about a file, which could be any process; and no
locks, which two programs could set on a library that both read, to signal each other or to make one wait."""

AF_UNIX = 1
STREAM_PAIRS = (1, 1 | 0o4000, 1 | 0o2000000, 1 | 0o2004000)
"""`socketpair`: local streams, with or without their two flags. A datagram pair's end can send to any address."""

ALLOWED = """
read write readv writev pread64 pwrite64 preadv pwritev close lseek open openat stat fstat lstat newfstatat statx
access faccessat faccessat2 getdents64 getdents getcwd chdir fchdir readlink readlinkat unlink unlinkat rename
renameat renameat2 ftruncate truncate fallocate fsync fdatasync dup dup2 dup3 pipe pipe2 umask statfs fstatfs
copy_file_range sendfile mmap munmap mprotect mremap madvise brk msync exit exit_group wait4 waitid set_robust_list
get_robust_list rseq sched_yield sched_getaffinity sched_getparam sched_getscheduler sched_get_priority_max
sched_get_priority_min getcpu membarrier arch_prctl gettid getpid getppid getpgrp getpgid getsid getuid geteuid getgid
getegid getresuid getresgid getgroups uname sysinfo times getrusage getrlimit setrlimit prlimit64 getpriority
clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time alarm setitimer getitimer timerfd_create
timerfd_settime timerfd_gettime eventfd2 signalfd4 rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending
rt_sigsuspend rt_sigtimedwait sigaltstack restart_syscall pause kill tgkill poll ppoll select pselect6 epoll_create
epoll_create1 epoll_ctl epoll_wait epoll_pwait pidfd_open getrandom sendmsg recvmsg sendto recvfrom shutdown
getsockopt getsockname getpeername
"""
"""Calls that an interpreter, or the zygote, needs. `kill`, `prlimit64` and `pidfd_open` are narrowed by the short
filter.

Left out on purpose, for no program needs them: `mincore` and `fadvise64`, which read and empty the page cache that all
programs share, and `timer_create`, whose timers come out of one quota of the user's that a neighbour could use up.
"""

KILLED = """
ptrace bpf mount umount2 pivot_root unshare setns io_uring_setup io_uring_enter io_uring_register add_key request_key
keyctl process_vm_readv process_vm_writev userfaultfd execve execveat perf_event_open init_module finit_module
delete_module kexec_load reboot chroot swapon swapoff move_mount open_tree fsopen fsmount fsconfig mount_setattr
pidfd_getfd pidfd_send_signal open_by_handle_at name_to_handle_at
"""
"""Calls that only an attack makes."""

REFUSED = """
socket connect bind listen accept accept4 flock mkdir mkdirat symlink symlinkat link linkat mknod mknodat chmod fchmod
fchmodat chown fchown lchown fchownat setxattr rt_sigqueueinfo rt_tgsigqueueinfo tkill setuid setgid setresuid setresgid
setgroups setpgid setsid setpriority sched_setaffinity sched_setscheduler sched_setparam sched_setattr ioprio_set
personality utimensat memfd_create fork vfork setsockopt set_tid_address
"""
"""Calls that a careless program may try. `setsockopt` attaches filters in the kernel's byte code. With
`set_tid_address` a thread's end would wake any waiter at an address, in another program too. No folder or link can be
made, so that a scratch folder is wiped by its listing."""

Instruction = tuple[int, int, int, int]


class UnknownMachineError(Exception):
    """This machine's table of system calls is unknown."""


def confine_zygote() -> None:
    """Puts the long filter over this process and all that it forks. It must have `no_new_privs`."""
    prepared_test_filter()
    Program(zygote_filter()).install()


@functools.cache
def prepared_test_filter() -> "Program":
    """The short filter but for the process number; the zygote makes it, for that takes longer than to install it."""
    return Program(per_test_filter(ANY_PROCESS))


def zygote_filter() -> list[Instruction]:
    """The long filter."""
    machine, numbers = _machine()
    # The same number is another call in another convention, so those are ended first: 32 bits by the machine's name,
    # x32 by a bit in the number.
    instructions = [
        (LOAD, 0, 0, MACHINE),
        (EQUAL, 1, 0, machine),
        _return(KILL_PROCESS),
        (LOAD, 0, 0, NUMBER),
        (AT_LEAST, 0, 1, X32),
        _return(KILL_PROCESS),
    ]
    for name in ALLOWED.split():
        instructions += _when(numbers, name, [_return(ALLOW)])
    # A thread with a table of files of its own would have all the descriptors of a test again, and their content.
    own_files = _unless_bits_are(0, CLONE_THREAD | CLONE_FILES, CLONE_THREAD, _error(errno.EPERM))
    instructions += _when(numbers, "clone", [*_if_bits(0, CLONE_ANY_NAMESPACE, KILL_PROCESS), *own_files])
    instructions += _when(numbers, "close_range", _one_of(2, (0, CLOSE_ON_EXECUTION), errno.EPERM))
    waits = _one_of(1, SHARED_WAITS, errno.EPERM)
    instructions += _when(numbers, "futex", [*_if_bits(1, FUTEX_PRIVATE, ALLOW), *waits])
    instructions += _when(numbers, "prctl", _one_of(0, (PR_SET_NAME, PR_GET_NAME, 1, PR_SET_SECCOMP), errno.EPERM))
    instructions += _when(numbers, "ioctl", _one_of(1, TERMINAL_QUESTIONS, errno.ENOTTY))
    instructions += _when(numbers, "fcntl", _one_of(1, FILE_COMMANDS, errno.EPERM))
    streams = _one_of(1, STREAM_PAIRS, errno.EPERM)
    instructions += _when(numbers, "socketpair", _only_if(0, AF_UNIX, errno.EPERM, streams))
    # Only the calls that the test's own layer needs; tightening oneself further is harmless.
    for name in ("landlock_create_ruleset", "landlock_restrict_self"):
        instructions += _when(numbers, name, [_return(ALLOW)])
    for name in KILLED.split():
        instructions += _when(numbers, name, [_return(KILL_PROCESS)])
    for name in REFUSED.split():
        instructions += _when(numbers, name, [_return(_error(errno.EPERM))])
    return [*instructions, _return(_error(errno.ENOSYS))]


def per_test_filter(process: int) -> list[Instruction]:
    """The short filter, for a test whose process number is given."""
    _, numbers = _machine()
    instructions: list[Instruction] = [(LOAD, 0, 0, NUMBER)]
    threads_only = [*_if_bits(0, CLONE_THREAD, ALLOW), _return(_error(errno.EPERM))]
    instructions += _when(numbers, "clone", threads_only)
    instructions += _when(numbers, "pidfd_open", [_return(_error(errno.EPERM))])
    for name in ("kill", "tgkill"):
        instructions += _when(numbers, name, _one_of(0, (process,), errno.EPERM))
    instructions += _when(numbers, "prlimit64", _one_of(0, (0, process), errno.EPERM))
    instructions += _when(numbers, "prctl", _one_of(0, (PR_SET_NAME, PR_GET_NAME), errno.EPERM))
    return [*instructions, _return(ALLOW)]


class Program:
    """A filter in the kernel's form."""

    def __init__(self, instructions: Sequence[Instruction]) -> None:
        code = b"".join(struct.pack("=HBBI", *each) for each in instructions)
        self._places = [2 * place + 1 for place, each in enumerate(instructions) if each[3] == ANY_PROCESS]
        self._words = (ctypes.c_uint32 * (len(code) // 4)).from_buffer_copy(code)
        self._header = struct.pack("@HP", len(instructions), ctypes.addressof(self._words))
        self._install = prepared_prctl(PR_SET_SECCOMP, MODE_FILTER, self._header)

    def install(self) -> None:
        """Puts the filter over this process for good. Raises `OSError` if that fails."""
        self._install()

    def install_for_this_process(self) -> None:
        """Fills this process's number in and puts the filter over it for good. Raises `OSError` if that fails."""
        process = os.getpid()
        for place in self._places:
            self._words[place] = process
        self._install()


def _machine() -> tuple[int, dict[str, int]]:
    found = of_this_machine()
    if found is None:
        raise UnknownMachineError("the sandbox has no table of system calls for this machine")
    return found


def _when(numbers: dict[str, int], name: str, body: list[Instruction]) -> list[Instruction]:
    """`body`, which returns on every path, for the call of that name; nothing if the machine lacks it."""
    return [(EQUAL, 0, len(body), numbers[name]), *body] if name in numbers else []


def _one_of(argument: int, values: Sequence[int], otherwise: int) -> list[Instruction]:
    """Allows the call if the low half of an argument is one of the values, else fails it with an error."""
    tests = [(EQUAL, len(values) - number, 0, value) for number, value in enumerate(values)]
    return [_load_argument(argument), *tests, _return(_error(otherwise)), _return(ALLOW)]


def _only_if(argument: int, value: int, otherwise: int, body: list[Instruction]) -> list[Instruction]:
    """`body` if the low half of an argument is the value, else the call fails with an error."""
    return [_load_argument(argument), (EQUAL, 1, 0, value), _return(_error(otherwise)), *body]


def _if_bits(argument: int, bits: int, answer: int) -> list[Instruction]:
    """An answer if the low half of an argument has any of the bits; else goes on."""
    return [_load_argument(argument), (ANY_BIT, 0, 1, bits), _return(answer)]


def _unless_bits_are(argument: int, mask: int, value: int, answer: int) -> list[Instruction]:
    """Allows the call unless the bits of an argument's low half under the mask are the value: then the answer."""
    return [_load_argument(argument), (AND, 0, 0, mask), (EQUAL, 0, 1, value), _return(answer), _return(ALLOW)]


def _load_argument(argument: int) -> Instruction:
    # `struct seccomp_data`: number, machine and instruction pointer take 16 bytes, then come six arguments of 8 each.
    return (LOAD, 0, 0, 16 + 8 * argument)


def _return(action: int) -> Instruction:
    return (RETURN, 0, 0, action)


def _error(number: int) -> int:
    return 0x00050000 | number  # SECCOMP_RET_ERRNO: the call fails with this error and is not made
