"""Namespaces: a file tree, a network and process numbers of its own for the zygote and everything below it.

Entered once per zygote. This process leaves the user, mount, network, IPC, host-name and PID namespaces it was started
in. Its user map is written by a helper that stays outside, for root may map two users then: itself, which sets things
up, and the zygote's own. It forks; the child is the first process of the PID namespace and goes on as the zygote, and
when that ends, the kernel ends every process in there. The parent only waits, and ends with it.

The new root is a small memory file system, read-only when it is done. Bound into it, read-only, are the folders that
the interpreter and its libraries lie in, the null and random devices, and a `/proc` that shows a process itself alone
(if the kernel allows it; programs open `/dev/stdin` through it). `/scratch` is the one writable place, bounded in
bytes and in files. The old root is detached: no path leads out.

Root without user namespaces does the same with its own rights. If neither works, this layer is missing.

Not covered: the kernel's own interface (that is `seccomp`), and how much CPU or memory a test takes (`rlimits`,
`cgroups`).
"""

import contextlib
import os
import stat
import struct
from collections.abc import Iterable

from taco_stream.evaluator.sandbox import kernel
from taco_stream.evaluator.sandbox.privileges import die_with_parent

NEW_MOUNT, NEW_UTS, NEW_IPC, NEW_USER, NEW_PID, NEW_NETWORK = (
    0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000,
)  # fmt: skip
READ_ONLY, NO_SUID, NO_DEVICES, NO_EXECUTION, BIND, RECURSIVE, PRIVATE = 1, 2, 4, 8, 4096, 16384, 1 << 18
ATTRIBUTE_READ_ONLY, ATTRIBUTE_NO_SUID, ATTRIBUTE_NO_DEVICES = 1, 2, 4
MOUNT_SETATTR, PIVOT_ROOT = 442, {"x86_64": 155, "aarch64": 41}
AT_RECURSIVE, AT_FDCWD = 0x8000, -100

NEW_ROOT = "/proc"
"""Where the new root is built: a folder that every system has and that nothing to be bound lies below."""

SCRATCH = "/scratch"
SCRATCH_BYTES = 128 << 20
SCRATCH_FILES = 256
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")


def enter(user: int, *, with_user_namespace: bool, worker: int) -> None:
    """Leaves the namespaces of the caller; returns in the first process of the new ones, as the namespace's root.

    The calling process stays behind, waits for it and ends with its exit code, or with its own parent, `worker`. Raises
    `OSError` if the kernel does not allow it.
    """
    flags = NEW_MOUNT | NEW_UTS | NEW_IPC | NEW_PID | NEW_NETWORK
    if with_user_namespace:
        unshare_mapped(flags | NEW_USER, user)
    else:
        kernel.unshare(flags)
    # A new PID namespace is for children only: the caller itself keeps its number outside.
    child = os.fork()
    if child == 0:
        return
    die_with_parent(worker)
    # Nobody finds the zygote's end of a socket closed while this process has it open.
    os.closerange(3, 1 << 16)
    _, status = os.waitpid(child, 0)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def unshare_mapped(flags: int, user: int) -> None:
    """Leaves namespaces, the user's among them, and has this user, and `user` if it is another, mapped inside."""
    here = os.getpid()
    # The helper stays outside, where it has the rights to write the maps, and waits until there is a namespace to map.
    ask, asked = os.pipe()
    helper = os.fork()
    if helper == 0:
        os.close(asked)
        os._exit(write_maps(here, user) if os.read(ask, 1) else 1)
    kernel.unshare(flags)
    os.write(asked, b"m")
    os.close(asked)
    os.close(ask)
    _, status = os.waitpid(helper, 0)
    if status != 0:
        raise PermissionError("the user namespace's map cannot be written")


def write_maps(process: int, user: int) -> int:
    """Writes the user and group maps of a process from outside; 0, or 1 if the kernel refuses."""
    lines = {(os.getuid(), os.getgid()), (user, user)} if os.getuid() == 0 else {(os.getuid(), os.getgid())}
    try:
        # Without rights outside, the kernel takes a group map only once `setgroups` is denied (user_namespaces(7)).
        with open(f"/proc/{process}/setgroups", "w") as file:
            file.write("deny" if os.getuid() else "allow")
        for name, column in (("uid_map", 0), ("gid_map", 1)):
            with open(f"/proc/{process}/{name}", "w") as file:
                file.write("".join(f"{line[column]} {line[column]} 1\n" for line in sorted(lines)))
    except OSError:
        return 1
    return 0


