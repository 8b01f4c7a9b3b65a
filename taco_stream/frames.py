"""Length-prefixed MessagePack frames: how a parent and its spawned workers speak over pipes.

A frame is four bytes, the length of the body as a big-endian unsigned integer, then the body: one MessagePack value,
decoded into the struct (or tagged union of structs) that the receiving side names. Nothing is ever unpickled.
A frame of more than `MAX_FRAME_BYTES` is refused on both sides, so a corrupt length cannot ask for all of memory.

The blocking half (`read_frame`, `write_frame`) serves workers; `encode_frame` and `FrameDecoder` serve the event loop,
which reads and writes by its own means.
"""

import struct
from collections.abc import Iterator
from typing import IO, Any, Generic, TypeVar

import msgspec

MAX_FRAME_BYTES = 1 << 30

_LENGTH = struct.Struct(">I")
_ENCODER = msgspec.msgpack.Encoder()

T = TypeVar("T")


class FrameError(Exception):
    """The bytes received are not a frame of the agreed type."""


def encode_frame(value: msgspec.Struct) -> bytes:
    """The bytes of one frame. Raises `FrameError` where the value is too large."""
    body = _ENCODER.encode(value)
    if len(body) > MAX_FRAME_BYTES:
        raise FrameError(f"a frame of {len(body):,} bytes is over the limit of {MAX_FRAME_BYTES:,}")
    return _LENGTH.pack(len(body)) + body


class FrameDecoder(Generic[T]):
    """Turns a stream of bytes into values of one type, whatever the boundaries the bytes arrive in."""

    def __init__(self, kind: Any) -> None:
        self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(kind)
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[T]:
        """Yields every value completed by `data`. Raises `FrameError` where a frame is too large or malformed."""
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            _check_length(length)
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            yield self._decode(body)

    def read(self, stream: IO[bytes]) -> T | None:
        """Blocks for the next value of `stream`; None at its end. Not to be mixed with `feed`."""
        header = _read_exactly(stream, _LENGTH.size)
        if not header:
            return None
        (length,) = _LENGTH.unpack(header)
        _check_length(length)
        body = _read_exactly(stream, length)
        if len(body) < length:
            raise FrameError("the stream ended inside a frame")
        return self._decode(body)

    def _decode(self, body: bytes) -> T:
        try:
            return self._decoder.decode(body)
        except msgspec.MsgspecError as error:
            raise FrameError(f"a frame does not hold what was agreed: {error}") from error


def write_frame(stream: IO[bytes], value: msgspec.Struct) -> None:
    """Writes one frame and flushes it."""
    stream.write(encode_frame(value))
    stream.flush()


def _check_length(length: int) -> None:
    if length > MAX_FRAME_BYTES:
        raise FrameError(f"a frame announces {length:,} bytes, over the limit of {MAX_FRAME_BYTES:,}")


def _read_exactly(stream: IO[bytes], size: int) -> bytes:
    """`size` bytes, fewer only where the stream ends first."""
    parts = bytearray()
    while len(parts) < size:
        part = stream.read(size - len(parts))
        if not part:
            break
        parts += part
    if parts and len(parts) < size and size == _LENGTH.size:
        raise FrameError("the stream ended inside a frame's length")
    return bytes(parts)
