"""Running programs: the worker's side of the zygote.

`Zygotes` are a worker's two, one with numpy imported; `Zygote` owns a process, its socket and its control group, and
replaces the process if a program's test has used up the group's memory; `RunningProgram` is one program, compiled in
a process of its own, that runs one test at a time and answers with the kernel's report. Inputs go in and outputs come
back in memory files, so neither passes through a pipe that could fill up, and a program reads its input as from a file.
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Sequence
from io import FileIO
from pathlib import Path
from typing import NamedTuple, Self

import msgspec

from taco_stream.evaluator.comparators.official import NAMES_NUMPY
from taco_stream.evaluator.idle_clock import IdleClock
from taco_stream.evaluator.protocol import Limits
from taco_stream.evaluator.sandbox.cgroups import LeafGroup
from taco_stream.evaluator.sandbox.plan import Layer, SandboxPlan
from taco_stream.evaluator.sandbox.rlimits import ProgramLimits
from taco_stream.evaluator.sandbox.scratch import ScratchFolder
from taco_stream.evaluator.zygote import (
    COMPILING,
    LATE,
    NO_PART,
    PACKED_END,
    PACKED_SECONDS,
    PACKED_TEST,
    SERVES,
    ProgramRequest,
)
from taco_stream.workers.exception_log import LOG_TAIL_BYTES, last_exception

ANSWER_SECONDS = 60.0
"""How long beyond a test's clock limit the zygote may take to answer before it counts as broken. It needs a millisecond
of a core, which takes seconds to get on a machine that is busy enough."""

STARTED_SECONDS = 60.0
"""How long a zygote may take to start: from a cold disk, numpy alone takes seconds."""

COMPILED_SECONDS = 150.0
"""How long the zygote may take to compile a program. Its CPU time is limited to five seconds, which may take a minute
on a loaded machine, and that would be taken for a broken zygote."""

MESSAGE_BYTES = 64
"""More than `LATE` and `PACKED_END` have. The room is allocated for each message: with a megabyte, 15 µs of a test."""

MAX_ERRORS_BYTES = 1 << 16
"""Only the end of a test's standard error is kept: people read that part."""


ENVIRONMENT = {"PYTHONHASHSEED": "0", "PATH": "/usr/bin:/bin", "OPENBLAS_NUM_THREADS": "1", "LD_BIND_NOW": "1"}
"""All that programs find in theirs. numpy's library would start threads, and a zygote that forks must have none. A C
function is found once in the zygote, and not at its first call in every test."""


ISOLATED = ("-s", "-S", "-P")
"""An interpreter without user and site packages and the script's folder; `-I` would also ignore the hash seed."""


class ZygoteError(Exception):
    """The zygote or a program process died or does not answer; the message has the exception that it died with."""


class Execution(NamedTuple):
    """The kernel's report on one test, and the program's output.

    `out_of_wall` says that the test was stopped by the clock, `is_starved` that the machine is to blame for that,
    `in_program` that code which asserts ran in the program's own process, which could have forged the result.
    """

    status: int
    cpu_seconds: float
    wall_seconds: float
    peak_memory_bytes: int
    out_of_wall: bool
    output: bytes = b""
    errors: bytes = b""
    result: bytes = b""
    is_starved: bool = False
    in_program: bool = False


class CallPipes(NamedTuple):
    """One side of calls between two tests (`calls`): its part, where it reads and where it writes."""

    part: int
    inbound: FileIO
    outbound: FileIO

    def close(self) -> None:
        """Closes both ends; the test that they were sent to has its own."""
        self.inbound.close()
        self.outbound.close()


