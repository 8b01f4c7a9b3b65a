"""Requests and answers of the service, with an evaluator that finishes when the test says so."""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import anyio
import anyio.lowlevel
import msgspec
import pytest
from service.asgi import asked, get, post
from service.fake_evaluator import SUM, SUM_TESTS, FakeEvaluator, judge_work

pytest.importorskip("starlette", reason="the extra `serve` is not installed")

from taco_stream.errors import EvaluatorError, UsageError
from taco_stream.evaluator.protocol import Limits
from taco_stream.evaluator.settings import EvaluatorSettings
from taco_stream.service import application
from taco_stream.service.application import Service, is_authorised
from taco_stream.service.dispatcher import Dispatcher
from taco_stream.service.wire import ExecuteWork, Result, WireReply, WireRequest, WireRoute
from taco_stream.types import Status

pytestmark = pytest.mark.anyio

ITEM = {"problem_id": "sum", "program": "p"}
LIMITS = Limits(cpu_seconds=1.0, wall_seconds=2.0, memory_bytes=128 << 20, output_bytes=1 << 20)


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(10):
        while not condition():
            await anyio.lowlevel.checkpoint()


class Served:
    """A service over a fake evaluator. Its wire routes send programs, and get their statuses back."""

    def __init__(
        self,
        *,
        concurrency: int = 1,
        max_waiting: int = 10,
        at_once: bool = True,
        error: EvaluatorError | None = None,
        deadline_seconds: float | None = None,
        reply: Callable[[WireRequest, Sequence[Result]], WireReply] | None = None,
        **settings: Any,
    ) -> None:
        def parse(body: bytes) -> WireRequest:
            if not body.startswith(b"["):
                raise UsageError("programs come as a list")
            programs = self.wire_programs.get(body.decode()) or json.loads(body)
            return WireRequest(tuple(map(judge_work, programs)), deadline_seconds)

        def reply_statuses(_: WireRequest, results: Sequence[Result]) -> WireReply:
            return WireReply([result.status for result in results])

        self.evaluator = FakeEvaluator(concurrency=concurrency, at_once=at_once, error=error)
        self.dispatcher = Dispatcher(self.evaluator, max_waiting=max_waiting, max_wait_seconds=60.0)
        self.reports: list[str] = []
        self.wire_programs: dict[str, list[str]] = {}  # what short bodies stand for
        self.app = Service(
            self.evaluator,
            self.dispatcher,
            problems={"sum": SUM},
            settings=EvaluatorSettings(),
            sandbox_tier="fake",
            routes=(
                WireRoute("/impatient", parse, reply or reply_statuses),
                WireRoute("/patient", parse, reply or reply_statuses, is_patient=True),
            ),
            report=self.reports.append,
            **settings,
        ).app()


async def test_one_item_is_answered_with_its_verdict_and_its_reward() -> None:
    answer = await post(Served().app, "/v1/judge", {**ITEM, "id": "mine"})
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json["id"] == "mine"
    assert answer.json["reward"] == 1.0
    assert answer.json["verdict"]["status"] == "passed"


async def test_a_list_is_answered_line_by_line_in_the_order_of_completion() -> None:
    served = Served(concurrency=2, at_once=False)
    request = asked(served.app, "/v1/judge")
    items = [
        {"tests": json.loads(SUM_TESTS), "program": "slow", "id": "slow"},
        {**ITEM, "program": "fast", "id": "fast"},
        {**ITEM, "program": "last"},
    ]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(request.run, json.dumps(items).encode())
        for program in ("fast", "last", "slow"):
            await until(lambda program=program: program in served.evaluator.running)  # type: ignore[misc]
            served.evaluator.finish(program)
            await until(lambda program=program: request.lines and request.lines[-1]["id"] in (program, 2))  # type: ignore[misc]
    assert request.headers["content-type"] == "application/x-ndjson"
    assert [(line["id"], line["reward"]) for line in request.lines] == [("fast", 1.0), (2, 1.0), ("slow", 1.0)]


