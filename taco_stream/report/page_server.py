"""The page over HTTP, to one person on this machine: its files, and its documents, as JSON.

Everything served was written by a model or a stranger, so it leaves as data: JSON under its own type, that no browser
takes for a page, and a policy that lets the page run its own script alone. A name in a request is looked up among the
runs that there are and is never made into a path. A request must name this machine as its host: a web page elsewhere
that makes its own name resolve to 127.0.0.1 (DNS rebinding) is turned away, and so is everything but GET.

Anybody who can connect to 127.0.0.1 can read the runs: every user of the machine, and no one else.
"""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from taco_stream.errors import TacoStreamError
from taco_stream.report.compared_runs import ComparedRuns
from taco_stream.report.page_data import Listing, RunPage
from taco_stream.report.sample import ProblemStory, SampleStory

PAGE = Path(__file__).with_name("page")
FILES = {"": "page.html", **{name: name for name in ("page.css", "charts.js", "page.js")}}
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}

OUR_NAMES = ("127.0.0.1", "localhost", "[::1]")
"""The names that a request may use for this machine, at any port: a tunnel's other end may have another."""

SAMPLE = re.compile(r"[0-9]{1,9}")
"""The index of a sample: Python refuses to read a number of thousands of digits."""

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class ServedRuns(Protocol):
    """The answers to the page's requests. Called from several threads at once; None if there is no such thing."""

    def runs(self) -> Listing:
        """All runs."""
        ...

    def run(self, name: str) -> RunPage | None:
        """One run, as it is now."""
        ...

    def problem(self, name: str, problem_id: str) -> ProblemStory | None:
        """One problem of a run."""
        ...

    def sample(self, name: str, problem_id: str, sample_index: int) -> SampleStory | None:
        """One sample of a run."""
        ...

    def compare(self, baseline: str, candidate: str) -> ComparedRuns | None:
        """A run against another."""
        ...


def build_app(served: ServedRuns) -> Any:
    """The application (ASGI)."""
    routes = [Route(f"/{address}", _file(name)) for address, name in FILES.items()]
    routes += [
        Route("/api/runs", _answer(served.runs)),
        Route("/api/run", _answer(served.run, "run")),
        Route("/api/problem", _answer(served.problem, "run", "problem")),
        Route("/api/sample", _answer(served.sample, "run", "problem", "sample")),
        Route("/api/compare", _answer(served.compare, "baseline", "candidate")),
    ]
    return _only_for_us(Starlette(routes=routes))


def _file(name: str) -> Callable[[Request], Response]:
    """A file of the page."""

    def send(_: Request) -> Response:
        path = PAGE / name
        return Response(path.read_bytes(), media_type=TYPES[path.suffix], headers=HEADERS)

    return send


def _answer(answer: Callable[..., msgspec.Struct | None], *names: str) -> Callable[[Request], Response]:
    """The answer to a query with those names, as JSON with a tag; nothing but the tag if the page has it already."""

    def send(request: Request) -> Response:
        query = request.query_params
        if sorted(query.keys()) != sorted(names) or not SAMPLE.fullmatch(query.get("sample", "0")):
            return _refuse(400, f"the query is {', '.join(names) or 'empty'}, and a sample is a number")
        try:
            found = answer(*(int(query[name]) if name == "sample" else query[name] for name in names))
        except TacoStreamError as error:
            return _refuse(422, str(error))
        if found is None:
            return _refuse(404, "there is no such thing")
        body = msgspec.json.encode(found)
        tag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
        headers = {**HEADERS, "ETag": tag}
        # The page asks again and again while a run is written, and most documents have not changed in between.
        if request.headers.get("If-None-Match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(body, media_type="application/json", headers=headers)

    return send


def _refuse(status: int, reason: str) -> Response:
    return Response(msgspec.json.encode({"error": reason}), status, media_type="application/json", headers=HEADERS)


def _only_for_us(app: Any) -> Any:
    """The application for requests that name this machine; others get a refusal."""

    async def called(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and not is_our_name(Request(scope).headers.get("host", "")):
            refusal = Response("this page is for its own machine alone", 403, media_type="text/plain", headers=HEADERS)
            await refusal(scope, receive, send)
        else:
            await app(scope, receive, send)

    return called


def is_our_name(host: str) -> bool:
    """Whether the host that a request names, with or without a port, is this machine."""
    # The last colon of a bare `[::1]` is not before a port.
    name, colon, port = host.rpartition(":")
    if not colon or not port.isdecimal():
        name = host
    return name.lower() in OUR_NAMES