class Zygotes:
    """A worker's zygotes: a lean one, and from the first program on that names numpy one that has it imported.

    `pulse` is called at least once for every test, and for a long one each time that its clock is looked at.
    """

    def __init__(self, plan: SandboxPlan, *, pulse: Callable[[], None] = lambda: None) -> None:
        self.plan = plan
        self.pulse = pulse
        self._lean = Zygote(plan, pulse=pulse)
        self._with_numpy: Zygote | None = None
        self._apart: Zygotes | None = None
        self._kept: tuple[tuple[str, Limits], RunningProgram] | None = None

    def program(self, forms: Sequence[str], limits: Limits) -> "RunningProgram":
        """Starts a program process. Raises `ZygoteError` if the zygote is gone.

        `forms` are the texts of one program as one comparison mode or another executes it.
        """
        if not any(map(NAMES_NUMPY.search, forms)):
            return self._lean.program(forms, limits)
        if self._with_numpy is None:
            self._with_numpy = Zygote(self.plan, with_numpy=True, pulse=self.pulse)
        return self._with_numpy.program(forms, limits)

    @property
    def apart(self) -> "Zygotes":
        """Others, for code that must not be in one sandbox with judged programs; started when first asked for."""
        if self._apart is None:
            self._apart = Zygotes(self.plan, pulse=self.pulse)
        return self._apart

    def kept_program(self, text: str, limits: Limits) -> "RunningProgram":
        """A program process that stays until another is asked for. Raises `ZygoteError` if there is none."""
        # The tests' own code is the same for all programs of a problem, and starting it costs as much as a program.
        if self._kept is None or self._kept[0] != (text, limits):
            self._end_kept()
            try:
                self._kept = (text, limits), self.program([text], limits)
            except CompilerCrashError as error:
                raise ZygoteError("the compiler crashed on the tests' own code") from error
        return self._kept[1]

    def restart(self) -> None:
        """Replaces the zygotes and everything below them."""
        self.close()
        self._lean = Zygote(self.plan, pulse=self.pulse)

    def close(self) -> None:
        self._end_kept()
        self._lean.close()
        if self._with_numpy is not None:
            self._with_numpy.close()
            self._with_numpy = None
        if self._apart is not None:
            self._apart.close()
            self._apart = None

    def _end_kept(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            kept[1].close()


class Zygote:
    """The zygote process, the socket to it and its control group; with numpy imported if asked.

    `generation` counts the processes that took the place of one that had run out of memory.
    """

    def __init__(
        self, plan: SandboxPlan, *, with_numpy: bool = False, pulse: Callable[[], None] = lambda: None
    ) -> None:
        self.plan = plan
        self.generation = 0
        self.pulse = pulse
        self._with_numpy = with_numpy
        self._start()

    def program(self, forms: Sequence[str], limits: Limits) -> "RunningProgram":
        """Starts a program process. Raises `ZygoteError` if the zygote is gone."""
        return RunningProgram(self, forms, limits)

    def connection(self, forms: Sequence[str], limits: Limits) -> socket.socket:
        """The socket to a new program process. Raises `ZygoteError` if the zygote is gone."""
        self.restart_if_out_of_memory()  # the last program's doing, and must not be this one's
        if self._group is not None:
            self._group.allow(ProgramLimits(limits.memory_bytes, limits.output_bytes))
        # Packets, not a stream: a message comes whole and with the descriptors that were sent with it.
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # In a file, for a packet has a limit of some hundred kilobytes and a program may have more.
        descriptor = memory_file(msgspec.json.encode(ProgramRequest(forms, limits.memory_bytes, limits.output_bytes)))
        try:
            socket.send_fds(self._link, [b"program"], [descriptor, theirs.fileno()])
        except OSError as error:
            ours.close()
            raise self.failure("the zygote is gone") from error
        finally:
            os.close(descriptor)
            theirs.close()
        return ours

    def restart_if_out_of_memory(self) -> int:
        """The memory in bytes that all below the zygote had, if using it up has ended them; else 0.

        Another zygote takes their place. Raises `ZygoteError` if memory that is not theirs has run out.
        """
        if self._group is None:
            return 0
        events = self._group.memory_events()
        if not events.limit_reached:
            if events.killed:
                raise ZygoteError("memory ran out outside of the sandbox")
            return 0
        memory_bytes = self._group.memory_bytes
        self.close()
        self._start()
        self.generation += 1
        return memory_bytes

    def failure(self, what: str) -> ZygoteError:
        """The error to raise: what failed, and the exception that the zygote or a program process ended with."""
        exception = last_exception(_read(self._log.fileno(), LOG_TAIL_BYTES).decode("utf-8", "replace"))
        return ZygoteError(f"{what}: {exception}" if exception else what)

    def close(self) -> None:
        """Ends the zygote and everything below it."""
        # It ends by itself when it finds the socket closed, and those below it end with it.
        self._link.close()
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):  # the kernel has it, and will end it when it can
                self._process.wait(timeout=2)
        if self._group is not None:
            self._group.close()
        if self._scratch is not None:
            self._scratch.close()
        self._log.close()

    def _start(self) -> None:
        self._link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # With namespaces the scratch folder is inside, and gone with them.
        self._scratch = None if self.plan.has_namespaces else ScratchFolder()
        self._group = LeafGroup() if Layer.CGROUP in self.plan.layers else None
        self._log = FileIO(memory_file(b""))
        script = Path(__file__).with_name("zygote.py")
        self._process = subprocess.Popen(
            [
                sys.executable,
                *ISOLATED,
                str(script),
                str(theirs.fileno()),
                self.plan.tier,
                self._scratch.path if self._scratch is not None else "",
                self._group.folder if self._group is not None else "",
                "numpy" if self._with_numpy else "lean",
                sysconfig.get_path("purelib"),
            ],
            pass_fds=[theirs.fileno()],
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
            cwd="/tmp",
        )
        theirs.close()
        self._link.settimeout(STARTED_SECONDS)
        try:
            word = self._link.recv(64)
        except OSError:  # a time-out, or a reset if it died with something unread
            word = b""
        if word != b"ready":
            error = self.failure("the zygote did not start")
            self.close()
            raise error
        self._link.settimeout(ANSWER_SECONDS)


