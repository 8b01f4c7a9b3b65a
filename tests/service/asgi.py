"""Requests to an ASGI application without a server between: the test has every message in its hands."""

import json
from collections.abc import Mapping
from typing import Any

import anyio


class Asked:
    """One request: what was answered so far, and of its body what was not taken yet. `leave` is the disconnection."""

    def __init__(self, app: Any, path: str, *, method: str = "POST", headers: Mapping[str, str], client: int) -> None:
        path, _, query = path.partition("?")
        self._app = app
        self._gone = anyio.Event()
        self.scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            "client": ("127.0.0.1", client),
            "server": ("127.0.0.1", 8321),
        }
        self.unsent: list[bytes] = []
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.body.splitlines()]

    def leave(self) -> None:
        self._gone.set()

    async def run(self, *chunks: bytes) -> None:
        """Sends the body and waits until the application is done."""
        to_send = self.unsent = list(chunks) or [b""]

        async def receive() -> Any:
            if to_send:
                body = to_send.pop(0)
                return {"type": "http.request", "body": body, "more_body": bool(to_send)}
            await self._gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                self.status = message["status"]
                self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            else:
                self.body += message.get("body", b"")

        await self._app(self.scope, receive, send)


def asked(
    app: Any, path: str, *, method: str = "POST", headers: Mapping[str, str] | None = None, client: int = 50_000
) -> Asked:
    """A request that has not been sent; requests of one `client` come over one connection."""
    return Asked(app, path, method=method, headers=headers or {}, client=client)


async def post(app: Any, path: str, value: object = None, *, headers: Mapping[str, str] | None = None) -> Asked:
    """Sends a value as JSON, or bytes as they are, and waits for the answer."""
    request = asked(app, path, headers=headers)
    await request.run(value if isinstance(value, bytes) else json.dumps(value).encode())
    return request


async def get(app: Any, path: str, *, headers: Mapping[str, str] | None = None) -> Asked:
    """Asks for a path and waits for the answer."""
    request = asked(app, path, method="GET", headers=headers)
    await request.run()
    return request