async def test_an_empty_list_is_answered_with_no_line() -> None:
    answer = await post(Served().app, "/v1/judge", [])
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize("item", [ITEM, [ITEM]], ids=["one", "list"])
async def test_a_broken_evaluator_is_no_reward_and_never_zero(item: object) -> None:
    served = Served(error=EvaluatorError("an evaluator worker does not start again: x"))
    answer = await post(served.app, "/v1/judge", item)
    (line,) = answer.lines
    assert (answer.status, line["reward"]) == (200, None)
    assert line["verdict"]["status"] == "infrastructure_error"
    assert line["error"] == "an evaluator worker does not start again: x"


async def test_what_is_not_done_by_the_deadline_is_no_reward_either() -> None:
    served = Served(at_once=False)
    answer = await post(served.app, "/v1/judge?deadline_seconds=0.3", ITEM)
    assert answer.status == 504
    assert (answer.json["reward"], answer.json["verdict"]) == (None, None)
    assert "deadline" in answer.json["error"]
    answer = await post(served.app, "/v1/judge?deadline_seconds=0.3", [ITEM, {"problem_id": "sum", "completion": ""}])
    assert answer.status == 200
    assert sorted((line["id"], line["reward"]) for line in answer.lines) == [(0, None), (1, 0.0)]
    assert served.evaluator.running == {}


@pytest.mark.parametrize("seconds", ["soon", "0", "-1", "nan", "inf"])
async def test_a_deadline_is_a_positive_number(seconds: str) -> None:
    answer = await post(Served().app, f"/v1/judge?deadline_seconds={seconds}", ITEM)
    assert (answer.status, "positive number" in answer.json["detail"]) == (400, True)


async def test_what_is_not_understood_is_refused_in_a_sentence() -> None:
    served = Served()
    answer = await post(served.app, "/v1/judge", {"problem_id": "sum"})
    assert answer.status == 400
    assert answer.json["detail"].endswith(": there has to be a completion or a program, one of them")
    answer = await post(served.app, "/impatient", {})
    assert (answer.status, answer.json) == (400, {"detail": "programs come as a list"})
    assert (await get(served.app, "/nothing")).status == 404
    assert (await get(served.app, "/v1/judge")).status == 405


async def test_limits_that_no_program_can_run_under_are_refused_in_every_format() -> None:
    def parse(_: bytes) -> WireRequest:
        return WireRequest(
            (ExecuteWork(program="p", stdin=b"", limits=msgspec.structs.replace(LIMITS, cpu_seconds=0.0)),)
        )

    evaluator = FakeEvaluator(concurrency=1)
    route = WireRoute("/run", parse, lambda _, results: WireReply(results))
    service = Service(
        evaluator,
        Dispatcher(evaluator, max_waiting=1, max_wait_seconds=1.0),
        problems={},
        settings=EvaluatorSettings(),
        sandbox_tier="fake",
        routes=(route,),
    )
    answer = await post(service.app(), "/run", {})
    assert (answer.status, "cpu_seconds is 0.0" in answer.json["detail"]) == (400, True)


async def test_results_of_another_format_come_in_the_order_of_the_work() -> None:
    served = Served(concurrency=3, reply=lambda request, _: WireReply([each.program for each in request.work], 201))
    answer = await post(served.app, "/impatient", ["b", "a", "c"])
    assert (answer.status, answer.json) == (201, ["b", "a", "c"])


async def test_a_full_line_is_said_at_once_and_when_to_come_back() -> None:
    served = Served(max_waiting=1, at_once=False)
    async with anyio.create_task_group() as tasks:
        requests = [asked(served.app, "/v1/judge", client=number) for number in range(2)]
        for number, request in enumerate(requests):
            tasks.start_soon(request.run, json.dumps({**ITEM, "program": f"{number}"}).encode())
        await until(lambda: served.dispatcher.statistics().waiting == 1)
        for path, body in (("/v1/judge", ITEM), ("/v1/judge", [ITEM]), ("/impatient", ["p"])):
            answer = await post(served.app, path, body)
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            assert answer.json == {"detail": "1 programs are waiting, and at most 1 may"}
        for number in range(2):
            await until(lambda number=number: f"{number}" in served.evaluator.running)  # type: ignore[misc]
            served.evaluator.finish(f"{number}")
    assert [request.json["reward"] for request in requests] == [1.0, 1.0]


