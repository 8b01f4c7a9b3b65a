"""Running programs: the worker's side of the zygote.

`Zygotes` are a worker's two, one with numpy imported; `Zygote` owns a process and its socket; `RunningProgram` is one
program, compiled in a process of its own, that runs one test at a time and answers with what the kernel said. Inputs go
in and outputs come back in memory files, so neither passes through a pipe that could fill up, and a program reads its
input as from a file.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

import msgspec

from taco_stream.evaluator.checkers.official import NAMES_NUMPY
from taco_stream.evaluator.protocol import Limits
from taco_stream.evaluator.sandbox.plan import SandboxPlan
from taco_stream.evaluator.zygote import PACKED_END, PACKED_TEST, StartedProgram

ANSWER_SECONDS = 10.0
"""How long beyond a test's wall limit the zygote may take to answer before it counts as broken."""

COMPILED_SECONDS = 60.0
"""How long the zygote may take to compile a program. Its CPU time is limited to far less, but a loaded machine may make
five seconds of it ten and more, and that would be taken for a broken zygote."""


ENVIRONMENT = {"PYTHONHASHSEED": "0", "PATH": "/usr/bin:/bin", "OPENBLAS_NUM_THREADS": "1", "LD_BIND_NOW": "1"}
"""All that programs find in theirs. numpy's library would start threads, and a zygote that forks must have none. A C
function is found once in the zygote, and not at its first call in every test."""


ISOLATED = ("-s", "-S", "-P")
"""An interpreter without user and site packages and the script's folder; `-I` would also ignore the hash seed."""


class ZygoteError(Exception):
    """The zygote died or does not answer."""


class Execution(NamedTuple):
    """What the kernel said of one test, and what the program wrote."""

    status: int
    cpu_seconds: float
    wall_seconds: float
    peak_memory_bytes: int
    out_of_wall: bool
    output: bytes = b""
    errors: bytes = b""
    result: bytes = b""


class Zygotes:
    """A worker's zygotes: a lean one, and from the first program on that names numpy one that has it imported."""

    def __init__(self, plan: SandboxPlan) -> None:
        self.plan = plan
        self._lean = Zygote(plan)
        self._with_numpy: Zygote | None = None

    def program(self, forms: Sequence[str], limits: Limits) -> "RunningProgram":
        """Starts a program process. Raises `ZygoteError` where the zygote is gone.

        `forms` are the texts of one program as one comparison mode or another executes it.
        """
        if not any(map(NAMES_NUMPY.search, forms)):
            return self._lean.program(forms, limits)
        if self._with_numpy is None:
            self._with_numpy = Zygote(self.plan, with_numpy=True)
        return self._with_numpy.program(forms, limits)

    def restart(self) -> None:
        """Replaces the zygotes and everything below them."""
        self.close()
        self._lean = Zygote(self.plan)

    def close(self) -> None:
        """Ends the zygotes."""
        self._lean.close()
        if self._with_numpy is not None:
            self._with_numpy.close()
            self._with_numpy = None


class Zygote:
    """The zygote process and the socket to it; with numpy imported where asked."""

    def __init__(self, plan: SandboxPlan, *, with_numpy: bool = False) -> None:
        self.plan = plan
        self._with_numpy = with_numpy
        self._start()

    def program(self, forms: Sequence[str], limits: Limits) -> "RunningProgram":
        """Starts a program process. Raises `ZygoteError` where the zygote is gone."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        descriptor = memory_file(msgspec.json.encode(StartedProgram(forms, limits.memory_bytes, limits.output_bytes)))
        try:
            socket.send_fds(self._link, [b"program"], [descriptor, theirs.fileno()])
        except OSError as error:
            ours.close()
            raise ZygoteError(f"the zygote is gone: {error}") from error
        finally:
            os.close(descriptor)
            theirs.close()
        return RunningProgram(ours)

    def close(self) -> None:
        """Ends the zygote and everything below it."""
        self._link.close()
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._scratch:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def _start(self) -> None:
        self._link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # With namespaces the scratch folder is inside, and gone with them.
        self._scratch = "" if self.plan.has_namespaces else tempfile.mkdtemp(prefix="taco-stream-scratch-")
        script = Path(__file__).with_name("zygote.py")
        self._process = subprocess.Popen(
            [
                sys.executable,
                *ISOLATED,
                str(script),
                str(theirs.fileno()),
                self.plan.tier,
                self._scratch,
                "numpy" if self._with_numpy else "lean",
                sysconfig.get_path("purelib"),
            ],
            pass_fds=[theirs.fileno()],
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            cwd="/tmp",
        )
        theirs.close()
        self._link.settimeout(ANSWER_SECONDS)
        if self._link.recv(64) != b"ready":
            raise ZygoteError("the zygote did not start")


class RunningProgram:
    """A program process: its forms compiled, ready to run tests. `compile_errors` has a sentence or None per form."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        compiled = self._answer(COMPILED_SECONDS)
        if not compiled:
            raise CompilerCrashError
        self.compile_errors: list[str | None] = json.loads(compiled)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._control.close()

    def run(
        self, given: bytes, limits: Limits, *, form: int = 0, fn_name: str | None = None, file_io: bool = False
    ) -> Execution:
        """Runs one test; of `limits` those of time count. Raises `ZygoteError` where there is no answer."""
        outputs = 3 if fn_name else 2
        files = [memory_file(given), *(memory_file(b"") for _ in range(outputs))]
        wanted = PACKED_TEST.pack(form, file_io, limits.cpu_seconds, limits.wall_seconds)
        try:
            socket.send_fds(self._control, [wanted, (fn_name or "").encode()], files)
            ended = self._answer(limits.wall_seconds + ANSWER_SECONDS)
            if not ended:
                raise ZygoteError("the program process has ended")
            contents = [os.pread(file, os.fstat(file).st_size, 0) for file in files[1:]]
        except OSError as error:
            raise ZygoteError(f"the program process is gone: {error}") from error
        finally:
            for file in files:
                os.close(file)
        return Execution(*PACKED_END.unpack(ended), *contents)

    def _answer(self, seconds: float) -> bytes:
        self._control.settimeout(seconds)
        try:
            message = self._control.recv(1 << 20)
        except OSError as error:
            raise ZygoteError(f"the program process does not answer: {error}") from error
        return message


class CompilerCrashError(Exception):
    """The program process ended by itself: the program's text killed the compiler."""


def memory_file(content: bytes) -> int:
    """A memfd that holds `content`, positioned at its start."""
    descriptor = os.memfd_create("test", os.MFD_CLOEXEC)
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
