"""Running a command as an ordinary user where this one is root: `as_user` gives the words that go before it.

The interpreter, the package and the tests may lie in folders that are closed to others, as `/root` is on most machines.
So the command runs in a mount namespace of its own (this file as a script, by root), in which each such folder is
covered by an empty one that is open, with only what is needed bound back into it. Nothing is seen of that outside.

Not covered: files that are closed to others by their own modes, as in a clone that was made under `umask 077`. Then
tests that need another user are skipped with the reason.
"""

import functools
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import taco_stream
from taco_stream.evaluator.sandbox import kernel
from taco_stream.evaluator.sandbox.namespaces import BIND, NEW_MOUNT, PRIVATE, RECURSIVE, outermost

NOBODY = 65534
TESTS = Path(__file__).resolve().parent


def as_user(user: int) -> list[str]:
    """The words before a command that run it as that user; skips the test if that cannot be had."""
    import pytest

    if user == os.getuid():
        return []
    if reason := hindrance(user):
        pytest.skip(f"nothing can be run as user {user} here: {reason}")
    return words(user)


def words(user: int) -> list[str]:
    return [sys.executable, "-B", str(Path(__file__).resolve()), str(user)]


@functools.cache
def hindrance(user: int) -> str:
    """Why that user cannot use this interpreter, the package and the tests; empty if it can."""
    if os.getuid() != 0:
        return "only root can become another user"
    if closed := next((path for path in needed_folders() if not os.stat(path).st_mode & 1), ""):
        return f"{closed} is closed to others"
    trial = [*words(user), sys.executable, "-B", "-c", "import hostile.suite"]
    environment = os.environ | {"PYTHONPATH": str(TESTS / "evaluator")}
    done = subprocess.run(trial, capture_output=True, text=True, timeout=550, check=False, env=environment)
    return done.stderr.strip().rpartition("\n")[2] if done.returncode else ""


def main() -> None:
    """Becomes the user and executes the command. `argv`: the user's number, then the command."""
    user, command = int(sys.argv[1]), sys.argv[2:]
    here = os.getcwd()
    open_folders(needed_folders())
    os.chdir(here if os.path.isdir(here) else "/")
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    os.execv(command[0], command)


def needed_folders() -> list[str]:
    """The interpreter, what it imports from, the package and the tests. The package's parent need only be passable."""
    package = Path(taco_stream.__file__).resolve().parent
    imported = (path for path in sys.path if os.path.isdir(path) and Path(path).resolve() != package.parent)
    needed = (sys.base_prefix, sys.prefix, *imported, str(package), str(TESTS))
    return outermost(map(os.path.realpath, needed))


def open_folders(needed: Sequence[str]) -> None:
    """In a mount namespace of this process's own, makes the needed folders reachable for everybody."""
    enter_mount_namespace()
    closed = outermost(filter(None, map(closed_for_others, needed)))
    cover(closed, needed, "mode=755")


def enter_mount_namespace() -> None:
    """Leaves the caller's mount namespace."""
    kernel.unshare(NEW_MOUNT)
    kernel.mount(None, "/", None, PRIVATE | RECURSIVE)


def closed_for_others(path: str) -> str:
    """The outermost folder on the way to `path` that only its owner or group can enter; empty if there is none."""
    ways = [*reversed(Path(path).parents), Path(path)]
    return next((str(folder) for folder in ways if not folder.stat().st_mode & 1), "")


def cover(folders: Iterable[str], needed: Iterable[str], options: str) -> None:
    """Covers folders by empty ones with the mount options, and binds what is needed of them back."""
    opened = [(path, os.open(path, os.O_PATH)) for path in needed]
    for folder in folders:
        kernel.mount("tmpfs", folder, "tmpfs", 0, options)
        for path, descriptor in opened:
            if path.startswith(folder + "/"):
                os.makedirs(path)
                kernel.mount(f"/proc/self/fd/{descriptor}", path, None, BIND | RECURSIVE)
    for _, descriptor in opened:
        os.close(descriptor)


if __name__ == "__main__":
    main()