class RunningProgram:
    """A program process: its forms compiled, ready to run tests. `compile_errors` has a sentence or None per form."""

    def __init__(self, zygote: Zygote, forms: Sequence[str], limits: Limits) -> None:
        self._zygote = zygote
        self._forms = forms
        self._limits = limits
        self.compile_errors = self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._control.close()

    def run(
        self,
        given: bytes,
        limits: Limits,
        *,
        form: int = 0,
        fn_name: str | None = None,
        file_io: bool = False,
        calls: CallPipes | None = None,
        meanwhile: "Callable[[RunningTest], None]" = lambda _: None,
        beside: "RunningTest | None" = None,
    ) -> Execution:
        """Runs one test; of `limits` those of time count. Raises `ZygoteError` if no answer comes.

        One that takes part in calls is given its side, which is closed here. `meanwhile` is called with the one of two
        tests that begins first, and there the other is run `beside` it: they share a clock.

        A test that ran its control group out of memory, which ends the zygote too, is one that the kernel has killed.
        """
        if self._generation != self._zygote.generation:
            self._control.close()
            self._start()
        started_at = time.monotonic()
        try:
            execution = self._run(
                given, limits, form, fn_name or "", file_io=file_io, calls=calls, meanwhile=meanwhile, beside=beside
            )
        except ZygoteError:
            if not (memory_bytes := self._zygote.restart_if_out_of_memory()):
                raise
        else:
            # A killed test may still be reported by a program process that is about to be killed with it.
            killed = execution.status == signal.SIGKILL
            if not killed or not (memory_bytes := self._zygote.restart_if_out_of_memory()):
                return execution
        return Execution(signal.SIGKILL, 0.0, time.monotonic() - started_at, memory_bytes, out_of_wall=False)

    def _start(self) -> list[str | None]:
        """Starts the process and waits until it has compiled; the errors of each form."""
        self._control = self._zygote.connection(self._forms, self._limits)
        self._generation = self._zygote.generation
        if self._answer(ANSWER_SECONDS) != COMPILING:
            self._control.close()
            raise self._zygote.failure("a program process ended before it had anything to do with its program")
        compiled = self._answer(COMPILED_SECONDS)
        if not compiled:
            self._control.close()
            # A program may be made to compile into more memory than there is: the zygote has then been killed with it.
            self._zygote.restart_if_out_of_memory()
            raise CompilerCrashError
        errors: list[str | None] = json.loads(compiled)
        return errors

    def _run(
        self,
        given: bytes,
        limits: Limits,
        form: int,
        fn_name: str,
        *,
        file_io: bool,
        calls: CallPipes | None,
        meanwhile: "Callable[[RunningTest], None]",
        beside: "RunningTest | None",
    ) -> Execution:
        part = calls.part if calls else NO_PART
        # A call's arguments come last, after its result, and its standard input is empty.
        is_call = bool(fn_name) and part != SERVES
        files = [*map(memory_file, [b"", b"", b"", b"", given] if is_call else [given, b"", b""])]
        wanted = PACKED_TEST.pack(form, part, file_io, limits.cpu_seconds, limits.wall_seconds)
        ending = contextlib.ExitStack()
        try:
            ends = [calls.inbound.fileno(), calls.outbound.fileno()] if calls else []
            socket.send_fds(self._control, [wanted, fn_name.encode()], [*files, *ends])
            if calls:
                # Held open here, a pipe would not end for the other side when this side's test does.
                calls.close()
            clock = beside.clock if beside else IdleClock(limits.wall_seconds, tests=2 if calls else 1)
            test = RunningTest(self._zygote, self._control, clock, number=0 if beside is None else 1)
            ending.callback(clock.close if beside is None else test.leave)
            meanwhile(test)
            test.wait(limits.wall_seconds + ANSWER_SECONDS, beside)
            if not test.end:
                raise self._zygote.failure("the program process has ended")
            output, errors, *result = files[1:4]
            contents = [_read(output), _read(errors, MAX_ERRORS_BYTES), *map(_read, result)]
        except OSError as error:
            raise self._zygote.failure("the program process is gone") from error
        finally:
            ending.close()
            for file in files:
                os.close(file)
        self._zygote.pulse()
        return Execution(*PACKED_END.unpack(test.end), *contents)._replace(is_starved=clock.is_starved)

    def _answer(self, seconds: float) -> bytes:
        """The next message of a process that runs no test."""
        self._control.settimeout(seconds)
        try:
            return self._control.recv(1 << 20)
        except OSError as error:
            raise self._zygote.failure("the program process does not answer") from error


