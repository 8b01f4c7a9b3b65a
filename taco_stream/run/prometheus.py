"""The figures of a run for Prometheus: its text format, and the smallest server that it can scrape.

The format is three kinds of line, and a scrape one request for one page, so nothing is installed for it. Everything
that a gauge event has is served, as of the moment of the request, under the names of `docs/events.md`: a figure `x` of
the run is `taco_stream_x`, one of its engine or evaluator `taco_stream_engine_x` or `taco_stream_evaluator_x`.

Listens at 127.0.0.1 alone. Not covered: everything else of HTTP; whatever is asked for, the answer is the page.
"""

from collections.abc import Callable, Iterator
from itertools import chain

import anyio
import msgspec
from anyio.abc import SocketStream, TaskStatus

from taco_stream.errors import UsageError
from taco_stream.statistics import RunStatistics

REQUEST_BYTES = 1 << 14
REQUEST_SECONDS = 5.0
"""How much of a request is read, and for how long, before whoever sends it is left."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def render(statistics: RunStatistics) -> str:
    """The page: every number in the statistics, with what it is of as labels."""
    families: dict[str, list[str]] = {}
    for name, labels, value in _figures("taco_stream", statistics):
        quoted = ",".join(f'{label}="{_escape(text)}"' for label, text in labels.items())
        line = f"{name}{{{quoted}}} {value!r}" if quoted else f"{name} {value!r}"
        # The lines of a metric have to follow each other, and come device by device.
        families.setdefault(name, [f"# TYPE {name} gauge"]).append(line)
    return "\n".join([*chain.from_iterable(families.values()), ""])


async def serve_metrics(
    port: int, statistics: Callable[[], RunStatistics], *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Answers every request at the port with the figures as they are then, until cancelled.

    Raises `UsageError` if the port cannot be listened to.
    """

    async def answer(client: SocketStream) -> None:
        async with client:
            with anyio.move_on_after(REQUEST_SECONDS):
                try:
                    await _read_head(client)
                    body = render(statistics()).encode()
                    head = f"HTTP/1.1 200 OK\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {len(body)}\r\n"
                    await client.send(f"{head}Connection: close\r\n\r\n".encode() + body)
                except (anyio.BrokenResourceError, anyio.EndOfStream):
                    pass  # whoever asked has gone

    try:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port)
    except OSError as error:
        raise UsageError(f"--metrics-port {port} cannot be listened to: {error.strerror}") from error
    async with listener:
        task_status.started()
        await listener.serve(answer)


async def _read_head(client: SocketStream) -> None:
    received = b""
    # A connection that is closed before its request is read whole is reset, and the answer lost.
    while b"\r\n\r\n" not in received and len(received) < REQUEST_BYTES:
        received += await client.receive()


def _figures(prefix: str, struct: msgspec.Struct) -> Iterator[tuple[str, dict[str, str], float]]:
    for field in struct.__struct_fields__:
        name, value = f"{prefix}_{field}", getattr(struct, field)
        match value:
            case bool() | int() | float():
                yield name, {}, float(value)
            case msgspec.Struct():
                yield from _figures(name, value)
            case dict():
                yield from ((name, {"process": kind}, float(each)) for kind, each in value.items())
            case tuple():
                for index, device in enumerate(value):
                    for each, labels, figure in _figures(name.removesuffix("s"), device):
                        yield each, {"device": str(index), **labels}, figure
            case _:  # a text, or not known yet
                pass


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
