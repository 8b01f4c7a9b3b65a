"""One request over HTTP: how long it may take, which way it goes, and what its errors are."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("aiohttp", reason="the extra `server` is not installed")

from aiohttp import web

from taco_stream.engine.server import connection
from taco_stream.engine.server.answer import Failed, Unreachable
from taco_stream.engine.server.connection import Connection, Reply, default_timeout, open_session

pytestmark = pytest.mark.anyio


class Echo:
    """Answers after a while; `seen` are the requests with the port each came from."""

    def __init__(self, seconds: float) -> None:
        self.seen: list[tuple[int, web.BaseRequest]] = []
        self.seconds = seconds
        self.resets = False
        self.url = ""

    async def answer(self, request: web.BaseRequest) -> web.Response:
        assert request.transport is not None
        self.seen.append((request.transport.get_extra_info("peername")[1], request))
        await asyncio.sleep(self.seconds)
        if self.resets:
            request.transport.abort()
        return web.Response(text="hello")


@asynccontextmanager
async def echo(seconds: float = 0.0) -> AsyncIterator[Echo]:
    server = Echo(seconds)
    runner = web.ServerRunner(web.Server(server.answer), shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()


async def test_a_request_may_take_as_long_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 0.2)
    monkeypatch.setattr(connection, "CHECK_SECONDS", 0.2)
    async with echo(seconds=0.6) as server, open_session(None) as session:
        asked = Connection(session, server.url, default_timeout(server.url))
        assert isinstance(await asked.post(server.url, b"{}"), Reply)
        assert await asked.get(server.url) == Failed("no answer within 0.2 seconds")


async def test_there_is_no_total_time_out() -> None:
    """aiohttp's own is five minutes."""
    given: list[Any] = []

    class Session:
        def request(self, *arguments: object, **options: Any) -> Any:
            given.append(options["timeout"])
            raise OSError("no further")

    await Connection(Session(), "http://a", 1800.0).post("http://a", b"")  # type: ignore[arg-type]
    assert (given[0].total, given[0].connect, given[0].sock_connect, given[0].sock_read) == (None, None, 10.0, 1800.0)


@pytest.mark.parametrize("base", ["http://localhost:1", "http://127.0.0.1/v1", "http://127.9.9.9", "http://[::1]:8000"])
def test_a_server_on_this_machine_may_be_silent_for_ever(base: str) -> None:
    assert default_timeout(base) is None


@pytest.mark.parametrize("base", ["http://10.0.0.1", "https://api.openai.com/v1", "http://[fe80::1]"])
def test_a_server_elsewhere_may_be_silent_for_an_hour(base: str) -> None:
    assert default_timeout(base) == 3600.0


async def test_a_peer_that_vanished_is_noticed_within_two_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[socket.socket] = []
    open_socket = connection._open_socket

    def record(address: tuple[Any, ...]) -> socket.socket:
        opened.append(open_socket(address))
        return opened[-1]

    monkeypatch.setattr(connection, "_open_socket", record)
    async with echo() as server, open_session(None) as session:
        assert isinstance(await Connection(session, server.url, None).get(server.url), Reply)
        (used,) = opened
        assert used.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        idle, interval, probes = (
            used.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        )
        assert idle + interval * probes <= 120


async def test_a_connection_is_used_again_until_it_was_idle_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM closes a connection that was idle for five seconds, perhaps while a request is on its way."""
    assert connection.IDLE_SECONDS < 5
    monkeypatch.setattr(connection, "IDLE_SECONDS", 0.2)
    async with echo() as server, open_session(None) as session:
        asked = Connection(session, server.url, None)
        for pause in (0.0, 0.0, 0.5):
            await asyncio.sleep(pause)
            await asked.get(server.url)
    first, second, third = (port for port, _ in server.seen)
    assert first == second != third


async def test_a_proxy_is_used_for_servers_elsewhere_only(monkeypatch: pytest.MonkeyPatch) -> None:
    async with echo() as server, echo() as proxy, open_session(None) as session:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "")
        await Connection(session, server.url, None).get(server.url)
        assert proxy.seen == []
        reply = await Connection(session, "http://model.invalid", None).get("http://model.invalid/v1/models")
        assert isinstance(reply, Reply)
        assert len(server.seen) == len(proxy.seen) == 1


async def test_no_password_of_the_users_is_sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    async with echo() as server, open_session(None) as session:
        await Connection(session, server.url, None).get(server.url)
    assert "Authorization" not in server.seen[0][1].headers


async def test_a_port_that_nobody_listens_on_was_not_connected() -> None:
    async with echo() as server:
        pass
    async with open_session(None) as session:
        outcome = await Connection(session, server.url, None).post(server.url, b"{}")
    assert isinstance(outcome, Unreachable)
    assert not outcome.was_connected


async def test_a_connection_that_is_reset_may_have_been_served() -> None:
    async with echo() as server, open_session(None) as session:
        server.resets = True
        outcome = await Connection(session, server.url, None).post(server.url, b"{}")
    assert isinstance(outcome, Unreachable)
    assert outcome.was_connected
