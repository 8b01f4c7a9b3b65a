"""The generation worker: one process that keeps one device's batch full.

Started as `python -m taco_stream.engine.worker`. Frames of `protocol` come in on standard input and go out on what was
standard output; both are kept for frames before anything else is imported (`workers.child`). A thread reads frames into
a queue; everything else happens in the main thread, one after the other: import torch and transformers, which takes
seconds that the parent can use for something else; load the model that the first frame names; then, step by step, take
in what has arrived, compute, send what has finished.

Promised: every sample of every `Generate` is answered once, unless the process dies; then its parent starts another.
When standard input closes, the process ends at once, so that no worker outlives its parent.
"""

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
    Ready,
    Refused,
    ToWorker,
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
    threading.Thread(target=_read_frames, args=(incoming, decoder, frames), daemon=True).start()
    _import_libraries()
    load = frames.get()
    if not isinstance(load, Load):
        raise ValueError("a worker is told first what to load")
    try:
        core, ready = _start(load, outgoing)
    except TacoStreamError as error:
        write_frame(outgoing, Refused(message=str(error), is_usage=isinstance(error, UsageError)))
        return
    write_frame(outgoing, ready)
    _serve(core, frames, outgoing)


def _read_frames(incoming: BinaryIO, decoder: FrameDecoder[ToWorker], frames: "queue.SimpleQueue[ToWorker]") -> None:
    try:
        while (frame := decoder.read(incoming)) is not None:
            frames.put(frame)
    finally:
        os._exit(0)  # the parent is gone, perhaps within a frame, or wants no more: nothing is worth finishing


def _import_libraries() -> None:
    """Imports torch and transformers; loading a model then finds them."""
    # How often torch's threads look for each other before they sleep (GNU's OpenMP, which torch brings). Beside a busy
    # program on one of two cores they must not look for long; asleep, each wait costs the waking (`bench/LOG.md`).
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    import taco_stream.engine.worker.load  # noqa: F401


def _start(load: Load, outgoing: BinaryIO) -> tuple["EngineCore | GenerateCore", Ready]:
    """Loads the model."""
    from taco_stream.engine.worker.load import start

    load, devices = _with_one_device(load)
    core, ready = start(load, lambda event: write_frame(outgoing, EventFrame(event)))
    return core, msgspec.structs.replace(ready, devices=devices)


def _with_one_device(load: Load) -> tuple[Load, int]:
    """Settles `auto` on the first CUDA device, and lets this process see no other; how many there were, at least 1.

    Only torch knows whether there is one, so the parent cannot do this as it does for a device that is named. Torch
    counts devices without the driver (`device_count`, not `is_available`), which reads the environment once it is used.
    """
    import torch

    devices = torch.cuda.device_count()
    if load.device == "auto" and devices:
        os.environ.update(device_environment("cuda:0", os.environ))
        load = msgspec.structs.replace(load, device="cuda:0", sees_one_device=True)
    return load, max(1, devices)


def _serve(core: "EngineCore | GenerateCore", frames: "queue.SimpleQueue[ToWorker]", outgoing: BinaryIO) -> None:
    gauges_at = 0.0
    while True:
        while core.is_idle or not frames.empty():
            _take_in(core, frames.get())
            if core.is_idle:
                _send(outgoing, core.step())
        finished = core.step()
        # Before the last completion, so that the parent's figures are whole when it has everything.
        if core.is_idle or time.monotonic() - gauges_at >= GAUGES_SECONDS:
            gauges_at = time.monotonic()
            write_frame(outgoing, Gauges(core.statistics()))
        _send(outgoing, finished)


def _take_in(core: "EngineCore | GenerateCore", frame: ToWorker) -> None:
    match frame:
        case Generate(ticket, request, arrived_at):
            core.add(ticket, request, arrived_at)
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
