"""How busy the servers were."""

from taco_stream.engine.server.answer import Answered
from taco_stream.engine.server.concurrency import ConcurrencyLimit
from taco_stream.engine.server.fleet import ServerState
from taco_stream.engine.server.occupancy import Occupancy
from taco_stream.types import FinishReason


def test_rows_are_requests_in_flight_of_the_present_limit() -> None:
    busy, down = (ServerState(name, ConcurrencyLimit(0.0, start=8)) for name in ("busy", "down"))
    busy.come_up(0.0)
    occupancy = Occupancy(0.0)
    occupancy.observe(5.0, [busy, down])  # nothing was in flight
    for _ in range(4):
        busy.limit.send()
    occupancy.observe(7.0, [busy])
    statistics = occupancy.statistics([busy, down], waiting=3)
    assert (statistics.rows_busy, statistics.rows_total, statistics.samples_waiting) == (4, 8, 3)
    assert (statistics.busy_seconds, statistics.row_seconds, statistics.row_seconds_available) == (2.0, 8.0, 16.0)


def test_a_prompt_is_counted_once() -> None:
    occupancy = Occupancy(0.0)
    answered = Answered("x", FinishReason.STOP, 7, 5, "", None, "")
    occupancy.count(answered, is_first=True)
    occupancy.count(answered, is_first=False)
    statistics = occupancy.statistics([], waiting=0)
    assert (statistics.prompt_tokens, statistics.completion_tokens) == (7, 10)