def build_root(readable: Iterable[str], user: int) -> None:
    """Makes a new root with `readable` bound into it, and moves there; the working folder is its scratch folder.

    Must run in the first process of the namespaces, before it takes on `user`.
    """
    # Private, or systemd's shared mounts would carry all that follows back to the machine.
    kernel.mount(None, "/", None, PRIVATE | RECURSIVE)
    kernel.mount("tmpfs", NEW_ROOT, "tmpfs", NO_SUID | NO_DEVICES, "size=1m,nr_inodes=4096,mode=755")
    for path in outermost(readable):
        bind(path)
    for path in DEVICES:
        bind(path, attributes=ATTRIBUTE_NO_SUID)
    # A container may hide parts of its own `/proc`, and the kernel then lets nobody inside mount a whole one.
    with contextlib.suppress(OSError):
        make_folder("/proc")
        flags = NO_SUID | NO_DEVICES | NO_EXECUTION
        kernel.mount("proc", NEW_ROOT + "/proc", "proc", flags, "hidepid=invisible,subset=pid")
    for name, target in (("stdin", "0"), ("stdout", "1"), ("stderr", "2")):
        os.symlink(f"/proc/self/fd/{target}", f"{NEW_ROOT}/dev/{name}")
    os.symlink("/proc/self/fd", f"{NEW_ROOT}/dev/fd")
    make_folder(SCRATCH)
    options = f"size={SCRATCH_BYTES},nr_inodes={SCRATCH_FILES},mode=700"
    kernel.mount("tmpfs", NEW_ROOT + SCRATCH, "tmpfs", NO_SUID | NO_DEVICES | NO_EXECUTION, options)
    os.chown(NEW_ROOT + SCRATCH, user, user)
    move_root()
    os.chdir(SCRATCH)


def move_root() -> None:
    """Makes the new root the root, read-only, and lets the old one go."""
    os.chdir(NEW_ROOT)
    # With "." twice the old root is mounted over the new one, and needs no folder in it (pivot_root(2), NOTES).
    kernel.syscall(PIVOT_ROOT[os.uname().machine], b".", b".")
    kernel.detach(".")
    os.chdir("/")
    set_attributes("/", ATTRIBUTE_READ_ONLY, recursive=False)


def outermost(paths: Iterable[str]) -> list[str]:
    """The paths that exist and do not lie below another of them, the shortest first.

    Raises `PermissionError` if one cannot be reached: programs would miss its files.
    """
    chosen: list[str] = []
    for path in sorted({os.path.abspath(path) for path in paths if exists(path)}, key=len):
        if not any(path == above or path.startswith(above.rstrip("/") + "/") for above in chosen):
            chosen.append(path)
    return chosen


def exists(path: str) -> bool:
    """Whether a path exists. Raises `PermissionError` if that cannot be determined."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def bind(path: str, attributes: int = ATTRIBUTE_READ_ONLY | ATTRIBUTE_NO_SUID | ATTRIBUTE_NO_DEVICES) -> None:
    """Shows a file or folder, with the mounts below it, at its own path in the new root."""
    source = os.path.realpath(path)
    if stat.S_ISDIR(os.stat(source).st_mode):
        make_folder(path)
    else:
        make_folder(os.path.dirname(path))
        os.close(os.open(NEW_ROOT + path, os.O_CREAT | os.O_WRONLY, 0o444))
    kernel.mount(source, NEW_ROOT + path, None, BIND | RECURSIVE)
    # `mount` ignores all other flags of a bind, and a remount would change only the topmost mount of a recursive one.
    set_attributes(NEW_ROOT + path, attributes, recursive=True)


def make_folder(path: str) -> None:
    """Makes a folder of the new root."""
    os.makedirs(NEW_ROOT + path, mode=0o755, exist_ok=True)


def set_attributes(path: str, attributes: int, *, recursive: bool) -> None:
    """Adds mount attributes, to everything below if asked."""
    wanted = struct.pack("=QQQQ", attributes, 0, 0, 0)
    kernel.syscall(MOUNT_SETATTR, AT_FDCWD, os.fsencode(path), AT_RECURSIVE if recursive else 0, wanted, len(wanted))
