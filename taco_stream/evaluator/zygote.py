"""The zygote: a warm interpreter that forks one process per program and, from that, one per test.

Who runs: a worker execs this file as a script (`python -s -S -P zygote.py`), single-threaded, with a scrubbed
environment and one socket. The zygote imports the usual modules once, numpy among them if asked to. For each
program it receives a memfd with the text and one end of a socket pair, and forks a *program process*, which compiles
the text and then serves that socket: every message on it carries descriptors for standard input, output, error and
result, and is one test, run in a fork of its own. The program's code is executed only in those forks; the program
process reads the kernel's wait status and usage.

Promised: a test starts from the same state as every other; no expected output ever enters a process that
executes a judged program (tests that are code, and checkers, have processes of their own); a test whose time on the
clock is up is killed (`idle_clock`); hash seed, `random` and numpy start the same in every test. A program runs as
`python3 program.py < input` would run it: `__main__`, its streams, the depth of its recursion, the steps of an
interpreter at its exit and the exit code are the same (`tests/evaluator/differential` compares the two). The exceptions
are the header's names, that the program's text is in no file, and the frames below it. A test that is a call runs the
program as a module of another name, with an empty standard input.

Not covered: this file confines nothing by itself; it calls `sandbox.confine` where a process must lose rights, under
the plan that the worker chose.

Each page that a test touches costs it a page fault, and those, not its own instructions, are most of what a small
test takes. So whatever is the same for every test is done before the fork: the header's names, the streams, `__main__`,
the seeds and the limits; a test's files arrive at the numbers that they have in the test; and messages between the
processes are packed, not JSON.

The standard library only, and as little of it as possible at module level: everything imported here is in every child.
"""

import _sitebuiltins
import _socket  # `socket` itself is half a megabyte that every fork would copy the tables of
import atexit
import builtins
import contextlib
import gc
import io
import json
import os
import select
import signal
import stat
import struct
import sys
import time
import types
import warnings
from _frozen_importlib_external import SourceFileLoader  # the package that names it would be one more in every fork
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

PACKAGE_PARENT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if __name__ == "__main__":
    sys.path.insert(0, PACKAGE_PARENT)

from taco_stream.evaluator import calls  # noqa: E402 (an isolated interpreter finds it only now)
from taco_stream.evaluator.sandbox import confine  # noqa: E402
from taco_stream.evaluator.sandbox.plan import SandboxPlan  # noqa: E402
from taco_stream.evaluator.sandbox.rlimits import ProgramLimits, free_compiler, limit_compiler, limit_test  # noqa: E402
from taco_stream.evaluator.tagged_values import tagged, untagged  # noqa: E402

HEADER = """
import sys, time, itertools, collections, math, fractions, random, heapq
from itertools import accumulate, product, permutations, combinations
from collections import Counter, OrderedDict, deque, defaultdict, ChainMap
from functools import lru_cache
from math import sqrt, sin, cos, tan, ceil, fabs, floor, gcd, exp, log, log2
from typing import List, Tuple, Dict, Set, Optional, Any, Union
from heapq import *
stdin, stdout = sys.stdin, sys.stdout
"""
"""The names that TACO's own evaluation gives to every program; a program's own names win over them.

Here they are builtins: were they in `__main__`, clearing it at the end of a test would touch the page of each.
"""

MODULES = (
    "array", "atexit", "bisect", "copy", "datetime", "decimal", "functools", "json", "operator", "queue", "re",
    "string", "threading",
)  # fmt: skip
"""What programs usually import beside the header's, imported once here. What few do (`statistics`) is not: a larger
process takes longer to fork and to end."""

OWN_FRAMES = 7 if sys.version_info < (3, 12) else 6
"""Frames of this file below a program's first: with them added, a program recurses exactly as deep as by itself. Before
3.12 the call of `exec` counts as one more."""

MAX_RECURSION_LIMIT = (1 << 31) - 1
"""The largest limit that an interpreter takes, a C `int`."""

