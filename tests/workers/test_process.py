"""A worker's process from its parent's side: frames, ends and their reasons."""

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import msgspec
import pytest
from anyio.abc import ByteReceiveStream
from hypothesis import given
from hypothesis import strategies as st

from taco_stream.workers import process
from taco_stream.workers.frames import encode_frame
from taco_stream.workers.process import FrameReceiver, WorkerGoneError, WorkerProcess


class Note(msgspec.Struct, frozen=True):
    text: str
    number: int = 0


notes = st.builds(Note, st.text(max_size=50), st.integers(-(2**63), 2**64 - 1))


class Pieces(ByteReceiveStream):
    """Bytes that arrive in pieces of one size, each of which a cancelled wait precedes."""

    def __init__(self, data: bytes, size: int) -> None:
        self._data = data
        self._size = size
        self._is_late = True

    async def receive(self, max_bytes: int = 65536) -> bytes:
        if self._is_late:
            await anyio.sleep_forever()
        size = min(self._size, max_bytes)
        piece, self._data = self._data[:size], self._data[size:]
        if not piece:
            raise anyio.EndOfStream
        self._is_late = True
        return piece

    async def aclose(self) -> None: ...

    def arrive(self) -> None:
        self._is_late = False


@given(st.lists(notes, max_size=4), st.integers(1, 40))
def test_frames_come_out_in_order_whatever_the_pieces_and_the_cancellations(values: list[Note], size: int) -> None:
    async def receive_all() -> list[Note]:
        stream = Pieces(b"".join(encode_frame(value) for value in values), size)
        receiver: FrameReceiver[Note] = FrameReceiver(stream, Note)
        received: list[Note] = []
        while True:
            with anyio.move_on_after(0):
                try:
                    received.append(await receiver.receive())
                except anyio.IncompleteRead:
                    return received
            stream.arrive()

    assert anyio.run(receive_all) == values


IMPORTS = """
import os, sys, time
import msgspec
from taco_stream.workers.child import exit_with_parent, take_pipes
from taco_stream.workers.frames import write_frame

class Note(msgspec.Struct):
    text: str

incoming, outgoing = take_pipes()
"""

Spawn = Callable[[str], Awaitable[WorkerProcess[Note]]]


@pytest.fixture
def spawn(tmp_path: Path) -> Spawn:
    """Starts a worker with a program of the test's own."""

    async def spawned(program: str) -> WorkerProcess[Note]:
        (tmp_path / "some_worker.py").write_text(IMPORTS + program)
        environment = {"PYTHONPATH": ":".join([str(tmp_path), *sys.path])}
        return await WorkerProcess[Note].spawn("some_worker", received=Note, environment=environment)

    return spawned


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("raise KeyError('shape')", "the worker has ended: exit code 1, KeyError: 'shape'"),
        ("os.kill(os.getpid(), 9)", "the worker has ended: signal 9"),
        ("print('Loading…', file=sys.stderr); os._exit(3)", "the worker has ended: exit code 3"),
        ("outgoing.write(b'\\xff' * 9); outgoing.flush(); time.sleep(60)", "malformed reply of the worker: "),
        ("write_frame(outgoing, Note(7)); time.sleep(60)", "malformed reply of the worker: "),
        ("time.sleep(60)", "the worker did not reply within 2 s"),
    ],
)
async def test_whatever_keeps_a_frame_from_coming_is_named(
    spawn: Spawn,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    program: str,
    reason: str,
) -> None:
    monkeypatch.setattr(process, "STOP_SECONDS", 0.5)
    worker = await spawn(program)
    with pytest.raises(WorkerGoneError) as raised:
        await worker.receive(2 if "2 s" in reason else None)
    await worker.stop()
    assert str(raised.value).startswith(reason)
    assert capfd.readouterr() == ("", ""), "the worker's standard error is on the terminal"


@pytest.mark.anyio
async def test_what_a_library_prints_does_not_get_between_frames(spawn: Spawn) -> None:
    worker = await spawn("print('hello'); os.write(1, b'x'); write_frame(outgoing, Note('a')); incoming.read()")
    assert await worker.receive() == Note("a")
    await worker.stop()
    assert worker.exit_reason() == "exit code 0"


@pytest.mark.anyio
async def test_sending_to_a_worker_that_has_ended_says_why(spawn: Spawn) -> None:
    worker = await spawn("raise ValueError('no')")
    with pytest.raises(WorkerGoneError):
        await worker.receive()
    with pytest.raises(WorkerGoneError, match="exit code 1, ValueError: no"):
        await worker.send(Note("x"))


@pytest.mark.anyio
async def test_a_worker_that_does_not_end_is_killed(spawn: Spawn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "STOP_SECONDS", 0.2)
    worker = await spawn("write_frame(outgoing, Note('up')); time.sleep(60)")
    await worker.receive()
    await worker.stop()
    assert worker.exit_reason() == "signal 9"
    assert not Path(f"/proc/{worker.pid}").exists()


@pytest.mark.anyio
async def test_a_worker_that_is_busy_ends_with_its_parent(spawn: Spawn) -> None:
    worker = await spawn(
        "exit_with_parent(incoming, grace_seconds=0); write_frame(outgoing, Note('up')); time.sleep(60)"
    )
    await worker.receive()
    await worker.close_stdin()
    with pytest.raises(WorkerGoneError, match="exit code 1"):
        await worker.receive()


@pytest.mark.anyio
async def test_a_process_that_cannot_be_started_is_a_worker_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(WorkerGoneError, match="no worker can be started"):
        await WorkerProcess[Note].spawn("some_worker", received=Note)


@pytest.mark.anyio
@pytest.mark.parametrize("end", [WorkerProcess.stop, WorkerProcess.kill])
async def test_a_cancelled_end_still_kills_and_reaps(
    spawn: Spawn, monkeypatch: pytest.MonkeyPatch, end: Callable[[WorkerProcess[Note]], Awaitable[None]]
) -> None:
    monkeypatch.setattr(process, "STOP_SECONDS", 0.5)
    worker = await spawn("write_frame(outgoing, Note('up')); time.sleep(60)")
    await worker.receive()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await end(worker)
    assert worker.exit_reason() == "signal 9"
    assert not Path(f"/proc/{worker.pid}").exists()
