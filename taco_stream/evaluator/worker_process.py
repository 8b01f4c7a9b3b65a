"""One evaluator worker as its parent sees it: a process that is started, asked, and replaced.

The process is `python -m taco_stream.evaluator.worker`, spoken to in frames over its standard input and output, one
question at a time. It keeps the tests of the last few problems, each under a key, so that they are sent once and not
with every program; large ones go by a memory file, and never through the event loop.

Promised: an answer, or `WorkerError` if the worker ends, or says nothing for as long as one test may take and
`SILENCE_SECONDS`; the process is then of no more use, and `restart` replaces it. A judgement has no time-out of its
own: each of its tests has limits, and the worker gives a sign of life for each.
"""

import contextlib
import os
import sys
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import msgspec
from anyio.abc import Process

from taco_stream.errors import EvaluatorError
from taco_stream.evaluator.execution import memory_file
from taco_stream.evaluator.judge_spec import JudgeSpec
from taco_stream.evaluator.protocol import Forget, FromWorker, Judge, Judged, Judging, Ready, Tests, ToWorker
from taco_stream.evaluator.settings import EvaluatorSettings
from taco_stream.frames import FrameDecoder, FrameError, encode_frame

START_SECONDS = 180.0
STOP_SECONDS = 5.0
SILENCE_SECONDS = 180.0
"""How long a worker may say nothing, beside the clock limit of a test: the longest that it does anything else is to
compile a program on a busy machine (`execution.COMPILED_SECONDS`)."""

PROBLEMS_KEPT = 8
"""Problems whose tests a worker keeps: a run works through few problems at a time, and tests can be megabytes."""

LARGE_TESTS_LENGTH = 1 << 18
"""Tests of more characters go to a worker in a memory file that a thread writes, so that the event loop goes on."""


class WorkerError(Exception):
    """A worker died, or did not answer in time."""


class WorkerProcess:
    """One worker process, started again where it has ended, and what it has been told."""

    def __init__(self, settings: EvaluatorSettings) -> None:
        self._settings = settings
        self._process: Process | None = None
        self._decoder: FrameDecoder[FromWorker] = FrameDecoder(FromWorker)
        self._received: deque[FromWorker] = deque()
        self._keys: OrderedDict[tuple[str, bytes], int] = OrderedDict()
        self._next = 0
        self.sandbox_tier = ""
        self.clock_knows_load = True

    def knows(self, problem: JudgeSpec) -> bool:
        """Whether the worker has the problem's tests."""
        return (problem.problem_id, problem.digest) in self._keys

    async def start(self) -> None:
        """Spawns the process and waits until it is ready. Raises `WorkerError` where it does not come up."""
        # `-P`: a `json.py` in the current folder is not to be imported here.
        command = [sys.executable, "-P", "-m", "taco_stream.evaluator.worker", self._settings.sweep]
        try:
            self._process = await anyio.open_process(command, stderr=None, start_new_session=True)
        except OSError as error:
            raise WorkerError(f"no process can be started: {error}") from error
        self._decoder = FrameDecoder(FromWorker)
        self._received.clear()
        self._keys.clear()
        ready = await self._receive(START_SECONDS)
        if not isinstance(ready, Ready):
            raise WorkerError("the worker's first word is not that it is ready")
        self.sandbox_tier, self.clock_knows_load = ready.sandbox_tier, ready.clock_knows_load

    async def stop(self) -> None:
        """Ends the process: asks, waits, kills."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        await process.stdin.aclose()
        with anyio.move_on_after(STOP_SECONDS):
            await process.wait()
        if process.returncode is None:
            process.kill()
            with anyio.move_on_after(STOP_SECONDS):
                await process.wait()
        await process.aclose()

    async def kill(self) -> None:
        """Ends the process in the middle of what it does."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await self.stop()

    async def restart(self) -> None:
        """Replaces the process. Raises `EvaluatorError` where that fails."""
        await self.kill()
        try:
            await self.start()
        except WorkerError as error:
            raise EvaluatorError(f"an evaluator worker does not start again: {error}") from error

    async def judge(self, problem: JudgeSpec, program: str) -> Judged:
        """Sends the tests, if the worker lacks them, and the program; waits for the answer."""
        if self._process is None:
            await self.start()
        async with self._tests_of(problem) as key:
            self._next += 1
            await self._send(Judge(ticket=self._next, key=key, program=program))
            while isinstance(answer := await self._receive(problem.limits.wall_seconds + SILENCE_SECONDS), Judging):
                pass
        if not isinstance(answer, Judged) or answer.ticket != self._next:
            raise WorkerError("the worker answered something else than was asked")
        return answer

    @asynccontextmanager
    async def _tests_of(self, problem: JudgeSpec) -> AsyncIterator[int]:
        """Sends the tests where the worker lacks them; a memory file they go in stays open within."""
        name = problem.problem_id, problem.digest
        key = self._keys.get(name)
        if key is not None:
            self._keys.move_to_end(name)
            yield key
            return
        self._next += 1
        key = self._keys[name] = self._next
        while len(self._keys) > PROBLEMS_KEPT:
            await self._send(Forget(key=self._keys.popitem(last=False)[1]))
        message = Tests(
            key=key,
            problem_id=problem.problem_id,
            tests=problem.tests,
            limits=problem.limits,
            special_judge=problem.special_judge,
            checker=problem.checker,
        )
        if len(problem.tests) <= LARGE_TESTS_LENGTH:
            await self._send(message)
            yield key
            return
        file = await anyio.to_thread.run_sync(lambda: memory_file(problem.tests.encode("utf-8", "surrogatepass")))
        try:
            path = f"/proc/{os.getpid()}/fd/{file}"
            await self._send(msgspec.structs.replace(message, tests="", tests_path=path))
            yield key
        finally:
            os.close(file)

    async def _send(self, message: ToWorker) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            await self._process.stdin.send(encode_frame(message))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise WorkerError("the worker has ended") from error

    async def _receive(self, seconds: float) -> FromWorker:
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            with anyio.fail_after(seconds):
                while not self._received:
                    self._received.extend(self._decoder.feed(await self._process.stdout.receive()))
        except TimeoutError as error:
            raise WorkerError(f"the worker says nothing for {seconds:.0f} s") from error
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise WorkerError("the worker has ended") from error
        except FrameError as error:
            raise WorkerError(f"the worker sent what is no answer: {error}") from error
        return self._received.popleft()