PROGRAM_FILE = "program.py"
"""The program's file as tracebacks name it, which is its first argument too. No such file exists: its loader has the
text."""

CALLED_MODULE = "tmp_sol"
"""The name of a program whose function is called, that of the original's module. Its `if __name__ == "__main__":` does
not run."""

MAX_DESCRIPTORS = 7
"""The files of a test: standard input, output and error, if it is a call its result and its arguments, and two pipes
if it takes part in calls between two."""

RESULT, ARGUMENTS = 3, 4

end_process = os._exit  # under a name that a program does not replace

CONTROL, LOG = 10, 11
"""The descriptors of a program process's socket, and of the zygote's standard error: above those of a test's files."""

COMPILER_SECONDS = 5
COMPILER_BYTES = 4 << 30
"""The limits of compiling one program; more is a compiler bomb and ends its process."""


FLUSH_FAILED = 120
"""The exit code of an interpreter whose streams cannot be flushed."""

COPIED_BYTES = 1 << 20

COMPILING = b"compiling"
"""The first word of a program process."""

DESCRIPTOR = struct.Struct("=i")

NO_PART, SERVES, ASKS = range(3)
"""A test's part in calls between two of them (`calls`)."""

ASK = "taco_stream_ask"
"""The name under which a test that asks finds the function to call."""

PACKED_TEST = struct.Struct("=BB?dd")
"""A `TestRequest` on its way here, before the name of the function."""

PACKED_END = struct.Struct("=iddQ?")
"""How a test ended, on its way back: wait status, CPU and wall seconds, peak memory, whether it had to be killed."""

LATE = b"late"
"""Says that a test has passed its clock limit; a handle of its process comes along."""

PACKED_SECONDS = struct.Struct("=d")
"""The answer to `LATE`: how much longer to wait, 0 to kill the test."""


class ProgramRequest(NamedTuple):
    """A program as the worker starts it, on its way here a JSON list: its forms, and what each test may use."""

    forms: Sequence[str]
    memory_bytes: int
    output_bytes: int


class TestRequest(NamedTuple):
    """One test as the worker asks for it: which form of the program, with which limits; `fn_name` empty for no call.

    `part` is its part in calls between two tests. A test that serves `fn_name` has the two pipes in the place of result
    and arguments, one that asks has them after those.
    """

    form: int
    part: int
    file_io: bool
    cpu_seconds: float
    wall_seconds: float
    fn_name: str


def main() -> None:
    """Serves programs until the worker closes its end.

    `argv`: the socket's descriptor, the sandbox's tier, a folder for the tests' files, that of a control group, `lean`
    or `numpy`, then folders to import from.
    """
    link = _socket.socket(fileno=int(sys.argv[1]))
    plan = SandboxPlan.from_tier(sys.argv[2])
    sys.path.remove(PACKAGE_PARENT)
    sys.path += sys.argv[6:]
    vars(builtins).update(prepared_names(with_numpy=sys.argv[5] == "numpy"))
    for name in ("exit", "quit"):  # as `site` does
        setattr(builtins, name, _sitebuiltins.Quitter(name, "Ctrl-D (i.e. EOF)"))
    sys.set_int_max_str_digits(0)
    confine.enter_zygote(plan, sys.argv[3], sys.argv[4])
    for name in [name for name in sys.modules if name.partition(".")[0] == "taco_stream"]:
        del sys.modules[name]  # programs see the modules that an interpreter has
    # The first call makes the types of the syntax tree, which is most of the time that compiling a small program takes.
    compile("", PROGRAM_FILE, "exec", dont_inherit=True)
    gc.collect()
    # The collector writes into every object it visits, and their pages would be copied in every fork. Frozen objects
    # are not visited.
    gc.freeze()
    zygote = os.getpid()
    link.send(b"ready")
    while True:
        message, descriptors = receive(link)
        if not message:
            return
        if os.fork() == 0:
            link.close()
            confine.enter_program(zygote)
            started_with, control = descriptors
            try:
                serve_program(started_with, control, plan)
            except BaseException as error:
                # Not left to the interpreter, which would report it on standard error: that is a test's by now. In a
                # test there is no log, and the interpreter reports both.
                os.write(LOG, describe(error).encode("utf-8", "replace") + b"\n")
                os._exit(1)
            os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)
        reap()


