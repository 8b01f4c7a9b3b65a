"""The local engine: transformers models on this machine's devices, one spawned worker process per device.

Who runs: `LocalEngine` in the event loop of the caller (it imports no torch), and one worker (`worker_handle`) per
device, spoken to in the frames of `protocol`. Requests are cut into chunks of one prompt and up to 32 samples in one
queue (`chunk_queue`); a worker takes chunks as long as it has fewer samples than its slots and a little more, so that
devices take work by demand.

Promised: a worker that dies is started again and given everything it has not answered; samples come out the same,
because they depend on (seed, problem, index) alone. A request that kills workers is found out and answered as an
error. A worker that hangs is killed, which is a death like any other (`silence_clock`). A worker that keeps dying is
dropped, and the others are given what it had not answered; if it was the last, the run ends with `EngineError`, after
everything that was generated has been handed over. A completion is in flight until the caller has taken it, so a caller
who stops taking stops admission while what is decoding goes on, and memory stays bounded. A worker whose pipe is
closed, by whatever death of the parent, ends by itself.

Not covered: a worker that hangs while it loads the model for the first time. A download or a slow disk takes as long
as it takes, and nothing is known of the model's speed yet.
"""

import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Self

import anyio
import msgspec
from anyio.abc import ObjectReceiveStream, ObjectSendStream

from taco_stream.engine.local.chunk_queue import ChunkQueue
from taco_stream.engine.local.worker_handle import SAMPLES_PER_CHUNK, Chunk, WorkerHandle, add
from taco_stream.engine.protocol import EventFrame, Finished, FromWorker, Gauges, Load, Ready
from taco_stream.engine.settings import ModelSettings
from taco_stream.engine.stream import completions
from taco_stream.errors import EngineError, ModelError, UsageError
from taco_stream.events import DeviceDropped, EngineEvent
from taco_stream.machine import available_cores
from taco_stream.statistics import EngineStatistics
from taco_stream.types import Completion, Request
from taco_stream.workers.process import WorkerGoneError


