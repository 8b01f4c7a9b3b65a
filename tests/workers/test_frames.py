"""A frame is read whole or refused."""

import io

import msgspec
import pytest

from taco_stream.workers.frames import MAX_FRAME_BYTES, FrameDecoder, FrameError, body_length, encode_frame, write_frame


class Note(msgspec.Struct, frozen=True):
    text: str
    number: int


def test_blocking_read_ends_with_none() -> None:
    stream = io.BytesIO()
    write_frame(stream, Note("a", 1))
    stream.seek(0)
    decoder: FrameDecoder[Note] = FrameDecoder(Note)
    assert decoder.read(stream) == Note("a", 1)
    assert decoder.read(stream) is None


@pytest.mark.parametrize("cut", [1, 3, 5])
def test_a_torn_frame_is_refused(cut: int) -> None:
    decoder: FrameDecoder[Note] = FrameDecoder(Note)
    with pytest.raises(FrameError, match="ended inside"):
        decoder.read(io.BytesIO(encode_frame(Note("abc", 1))[:cut]))


def test_a_corrupt_length_is_refused_before_memory_is_asked_for() -> None:
    with pytest.raises(FrameError, match="over the limit"):
        body_length((MAX_FRAME_BYTES + 1).to_bytes(4, "big"))


def test_a_frame_of_another_type_is_refused() -> None:
    decoder: FrameDecoder[Note] = FrameDecoder(Note)
    with pytest.raises(FrameError, match="agreed"):
        decoder.decode(msgspec.msgpack.encode({"text": 1}))
