"""The actors: a local engine, or an evaluator, on a node of a cluster.

An error that nobody expected is raised by the method that is called next, and the driver then refuses the node.

Their methods run in the actor's event loop, many at once, so nothing here may be entered in one call and left in
another: engine and evaluator live in a task of their own (`_live`), from `start` to `stop`. Whatever ends an actor's
process ends its workers too, which have a pipe from it that closes.
"""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import anyio
import msgspec
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

import taco_stream.demo
from taco_stream import __version__
from taco_stream.cluster.protocol import (
    LINGER_SECONDS,
    MAX_REPORTED,
    REPORT_SECONDS,
    EngineBlueprint,
    Generated,
    Greeting,
    JudgedPrograms,
    ModelBlueprint,
    NumberedProgram,
    NumberedVerdicts,
    Programs,
    Refusal,
    ScriptBlueprint,
    Welcome,
    decode,
    encode,
)
from taco_stream.engine.base import Engine
from taco_stream.engine.local.engine import LocalEngine
from taco_stream.engine.scripted import ScriptedEngine
from taco_stream.errors import EngineError, EvaluatorError, TacoStreamError
from taco_stream.evaluator.pool import Evaluator
from taco_stream.evaluator.settings import EvaluatorSettings
from taco_stream.events import EngineEvent, EvaluatorEvent
from taco_stream.machine import generating_cores
from taco_stream.store.manifest import versions
from taco_stream.types import Completion, Problem, Request

UNREPORTED_EVENTS = 1024
"""Events between two reports. A component waits if there are more, until the next report a second later."""

UNTAKEN_COMPLETIONS = 256
"""Completions that wait for a report: beyond, the engine admits nothing more."""


class NodeEngine:
    """An engine on a node. In a run it is fed and reports; one run follows another."""

    def __init__(self, blueprint: EngineBlueprint) -> None:
        self._blueprint = blueprint
        self._stopping = asyncio.Event()
        self._living: asyncio.Task[None] | None = None
        self._generating: asyncio.Task[None] | None = None
        self._engine: Engine | None = None
        self._failure: str | None = None
        self._requests: MemoryObjectSendStream[Request]
        self._completions: MemoryObjectReceiveStream[Completion]

    async def start(self, version: bytes) -> bytes:
        """Loads the model; a `Welcome`. A driver of another version is refused."""
        if reason := other_version(version):
            return encode(Refusal(reason))
        opened: asyncio.Future[Welcome] = asyncio.get_running_loop().create_future()
        self._living = asyncio.create_task(self._live(opened))
        return encode(await first_word(opened, self._living))

    async def begin(self) -> bytes:
        """Begins a run, after giving up the one before."""
        assert self._engine is not None
        if self._generating is not None:
            self._generating.cancel()
            await asyncio.wait([self._generating])
            self._requests.close()
            self._completions.close()
        self._requests, requests = anyio.create_memory_object_stream[Request](0)
        completions, self._completions = anyio.create_memory_object_stream[Completion](UNTAKEN_COMPLETIONS)
        self._failure = None
        self._generating = asyncio.create_task(self._generate(self._engine, requests, completions))
        return b""

    async def feed(self, request: bytes) -> bytes:
        """Returns when the engine has taken the request, which it does when it has room for it."""
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):  # it failed, as the next report says
            await self._requests.send(decode(request, Request))
        return b""

    async def end(self) -> bytes:
        """Nothing more is asked for in this run."""
        self._requests.close()
        return b""

    async def drain(self) -> bytes:
        """Starts no further sample."""
        assert self._engine is not None
        self._engine.drain()
        return b""

    async def take(self) -> bytes:
        """What is finished: a `Generated`."""
        assert self._engine is not None
        assert self._generating is not None
        taken: list[Completion] = []
        has_ended = False
        try:
            with anyio.move_on_after(REPORT_SECONDS):
                taken.append(await self._completions.receive())
                await anyio.sleep(LINGER_SECONDS)
                while len(taken) < MAX_REPORTED:
                    taken.append(self._completions.receive_nowait())
        except anyio.WouldBlock:
            pass
        except anyio.EndOfStream:
            await self._generating  # raises what is nobody's to handle, and thereby tells the driver
            has_ended = True
        report = Generated(
            completions=tuple(taken),
            statistics=self._engine.statistics(),
            events=take_all(self._events),
            has_ended=has_ended,
            failure=self._failure,
        )
        return encode(report)

    async def stop(self) -> bytes:
        """Ends the engine."""
        self._stopping.set()
        if self._generating is not None:
            self._generating.cancel()
            await asyncio.wait([self._generating])
            self._requests.close()
            self._completions.close()
        if self._living is not None:
            await asyncio.wait([self._living])
        return b""

    async def _live(self, opened: asyncio.Future[Welcome]) -> None:
        events, self._events = anyio.create_memory_object_stream[EngineEvent](UNREPORTED_EVENTS)
        if isinstance(self._blueprint, ScriptBlueprint):
            engine: ScriptedEngine | LocalEngine = ScriptedEngine(self._blueprint.script)
        else:
            engine = local_engine(self._blueprint, events)
        try:
            async with events, self._events, engine:
                self._engine = engine
                opened.set_result(Greeting(versions=versions()))
                await self._stopping.wait()
        except TacoStreamError as error:
            if not opened.done():
                opened.set_result(Refusal(str(error)))

    async def _generate(
        self,
        engine: Engine,
        requests: MemoryObjectReceiveStream[Request],
        completions: MemoryObjectSendStream[Completion],
    ) -> None:
        try:
            await engine.run(requests, completions)
        except EngineError as error:
            self._failure = str(error)


