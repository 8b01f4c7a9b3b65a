"""The figures of a run for Prometheus: the smallest server that it can scrape.

A scrape is one request for one page, so nothing is installed for it. Everything that a gauge event has is served, as of
the moment of the request, under the names of `docs/events.md`: a figure `x` of the run is `taco_stream_x`, one of its
engine or evaluator `taco_stream_engine_x` or `taco_stream_evaluator_x`.

Listens at 127.0.0.1 alone. Not covered: everything else of HTTP; whatever is asked for, the answer is the page.
"""

from collections.abc import Callable

import anyio
from anyio.abc import SocketStream, TaskStatus

from taco_stream.errors import UsageError
from taco_stream.exposition import CONTENT_TYPE, render
from taco_stream.statistics import RunStatistics

REQUEST_BYTES = 1 << 14
REQUEST_SECONDS = 5.0
"""How much of a request is read, and for how long, before whoever sends it is left."""


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
                    body = render("taco_stream", statistics()).encode()
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
