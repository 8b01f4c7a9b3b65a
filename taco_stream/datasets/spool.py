"""Problems set aside on disk, to be read back in another order."""

import tempfile
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import msgspec

from taco_stream.types import Problem


def spool_problems(problems: Iterable[Problem]) -> tuple[BinaryIO, list[tuple[int, int]]]:
    """Writes the problems to an unnamed temporary file; returns it with the span of each, so memory holds no text."""
    file = tempfile.TemporaryFile(prefix="taco-stream-problems-")  # noqa: SIM115 (the reader closes it)
    spans = []
    try:
        for problem in problems:
            body = msgspec.msgpack.encode(problem)
            spans.append((file.tell(), len(body)))
            file.write(body)
    except BaseException:
        file.close()
        raise
    return file, spans


def read_back(file: BinaryIO, spans: Iterable[tuple[int, int]]) -> Iterator[Problem]:
    """The problems of the given spans in their order; closes the file at the end."""
    with file:
        for offset, length in spans:
            file.seek(offset)
            yield msgspec.msgpack.decode(file.read(length), type=Problem)
