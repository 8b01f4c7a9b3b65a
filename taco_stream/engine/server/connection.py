"""Asks one server over HTTP: aiohttp behind two methods, whose errors are values.

A client of its own would cost less than the samples are worth; aiohttp costs a tenth of a millisecond of processor time
for a request. It is imported when a session is opened, so that the package can do without it.

There is no total time-out: a request that waits in a server's queue is as it should be. A peer that has vanished is
noticed by TCP's keep-alive within two minutes. Idle connections are closed before vLLM closes them, after five seconds.
Redirects are not followed, since a key is sent with every request. Nothing is read from `~/.netrc`, no cookie is kept.
"""

import ipaddress
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from taco_stream import __version__
from taco_stream.engine.server.answer import Failed, ServerUnusable, Unreachable
from taco_stream.errors import UsageError

if TYPE_CHECKING:
    import aiohttp

CONNECT_SECONDS = 10.0
IDLE_SECONDS = 4.0
KEEP_ALIVE_IDLE, KEEP_ALIVE_INTERVAL, KEEP_ALIVE_PROBES = 60, 15, 4
CHECK_SECONDS = 10.0
REMOTE_TIMEOUT_SECONDS = 3600.0


class Reply(NamedTuple):
    """Whatever a server answered."""

    status: int
    headers: Mapping[str, str]
    content: bytes


def open_session(api_key: str | None) -> "aiohttp.ClientSession":
    """The connections of an engine to all of its servers. Raises `UsageError` if aiohttp is not installed."""
    try:
        import aiohttp
    except ImportError as error:
        raise UsageError("--engine server needs aiohttp: pip install 'taco-stream[server]'") from error
    headers = {"User-Agent": f"taco-stream/{__version__}", "Content-Type": "application/json"}
    if api_key is not None:
        headers["Authorization"] = f"Bearer {api_key}"
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_SECONDS, socket_factory=_open_socket)
    return aiohttp.ClientSession(
        connector=connector, headers=headers, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False, auto_decompress=True
    )


def default_timeout(base: str) -> float | None:
    """The silence in seconds that a server is allowed: for ever on this machine, where nothing in between gets lost."""
    return None if is_loopback(base) else REMOTE_TIMEOUT_SECONDS


class Connection:
    """One server, spoken to through a session. `timeout_seconds` bounds its silence; None is for ever."""

    def __init__(self, session: "aiohttp.ClientSession", base: str, timeout_seconds: float | None) -> None:
        self._session = session
        self._timeouts: dict[float | None, aiohttp.ClientTimeout] = {}
        self._timeout_seconds = timeout_seconds
        self._proxy = _proxy_for(base)

    async def post(self, url: str, content: bytes) -> Reply | Failed | Unreachable | ServerUnusable:
        """Asks for work, and waits as long as it takes."""
        return await self._ask("POST", url, content, self._timeout_seconds)

    async def get(self, url: str) -> Reply | Failed | Unreachable | ServerUnusable:
        """Asks a question that has to be answered soon."""
        return await self._ask("GET", url, None, CHECK_SECONDS)

    async def _ask(
        self, method: str, url: str, content: bytes | None, seconds: float | None
    ) -> Reply | Failed | Unreachable | ServerUnusable:
        import aiohttp

        if (timeout := self._timeouts.get(seconds)) is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=seconds)
            self._timeouts[seconds] = timeout
        try:
            async with self._session.request(
                method, url, data=content, timeout=timeout, allow_redirects=False, proxy=self._proxy
            ) as response:
                return Reply(response.status, response.headers, await response.read())
        except aiohttp.ClientSSLError as error:
            return ServerUnusable(f"the connection cannot be secured: {error}")
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            return Unreachable(_sentence(error), was_connected=False)
        except TimeoutError:
            return Failed(f"no answer within {seconds:g} seconds" if seconds else "no answer")
        except (aiohttp.ClientError, OSError) as error:
            return Unreachable(_sentence(error), was_connected=True)


def is_loopback(base: str) -> bool:
    """Whether a server is on this machine."""
    host = urlsplit(base).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _proxy_for(base: str) -> str | None:
    """The proxy that the environment names for a server that is not on this machine."""
    parts = urlsplit(base)
    if is_loopback(base) or proxy_bypass(parts.hostname or ""):
        return None
    return getproxies().get(parts.scheme)


def _open_socket(address: tuple[Any, ...]) -> socket.socket:
    family, kind, protocol = address[:3]
    opened = socket.socket(family, kind, protocol)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEP_ALIVE_IDLE)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEP_ALIVE_INTERVAL)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEP_ALIVE_PROBES)
    return opened


def _sentence(error: Exception) -> str:
    return str(error) or type(error).__name__
