"""The application (ASGI): from requests to work, and from results to answers.

A request that is not answered as it asks is answered with a status and `{"detail": …}`: 400 for a body that is not
understood, 401 without the token, 404 and 405 for another path or method, 413 for a body or a list that is too long,
503 with `Retry-After` for work that is not admitted, 504 for work that was not done by its deadline, 500 for a fault of
ours. None of them is a verdict.

Who may ask: programs, not web pages. A browser lets a page of any site send requests to this machine, and names the
page in them (`Origin`): those are refused, and without a token so are names that a page could have given this
machine (`Host`). With a token everything but `/health` needs it, as a bearer token or as
the password of a URL (`http://any:TOKEN@host:8321/run_code`), the only place that some callers have for one.

Nothing that a request holds is logged or printed. A fault of ours is reported by its type and its line.
"""

import base64
import hmac
import ipaddress
import math
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import anyio
import msgspec
from anyio import to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route, Router

from taco_stream import __version__
from taco_stream.errors import UsageError
from taco_stream.evaluator.settings import EvaluatorSettings, check_limits
from taco_stream.exposition import CONTENT_TYPE, render
from taco_stream.service.dispatcher import Dispatcher, RefusedError, ServedEvaluator, ServiceStatistics
from taco_stream.service.judge_request import JudgeReply, Submission, parse_request, reply_to
from taco_stream.service.sandbox_fusion import PING_PATH, PONG
from taco_stream.service.waiting_line import Ticket
from taco_stream.service.wire import JudgeWork, Result, WireRoute, Work
from taco_stream.statistics import EvaluatorStatistics
from taco_stream.types import Problem, Verdict

MAX_BODY_BYTES = 64 << 20
"""Tests of a problem can have tens of megabytes, and a list has a problem's tests with each of its items."""

MAX_HELD_BODIES = 16
"""How many bodies of the largest size may be held at once, or more that are smaller, and as much again of tests that
were compressed: this bounds the memory."""

LARGE_BODY_BYTES = 1 << 13
"""A larger body is parsed by a thread, so that the event loop goes on: finding the program in an answer that is made to
be searched takes 7 µs a byte."""

MANY_ITEMS = 100_000
"""A list that names more programs is refused before it is read."""

PARSED_AT_ONCE = 4
"""Bodies that threads parse at once: each may take several times its size, and a compressed one much more."""

TOO_LATE = "the work could not be done by its deadline"
FULL_MEMORY = "the bodies of requests take too much memory already"
ENDED = "the service ended before the work was done"
ENDED_RETRY_SECONDS = 5
"""When to ask again after that: another service may be there by then."""

T = TypeVar("T")


class ServiceInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The service as it describes itself."""

    version: str = __version__
    sandbox_tier: str
    workers: int
    dataset: str | None
    problems: int
    mode: str
    max_waiting: int
    max_body_bytes: int
    routes: tuple[str, ...]


class ServiceFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What is served to Prometheus."""

    service: ServiceStatistics
    service_body_bytes: int
    evaluator: EvaluatorStatistics


