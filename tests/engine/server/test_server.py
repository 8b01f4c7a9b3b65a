"""What is reported of a server, and what stands in the samples that it gave."""

import itertools
from typing import Any

from taco_stream.engine.server.answer import Answered, Overloaded
from taco_stream.engine.server.concurrency import ConcurrencyLimit
from taco_stream.engine.server.description import Description
from taco_stream.engine.server.fleet import ServerState
from taco_stream.engine.server.remote import Dialect
from taco_stream.engine.server.server import Server
from taco_stream.events import ServerChanged, ServerDown, ServerLimit, ServerOverloaded, ServerUp
from taco_stream.types import FinishReason


class Remote:
    url = "http://a/v1"
    description = Description("coder", "/models/coder", 4096)


def make_server() -> Server:
    remote: Any = Remote()
    return Server(remote, ServerState(remote.url, ConcurrencyLimit(0.0, start=32)))


def answered(fingerprint: str = "") -> Answered:
    return Answered("x", FinishReason.STOP, 3, 5, "", None, fingerprint)


def test_the_limit_is_reported_once_a_second_and_only_if_it_changed() -> None:
    server = make_server()
    server.state.come_up(0.0)
    limits: list[tuple[float, int]] = []
    for tick in range(100):
        now = tick / 20  # five seconds, in which the limit rises from 32 to 130
        while server.state.limit.room:
            server.state.limit.send()
        server.state.complete(now, 1)
        limits += [(now, event.limit) for event in server.news_of(answered(), now) if isinstance(event, ServerLimit)]
    assert 4 <= len(limits) <= 6
    assert all(after[0] - before[0] > 1 and after[1] > before[1] for before, after in itertools.pairwise(limits))


def test_a_limit_that_stays_is_not_reported() -> None:
    server = make_server()
    assert [event for now in range(10) for event in server.news_of(answered(), float(now))] == []


def test_an_overload_is_reported_once() -> None:
    server = make_server()
    server.is_overload_new = True
    refused = Overloaded("status 503: queue full", None)
    (event,) = server.news_of(refused, 0.0)
    assert isinstance(event, ServerOverloaded)
    assert event.message == "http://a/v1 refuses requests (status 503: queue full); it is sent 32 at once"
    assert list(server.news_of(refused, 0.0)) == []


def test_a_fingerprint_is_news_if_it_is_another() -> None:
    server = make_server()
    news = [list(server.news_of(answered(name), 0.0)) for name in ("one", "one", "two", "two")]
    assert [len(events) for events in news] == [0, 0, 1, 0]
    (event,) = news[2]
    assert isinstance(event, ServerChanged)
    assert event.message == "http://a/v1 answers as two, before as one"


def test_a_server_that_comes_and_goes_says_what_it_serves_and_why_it_is_gone() -> None:
    server = make_server()
    up, down = server.come_up(1.0), server.go_down(2.0, "connection refused")
    assert (type(up), up.message) == (ServerUp, "http://a/v1 serves coder (/models/coder), context 4096")
    assert (type(down), down.message) == (ServerDown, "http://a/v1 does not answer: connection refused")
    assert not server.state.is_up
    assert server.went_down.is_set()


def test_a_samples_identity_is_the_model_its_root_what_it_lacks_and_the_fingerprint() -> None:
    server = make_server()
    dialect = Dialect(dropped=frozenset({"top_k", "min_p"}), ignored=frozenset({"seed"}))
    assert server.identity(dialect, "v-1") == "server:coder root=/models/coder without=min_p,seed,top_k v-1"
    assert server.identity(Dialect(), "") == "server:coder root=/models/coder"