class NodeEvaluator:
    """An evaluator on a node: it is given programs, any number, and reports verdicts."""

    def __init__(self, settings: EvaluatorSettings) -> None:
        self._settings = settings
        self._stopping = asyncio.Event()
        self._living: asyncio.Task[None] | None = None
        self._evaluator: Evaluator | None = None
        self._problems: dict[int, Problem] = {}
        self._judging: set[asyncio.Task[None]] = set()
        self._verdicts: list[NumberedVerdicts] = []
        self._has_verdicts = asyncio.Event()
        self._failure: str | None = None
        self._error: BaseException | None = None

    async def start(self, version: bytes) -> bytes:
        """Starts the workers; a `Welcome`. A driver of another version is refused, and so is too weak a sandbox."""
        if reason := other_version(version):
            return encode(Refusal(reason))
        opened: asyncio.Future[Welcome] = asyncio.get_running_loop().create_future()
        self._living = asyncio.create_task(self._live(opened))
        return encode(await first_word(opened, self._living))

    async def submit(self, programs: bytes) -> bytes:
        """Begins to judge some `Programs`; their verdicts are in a later report."""
        assert self._evaluator is not None
        batch = decode(programs, Programs)
        self._problems.update(batch.problems)
        for program in batch.programs:
            judging = asyncio.create_task(self._judge(self._evaluator, program, self._problems[program.problem]))
            self._judging.add(judging)  # the loop itself keeps none
            judging.add_done_callback(self._end_judging)
        for number in batch.forgotten:
            self._problems.pop(number, None)
        return b""

    async def take(self) -> bytes:
        """What is judged: a `JudgedPrograms`."""
        assert self._evaluator is not None
        with anyio.move_on_after(REPORT_SECONDS):
            await self._has_verdicts.wait()
            await anyio.sleep(LINGER_SECONDS)
        if self._error is not None:
            raise self._error
        taken, self._verdicts = self._verdicts[:MAX_REPORTED], self._verdicts[MAX_REPORTED:]
        if not self._verdicts and self._failure is None:
            self._has_verdicts.clear()
        report = JudgedPrograms(
            verdicts=tuple(taken),
            statistics=self._evaluator.statistics(),
            events=take_all(self._events),
            failure=self._failure,
        )
        return encode(report)

    async def stop(self) -> bytes:
        """Ends the evaluator."""
        if self._judging:
            for judging in self._judging:
                judging.cancel()
            await asyncio.wait(self._judging)  # each kills its worker
        self._stopping.set()
        if self._living is not None:
            await asyncio.wait([self._living])
        return b""

    async def _live(self, opened: asyncio.Future[Welcome]) -> None:
        events, self._events = anyio.create_memory_object_stream[EvaluatorEvent](UNREPORTED_EVENTS)
        try:
            async with events, self._events, Evaluator(self._settings, events=events) as evaluator:
                self._evaluator = evaluator
                workers = evaluator.statistics().workers
                tier = evaluator.sandbox_tier
                opened.set_result(Greeting(workers=workers, sandbox_tier=tier, versions=versions()))
                await self._stopping.wait()
        except TacoStreamError as error:
            if not opened.done():
                opened.set_result(Refusal(str(error)))

    async def _judge(self, evaluator: Evaluator, program: NumberedProgram, problem: Problem) -> None:
        try:
            verdicts = await evaluator.judge_all_modes(problem, program.text)
        except EvaluatorError as error:
            self._failure = str(error)
        else:
            self._verdicts.append(NumberedVerdicts(program.ticket, dict(verdicts)))

    def _end_judging(self, judging: asyncio.Task[None]) -> None:
        self._judging.discard(judging)
        if not judging.cancelled():
            error = judging.exception()
            self._error = self._error or error
        self._has_verdicts.set()


async def first_word(opened: asyncio.Future[Welcome], living: asyncio.Task[None]) -> Welcome:
    """The greeting or refusal of a task that opens something. Raises what ends the task before it has said either."""
    either: set[asyncio.Future[Any]] = {opened, living}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if not opened.done():
        await living
    return await opened


def local_engine(blueprint: ModelBlueprint, events: MemoryObjectSendStream[EngineEvent]) -> LocalEngine:
    """The engine for a model on this node, where the demo's model is in the package."""
    settings = blueprint.settings
    if settings.model == "demo":
        settings = msgspec.structs.replace(settings, model=str(Path(taco_stream.demo.__file__).parent / "model"))
    threads = settings.threads or generating_cores(is_judged=blueprint.is_judged)
    return LocalEngine(msgspec.structs.replace(settings, threads=threads), events=events)


def other_version(version: bytes) -> str:
    """Why a driver of this version cannot be served; empty if it can."""
    driver = version.decode()
    return "" if driver == __version__ else f"it has taco-stream {__version__}, and the driver has {driver}"


Item = TypeVar("Item")


def take_all(stream: MemoryObjectReceiveStream[Item]) -> tuple[Item, ...]:
    """Whatever waits in the stream."""
    taken: list[Item] = []
    with suppress(anyio.WouldBlock, anyio.EndOfStream):
        while True:
            taken.append(stream.receive_nowait())
    return tuple(taken)