def prepared_names(*, with_numpy: bool) -> dict[str, Any]:
    """Imports the usual modules, seeds them, and returns the header's names."""
    names: dict[str, Any] = {}
    # `random` and `threading` hook every fork: to reseed, which would undo our seed, and to put right what a fork
    # breaks for other threads, of which there are none. That would take 0.7 ms of every test.
    register = os.register_at_fork
    os.register_at_fork = lambda **_: None
    try:
        for name in MODULES:
            __import__(name)
        exec(HEADER, names)
        names["random"].seed(0)
        if with_numpy:
            with contextlib.suppress(ImportError):  # if it is missing the program's own import reports it
                exec("import numpy as np\nnp.random.seed(0)\n", names)
    finally:
        os.register_at_fork = register
    del names["__builtins__"]
    return names


def receive(link: _socket.socket) -> tuple[bytes, list[int]]:
    """The next message and the descriptors that came with it; an empty one if the other end is closed."""
    message, ancillary, _, _ = link.recvmsg(4096, _socket.CMSG_SPACE(MAX_DESCRIPTORS * DESCRIPTOR.size))
    return message, [descriptor for *_, packed in ancillary for (descriptor,) in DESCRIPTOR.iter_unpack(packed)]


def reap() -> None:
    """Collects program processes that have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def serve_program(started_with: int, control_descriptor: int, plan: SandboxPlan) -> None:
    """Compiles the forms of one program and runs its tests, one message each, until the worker closes the socket.

    `started_with` is a file with a `ProgramRequest` as JSON. The answers are `COMPILING`, so that nobody but the
    program's text is to blame if nothing comes after it, and a list with the error of each form, null if it
    compiles.
    """
    program = ProgramRequest._make(json.loads(os.pread(started_with, os.fstat(started_with).st_size, 0)))
    control = _socket.socket(fileno=os.dup2(control_descriptor, CONTROL))
    os.dup2(2, LOG)
    limit_compiler(COMPILER_SECONDS, COMPILER_BYTES)
    control.send(COMPILING)
    compiled: list[Any] = [compile_or_error(text) for text in program.forms]
    free_compiler()
    confine.limit_program(plan, ProgramLimits(program.memory_bytes, program.output_bytes))
    open_streams()
    sys.argv = [PROGRAM_FILE]
    sys.modules["__main__"] = types.ModuleType("__main__")
    hide_own_frames()
    os.closerange(0, CONTROL)
    control.send(json.dumps([code if isinstance(code, str) else None for code in compiled]).encode())
    serve_tests(control, compiled, program.forms, plan)


def serve_tests(control: _socket.socket, compiled: Sequence[Any], texts: Sequence[str], plan: SandboxPlan) -> None:
    """Runs the tests of this program process, in the forms of its program."""
    steps = confine.steps_into_test(plan)
    can_make_processes = confine.can_make_processes(plan)
    file = os.path.abspath(PROGRAM_FILE)
    loaders = [ProgramLoader(text, file) for text in texts]
    prefer_solution = ["class Solution" in text for text in texts]
    gc.freeze()
    while True:
        # The lowest numbers are free, so the files arrive as standard input, output, error, result and arguments: no
        # `dup2` is needed in the test.
        message, descriptors = receive(control)
        if not message:
            return
        wanted = TestRequest._make((*PACKED_TEST.unpack_from(message), message[PACKED_TEST.size :].decode()))
        started = time.monotonic()
        child = os.fork()
        if child == 0:
            # Without the socket, or the program could answer in the name of the kernel.
            os.closerange(CONTROL, 1 << 16)
            if wanted.file_io:
                put_files(plan)
            for step in steps:
                step()
            run_test(compiled[wanted.form], loaders[wanted.form], wanted, prefer_solution[wanted.form])
        limit_test(child, wanted.cpu_seconds)
        ended = wait_for(child, started, wanted.wall_seconds, control)
        if can_make_processes:
            # The test was a session of its own, and processes that it left would go on beside the next test.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child, signal.SIGKILL)
        if wanted.file_io:
            take_output_file()
        confine.wipe_scratch()
        os.closerange(0, len(descriptors))
        control.send(PACKED_END.pack(*ended))


def open_streams() -> None:
    """Puts streams over the first three descriptors, which each test gets as files of its own; the header's are these.

    They are what an interpreter opens (`create_stdio` in its `pylifecycle.c`) in the locale C.UTF-8, which containers
    have, and in C: no translation of line ends, and bytes that are not UTF-8 pass through as lone surrogates.
    """
    sys.stdin = sys.__stdin__ = open_stream(0, "<stdin>", "r", "surrogateescape")  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = open_stream(1, "<stdout>", "w", "surrogateescape")  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = open_stream(2, "<stderr>", "w", "backslashreplace")  # type: ignore[misc]
    vars(builtins).update(stdin=sys.stdin, stdout=sys.stdout)


def open_stream(descriptor: int, name: str, mode: Literal["r", "w"], errors: str) -> io.TextIOWrapper:
    """One of an interpreter's own streams. Closing it leaves the descriptor open, as there."""
    raw = io.FileIO(descriptor, mode, closefd=False)
    raw.name = name
    buffer = io.BufferedReader(raw) if mode == "r" else io.BufferedWriter(raw)
    stream = io.TextIOWrapper(buffer, "utf-8", errors, newline="\n", line_buffering=name == "<stderr>")
    stream.mode = mode  # type: ignore[misc]
    return stream


