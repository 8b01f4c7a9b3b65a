"""A spawned worker as its parent sees it: a process that speaks frames, and the reason if it ends.

Who runs: `python -P -m MODULE`, in a session of its own, so that Ctrl-C reaches only the parent. It imports nothing
from the folder in which the user happens to be (`-P`). Frames go over its standard input and output; the worker's side
is `child`. Its standard error is kept in a file and read once, when it has ended, for the exception that
it ended with: libraries print there, and a traceback would tear the live view.

Promised: a `WorkerProcess` exists only while there is a process, or its remains. Whatever keeps a frame from coming
(the worker has ended, takes too long, or sends something else) is one error, `WorkerGoneError`; the process is then of
no more use, and to be stopped. Stopping takes bounded time. A `receive` that is cancelled loses nothing.

Not covered: restarting. The frames that a new worker must be sent again are its handle's matter.

Runs under asyncio and trio.
"""

import os
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from typing import IO, Any, Generic, Self, TypeVar

import anyio
import msgspec
from anyio.abc import ByteReceiveStream, Process
from anyio.streams.buffered import BufferedByteReceiveStream

from taco_stream.workers.exception_log import LOG_TAIL_BYTES, last_exception
from taco_stream.workers.frames import HEADER_BYTES, FrameDecoder, FrameError, body_length, encode_frame

STOP_SECONDS = 5.0
"""How long a worker may take to end by itself before it is killed, and the kernel to end it then."""

T = TypeVar("T")


class WorkerGoneError(Exception):
    """A worker cannot be started, has ended, did not reply in time, or sent something that is not a frame."""


class WorkerProcess(Generic[T]):
    """One process that sends frames of type `T`; made by `spawn`, and to be stopped or killed in the end."""

    def __init__(self, process: Process, log: IO[bytes], received: Any) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._stdin = process.stdin
        self._frames: FrameReceiver[T] = FrameReceiver(process.stdout, received)
        self._log = log
        self._fault: str | None = None
        self._exception: str | None = None

    @classmethod
    async def spawn(
        cls, module: str, *arguments: str, received: Any, environment: Mapping[str, str] | None = None
    ) -> Self:
        """Starts the process, which sends frames of the type `received`; without `environment` it has the parent's.

        Raises `WorkerGoneError` if no process can be started.
        """
        # `-P`: without it a file `queue.py` in the user's folder would be imported for the standard library's.
        command = [sys.executable, "-P", "-m", module, *arguments]
        try:
            log = tempfile.TemporaryFile(prefix="taco-stream-worker-")  # noqa: SIM115 (closed with the process)
        except OSError as error:
            raise WorkerGoneError(f"no worker can be started: {error}") from error
        try:
            # A session of its own: Ctrl-C goes to the whole foreground group, and only the parent may decide about it.
            process = await anyio.open_process(command, stderr=log, env=environment, start_new_session=True)
        except BaseException as error:
            log.close()
            if isinstance(error, OSError):
                raise WorkerGoneError(f"no worker can be started: {error}") from error
            raise
        return cls(process, log, received)

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    async def send(self, frame: msgspec.Struct) -> None:
        """Sends a frame. Raises `WorkerGoneError` if the worker has ended, or its standard input is closed."""
        try:
            await self._stdin.send(encode_frame(frame))
        # Broken: the reading end is gone. Closed: our own end is, because `close_stdin` was called before.
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise WorkerGoneError(await self._wait_for_end()) from error

    async def receive(self, seconds: float | None = None) -> T:
        """The next frame. Raises `WorkerGoneError` if none comes within `seconds`, or none ever will."""
        try:
            with anyio.fail_after(seconds):
                return await self._frames.receive()
        except TimeoutError as error:
            raise WorkerGoneError(f"the worker did not reply within {seconds:.0f} s") from error
        except FrameError as error:
            self._fault = str(error)
            raise WorkerGoneError(f"malformed reply of the worker: {error}") from error
        except (anyio.IncompleteRead, anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise WorkerGoneError(await self._wait_for_end()) from error

    async def close_stdin(self) -> None:
        """Closes the process's standard input, by which it learns that it is to end."""
        with suppress(anyio.BrokenResourceError):
            await self._stdin.aclose()

    async def stop(self) -> None:
        """Closes standard input, gives the process `STOP_SECONDS` to end by itself, then kills it."""
        # Shielded, and bounded below: a caller that is cancelled here would leave a process behind.
        with anyio.CancelScope(shield=True):
            await self.close_stdin()
            with anyio.move_on_after(STOP_SECONDS):
                await self._process.wait()
            await self.kill()

    async def kill(self) -> None:
        """Ends the process at once, in the middle of its work."""
        with anyio.CancelScope(shield=True):
            if self._process.returncode is None:
                with suppress(ProcessLookupError):
                    self._process.kill()
            with anyio.move_on_after(STOP_SECONDS):  # one in the kernel's hands (a device that hangs) may stay
                await self._process.aclose()
        # Read only now: the last lines say how it ended. The file has no name, so closing removes it.
        if not self._log.closed:
            self._log.seek(0, os.SEEK_END)
            self._log.seek(max(0, self._log.tell() - LOG_TAIL_BYTES))
            self._exception = last_exception(self._log.read().decode(errors="replace"))
            self._log.close()

    def fail(self, fault: str) -> None:
        """Ends the process for a fault that the parent has found, which becomes the reason; `receive` then raises."""
        self._fault = fault
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()

    def exit_reason(self) -> str:
        """How the stopped process ended and, if its frames or an exception were the reason, which."""
        code = self._process.returncode
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        detail = self._fault or self._exception
        return f"{how}, {detail}" if detail else how

    async def _wait_for_end(self) -> str:
        """Waits for the end of a process whose pipe is broken; that it has ended, and why."""
        await self.stop()
        return f"the worker has ended: {self.exit_reason()}"


class FrameReceiver(Generic[T]):
    """Receives frames of one type from a stream of bytes, whatever the boundaries the bytes arrive in."""

    def __init__(self, stream: ByteReceiveStream, received: Any) -> None:
        self._bytes = BufferedByteReceiveStream(stream)
        self._decoder: FrameDecoder[T] = FrameDecoder(received)
        self._length: int | None = None  # kept, so that a `receive` that is cancelled before the body loses nothing

    async def receive(self) -> T:
        """The next frame. Raises `FrameError` if it is malformed, `anyio.IncompleteRead` if the stream ends first."""
        if self._length is None:
            self._length = body_length(await self._bytes.receive_exactly(HEADER_BYTES))
        body = await self._bytes.receive_exactly(self._length)
        self._length = None
        return self._decoder.decode(body)
