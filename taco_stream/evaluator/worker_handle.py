"""One evaluator worker as the evaluator sees it: a process that is started, asked, and replaced.

The process is `taco_stream.evaluator.worker`, asked one question at a time. It keeps the tests of the last few
problems, each under a key, so that they are sent once and not with every program; large ones go by a memory file, and
never through the event loop. So does a large standard input.

Promised: an answer, or `WorkerGoneError` if the worker ends, or says nothing for as long as one test may take and
`SILENCE_SECONDS`; the process is then of no more use, and `restart` replaces it. A judgement has no time-out of its
own: each of its tests has limits, and the worker gives a sign of life for each.
"""

import os
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import msgspec

from taco_stream.errors import EvaluatorError
from taco_stream.evaluator.execution import memory_file
from taco_stream.evaluator.judge_spec import JudgeSpec
from taco_stream.evaluator.protocol import (
    Executed,
    ExecuteProgram,
    Forget,
    FromWorker,
    Judged,
    JudgeProgram,
    Judging,
    Limits,
    Sweep,
    Tests,
    ZygoteReady,
)
from taco_stream.workers.process import WorkerGoneError, WorkerProcess

START_SECONDS = 180.0
SILENCE_SECONDS = 180.0
"""How long a worker may say nothing, beside the clock limit of a test: the longest that it does anything else is to
compile a program on a busy machine (`execution.COMPILED_SECONDS`)."""

PROBLEMS_KEPT = 8
"""Problems whose tests a worker keeps: a run works through few problems at a time, and tests can be megabytes."""

LARGE_LENGTH = 1 << 18
"""Tests of more characters, and inputs of more bytes, go to a worker in a memory file that a thread writes, so that the
event loop goes on."""


class EvaluatorWorker:
    """One worker, started again after it has ended, and the tests that it has been sent."""

    def __init__(self) -> None:
        self._process: WorkerProcess[FromWorker] | None = None
        self._keys: OrderedDict[tuple[str, bytes], int] = OrderedDict()
        self._next = 0
        self.sandbox_tier = ""
        self.clock_knows_load = True

    def knows(self, problem: JudgeSpec) -> bool:
        """Whether the worker has the problem's tests."""
        return (problem.problem_id, problem.digest) in self._keys

    async def start(self) -> WorkerProcess[FromWorker]:
        """Starts the process and waits until it is ready. Raises `WorkerGoneError` if it does not come up."""
        module = "taco_stream.evaluator.worker"
        process = await WorkerProcess[FromWorker].spawn(module, received=FromWorker)
        self._process = process  # before it is ready, so that a start that is cancelled leaves something to stop
        self._keys.clear()
        ready = await process.receive(START_SECONDS)
        if not isinstance(ready, ZygoteReady):
            raise WorkerGoneError("the worker did not report ready")
        self.sandbox_tier, self.clock_knows_load = ready.sandbox_tier, ready.clock_knows_load
        return process

    async def stop(self) -> None:
        """Ends the process: asks, waits, kills."""
        process, self._process = self._process, None
        if process is not None:
            await process.stop()

    async def kill(self) -> None:
        """Ends the process in the middle of what it does."""
        process, self._process = self._process, None
        if process is not None:
            await process.kill()

    async def restart(self) -> None:
        """Replaces the process. Raises `EvaluatorError` if that fails."""
        await self.kill()
        try:
            await self.start()
        except WorkerGoneError as error:
            raise EvaluatorError(f"an evaluator worker does not start again: {error}") from error

    async def judge(self, problem: JudgeSpec, program: str, sweep: Sweep) -> Judged:
        """Sends the tests, if the worker lacks them, and the program; waits for the answer."""
        process = self._process or await self.start()
        async with self._tests(process, problem) as key:
            self._next += 1
            await process.send(JudgeProgram(ticket=self._next, key=key, program=program, sweep=sweep))
            answer = await self._answer(process, problem.limits)
        if not isinstance(answer, Judged) or answer.ticket != self._next:
            raise WorkerGoneError("unexpected reply of the worker")
        return answer

    async def execute(self, program: str, stdin: bytes, limits: Limits) -> Executed:
        """Sends the program and its input; waits for the answer."""
        process = self._process or await self.start()
        self._next += 1
        asked = ExecuteProgram(ticket=self._next, program=program, stdin=stdin, limits=limits)
        if len(stdin) <= LARGE_LENGTH:
            await process.send(asked)
            answer = await self._answer(process, limits)
        else:
            async with _shared_file(lambda: stdin) as path:
                await process.send(msgspec.structs.replace(asked, stdin=b"", stdin_path=path))
                answer = await self._answer(process, limits)
        if not isinstance(answer, Executed) or answer.ticket != self._next:
            raise WorkerGoneError("unexpected reply of the worker")
        return answer

    async def _answer(self, process: WorkerProcess[FromWorker], limits: Limits) -> FromWorker:
        """The next frame that is not a sign of life."""
        while isinstance(answer := await process.receive(limits.wall_seconds + SILENCE_SECONDS), Judging):
            pass
        return answer

    @asynccontextmanager
    async def _tests(self, process: WorkerProcess[FromWorker], problem: JudgeSpec) -> AsyncIterator[int]:
        """Sends the tests if the worker lacks them; a memory file they go in stays open within."""
        name = problem.problem_id, problem.digest
        key = self._keys.get(name)
        if key is not None:
            self._keys.move_to_end(name)
            yield key
            return
        self._next += 1
        key = self._keys[name] = self._next
        while len(self._keys) > PROBLEMS_KEPT:
            await process.send(Forget(key=self._keys.popitem(last=False)[1]))
        message = Tests(
            key=key,
            problem_id=problem.problem_id,
            tests=problem.tests,
            limits=problem.limits,
            special_judge=problem.special_judge,
            checker=problem.checker,
        )
        if len(problem.tests) <= LARGE_LENGTH:
            await process.send(message)
            yield key
            return
        async with _shared_file(lambda: problem.tests.encode("utf-8", "surrogatepass")) as path:
            await process.send(msgspec.structs.replace(message, tests="", tests_path=path))
            yield key


@asynccontextmanager
async def _shared_file(contents: Callable[[], bytes]) -> AsyncIterator[str]:
    """The path of a memory file of this process, written by a thread; it is gone when the context ends."""
    file = await anyio.to_thread.run_sync(lambda: memory_file(contents()))
    try:
        # Opened by its path: a pipe cannot pass the descriptor itself.
        yield f"/proc/{os.getpid()}/fd/{file}"
    finally:
        os.close(file)
