"""The limit of requests in flight: it grows when used, shrinks when refused, holds where growth no longer pays."""

import heapq
import itertools
import random

import pytest

from taco_stream.engine.server.concurrency import ConcurrencyLimit


def fill(limit: ConcurrencyLimit) -> None:
    while limit.room:
        limit.send()


def test_a_limit_in_use_doubles_in_the_time_of_one_sample() -> None:
    limit = ConcurrencyLimit(0.0, start=8)
    fill(limit)
    for _ in range(8):
        limit.complete(1.0, 10)
        fill(limit)
    assert limit.limit == 16


def test_a_limit_that_is_not_in_use_stays() -> None:
    limit = ConcurrencyLimit(0.0, start=10)
    for now in range(100):
        limit.send()
        limit.complete(float(now), 10)
    assert limit.limit == 10


def test_it_never_exceeds_its_ceiling() -> None:
    limit = ConcurrencyLimit(0.0, start=8, ceiling=10)
    for _ in range(50):
        fill(limit)
        limit.complete(1.0, 10)
    assert limit.limit == 10
    assert ConcurrencyLimit(0.0, start=32, ceiling=1).limit == 1


def test_a_burst_of_refusals_leaves_what_was_accepted() -> None:
    """30 at once to a server that takes 12: 18 refusals, then the limit is 12, or what 0.7 leaves if that is less."""
    limit = ConcurrencyLimit(0.0, start=30)
    fill(limit)
    assert [limit.refuse(1.0) for _ in range(18)] == [True] + [False] * 17
    assert limit.limit == 12
    assert limit.room == 0


def test_a_single_refusal_takes_three_tenths_and_ends_doubling() -> None:
    limit = ConcurrencyLimit(0.0, start=100)
    fill(limit)
    limit.refuse(1.0)
    assert limit.limit == 70
    for _ in range(30):
        limit.complete(1.5, 10)
    fill(limit)
    for _ in range(71):  # after the calm: one more for as many samples as the limit
        limit.complete(5.0, 10)
        fill(limit)
    assert limit.limit == 71


def test_a_limit_does_not_fall_below_one() -> None:
    limit = ConcurrencyLimit(0.0, start=2)
    for now in range(10):
        limit.send()
        limit.refuse(3.0 * now)
    assert limit.limit == 1
    assert limit.room == 1
    assert limit.refusals == 10


def test_a_failure_is_not_load() -> None:
    limit = ConcurrencyLimit(0.0, start=8)
    fill(limit)
    limit.fail()
    assert (limit.limit, limit.busy) == (8, 7)


def served(slots: int, seconds: float, *, cap: int | None = None, rounds: int = 3000) -> list[int]:
    """The limits after each sample of a simulated server with `slots` that work at once and a queue up to `cap`."""
    random_numbers = random.Random(1)
    limit, now, limits, order = ConcurrencyLimit(0.0), 0.0, [], itertools.count()
    queue: list[float] = []  # when waiting requests were sent
    running: list[tuple[float, int]] = []
    while len(limits) < rounds:
        while limit.room:
            limit.send()
            if cap is not None and len(running) + len(queue) >= cap:
                limit.refuse(now)
                break
            queue.append(now)
        while queue and len(running) < slots:
            queue.pop()
            heapq.heappush(running, (now + seconds * random_numbers.uniform(0.5, 1.5), next(order)))
        now, _ = heapq.heappop(running)
        limit.complete(now, 100)
        limits.append(limit.limit)
    return limits


def test_a_server_that_queues_without_end_is_filled_and_not_flooded() -> None:
    limits = served(slots=100, seconds=5.0)
    assert min(limits[1000:]) >= 100
    assert max(limits) < 1000
    assert sorted(limits)[len(limits) // 2] < 400


@pytest.mark.parametrize("cap", [12, 96])
def test_a_server_that_refuses_is_kept_near_what_it_takes(cap: int) -> None:
    limits = served(slots=cap // 2, seconds=1.0, cap=cap)
    later = limits[1000:]
    assert max(later) <= cap + 1
    assert sum(later) / len(later) >= 0.7 * cap


def test_growth_that_pays_goes_on() -> None:
    assert served(slots=1000, seconds=5.0, rounds=6000)[-1] >= 900