async def test_a_patient_caller_waits_until_its_deadline_and_its_work_is_dropped_then() -> None:
    served = Served(max_waiting=1, at_once=False, deadline_seconds=0.05)
    first = asked(served.app, "/v1/judge")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(first.run, json.dumps({**ITEM, "program": "first"}).encode())
        await until(lambda: "first" in served.evaluator.running)
        answers = [asked(served.app, "/patient", client=number) for number in range(4)]
        async with anyio.create_task_group() as patient:
            for answer in answers:
                patient.start_soon(answer.run, b'["later"]')
        assert [answer.status for answer in answers] == [504] * 4
        assert answers[0].json == {"detail": application.TOO_LATE}
        assert served.dispatcher.statistics().waiting == 0
        served.evaluator.finish("first")
    assert served.evaluator.judged == ["first"]


async def test_a_list_that_is_longer_than_the_line_can_ever_be_is_told_so() -> None:
    answer = await post(Served(max_waiting=2).app, "/v1/judge", [ITEM] * 3)
    assert (answer.status, "at most" not in answer.json["detail"]) == (413, True)
    assert answer.json["detail"] == "a request may have 2 programs (--queue), and this one has 3"


@pytest.mark.parametrize(
    ("headers", "chunks"), [({"content-length": "101"}, [b"x"] * 3), ({}, [b"x" * 60] * 4)], ids=["said", "found"]
)
async def test_a_body_that_is_too_large_is_refused_by_its_limit(
    headers: Mapping[str, str], chunks: list[bytes]
) -> None:
    request = asked(Served(max_body_bytes=100).app, "/v1/judge", headers=headers)
    await request.run(*chunks)
    assert (request.status, request.json) == (413, {"detail": "a body may have 100 bytes (--max-body)"})
    assert request.unsent == []  # a caller that still sends is reset if it is not listened to


async def test_no_more_bodies_are_held_than_there_is_memory_for() -> None:
    served = Served(max_body_bytes=200, at_once=False, max_waiting=100)
    body = json.dumps({**ITEM, "id": "x" * 100}).encode()
    count = application.MAX_HELD_BODIES * 200 // len(body)
    async with anyio.create_task_group() as tasks:
        requests = [asked(served.app, "/v1/judge", client=number) for number in range(count)]
        for request in requests:
            tasks.start_soon(request.run, body)
        await until(lambda: served.dispatcher.statistics().waiting == count - 1)
        answer = await post(served.app, "/v1/judge", body)
        assert (answer.status, "too much memory" in answer.json["detail"]) == (503, True)
        for request in requests:
            request.leave()
    figures = (await get(served.app, "/metrics")).body.decode().splitlines()
    assert "taco_stream_service_body_bytes 0.0" in figures


async def test_a_caller_that_disconnects_takes_its_work_along() -> None:
    served = Served(at_once=False)
    async with anyio.create_task_group() as tasks:
        running, waiting, other = (asked(served.app, "/v1/judge", client=number) for number in range(3))
        tasks.start_soon(running.run, json.dumps({**ITEM, "program": "running"}).encode())
        await until(lambda: "running" in served.evaluator.running)
        tasks.start_soon(waiting.run, json.dumps([{**ITEM, "program": "waiting"}] * 3).encode())
        tasks.start_soon(other.run, json.dumps({**ITEM, "program": "other"}).encode())
        await until(lambda: served.dispatcher.statistics().waiting == 4)
        running.leave()
        waiting.leave()
        await until(lambda: "other" in served.evaluator.running)
        served.evaluator.finish("other")
    assert served.evaluator.cancelled == ["running"]
    assert served.evaluator.judged == ["other"]
    assert served.dispatcher.statistics().withdrawn == 4
    assert (running.status, other.json["reward"]) == (0, 1.0)