class AnswerError(Exception):
    """The answer is a status and a sentence."""

    def __init__(self, status: int, detail: str, *, retry_seconds: int | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = {} if retry_seconds is None else {"Retry-After": str(retry_seconds)}


class Exchange(NamedTuple):
    """A request, and the way to answer it. `arrived_at` is a time of `anyio.current_time`."""

    request: Request
    send: Callable[[Any], Awaitable[None]]
    arrived_at: float

    async def respond(self, body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        """Sends a whole answer, as JSON."""
        response = encode_response(body, status, headers)
        await response(self.request.scope, self.request.receive, self.send)

    async def refuse(self, error: Exception) -> None:
        """Sends the answer that an error is."""
        match error:
            case RefusedError():
                await self.respond({"detail": str(error)}, 503, {"Retry-After": str(error.retry_seconds)})
            case AnswerError():
                await self.respond({"detail": str(error)}, error.status, error.headers)
            case _:
                await self.respond({"detail": str(error)}, 400)

    def deadline(self, seconds: float | None) -> float:
        """The time so many seconds after the arrival."""
        return math.inf if seconds is None else self.arrived_at + seconds


Answer = Callable[[Exchange, bytes], Awaitable[None]]
"""Answers a request with this body. Raises one of `ANSWERED` if the answer is an error."""

ANSWERED = (UsageError, RefusedError, AnswerError)


class Service:
    """What requests are answered with. `report` is told of faults of ours, each in a sentence without their data."""

    def __init__(
        self,
        evaluator: ServedEvaluator,
        dispatcher: Dispatcher,
        *,
        problems: Mapping[str, Problem],
        settings: EvaluatorSettings,
        sandbox_tier: str,
        dataset: str | None = None,
        routes: Sequence[WireRoute] = (),
        max_body_bytes: int = MAX_BODY_BYTES,
        token: str | None = None,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._evaluator = evaluator
        self._dispatcher = dispatcher
        self._problems = problems
        self._settings = settings
        self._sandbox_tier = sandbox_tier
        self._dataset = dataset
        self._routes = routes
        self._max_body_bytes = max_body_bytes
        self._token = token
        self._report = report
        self._body_bytes = self._work_bytes = 0
        self._parsing = anyio.CapacityLimiter(PARSED_AT_ONCE)
        self._methods: dict[str, list[str]] = {}  # by path

    def app(self) -> Any:
        """The application."""
        router = Router(
            [
                Route("/health", self._health),
                Route("/metrics", self._metrics),
                Route("/v1/info", self._info),
                Route(PING_PATH, lambda _: encode_response(PONG)),
                Route("/v1/judge", _Posted(self, self._judge), methods=["POST"]),
                *(Route(each.path, _Posted(self, self._build_answer(each)), methods=["POST"]) for each in self._routes),
            ],
            # A redirect would name the host that the caller named, and few callers follow one that they posted to.
            redirect_slashes=False,
            default=encode_response({"detail": "there is no such path"}, 404),
        )
        self._methods = {each.path: sorted(each.methods or ()) for each in router.routes if isinstance(each, Route)}

        async def called(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http":
                return
            is_answered = False

            async def watched_send(message: Any) -> None:
                nonlocal is_answered
                is_answered = True
                await send(message)

            refusal = self._turn_away(Request(scope))
            try:
                await (refusal or router)(scope, receive, watched_send)
            except Exception as error:
                self._report(f"a request of {scope['path']} failed: {_describe(error)}")
                if not is_answered:
                    await encode_response({"detail": "the service failed on this request"}, 500)(scope, receive, send)

        return called

    @asynccontextmanager
    async def holding_body(self, request: Request) -> AsyncIterator[bytes]:
        """The body, which counts as held within. Raises `AnswerError` if it, or all that are held, are too large."""
        length = request.headers.get("content-length", "0")
        declared = int(length) if length.isdecimal() else 0
        chunks, size, refusal = [], 0, None
        try:
            async for chunk in request.stream():
                if refusal is not None:
                    continue  # a caller that is answered while it still sends is reset, and does not read the answer
                chunks.append(chunk)
                size += len(chunk)
                self._body_bytes += len(chunk)
                if max(size, declared) > self._max_body_bytes:
                    refusal = AnswerError(413, f"a body may have {self._max_body_bytes:,} bytes (--max-body)")
                elif self._body_bytes > MAX_HELD_BODIES * self._max_body_bytes:
                    refusal = AnswerError(503, FULL_MEMORY, retry_seconds=5)
                if refusal is not None:
                    chunks.clear()
                    self._body_bytes -= size
                    size = 0
            if refusal is not None:
                raise refusal
            body = b"".join(chunks)
            chunks.clear()
            yield body
        finally:
            self._body_bytes -= size

    async def _judge(self, exchange: Exchange, body: bytes) -> None:
        """Answers `/v1/judge`."""
        deadline = exchange.deadline(_read_seconds(exchange.request))
        # Each item has one of the two, and a few texts may be the same: a list that is far too long is not read first.
        if (count := body.count(b'"program"') + body.count(b'"completion"')) > MANY_ITEMS:
            self._check_count(count)
        parsed = await self._parse(body, lambda: parse_request(body, self._problems, self._settings))
        count = sum(each.work is not None for each in parsed.submissions)
        self._check_count(count)
        with self._dispatcher.admitted(exchange.request.client, count, deadline=deadline) as tickets:
            turns = iter(tickets)
            items = [(each, None if each.work is None else next(turns)) for each in parsed.submissions]
            if parsed.is_list:
                await self._send_lines(exchange, items)
                return
            reply, is_late = await self._reply(*items[0])
        if is_late and self._dispatcher.is_closing:
            await exchange.respond(reply, 503, {"Retry-After": str(ENDED_RETRY_SECONDS)})
        else:
            await exchange.respond(reply, 504 if is_late else 200)

    async def _send_lines(self, exchange: Exchange, items: Sequence[tuple[Submission, Ticket | None]]) -> None:
        """Sends a line for each item when its verdict is there."""
        headers = [(b"content-type", b"application/x-ndjson")]
        await exchange.send({"type": "http.response.start", "status": 200, "headers": headers})
        one_at_a_time = anyio.Lock()

        async def send_line(submission: Submission, ticket: Ticket | None) -> None:
            reply, _ = await self._reply(submission, ticket)
            line = msgspec.json.encode(reply) + b"\n"
            async with one_at_a_time:
                await exchange.send({"type": "http.response.body", "body": line, "more_body": True})

        async with anyio.create_task_group() as tasks:
            for item in items:
                tasks.start_soon(send_line, *item)
        await exchange.send({"type": "http.response.body", "body": b""})

    async def _reply(self, submission: Submission, ticket: Ticket | None) -> tuple[JudgeReply, bool]:
        """The answer to one item, and whether it has no verdict because there was no time for one."""
        if submission.work is None or ticket is None:
            return reply_to(submission, None), False
        result = await self._dispatcher.carry_out(ticket, submission.work)
        if isinstance(result, Verdict):
            return reply_to(submission, result), False
        return reply_to(submission, None, error=ENDED if self._dispatcher.is_closing else TOO_LATE), True

    def _build_answer(self, route: WireRoute) -> Answer:
        """The way to answer requests in another tool's format."""

        async def answer(exchange: Exchange, body: bytes) -> None:
            asked = await self._parse(body, lambda: route.parse(body), is_slow=route.is_slow)
            for work in asked.work:
                if work.limits is not None:
                    check_limits(work.limits)
            self._check_count(len(asked.work))
            deadline = exchange.deadline(asked.deadline_seconds)
            client = exchange.request.client
            try:
                with (
                    self._holding_work(asked.work, is_patient=route.is_patient),
                    self._dispatcher.admitted(
                        client, len(asked.work), deadline=deadline, is_patient=route.is_patient
                    ) as tickets,
                ):
                    results = await self._results(tickets, asked.work)
            except RefusedError as error:
                if route.is_patient:
                    raise AnswerError(504, str(error)) from error
                raise
            if results is None:
                has_ended = self._dispatcher.is_closing
                if has_ended and not route.is_patient:
                    raise AnswerError(503, ENDED, retry_seconds=ENDED_RETRY_SECONDS)
                raise AnswerError(504, ENDED if has_ended else TOO_LATE)
            reply = route.reply(asked, results)
            await exchange.respond(reply.body, reply.status)

        return answer

    async def _parse(self, body: bytes, parse: Callable[[], T], *, is_slow: bool = False) -> T:
        """Parses the body, in a thread if that may take long."""
        if is_slow or len(body) > LARGE_BODY_BYTES:
            return await to_thread.run_sync(parse, limiter=self._parsing)
        return parse()

    @contextmanager
    def _holding_work(self, work: Sequence[Work], *, is_patient: bool) -> Iterator[None]:
        """Counts the work as held: its tests may have been compressed. Raises `AnswerError` if it is too much."""
        size = sum(map(_count_bytes, work))
        if self._work_bytes + size > MAX_HELD_BODIES * self._max_body_bytes:
            raise AnswerError(504 if is_patient else 503, FULL_MEMORY, retry_seconds=None if is_patient else 5)
        self._work_bytes += size
        try:
            yield
        finally:
            self._work_bytes -= size

    async def _results(self, tickets: Sequence[Ticket], work: Sequence[Work]) -> list[Result] | None:
        """The results of all work, in its order; None if one has none."""
        results: dict[int, Result | None] = {}

        async def carry_out(number: int) -> None:
            results[number] = await self._dispatcher.carry_out(tickets[number], work[number])

        async with anyio.create_task_group() as tasks:
            for number in range(len(work)):
                tasks.start_soon(carry_out, number)
        done = [result for _, result in sorted(results.items()) if result is not None]
        return done if len(done) == len(work) else None

    def _check_count(self, count: int) -> None:
        if count > self._dispatcher.max_waiting:
            most = self._dispatcher.max_waiting
            raise AnswerError(413, f"a request may have {most:,} programs (--queue), and this one has {count:,}")

    def _turn_away(self, request: Request) -> Response | None:
        """The answer to a request that is not to be answered otherwise."""
        if "origin" in request.headers:
            return encode_response({"detail": "this service does not answer web pages"}, 403)
        # Such a page asks without an origin if its name has been made one of this machine.
        if self._token is None and not _is_this_machine(request.headers.get("host", "")):
            return encode_response({"detail": "without a token this service is asked by a name of its machine"}, 403)
        methods = self._methods.get(request.url.path, [request.method])
        if request.method not in methods:
            allowed = ", ".join(methods)
            return encode_response({"detail": f"{request.url.path} takes {allowed}"}, 405, {"Allow": allowed})
        if self._token is None or request.url.path == "/health":
            return None
        if is_authorised(request.headers.get("authorization", ""), self._token):
            return None
        return encode_response({"detail": "the token is missing or wrong"}, 401, {"WWW-Authenticate": "Bearer"})

    def _health(self, _: Request) -> Response:
        if self._dispatcher.is_closing:
            return encode_response({"status": "draining"}, 503)
        return encode_response({"status": "ready"})

    def _metrics(self, _: Request) -> Response:
        figures = ServiceFigures(
            service=self._dispatcher.statistics(),
            service_body_bytes=self._body_bytes + self._work_bytes,
            evaluator=self._evaluator.statistics(),
        )
        return Response(render("taco_stream", figures), headers={"Content-Type": CONTENT_TYPE})

    def _info(self, _: Request) -> Response:
        return encode_response(
            ServiceInfo(
                sandbox_tier=self._sandbox_tier,
                workers=self._evaluator.statistics().workers,
                dataset=self._dataset,
                problems=len(self._problems),
                mode=self._settings.mode,
                max_waiting=self._dispatcher.max_waiting,
                max_body_bytes=self._max_body_bytes,
                routes=("/v1/judge", *(each.path for each in self._routes)),
            )
        )


class _Posted:
    """The application of one path that is posted to: reads the body, answers, and gives up if the caller does."""

    def __init__(self, service: Service, answer: Answer) -> None:
        self._service = service
        self._answer = answer

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        exchange = Exchange(Request(scope, receive), send, anyio.current_time())
        try:
            async with self._service.holding_body(exchange.request) as body, anyio.create_task_group() as tasks:
                tasks.start_soon(_cancel_without_caller, receive, tasks.cancel_scope)
                try:
                    await self._answer(exchange, body)
                except ANSWERED as error:
                    await exchange.refuse(error)
                tasks.cancel_scope.cancel()
        except AnswerError as error:
            await exchange.refuse(error)
        except ClientDisconnect:
            pass  # before its body was whole


async def _cancel_without_caller(receive: Callable[[], Awaitable[Any]], scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def encode_response(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer as JSON."""
    return Response(msgspec.json.encode(body), status, headers, "application/json")


def is_authorised(header: str, token: str) -> bool:
    """Whether an `Authorization` header has the token, as a bearer token or as a password."""
    scheme, _, given = header.partition(" ")
    password = given.strip().encode("latin-1")  # the bytes that a header came in
    if scheme.lower() == "basic":
        try:
            password = base64.b64decode(password, validate=True).partition(b":")[2]
        except ValueError:
            return False
    elif scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(password, os.fsencode(token))


def _count_bytes(work: Work) -> int:
    """About what a program and its tests take in memory."""
    return len(work.program) + len(work.problem.tests if isinstance(work, JudgeWork) else work.stdin)


def _read_seconds(request: Request) -> float | None:
    """The deadline that the query asks for. Raises `UsageError` if it is not a positive number, or asks for more."""
    if unknown := sorted(set(request.query_params) - {"deadline_seconds"}):
        raise UsageError(f"the query has {unknown[0]!r}; it can have deadline_seconds")
    text = request.query_params.get("deadline_seconds")
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise UsageError(f"deadline_seconds is {text!r}; it has to be a positive number")
    return seconds


def _is_this_machine(host: str) -> bool:
    """Whether a `Host` header names this machine by a name that no other has; an old client sends none."""
    try:
        name = urlsplit(f"//{host}").hostname
        return name is None or name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _describe(error: BaseException) -> str:
    """The type of an error and the line that it came from, without its message, which may hold a caller's data."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" in {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else ""
    return f"{type(error).__name__}{place}"
