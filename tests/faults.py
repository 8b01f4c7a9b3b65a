"""What can happen to a run from outside: each fault is one start of it, disturbed once, whatever it is doing.

A fault takes a `Disturbed` run and random numbers, and returns how the start ended and which exit codes are right. It
leaves no process behind. The run directory is then as the fault left it, for the next start to resume.
"""

import fcntl
import os
import pty
import random
import resource
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

KILLED = {-signal.SIGKILL}
STOPPED = {130, -signal.SIGTERM}
"""The latter before the command's first line has run, when the interpreter knows only what the signal does by itself."""
COMPLETE = 0

END_SECONDS = 300.0


class Disturbed(NamedTuple):
    """The run that faults happen to."""

    path: Path
    arguments: list[str]

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "taco_stream", "run", str(self.path), *self.arguments]

    @property
    def said(self) -> Path:
        """What the newest start wrote to standard error, if a fault did not take that away."""
        return self.path.with_name(f"{self.path.name}.stderr")


class Ended(NamedTuple):
    """How a start ended, and how it may; it may always be that the run was complete before the fault."""

    code: int
    allowed: set[int]


Fault = Callable[[Disturbed, random.Random], Ended]


@contextmanager
def started(run: Disturbed, **streams: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A start in a session of its own; whatever is left of it at the end is killed."""
    with run.said.open("wb") as said:
        given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": said} | streams
        process = subprocess.Popen(run.command, start_new_session=True, **given)
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for_a_moment(process: subprocess.Popen[bytes], run: Disturbed, dice: random.Random) -> None:
    """Any moment of the first second in one case of four; otherwise one soon after a completion has been written."""
    path = run.path / "completions.jsonl"
    before = path.stat().st_size if path.exists() else 0
    if dice.random() > 0.25:
        while process.poll() is None and not (path.exists() and path.stat().st_size > before):
            time.sleep(0.005)
        seconds = dice.uniform(0, 0.3)
    else:
        seconds = dice.uniform(0, 1)
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=seconds)


def end(process: subprocess.Popen[bytes], seconds: float = 0.0) -> int:
    """Lets a start go on for a while, ends it with SIGTERM, and returns its exit code."""
    with suppress(subprocess.TimeoutExpired):
        return process.wait(timeout=seconds)
    process.terminate()
    return process.wait(timeout=END_SECONDS)


def descendants(pid: int) -> list[int]:
    """Every process below `pid`."""
    try:
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return [each for child in children for each in (child, *descendants(child))]


def kill_everything(run: Disturbed, dice: random.Random) -> Ended:
    with started(run) as process:
        wait_for_a_moment(process, run, dice)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        return Ended(process.wait(), KILLED)


def kill_the_parent(run: Disturbed, dice: random.Random) -> Ended:
    with started(run) as process:
        wait_for_a_moment(process, run, dice)
        process.kill()
        return Ended(process.wait(), KILLED)


def kill_worker(module: str) -> Fault:
    """Kills one worker of a kind. The run starts another and goes on."""

    def kill(run: Disturbed, dice: random.Random) -> Ended:
        with started(run) as process:
            wait_for_a_moment(process, run, dice)
            workers = [pid for pid in descendants(process.pid) if module in read_command(pid)]
            if workers:
                with suppress(ProcessLookupError):
                    os.kill(dice.choice(workers), signal.SIGKILL)
            return Ended(end(process, dice.uniform(0.1, 0.5)), STOPPED)

    return kill


def read_command(pid: int) -> str:
    """The command line of a process; empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def send(number: signal.Signals, times: int = 1) -> Fault:
    def send_it(run: Disturbed, dice: random.Random) -> Ended:
        with started(run) as process:
            # At Ctrl-C the interpreter prints a traceback until the command's first line runs.
            while number == signal.SIGINT and process.poll() is None and not run.said.stat().st_size:
                time.sleep(0.005)
            wait_for_a_moment(process, run, dice)
            for _ in range(times):
                process.send_signal(number)
                time.sleep(0.05)
            return Ended(process.wait(timeout=END_SECONDS), STOPPED | {-number})

    return send_it


def suspend(run: Disturbed, dice: random.Random) -> Ended:
    """Stops every process for a while, as a laptop does that is closed."""
    with started(run) as process:
        wait_for_a_moment(process, run, dice)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGSTOP)
            time.sleep(dice.uniform(0.1, 1))
            os.killpg(process.pid, signal.SIGCONT)
        return Ended(end(process, dice.uniform(0.1, 0.3)), STOPPED)