async def test_a_caller_that_leaves_before_its_body_is_whole_is_forgotten() -> None:
    served = Served()
    request = asked(served.app, "/v1/judge")
    request.leave()

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        raise AssertionError(message)

    await served.app(request.scope, receive, send)


async def test_a_fault_of_ours_is_reported_without_what_the_caller_sent() -> None:
    def reply(_: WireRequest, results: Sequence[Result]) -> WireReply:
        raise ValueError("my program's text")

    served = Served(reply=reply)
    answer = await post(served.app, "/impatient", ["my program's text"])
    assert (answer.status, answer.json) == (500, {"detail": "the service failed on this request"})
    (report,) = served.reports
    assert report.startswith("a request of /impatient failed: ValueError in ")
    assert "text" not in report.replace("test_application", "")


async def test_the_end_lets_accepted_work_finish_and_says_so() -> None:
    served = Served(at_once=False)
    request = asked(served.app, "/v1/judge")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(request.run, json.dumps(ITEM).encode())
        await until(lambda: "p" in served.evaluator.running)
        assert (await get(served.app, "/health")).status == 200
        tasks.start_soon(served.dispatcher.close, 60.0)
        await until(lambda: served.dispatcher.is_closing)
        health = await get(served.app, "/health")
        assert (health.status, health.json) == (503, {"status": "draining"})
        answer = await post(served.app, "/impatient", ["q"])
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        answer = await post(served.app, "/patient", ["q"])
        assert (answer.status, answer.json) == (504, {"detail": "the service is about to end"})
        served.evaluator.finish("p")
    assert (request.status, request.json["reward"]) == (200, 1.0)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/judge", b'{"problem_id":"sum","program":"p"}', 503),
        ("/impatient", b'["p"]', 503),
        ("/patient", b'["p"]', 504),
    ],
)
async def test_what_is_cut_off_by_the_end_is_not_a_verdict(path: str, body: bytes, status: int) -> None:
    served = Served(at_once=False)
    request = asked(served.app, path)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(request.run, body)
        await until(lambda: "p" in served.evaluator.running)
        await served.dispatcher.close(0.0)
    assert request.status == status
    assert application.ENDED in request.body.decode()
    assert ("retry-after" in request.headers) == (status == 503)


async def test_with_a_token_everything_but_the_health_needs_it() -> None:
    app = Served(token="s3cret").app
    assert (await get(app, "/health")).status == 200
    for path in ("/metrics", "/v1/info", "/v1/ping"):
        answer = await get(app, path)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert (await post(app, "/v1/judge", ITEM, headers={"Authorization": "Bearer wrong"})).status == 401
    assert (await post(app, "/v1/judge", ITEM, headers={"Authorization": "Bearer s3cret"})).status == 200


@pytest.mark.parametrize(
    ("header", "is_right"),
    [
        ("Bearer s3cret", True),
        ("bearer s3cret", True),
        (f"Basic {base64.b64encode(b'verl:s3cret').decode()}", True),
        (f"Basic {base64.b64encode(b's3cret:').decode()}", False),
        ("Basic s3cret", False),
        ("s3cret", False),
        ("Digest s3cret", False),
        ("Bearer s3crét", False),
        ("", False),
    ],
)
def test_a_token_is_a_bearer_token_or_a_password(header: str, is_right: bool) -> None:
    assert is_authorised(header, "s3cret") == is_right


def test_a_token_is_compared_as_bytes() -> None:
    assert is_authorised("Bearer " + "s3crét".encode().decode("latin-1"), "s3crét")
    assert not is_authorised("Bearer s3crét", "s3crét")