def hide_own_frames() -> None:
    """Lets a program recurse as deep as without the frames below it, and read and set the limit without them."""
    get_limit, set_limit = sys.getrecursionlimit, sys.setrecursionlimit

    def getrecursionlimit() -> int:
        limit = get_limit()
        # The largest is not raised by our frames, and so not lowered by them either: what was set is read back.
        return limit if limit == MAX_RECURSION_LIMIT else limit - OWN_FRAMES

    def setrecursionlimit(limit: int, /) -> None:
        set_limit(min(limit + OWN_FRAMES, MAX_RECURSION_LIMIT) if 1 <= limit <= MAX_RECURSION_LIMIT else limit)

    setrecursionlimit(get_limit())
    sys.getrecursionlimit, sys.setrecursionlimit = getrecursionlimit, setrecursionlimit


class ProgramLoader(SourceFileLoader):
    """The loader of a program, by which `inspect`, `traceback` and `linecache` find its text, which is in no file."""

    def __init__(self, text: str, file: str) -> None:
        super().__init__("__main__", file)
        self._text = text

    def get_source(self, fullname: str) -> str:
        """The program's text, whatever the module calls itself."""
        return self._text


def program_module(name: str, loader: ProgramLoader) -> types.ModuleType:
    """The module that a program finds itself to be: an interpreter's `__main__`, in the order of its names."""
    # Made in the test, not before the fork: older objects are frozen, and the collector at the end would pass by a
    # module that is, and by whatever the program left in it.
    module = types.ModuleType(name)
    vars(module).update(
        __loader__=loader, __annotations__={}, __builtins__=builtins, __file__=loader.path, __cached__=None
    )
    return module