def close_terminal(*, ignores_hang_up: bool) -> Fault:
    """Closes the terminal that a start talks to: it is told so by SIGHUP, and cannot write any more."""

    def close(run: Disturbed, dice: random.Random) -> Ended:
        ours, theirs = pty.openpty()

        def own_terminal() -> None:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            if ignores_hang_up:
                signal.signal(signal.SIGHUP, signal.SIG_IGN)

        reader = threading.Thread(target=drain, args=(os.dup(ours),), daemon=True)
        with started(run, stdin=theirs, stdout=theirs, stderr=theirs, preexec_fn=own_terminal) as process:
            os.close(theirs)
            reader.start()
            wait_for_a_moment(process, run, dice)
            os.close(ours)
            reader.is_over = True  # type: ignore[attr-defined]
            if ignores_hang_up:
                return Ended(end(process, dice.uniform(0.1, 0.4)), STOPPED)
            return Ended(process.wait(timeout=END_SECONDS), STOPPED | {-signal.SIGHUP})

    return close


def drain(descriptor: int) -> None:
    """Reads until a start is told that it is over; a terminal that nobody reads blocks who writes to it."""
    here = threading.current_thread()
    os.set_blocking(descriptor, False)
    while not getattr(here, "is_over", False):
        with suppress(OSError):
            os.read(descriptor, 1 << 16)
        time.sleep(0.005)
    os.close(descriptor)


def close_pipe(name: str) -> Fault:
    """Ends the reader of standard output or error, as `head` does."""

    def close(run: Disturbed, dice: random.Random) -> Ended:
        reading, writing = os.pipe()
        with started(run, **{name: writing}) as process:
            os.close(writing)
            wait_for_a_moment(process, run, dice)
            os.close(reading)
            return Ended(end(process, dice.uniform(0.1, 0.4)), STOPPED)

    return close


def fill_device(name: str) -> Fault:
    """Gives a start a full device to talk to."""

    def fill(run: Disturbed, dice: random.Random) -> Ended:
        with open("/dev/full", "wb") as full, started(run, **{name: full}) as process:
            wait_for_a_moment(process, run, dice)
            return Ended(end(process, dice.uniform(0.1, 0.4)), STOPPED)

    return fill


def limit_file_size(run: Disturbed, dice: random.Random) -> Ended:
    """Lets no file become larger than the largest is, and a little: as a disk that is full."""
    sizes = [path.stat().st_size for path in run.path.glob("*.jsonl")] if run.path.exists() else []
    limit = max(sizes, default=0) + dice.randrange(200, 20_000)

    def lower() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    with started(run, preexec_fn=lower) as process:
        return Ended(end(process, dice.uniform(2, 4)), STOPPED | {1})


def fill_disk(run: Disturbed, dice: random.Random) -> Ended:
    """Fills the disk below the run directory up to a little, and makes room again afterwards."""
    free = os.statvfs(run.path.parent).f_bavail * os.statvfs(run.path.parent).f_frsize
    ballast = run.path.with_name("ballast")
    try:
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(4096, free - dice.randrange(8_192, 60_000)))
        with started(run._replace(path=run.path)) as process:
            return Ended(end(process, dice.uniform(2, 4)), STOPPED | {1})
    finally:
        ballast.unlink()


def damage_tail(name: str) -> Fault:
    """Kills a start and leaves what a power cut may: half a line, zeros, or a line that is none."""

    def damage(run: Disturbed, dice: random.Random) -> Ended:
        ended = kill_everything(run, dice)
        path = run.path / name
        if path.exists():
            whole = path.read_bytes().rpartition(b"\n")
            line = whole[0].rpartition(b"\n")[2] or b'{"kind": "gauges"'
            torn = dice.choice(
                [line[: dice.randrange(1, len(line))], bytes(dice.randrange(1, 5000)), b"}\n", b"\xff\n"]
            )
            path.write_bytes(whole[0] + whole[1] + torn)
        return ended

    return damage


FAULTS: dict[str, Fault] = {
    "kill -9 of everything": kill_everything,
    "kill -9 of the parent": kill_the_parent,
    "kill -9 of an evaluator worker": kill_worker("taco_stream.evaluator.worker"),
    "Ctrl-C": send(signal.SIGINT),
    "Ctrl-C twice": send(signal.SIGINT, 2),
    "SIGTERM": send(signal.SIGTERM),
    "SIGHUP": send(signal.SIGHUP),
    "SIGSTOP and SIGCONT": suspend,
    "the terminal is closed": close_terminal(ignores_hang_up=False),
    "the terminal of nohup is closed": close_terminal(ignores_hang_up=True),
    "the reader of stdout ends": close_pipe("stdout"),
    "the reader of stderr ends": close_pipe("stderr"),
    "stdout is full": fill_device("stdout"),
    "stderr is full": fill_device("stderr"),
    "files may not grow": limit_file_size,
    "the tail of completions.jsonl is damaged": damage_tail("completions.jsonl"),
    "the tail of results.jsonl is damaged": damage_tail("results.jsonl"),
    "the tail of events.jsonl is damaged": damage_tail("events.jsonl"),
}
"""What needs nothing but this machine's permission to start processes."""

DISK_FAULTS: dict[str, Fault] = {"the disk is full": fill_disk}
"""What needs a small disk of its own."""

ENGINE_FAULTS: dict[str, Fault] = {"kill -9 of a generation worker": kill_worker("taco_stream.engine.worker")}
"""What needs a model."""
