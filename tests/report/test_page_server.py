"""The page over HTTP: what is answered, to whom, and that nothing hostile gets further than its own text."""

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest

uvicorn = pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install 'taco-stream[view]'")
pytest.importorskip("starlette", reason="starlette is not installed: pip install 'taco-stream[view]'")

from sample_values import manifest, record  # noqa: E402

from taco_stream.errors import UsageError  # noqa: E402
from taco_stream.report.compared_runs import ComparedRuns  # noqa: E402
from taco_stream.report.page_data import ListedRun, Listing, RunCounts, RunPage, describe_run  # noqa: E402
from taco_stream.report.page_server import build_app, is_our_name  # noqa: E402
from taco_stream.report.sample import ProblemStory, SampleStory, tell_problem, tell_sample  # noqa: E402
from taco_stream.types import ComparisonMode  # noqa: E402

STRICT = ComparisonMode.STRICT
HOSTILE = ["<script>alert(1)</script>", "../../etc/passwd", "..", "\u2028", "%00", "a b&c=d"]


class OneRun:
    """A run named `run` with whatever problem is asked for, but for `nope`."""

    def __init__(self) -> None:
        self.records = [record("p", 0)]

    def runs(self) -> Listing:
        return Listing(folder="/runs", runs=[ListedRun(name="run", title="a model")])

    def run(self, name: str) -> RunPage | None:
        counts = RunCounts(STRICT)
        for each in self.records:
            counts.add(each)
        return (
            describe_run(counts, manifest(), name=name, path=name, ks=(1,), is_running=False) if name == "run" else None
        )

    def problem(self, name: str, problem_id: str) -> ProblemStory | None:
        return (
            None if problem_id == "nope" else tell_problem(problem_id, [record(problem_id, 0)], (), None, mode=STRICT)
        )

    def sample(self, name: str, problem_id: str, sample_index: int) -> SampleStory | None:
        return tell_sample(record(problem_id, sample_index), None, None, mode=STRICT)

    def compare(self, baseline: str, candidate: str) -> ComparedRuns | None:
        raise UsageError(f"{baseline} and {candidate} have no judged problem in common")


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def value(self) -> Any:
        return json.loads(self.body)


class Client(NamedTuple):
    port: int

    def get(self, path: str, *, host: str = "", method: str = "GET", **headers: str) -> Reply:
        """Sends the path as it is: no client tidies up the dots."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=550)
        try:
            connection.putrequest(method, path, skip_host=True)
            connection.putheader("Host", host or f"127.0.0.1:{self.port}")
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.endheaders()
            reply = connection.getresponse()
            return Reply(reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read())
        finally:
            connection.close()

    def ask(self, name: str, **query: str) -> Reply:
        from urllib.parse import urlencode

        return self.get(f"/api/{name}?{urlencode(query)}")


@contextmanager
def serving(app: Any) -> Iterator[Client]:
    """The application on a free port of this machine."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + 200
        while not server.started:
            assert time.monotonic() < deadline
            assert thread.is_alive()
            time.sleep(0.01)
        yield Client(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(30)


@pytest.fixture(scope="module")
def run() -> OneRun:
    return OneRun()


@pytest.fixture(scope="module")
def client(run: OneRun) -> Iterator[Client]:
    with serving(build_app(run)) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/javascript"), ("/charts.js", "text/javascript")],
)
def test_the_files_of_the_page_are_served(client: Client, path: str, kind: str) -> None:
    reply = client.get(path)
    assert reply.status == 200
    assert reply.headers["content-type"].startswith(kind)


@pytest.mark.parametrize(
    "path",
    [
        "/../page_server.py",
        "/..%2f..%2fpage_server.py",
        "/page/../page_server.py",
        "//etc/passwd",
        "/page.js/../../html.py",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/page_data.py",
        "/nope",
    ],
)
def test_nothing_else_is(client: Client, path: str) -> None:
    assert client.get(path).status == 404


@pytest.mark.parametrize(
    "path", ["/", "/page.js", "/api/runs", "/api/run?run=nope", "/api/run", "/api/compare?baseline=a&candidate=b"]
)
def test_every_answer_forbids_foreign_script_and_guessing_of_types(client: Client, path: str) -> None:
    headers = client.get(path).headers
    policy = dict(each.strip().split(" ", 1) for each in headers["content-security-policy"].split(";"))
    assert (policy["default-src"], policy["script-src"], policy["style-src"]) == ("'none'", "'self'", "'self'")
    assert policy["frame-ancestors"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "localhost.evil.example", "0.0.0.0", ""]
)
def test_a_request_that_names_another_host_is_turned_away(client: Client, host: str) -> None:
    """A page elsewhere whose name resolves to 127.0.0.1 sends its own name."""
    for path in ("/", "/api/runs", "/nope"):
        reply = client.get(path, host=host or " ")
        assert reply.status == 403
        assert b"model" not in reply.body


@pytest.mark.parametrize("host", ["localhost:1234", "127.0.0.1", "[::1]:8765", "LOCALHOST"])
def test_a_request_that_names_this_machine_at_any_port_is_answered(client: Client, host: str) -> None:
    assert client.get("/", host=host).status == 200


@pytest.mark.parametrize("host", ["::1", "localhost:", "localhost:80:80", "127.0.0.2", "localhost@evil", "[::1"])
def test_what_only_resembles_our_name_is_not(host: str) -> None:
    assert not is_our_name(host)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_but_reading_is_possible(client: Client, method: str) -> None:
    assert client.get("/api/runs", method=method).status == 405


def test_an_unchanged_answer_is_not_sent_again(client: Client, run: OneRun) -> None:
    first = client.ask("run", run="run")
    tag = first.headers["etag"]
    again = client.get("/api/run?run=run", If_None_Match=tag)
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
    run.records.append(record("q", 0))
    changed = client.get("/api/run?run=run", If_None_Match=tag)
    assert changed.status == 200
    assert changed.value["summary"]["coverage"]["samples"] == 2


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_id_comes_back_as_the_text_it_is(client: Client, name: str) -> None:
    for reply in (
        client.ask("problem", run="run", problem=name),
        client.ask("sample", run="run", problem=name, sample="0"),
    ):
        assert (reply.status, reply.value["problem_id"]) == (200, name)
        assert reply.headers["content-type"] == "application/json"


@pytest.mark.parametrize("name", HOSTILE)
def test_a_run_that_there_is_not_is_not_found(client: Client, name: str) -> None:
    reply = client.ask("run", run=name)
    assert (reply.status, reply.headers["content-type"]) == (404, "application/json")
    assert client.ask("problem", run="run", problem="nope").status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/api/run",
        "/api/run?run=a&more=b",
        "/api/run?run=a&run=b&run=c&problem=x",
        "/api/sample?run=run&problem=p&sample=-1",
        "/api/sample?run=run&problem=p&sample=x",
        f"/api/sample?run=run&problem=p&sample={'9' * 5000}",
        "/api/sample?run=run&problem=p",
        "/api/problem?run=run",
    ],
)
def test_a_query_that_the_page_would_not_send_is_refused(client: Client, path: str) -> None:
    assert client.get(path).status == 400


def test_an_error_of_ours_is_one_sentence(client: Client) -> None:
    reply = client.ask("compare", baseline="a", candidate="b")
    assert (reply.status, reply.value) == (422, {"error": "a and b have no judged problem in common"})