def compile_or_error(text: str) -> types.CodeType | str:
    """The code of a program, or one sentence that says why there is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they would go to this process's standard error, not to the program's
            return compile(text, PROGRAM_FILE, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, OverflowError, MemoryError, RecursionError) as error:
        return describe(error)


def wait_for(
    child: int, started: float, wall_seconds: float, control: _socket.socket
) -> tuple[int, float, float, int, bool]:
    """The end of one test, in the order of `PACKED_END`. The worker says how long to wait past the clock limit."""
    # A handle, not a time-out of `waitpid`, which has none; and its number cannot come to mean another process.
    handle = os.pidfd_open(child)
    seconds = started + wall_seconds - time.monotonic()
    is_killed = False
    while not is_killed and not select.select([handle], [], [], max(0.0, seconds))[0]:
        control.sendmsg([LATE], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, DESCRIPTOR.pack(handle))])
        # No answer: the worker is gone, and nobody waits for the test. Zeros are 0.0 seconds more.
        (seconds,) = PACKED_SECONDS.unpack(control.recv(PACKED_SECONDS.size) or bytes(PACKED_SECONDS.size))
        if seconds <= 0:
            os.kill(child, signal.SIGKILL)
            is_killed = True
    os.close(handle)
    _, status, usage = os.wait4(child, 0)
    cpu_seconds = usage.ru_utime + usage.ru_stime
    return status, cpu_seconds, time.monotonic() - started, usage.ru_maxrss * 1024, is_killed


def run_test(code: types.CodeType, loader: ProgramLoader, wanted: TestRequest, prefer_solution: bool) -> None:
    """Runs the program in this process and ends it; the exit code is the interpreter's."""
    name = CALLED_MODULE if wanted.fn_name else "__main__"
    sys.modules[name] = program_module(name, loader)
    # No frame that outlives the program's may name its module, or the collector would find it in use.
    ended = execute(code, vars(sys.modules[name]), wanted, prefer_solution=prefer_solution)
    end_process(finish(ended, name))


def execute(code: types.CodeType, namespace: dict[str, Any], wanted: TestRequest, *, prefer_solution: bool) -> int:
    """Executes the program, and calls its function if the test is a call; the exit code so far."""
    try:
        if not wanted.fn_name:
            exec(code, namespace)
            return 0
        if wanted.part == SERVES:
            exec(code, namespace)
            calls.serve(served_function(namespace, wanted.fn_name), requests=3, answers=4)
            return 0
        if wanted.part == ASKS:
            namespace[ASK] = calls.asker(result=RESULT, answers=5, requests=6)
        arguments = read_arguments()  # a program that looked for them would find them read
        exec(code, namespace)
        value = find_function(namespace, wanted.fn_name, prefer_solution=prefer_solution)(*arguments)
        with io.FileIO(RESULT, "w") as result:
            result.write(json.dumps(tagged(value)).encode())
    except SystemExit as end:
        return exit_code(end)
    except BaseException as error:
        return report(error)
    return 0


def read_arguments() -> list[Any]:
    """The arguments of the call, from a descriptor that is closed then."""
    with io.FileIO(ARGUMENTS) as file:
        arguments: list[Any] = untagged(json.loads(file.readall()))
    return arguments


def find_function(namespace: dict[str, Any], name: str, *, prefer_solution: bool) -> Any:
    """The wanted function of the program's, or method of its `Solution`. Raises `NameError` if there is neither.

    If `Solution` has no such method, the function counts.
    """
    # The original looks for `class Solution` anywhere in the text, a comment for example, and so `prefer_solution`
    # does.
    if "Solution" in namespace and (prefer_solution or name not in namespace):
        solution = namespace["Solution"]()
        if hasattr(solution, name):
            return getattr(solution, name)
    if name not in namespace:
        raise NameError(f"the program does not define {name}")
    return namespace[name]


def exit_code(end: SystemExit) -> int:
    """The code that an interpreter would exit with."""
    if end.code is None:
        return 0
    if isinstance(end.code, int):
        return end.code & 0xFF if -(1 << 63) <= end.code < 1 << 63 else 0xFF  # it is cut from a C `long`, -1 beyond
    with contextlib.suppress(Exception):
        print(end.code, file=sys.stderr)
    return 1