class LocalEngine(anyio.AsyncContextManagerMixin):
    """Generates with a transformers model folder or hub id.

    `model` is a name, or the settings with it, whose `threads` are one for each core by default. `context_length` is
    the longest prompt with its completion, by default the longest that the model allows. A model whose
    generation_config.json asks for something not done here (a repetition penalty, say) is refused unless
    `ignore_generation_config` names the field. Whatever happens to the engine itself (restarts, shrunk batches) is sent
    to `events`, and dropped once that is closed.
    """

    _intake: anyio.CancelScope  # of a run, since a scope needs a running event loop
    _queue: ChunkQueue  # of a run

    def __init__(
        self,
        model: ModelSettings | str | Path,
        *,
        context_length: int | None = None,
        events: ObjectSendStream[EngineEvent] | None = None,
    ) -> None:
        settings = model if isinstance(model, ModelSettings) else ModelSettings(model=str(model))
        self._load = Load(
            model=settings.model,
            dtype=settings.dtype,
            batch_size=settings.batch_size,
            context_length=context_length,
            quantize=settings.quantize,
            reproducible=settings.reproducible,
            ignore_generation_config=settings.ignore_generation_config,
        )
        self._devices = tuple(name.strip() for name in settings.devices.split(",") if name.strip())
        self._threads = settings.threads or available_cores()
        self._events = events
        self._early_events: list[EngineEvent] = []
        self._workers: list[WorkerHandle] = []
        self._first: WorkerHandle | None = None
        self._tickets = 0
        self._draining = False
        self._samples_finished = 0
        self._failure: EngineError | None = None
        self._is_open = self._is_running = False

    @asynccontextmanager
    async def prepared(self) -> AsyncIterator[None]:
        """Inside, the first worker's process is there and imports its libraries, which takes seconds.

        For callers who have other things to prepare until they enter the engine. Raises `UsageError` as entering does.
        """
        self._first = self._new_worker(self._named_devices()[0])
        try:
            await self._first.prepare()
            yield
        finally:
            if self._first is not None:  # the engine was not entered
                await self._first.stop()

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        """The model is loaded and its workers run. Entering raises `ModelError` or `UsageError`.

        Leaving ends the workers: asks, waits up to `STOP_SECONDS`, kills.
        """
        names = self._named_devices()
        try:
            worker, self._first = self._first or self._new_worker(names[0]), None
            first = await self._start(worker)
            others = names[1:]
            # How many devices there are is known only once a worker has imported torch.
            if names == ("auto",) and first.device.startswith("cuda"):
                others = tuple(f"cuda:{index}" for index in range(1, first.devices))
            await self._start_others(others)
            self._is_open = True
            yield self
        finally:
            self._is_open = False
            with anyio.CancelScope(shield=True):
                # All are asked before one is waited for: each may take seconds to let its device go.
                for worker in self._workers:
                    await worker.close_stdin()
                for worker in self._workers:
                    await worker.stop()

    async def run(self, requests: ObjectReceiveStream[Request], completions: ObjectSendStream[Completion]) -> None:
        """Generates every sample of every request. Raises `EngineError` after handing over the completions so far.

        One at a time: raises `EngineError` if the engine is not open, or is generating.
        """
        async with requests, completions:
            if not self._is_open:
                raise EngineError("the engine is not open: use it inside `async with`")
            if self._is_running:
                raise EngineError("the engine is generating: finish the other iteration first")
            if self._failure is not None:
                raise self._failure
            self._is_running = True
            self._intake = anyio.CancelScope()
            self._queue = ChunkQueue(self._workers)
            try:
                async with anyio.create_task_group() as tasks:
                    for worker in self._workers:
                        if not worker.is_dropped:
                            tasks.start_soon(self._serve, worker, completions)
                    tasks.start_soon(self._accept, requests)
                    await self._send_early_events()
            finally:
                # After a cancelled run the workers would go on decoding samples that nobody waits for.
                with anyio.CancelScope(shield=True), anyio.move_on_after(1):
                    for worker in self._workers:
                        await worker.cancel()
                self._is_running = False
        if self._failure is not None:
            raise self._failure

    def generate(
        self, requests: Iterable[Request] | AsyncIterable[Request]
    ) -> AbstractAsyncContextManager[AsyncIterator[Completion]]:
        """Generates for a plain iterable: `async with engine.generate(requests) as completions` (`completions`)."""
        return completions(self, requests)

    def drain(self) -> None:
        """Starts no further sample: those decoding are finished, those waiting come back as `cancelled`."""
        self._draining = True
        for worker in self._workers:
            worker.drain()

    def statistics(self) -> EngineStatistics:
        """The sum of the workers' last reports."""
        total = EngineStatistics()
        for worker in self._workers:
            total = add(total, worker.statistics())
        dropped = sum(worker.is_dropped for worker in self._workers)
        return msgspec.structs.replace(
            total,
            samples_finished=self._samples_finished,
            devices=len(self._workers) - dropped,
            devices_dropped=dropped,
            cores=sum(each.cores for each in self._workers if not each.is_dropped) if self._is_open else 0,
        )

    def worker_pids(self) -> tuple[int, ...]:
        """The worker processes, one per device."""
        return tuple(worker.pid for worker in self._workers if worker.pid is not None)

    async def _accept(self, requests: ObjectReceiveStream[Request]) -> None:
        """Cuts requests into chunks and offers each to whichever worker wants one next."""
        try:
            with self._intake:
                async for request in requests:
                    arrived_at = time.monotonic()
                    for start in range(0, len(request.sample_indices), SAMPLES_PER_CHUNK):
                        indices = request.sample_indices[start : start + SAMPLES_PER_CHUNK]
                        await self._queue.put(Chunk(request, arrived_at, set(indices)))
        finally:
            self._queue.close()

    async def _serve(self, worker: WorkerHandle, completions: ObjectSendStream[Completion]) -> None:
        """Runs one worker until every chunk is answered and all that it finished has been taken."""
        worker.is_fed = False
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._read, worker)
            tasks.start_soon(self._feed, worker)
            tasks.start_soon(self._relay_drain, worker)
            tasks.start_soon(worker.watch)
            await self._hand_over(worker, completions)
            tasks.cancel_scope.cancel()

    async def _feed(self, worker: WorkerHandle) -> None:
        """Takes chunks while the worker's capacity is not in flight."""
        while not worker.is_dropped and (chunk := await self._queue.take(worker)) is not None:
            if worker.is_draining:
                worker.finished.extend(chunk.cancelled())
                worker.notify()
            else:
                # At once, so that it is never in nobody's hands: sending may wait for a restart, which may fail.
                self._tickets += 1
                worker.chunks[self._tickets] = chunk
                async with worker.writing:
                    await worker.send_due()
            while worker.in_flight >= worker.capacity and not worker.is_dropped:
                await worker.changed.wait()
        worker.is_fed = True
        worker.notify()

    async def _hand_over(self, worker: WorkerHandle, completions: ObjectSendStream[Completion]) -> None:
        """Passes completions on; those that the caller has not taken stay in flight."""
        while not (worker.is_fed and worker.in_flight == 0):
            if not worker.finished:
                await worker.changed.wait()
                continue
            # It leaves the queue only when it has been taken: until then it counts as in flight.
            await completions.send(worker.finished[0])
            worker.finished.popleft()
            worker.notify()

    async def _relay_drain(self, worker: WorkerHandle) -> None:
        while not worker.is_draining:
            await worker.changed.wait()
        async with worker.writing:
            await worker.send_drain()
            await worker.send_due()

    async def _read(self, worker: WorkerHandle) -> None:
        """Takes in the worker's frames, and has it restarted whenever it ends."""
        while True:
            try:
                await self._take_in(worker, await worker.receive())
            except WorkerGoneError:
                try:
                    await worker.restart(self._send_event, partial(self._appeal, worker))
                except EngineError as failure:
                    if self._queue.has_others(worker):
                        await self._drop(worker, failure)
                    else:
                        self._give_up(worker, failure)
                    return
            # From its end on, others may have room for what this worker has not begun.
            if not worker.chunks or self._queue.is_closed:
                self._queue.notify()

    async def _take_in(self, worker: WorkerHandle, frame: FromWorker) -> None:
        match frame:
            case Finished(ticket, completion):
                if (chunk := worker.take_back(ticket, completion)) is not None:
                    self._queue.put_back([chunk])
                elif worker.record_completion(ticket, completion):
                    self._samples_finished += 1
                if worker.trials:  # the next group may be due
                    async with worker.writing:
                        await worker.send_due()
            case Gauges(statistics):
                worker.gauges = statistics
                worker.notify()
            case EventFrame(event):
                await self._send_event(event)
            case _:
                raise WorkerGoneError("the worker announced itself twice")

    def _appeal(self, worker: WorkerHandle, chunk: Chunk) -> bool:
        """Has another worker try a chunk that this one condemns; False if there is no other."""
        if not self._queue.has_others(worker):
            return False
        self._queue.put_back([chunk])
        return True

    async def _drop(self, worker: WorkerHandle, failure: EngineError) -> None:
        """Goes on without a worker: the others are given what it has not answered."""
        worker.is_dropped = True
        unanswered = list(worker.chunks.values())
        worker.abandon()
        self._queue.put_back(unanswered)
        worker.notify()
        device = worker.load.device
        left = sum(not each.is_dropped for each in self._workers)
        message = f"{failure}; the run goes on without {device}, on {left} of {len(self._workers)} devices"
        await self._send_event(DeviceDropped(device=device, message=message))

    def _give_up(self, worker: WorkerHandle, failure: EngineError) -> None:
        """Lets the run end: nothing more is taken in, the other workers finish what is decoding."""
        self._failure = failure
        worker.abandon()
        self._intake.cancel()
        self.drain()
        self._queue.notify()

    async def _start_others(self, devices: tuple[str, ...]) -> None:
        """Starts workers side by side: each takes as long as its model takes to load."""
        failures: list[ModelError | UsageError] = []

        async def start(device: str) -> None:
            try:
                await self._start(self._new_worker(device, among=len(devices) + 1))
            except (ModelError, UsageError) as error:
                failures.append(error)

        async with anyio.create_task_group() as tasks:
            for device in devices:
                tasks.start_soon(start, device)
        if failures:
            raise failures[0]

    def _named_devices(self) -> tuple[str, ...]:
        if not self._devices:
            raise UsageError("no device was named: give auto, cpu, or a list such as cuda:0,cuda:1")
        return self._devices

    def _new_worker(self, device: str, *, among: int = 1) -> WorkerHandle:
        """A worker that is not started, with its share of the threads among so many, or among the devices named."""
        threads = max(1, self._threads // max(among, len(self._devices)))
        return WorkerHandle(
            msgspec.structs.replace(self._load, device=device, threads=threads), is_draining=self._draining
        )

    async def _start(self, worker: WorkerHandle) -> Ready:
        self._workers.append(worker)
        self._early_events += await worker.start()
        assert worker.ready is not None
        return worker.ready

    async def _send_early_events(self) -> None:
        events, self._early_events = self._early_events, []
        for event in events:
            await self._send_event(event)

    async def _send_event(self, event: EngineEvent) -> None:
        if self._events is not None:
            # A reader that has gone is not a worker that has died, which `_read` would take it for.
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                await self._events.send(event)