class RunningTest:
    """A test that runs: its program process says when it is late, and is answered from the clock, and how it ended.

    `end` is the last message, empty if the program process itself has ended. `number` is the test's for the clock.
    """

    def __init__(self, zygote: Zygote, control: socket.socket, clock: IdleClock, *, number: int) -> None:
        self.clock = clock
        self.end: bytes | None = None
        self._zygote = zygote
        self._control = control
        self._number = number

    def fileno(self) -> int:
        """The descriptor that is readable when there is a message."""
        return self._control.fileno()

    def wait(self, seconds: float, beside: "RunningTest | None" = None) -> None:
        """Waits for the end, and answers for the test `beside` it too. Raises `ZygoteError` after silence."""
        self._control.settimeout(seconds)
        while self.end is None:
            if beside is None or beside.end is not None:
                self._read()
                continue
            ready, _, _ = select.select([self, beside], [], [], seconds)
            if not ready:
                raise self._zygote.failure("the program process does not answer")
            for test in ready:
                test._read()
                if test is beside and test.end is not None:
                    test.leave()

    def leave(self) -> None:
        """Leaves the clock to the other test."""
        self.clock.leave(self._number)

    def _read(self) -> None:
        try:
            message, handles, _, _ = socket.recv_fds(self._control, MESSAGE_BYTES, 1)
            if message == LATE:
                self._zygote.pulse()
                left = self.clock.seconds_left(handles[0], number=self._number)
                self._control.send(PACKED_SECONDS.pack(left))
            else:
                self.end = message
        except OSError as error:
            raise self._zygote.failure("the program process does not answer") from error


class CompilerCrashError(Exception):
    """The program process ended by itself: the program's text killed the compiler."""


def memory_file(content: bytes) -> int:
    """A memfd that holds `content`, positioned at its start."""
    descriptor = os.memfd_create("test", os.MFD_CLOEXEC)
    view = memoryview(content)
    while view:  # one `write` takes 2 GiB at most, and less if a signal comes
        view = view[os.write(descriptor, view) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _read(file: int, max_bytes: int | None = None) -> bytes:
    """The content of a memory file, or the end of it."""
    size = os.fstat(file).st_size
    start = 0 if max_bytes is None else max(0, size - max_bytes)
    return os.pread(file, size - start, start)
