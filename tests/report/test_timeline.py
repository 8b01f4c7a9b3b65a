"""The run over time, from its gauges."""

from collections.abc import Iterable
from itertools import pairwise

import pytest
from sample_values import gauges

from taco_stream.events import DamagedEvent, RunGauges, RunResumed, RunStarted, WrittenEvent
from taco_stream.report.timeline import MAX_INTERVALS, Interval, Timeline
from taco_stream.statistics import EngineStatistics, EvaluatorStatistics


def timeline(*events: WrittenEvent) -> Timeline:
    line = Timeline()
    for event in events:
        line.add(event)
    return line


def intervals(events: Iterable[WrittenEvent]) -> list[Interval]:
    return timeline(*events).intervals()


def judging(seconds: float, busy_seconds: float) -> RunGauges:
    return gauges(elapsed_seconds=seconds, evaluator=EvaluatorStatistics(workers=2, busy_seconds=busy_seconds))


def tokens(seconds: float, count: int) -> RunGauges:
    return gauges(elapsed_seconds=seconds, engine=EngineStatistics(completion_tokens=count))


def test_tokens_per_second_are_the_mean_since_the_gauge_before() -> None:
    """40 tokens in the first 5 s, from the very beginning, and 80 in the next."""
    assert [each.tokens_per_second for each in intervals([tokens(5, 40), tokens(10, 120)])] == [8, 16]


def test_stages_are_busy_for_the_share_of_time_that_the_gauges_add_up_to() -> None:
    """In the second interval generation was busy for 3 of 5 s, judging for 2, of which 1 at once: 1 s was idle."""
    events = [
        gauges(elapsed_seconds=5, generating_seconds=5, judging_seconds=0),
        gauges(elapsed_seconds=10, generating_seconds=8, judging_seconds=2, overlapped_seconds=1),
    ]
    first, second = intervals(events)
    assert (first.generating, first.judging, first.idle) == (1, 0, 0)
    assert (second.generating, second.judging, second.idle) == (0.6, 0.4, 0.2)


def test_workers_are_busy_for_a_share_of_the_time_of_all_of_them() -> None:
    """Two workers, the second start with 1 s of work in 5: 10 % of what they could have done."""
    line = intervals([judging(5, 5), judging(10, 5), RunResumed(), judging(5, 1)])
    assert [each.workers_busy for each in line] == [0.5, 0, 0.1]


def test_rows_are_busy_for_a_share_of_what_was_available() -> None:
    engine = EngineStatistics(row_seconds=3, row_seconds_available=4)
    (interval,) = intervals([gauges(elapsed_seconds=1, engine=engine)])
    assert interval.rows_busy == 0.75


def test_starts_are_laid_end_to_end_and_each_counts_its_tokens_from_zero() -> None:
    line = timeline(RunStarted(), tokens(10, 1000), RunResumed(), tokens(5, 50))
    assert [(each.since, each.until, each.tokens_per_second) for each in line.intervals()] == [
        (0, 10, 100),
        (10, 15, 10),
    ]
    assert line.starts == [10]


def test_nothing_is_known_of_events_that_are_damaged() -> None:
    assert intervals([tokens(5, 40), DamagedEvent(2), tokens(3, 10)]) == []


@pytest.mark.parametrize("gauge_count", [MAX_INTERVALS, 2 * MAX_INTERVALS, 20 * MAX_INTERVALS + 7])
def test_a_long_run_keeps_a_bounded_number_of_intervals_over_its_whole_length(gauge_count: int) -> None:
    line = intervals(tokens(second, 3 * second) for second in range(1, gauge_count + 1))
    assert MAX_INTERVALS <= len(line) < 2 * MAX_INTERVALS
    assert (line[0].since, line[-1].until) == (0, gauge_count)
    assert all(before.until == now.since for before, now in pairwise(line))
    assert {each.tokens_per_second for each in line} == {3}


def test_a_gauge_that_no_time_has_passed_before_makes_no_interval() -> None:
    assert intervals([tokens(0, 0)]) == []
