"""The generation worker: one process that keeps one device's batch full.

Started as `python -m taco_stream.engine.worker`. Frames of `protocol` come in on standard input and go out on what was
standard output; both are kept for frames before anything else is imported (`workers.child`). A thread reads frames into
a queue; everything else happens in the main thread, one after the other: import torch and transformers, which takes
seconds that the parent can use for something else; load the model that the first frame names; then, step by step, take
in what has arrived, compute, send what has finished.

Promised: every sample of every `Generate` is answered once, unless the process dies; then its parent starts another.
When standard input closes, the process ends at once, so that no worker outlives its parent.
"""

import gc
import os
import queue
import threading
import time
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from taco_stream.engine.protocol import (
    Cancel,
    Drain,
    EventFrame,
    Finished,
    Gauges,
    Generate,
    Load,
    Refused,
    ToWorker,
    Withdraw,
)
from taco_stream.engine.visible_devices import device_environment
from taco_stream.errors import TacoStreamError, UsageError
from taco_stream.workers.child import take_pipes
from taco_stream.workers.frames import FrameDecoder, write_frame

if TYPE_CHECKING:
    from taco_stream.engine.worker.core import EngineCore
    from taco_stream.engine.worker.fallback import GenerateCore
GAUGES_SECONDS = 0.5


def main() -> None:
    """Serves one parent until it closes the pipe."""
    incoming, outgoing = take_pipes()
    decoder: FrameDecoder[ToWorker] = FrameDecoder(ToWorker)
    frames: queue.SimpleQueue[ToWorker] = queue.SimpleQueue()
    # The thread runs before the imports and while the model loads, so that a parent that dies meanwhile is noticed.
    threading.Thread(target=_read_frames, args=(incoming, decoder, frames), daemon=True).start()
    # How often torch's threads look for each other before they sleep (GNU's OpenMP, which torch brings). Beside a busy
    # program on one of two cores they must not look for long; asleep, each wait costs the waking (`bench/LOG.md`).
    # OpenMP reads the variable once, when torch is imported.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    # Objects that the import makes live as long as the process, and the collector would go over them time and again: a
    # fifth of the time until the worker is ready (`bench/LOG.md`).
    gc.disable()
    from taco_stream.engine.worker.load import start

    gc.freeze()
    gc.enable()
    load = frames.get()
    if not isinstance(load, Load):
        raise ValueError("the first frame of a worker names the model to load")
    try:
        load, devices = _with_one_device(load)
        core, ready = start(load, lambda event: write_frame(outgoing, EventFrame(event)))
    except TacoStreamError as error:
        write_frame(outgoing, Refused(message=str(error), is_usage=isinstance(error, UsageError)))
        return
    write_frame(outgoing, msgspec.structs.replace(ready, devices=devices))
    _serve(core, frames, outgoing)


def _read_frames(incoming: BinaryIO, decoder: FrameDecoder[ToWorker], frames: "queue.SimpleQueue[ToWorker]") -> None:
    try:
        while (frame := decoder.read(incoming)) is not None:
            frames.put(frame)
    finally:
        # The parent is gone, perhaps within a frame, or wants no more: nothing is worth finishing. `sys.exit` in a
        # thread would end only the thread, while the main one may be in a forward of seconds.
        os._exit(0)


def _with_one_device(load: Load) -> tuple[Load, int]:
    """Settles `auto` on the first CUDA device, and lets this process see no other; how many there were, at least 1."""
    import torch

    # `device_count`, unlike `is_available`, does not start the driver, which reads the environment only once.
    devices = torch.cuda.device_count()
    # Only torch knows whether there is one, so the parent cannot do this as it does for a device that is named.
    if load.device == "auto" and devices:
        os.environ.update(device_environment("cuda:0", os.environ))
        load = msgspec.structs.replace(load, device="cuda:0", sees_one_device=True)
    return load, max(1, devices)


def _serve(core: "EngineCore | GenerateCore", frames: "queue.SimpleQueue[ToWorker]", outgoing: BinaryIO) -> None:

    gauges_at = 0.0

    def send_gauges() -> None:
        nonlocal gauges_at
        if core.is_idle or time.monotonic() - gauges_at >= GAUGES_SECONDS:
            gauges_at = time.monotonic()
            write_frame(outgoing, Gauges(core.statistics()))

    if hasattr(core, "on_token"):  # transformers' `generate`, of which a step is a whole batch
        core.on_token = send_gauges
    while True:
        # Everything that has arrived is taken in before a step, so that it can share the step's batch.
        while core.is_idle or not frames.empty():
            _take_in(core, frames.get())
            # Still idle: all of it was refused or cancelled, and only a step hands that over.
            if core.is_idle:
                _send(outgoing, core.step())
        finished = core.step()
        # Before the last completion, so that the parent's figures are whole when it has everything.
        send_gauges()
        _send(outgoing, finished)


def _take_in(core: "EngineCore | GenerateCore", frame: ToWorker) -> None:
    match frame:
        case Generate(ticket, request, arrived_at):
            core.add(ticket, request, arrived_at)
        case Withdraw(ticket, sample_indices):
            core.withdraw(ticket, frozenset(sample_indices))
        case Cancel(tickets):
            core.cancel(frozenset(tickets))
        case Drain():
            core.drain()
        case Load():
            raise ValueError("a worker loads one model")


def _send(outgoing: BinaryIO, finished: list[Finished]) -> None:
    for frame in finished:
        write_frame(outgoing, frame)


if __name__ == "__main__":
    main()
