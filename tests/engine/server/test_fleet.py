"""Which server is asked next: one that can answer, the prompt's own if it has room, the least used otherwise."""

import pytest

from taco_stream.engine.server.concurrency import ConcurrencyLimit
from taco_stream.engine.server.fleet import (
    BROKEN_AFTER,
    ServerState,
    are_hopeless,
    choose_server,
    retry_seconds,
)


def longest(low: float, high: float) -> float:
    return high


def server(name: str = "a", *, start: int = 4, busy: int = 0) -> ServerState:
    made = ServerState(name, ConcurrencyLimit(0.0, start=start), longest)
    made.come_up(0.0)
    for _ in range(busy):
        made.limit.send()
    return made


def test_the_server_with_most_of_its_limit_free_is_asked() -> None:
    small, large = server("small", start=4, busy=1), server("large", start=100, busy=20)
    assert choose_server([small, large], None, 1.0) is large


def test_a_prompts_own_server_is_asked_while_it_has_room() -> None:
    home, other = server("home", busy=3), server("other")
    assert choose_server([home, other], home, 1.0) is home
    home.limit.send()
    assert choose_server([home, other], home, 1.0) is other


def test_nobody_is_asked_who_is_full_down_or_paused() -> None:
    full, down, paused = server(busy=4), server(), server()
    down.go_down(1.0)
    paused.limit.send()
    paused.refuse(1.0, 5.0)
    assert choose_server([full, down, paused], None, 5.9) is None
    assert choose_server([full, down, paused], None, 6.0) is paused


def test_a_time_that_a_server_names_holds_for_the_whole_server() -> None:
    asked = server(busy=4)
    asked.refuse(1.0, 30.0)
    asked.refuse(1.0, 2.0)
    assert asked.room(30.9) == 0


def test_a_refusal_without_a_time_pauses_only_if_nothing_is_in_flight() -> None:
    asked = server(busy=2)
    asked.refuse(1.0, None)
    assert asked.paused_until <= 1.0
    asked.refuse(1.0, None)
    assert asked.paused_until == pytest.approx(3.0)  # 0.5 s, doubled by each of two refusals


def test_repeated_refusals_pause_for_longer() -> None:
    asked, now = server(), 0.0
    pauses = []
    for _ in range(8):
        asked.limit.send()
        asked.refuse(now, None)
        pauses.append(asked.paused_until - now)
        now = asked.paused_until
    assert pauses == sorted(pauses)
    assert pauses[-1] == 30.0


def test_failures_in_a_row_break_a_server_and_one_sample_mends_it() -> None:
    asked = server(start=10, busy=10)
    for _ in range(BROKEN_AFTER):
        asked.fail(1.0)
    assert asked.is_broken
    assert asked.room(1.0) == 0
    while asked.limit.busy:
        asked.fail(1.0)
    assert asked.room(100.0) == 1  # tried with one
    asked.limit.send()
    assert asked.room(100.0) == 0
    asked.complete(101.0, 10)
    assert asked.room(101.0) == 10


def test_nobody_pays_for_a_broken_server_but_the_one_who_tries_it() -> None:
    asked = server(start=10, busy=10)
    counted = [asked.fail(1.0) for _ in range(9)]
    assert counted == [True] * BROKEN_AFTER + [False] * 5
    assert asked.fail(1.0)  # the last in flight, and after the pause the one that tries
    asked.limit.send()
    assert asked.fail(50.0)


def test_a_bad_request_does_not_break_a_server() -> None:
    asked = server(busy=4)
    for _ in range(3):
        asked.fail(1.0)
    asked.answer()
    assert not asked.is_broken
    assert asked.limit.busy == 0


def test_going_down_is_news_once() -> None:
    asked = server()
    assert asked.go_down(1.0)
    assert not asked.go_down(2.0)
    asked.come_up(3.0)
    assert asked.go_down(4.0)


def test_all_is_lost_only_when_every_server_was_useless_for_that_long() -> None:
    one, other = server("one"), server("other")
    one.go_down(10.0)
    assert not are_hopeless([one, other], 1000.0, 60.0)
    other.go_down(50.0)
    assert not are_hopeless([one, other], 100.0, 60.0)
    assert are_hopeless([one, other], 110.0, 60.0)


def test_nothing_is_lost_while_a_server_works_on_a_request() -> None:
    asked = server(busy=1)
    asked.useless_since = 0.0
    assert not are_hopeless([asked], 1000.0, 60.0)


def test_a_sample_ends_the_count_of_useless_time() -> None:
    asked = server(busy=2)
    asked.refuse(1.0, None)
    asked.refuse(1.0, None)
    assert asked.useless_since == 1.0
    asked.limit.send()
    asked.complete(2.0, 5)
    assert asked.useless_since is None


def test_attempts_are_spread_over_a_time_that_doubles_up_to_twenty_seconds() -> None:
    assert [retry_seconds(attempts, longest) for attempts in (1, 2, 3, 10, 1000)] == [0.5, 1.0, 2.0, 20.0, 20.0]
    assert retry_seconds(3, lambda low, high: low) == 0.0