@pytest.mark.parametrize(
    ("path", "detail"),
    [
        ("/v1/judge?deadline=3", "the query has 'deadline'; it can have deadline_seconds"),
        ("/v1/judge", "two items have one id, or one has the place of another: answers come in any order"),
    ],
)
async def test_what_would_be_misunderstood_is_refused(path: str, detail: str) -> None:
    answer = await post(Served().app, path, [{**ITEM, "id": 1}, ITEM])
    assert (answer.status, answer.json) == (400, {"detail": detail})


@pytest.mark.parametrize(("path", "method", "status"), [("/v1/judge", "GET", 405), ("/health/", "GET", 404)])
async def test_another_path_or_method_is_an_error_in_the_services_own_form(path: str, method: str, status: int) -> None:
    request = asked(Served().app, path, method=method)
    await request.run()
    assert request.status == status
    assert set(request.json) == {"detail"}


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost:8321", 200), ("127.0.0.1:8321", 200), ("[::1]:8321", 200), ("evil.com", 403), ("[", 403)],
)
async def test_a_name_that_a_page_may_have_given_this_machine_gets_no_answer(host: str, status: int) -> None:
    assert (await get(Served().app, "/v1/info", headers={"Host": host})).status == status


async def test_a_web_page_gets_no_answer() -> None:
    answer = await post(Served().app, "/v1/judge", ITEM, headers={"Origin": "http://127.0.0.1:8321"})
    assert (answer.status, answer.json) == (403, {"detail": "this service does not answer web pages"})


async def test_the_service_describes_itself_and_counts() -> None:
    served = Served()
    await post(served.app, "/v1/judge", [ITEM, {**ITEM, "program": "q"}])
    info = (await get(served.app, "/v1/info")).json
    assert info["routes"] == ["/v1/judge", "/impatient", "/patient"]
    assert (info["problems"], info["sandbox_tier"], info["mode"]) == (1, "fake", "strict")
    assert (await get(served.app, "/v1/ping")).body == b'"pong"'
    lines = (await get(served.app, "/metrics")).body.decode().splitlines()
    assert "taco_stream_service_finished 2.0" in lines
    assert "taco_stream_service_waiting 0.0" in lines
    assert "taco_stream_evaluator_judged 2.0" in lines


@pytest.mark.parametrize(("path", "status"), [("/impatient", 503), ("/patient", 504)])
async def test_no_more_work_is_held_than_there_is_memory_for(path: str, status: int) -> None:
    """Of a request in another format: its tests may have been compressed, and its body small."""
    served = Served(at_once=False, max_body_bytes=20)
    large = "x" * (application.MAX_HELD_BODIES * 20 - 100)
    held = asked(served.app, path)
    served.wire_programs["[0]"] = [large]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(held.run, b"[0]")
        await until(lambda: large in served.evaluator.running)
        answer = await post(served.app, path, b"[0]")
        assert (answer.status, answer.json) == (status, {"detail": application.FULL_MEMORY})
        tasks.cancel_scope.cancel()
    assert "taco_stream_service_body_bytes 0.0" in (await get(served.app, "/metrics")).body.decode().splitlines()


async def test_a_list_that_is_too_long_is_not_read_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "parse_request", None)
    monkeypatch.setattr(application, "MANY_ITEMS", 3)
    answer = await post(Served(max_waiting=2).app, "/v1/judge", [ITEM] * 4)
    assert answer.status == 413


async def test_a_large_body_is_parsed_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed_in: list[str] = []

    async def run_sync(parse: Callable[[], Any], *, limiter: anyio.CapacityLimiter) -> Any:
        parsed_in.append("a thread")
        return parse()

    monkeypatch.setattr(application.to_thread, "run_sync", run_sync)
    app = Served().app
    await post(app, "/v1/judge", ITEM)
    assert parsed_in == []
    answer = await post(app, "/v1/judge", {**ITEM, "program": "#" * application.LARGE_BODY_BYTES})
    assert (parsed_in, answer.json["verdict"]["status"]) == (["a thread"], Status.PASSED)
