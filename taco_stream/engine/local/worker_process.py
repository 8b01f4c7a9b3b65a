"""One generation worker as its parent sees it: a process that is started, spoken to, and ended.

The process is `python -P -m taco_stream.engine.worker`, in a session of its own, so that Ctrl-C reaches only the
parent. It imports nothing from the folder in which the user happens to be (`-P`), and of the accelerators it sees its
own alone (`visible_devices`). Frames go over its standard input and output; what it writes to standard error is kept in
a file that is read only when it has died, for the exception that it died of.

A process may be spawned before it is started: it then imports its libraries and waits for what it is to load.

Promised: starting returns when the model is loaded, or raises what the worker said; ending takes bounded time; sending
to a dead worker is no error, for whoever receives finds out.
"""

import contextlib
import os
import re
import sys
import tempfile

import anyio
import msgspec
from anyio.abc import Process

from taco_stream.engine.protocol import FromWorker, Load, Noted, Ready, Refused, ToWorker
from taco_stream.engine.visible_devices import environment_of
from taco_stream.errors import ModelError, UsageError
from taco_stream.events import EngineEvent
from taco_stream.frames import FrameDecoder, FrameError, encode_frame

STOP_SECONDS = 5.0
"""How long a worker may take to end by itself before it is killed."""

QUIET = {"HF_HUB_DISABLE_PROGRESS_BARS": "1"}
"""Nobody sees the bars, and they would push what matters out of the log's end."""

LOG_TAIL_BYTES = 16384

EXCEPTION = re.compile(r"([\w.]+\.)?\w*(Error|Exception|Interrupt|Exit)(:|$)|Fatal Python error|\S+: No module named")
"""How Python's last line of a traceback begins, or the only line where there is none."""

WORKER_DIED = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, FrameError)
"""What receiving from a worker raises that has died, was ended, or speaks nonsense."""


class WorkerProcess:
    """The process that serves `load`, and its successors after a crash."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self._log = tempfile.TemporaryFile(prefix="taco-stream-worker-")  # noqa: SIM115 (closed in `close`)
        self._process: Process | None = None
        self._decoder: FrameDecoder[FromWorker] = FrameDecoder(FromWorker)
        self._is_waiting = False

    @property
    def pid(self) -> int | None:
        """The process's number, None before the first start."""
        return None if self._process is None else self._process.pid

    async def spawn(self) -> None:
        """Starts the process, which then waits for `start`. Raises `UsageError` if its device is hidden from it."""
        self._log.seek(0)
        self._log.truncate()
        self._decoder = FrameDecoder(FromWorker)
        environment = environment_of(self.load.device, os.environ) | QUIET
        command = [sys.executable, "-P", "-m", "taco_stream.engine.worker"]
        self._process = await anyio.open_process(command, stderr=self._log, env=environment, start_new_session=True)
        self._is_waiting = True

    async def start(self) -> tuple[Ready, list[EngineEvent]]:
        """Starts the process, or the one that waits; returns what it says when it is ready, and what it noted before.

        Raises `ModelError` or `UsageError` as the worker says, `ModelError` if it dies while loading, and what `spawn`
        does.
        """
        if not self._is_waiting:
            await self.spawn()
        self._is_waiting = False
        await self.send(msgspec.structs.replace(self.load, sees_one_device=self.load.device.startswith("cuda")))
        noted: list[EngineEvent] = []
        try:
            while True:
                for frame in await self.receive():
                    match frame:
                        case Ready():
                            return frame, noted
                        case Refused(message=message, is_usage=is_usage):
                            raise UsageError(message) if is_usage else ModelError(message)
                        case Noted(event):
                            noted.append(event)
        except WORKER_DIED as error:
            raise ModelError(f"the worker died while loading {self.load.model}: {self.last_words()}") from error

    async def receive(self) -> list[FromWorker]:
        """The next frames, at least part of one; raises one of `WORKER_DIED`."""
        assert self._process is not None
        assert self._process.stdout is not None
        return list(self._decoder.feed(await self._process.stdout.receive(1 << 20)))

    async def send(self, frame: ToWorker) -> None:
        """Sends a frame; a worker that is dead gets nothing, and its reader finds out."""
        assert self._process is not None
        assert self._process.stdin is not None
        with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            await self._process.stdin.send(encode_frame(frame))

    async def dismiss(self) -> None:
        """Closes the process's input, by which it learns that it is to end."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(anyio.BrokenResourceError):
                await self._process.stdin.aclose()

    async def end(self) -> None:
        """Dismisses the process, waits a bounded time for it to end, then kills it."""
        if self._process is None:
            return
        with anyio.CancelScope(shield=True):
            await self.dismiss()
            with anyio.move_on_after(STOP_SECONDS):
                await self._process.wait()
            if self._process.returncode is None:
                self._process.kill()
            with anyio.move_on_after(STOP_SECONDS):
                await self._process.aclose()

    def close(self) -> None:
        """Lets go of what the process wrote to standard error; it must have ended."""
        self._log.close()

    def last_words(self) -> str:
        """How the process ended and, if it was an exception, which."""
        code = self._process.returncode if self._process is not None else None
        self._log.seek(0, 2)
        self._log.seek(max(0, self._log.tell() - LOG_TAIL_BYTES))
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        exception = last_exception(self._log.read().decode(errors="replace"))
        return f"{how}, {exception}" if exception else how


def last_exception(log: str) -> str | None:
    """The last line of a log that names an exception, None if none does: whatever else libraries write is no reason."""
    lines = [line.strip() for line in log.splitlines()]
    return next((line for line in reversed(lines) if EXCEPTION.match(line)), None)
