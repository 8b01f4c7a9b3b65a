"""Length-prefixed MessagePack frames: how a parent and its spawned workers speak over pipes.

A frame is four bytes, the length of the body as a big-endian unsigned integer, then the body: one MessagePack value,
decoded into the struct (or tagged union of structs) that the receiving side names. Nothing is ever unpickled.
A frame of more than `MAX_FRAME_BYTES` is refused on both sides, so a corrupt length cannot ask for all of memory.

`read` and `write_frame` block, for workers; a parent's event loop reads and writes by its own means (`process`).
"""

import struct
from typing import IO, Any, Generic, TypeVar

import msgspec

MAX_FRAME_BYTES = 1 << 30

HEADER_BYTES = 4

_LENGTH = struct.Struct(">I")
_ENCODER = msgspec.msgpack.Encoder()

T = TypeVar("T")


class FrameError(Exception):
    """The bytes received are not a frame of the agreed type."""


def encode_frame(value: msgspec.Struct) -> bytes:
    """The bytes of one frame. Raises `FrameError` if the value is too large."""
    body = _ENCODER.encode(value)
    if len(body) > MAX_FRAME_BYTES:
        raise FrameError(f"a frame of {len(body):,} bytes is over the limit of {MAX_FRAME_BYTES:,}")
    return _LENGTH.pack(len(body)) + body


def write_frame(stream: IO[bytes], value: msgspec.Struct) -> None:
    """Writes one frame and flushes it."""
    stream.write(encode_frame(value))
    stream.flush()


def body_length(header: bytes) -> int:
    """The length that a frame's first four bytes announce. Raises `FrameError` if it is over the limit."""
    (length,) = _LENGTH.unpack(header)
    if length > MAX_FRAME_BYTES:
        raise FrameError(f"a frame announces {length:,} bytes, over the limit of {MAX_FRAME_BYTES:,}")
    return int(length)


class FrameDecoder(Generic[T]):
    """Decodes frames of one type."""

    def __init__(self, kind: Any) -> None:
        self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(kind)

    def decode(self, body: bytes) -> T:
        """The value of a frame's body. Raises `FrameError` if it is not of the agreed type."""
        try:
            return self._decoder.decode(body)
        except msgspec.MsgspecError as error:
            raise FrameError(f"a frame is not of the agreed type: {error}") from error

    def read(self, stream: IO[bytes]) -> T | None:
        """Blocks for the next value of `stream`; None at its end. Raises `FrameError` if it is torn or malformed."""
        header = _read_exactly(stream, HEADER_BYTES)
        if not header:
            return None
        if len(header) < HEADER_BYTES:
            raise FrameError("the stream ended inside a frame's length")
        length = body_length(header)
        body = _read_exactly(stream, length)
        if len(body) < length:
            raise FrameError("the stream ended inside a frame")
        return self.decode(body)


def _read_exactly(stream: IO[bytes], size: int) -> bytes:
    """`size` bytes, fewer only if the stream ends first."""
    parts = bytearray()
    while len(parts) < size:  # a raw stream returns fewer bytes if there are no more yet
        part = stream.read(size - len(parts))
        if not part:
            break
        parts += part
    return bytes(parts)