def report(error: BaseException) -> int:
    """Reports an error that nothing in the program caught, as an interpreter does; the exit code."""
    try:
        sys.excepthook(type(error), error.with_traceback(without_own_frames(error.__traceback__)), error.__traceback__)
    except SystemExit as end:
        return exit_code(end)
    except BaseException as of_the_hook:
        with contextlib.suppress(Exception):
            print("Error in sys.excepthook:", file=sys.stderr)
            for each in (of_the_hook, error):
                sys.__excepthook__(type(each), each, each.__traceback__)
    return 1


def without_own_frames(traceback: types.TracebackType | None) -> types.TracebackType | None:
    """The part of a traceback that belongs to the program, or to the code that asks it."""
    ours = (globals(), vars(calls))
    kept = None
    for entry in reversed([*_entries(traceback)]):
        if not any(entry.tb_frame.f_globals is each for each in ours):
            entry.tb_next = kept
            kept = entry
    return kept


def _entries(traceback: types.TracebackType | None) -> Iterator[types.TracebackType]:
    while traceback:
        yield traceback
        traceback = traceback.tb_next


def served_function(namespace: dict[str, Any], name: str) -> Any:
    """The function of a program that code outside of it calls by its name alone, as that code would find it."""
    if name not in namespace:
        raise NameError(f"name {name!r} is not defined")
    return namespace[name]


def put_files(plan: SandboxPlan) -> None:
    """Gives the test's input as `input.txt` too, for programs that read files as contests of old wanted.

    If the sandbox lets no test make a file, `output.txt` is there already, and empty.
    """
    with open("input.txt", "wb") as file:
        file.write(sys.stdin.buffer.read())
    if not confine.can_make_files(plan):
        open("output.txt", "xb").close()


def take_output_file() -> None:
    """Puts the `output.txt` of a test that has ended in the place of its standard output, as the original does.

    Under that name the test may have left anything: only a plain file is read.
    """
    os.ftruncate(1, 0)
    try:
        # A link could lead to a file that only this process may read, and a pipe would block it.
        file = os.open("output.txt", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return
    if stat.S_ISREG(os.fstat(file).st_mode):
        os.lseek(1, 0, os.SEEK_SET)
        while chunk := os.read(file, COPIED_BYTES):
            os.write(1, chunk)
    os.close(file)


def finish(code: int, name: str) -> int:
    """Ends as an interpreter does at its exit, after which the program's module is gone; the exit code."""
    end_threads()
    atexit._run_exitfuncs()
    is_flushed = flush_streams()
    # From here on, objects that the program put in place of the streams may no longer find their globals.
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    # An interpreter collects once before its modules go. It brings a file before its buffer, and the buffer before the
    # descriptor below, in the collector's order: else a file that a function's module keeps would close unflushed.
    gc.collect(0)
    sys.modules.pop(name, None)
    # Collecting the oldest also empties the interpreter's free lists, 20 pages, and few programs have any.
    gc.collect(2 if gc.get_objects(2) else 1)
    return code if flush_streams() and is_flushed else FLUSH_FAILED


def end_threads() -> None:
    """Waits for the program's threads; an error there changes nothing."""
    threading = sys.modules.get("threading")
    if threading and (len(threading._active) > 1 or threading._threading_atexits):  # else 40 pages for nothing
        with contextlib.suppress(BaseException):
            threading._shutdown()


def flush_streams() -> bool:
    """Flushes the streams, or the objects that the program put in their place; whether that was possible."""
    is_flushed = True
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name, None)
        if stream is None or getattr(stream, "closed", False):
            continue
        try:
            stream.flush()
        except BaseException:
            is_flushed = False
    return is_flushed


def describe(error: BaseException) -> str:
    """One sentence: the kind of error, its message and, for a syntax error, its line."""
    line = getattr(error, "lineno", None)
    message = getattr(error, "msg", None) or str(error)
    return f"{type(error).__name__}: {message}" + (f" (line {line})" if line else "")


if __name__ == "__main__":
    main()
