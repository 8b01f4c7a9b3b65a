"""The run over time, from its gauges."""

from itertools import pairwise

from sample_values import gauges

from taco_stream.events import DamagedEvent, RunGauges, RunResumed, RunStarted
from taco_stream.report.timeline import MAX_MOMENTS, draw_lanes, sample_moments
from taco_stream.statistics import EngineStatistics, EvaluatorStatistics


def judging(seconds: float, busy_seconds: float) -> RunGauges:
    return gauges(elapsed_seconds=seconds, evaluator=EvaluatorStatistics(workers=2, busy_seconds=busy_seconds))


def tokens(seconds: float, count: int) -> RunGauges:
    return gauges(elapsed_seconds=seconds, engine=EngineStatistics(completion_tokens=count))


def test_tokens_per_second_are_the_mean_since_the_gauge_before() -> None:
    """40 tokens in the first 5 s, 80 in the next: half of the height from the very beginning, then all of it."""
    (lane,) = draw_lanes(sample_moments([tokens(5, 40), tokens(10, 120)]))
    assert (lane.title, lane.top) == ("tokens per second", "16")
    assert lane.path == "M0,100 V50.0 H500.0 V0.0 H1000.0 V100 Z"


def test_workers_are_drawn_with_the_share_of_time_that_they_were_busy_between_gauges() -> None:
    """Two workers, the second start with 1 s of work in 5: 10 % of what they could have done."""
    moments = sample_moments([judging(5, 5), judging(10, 5), RunResumed(), judging(5, 1)])
    (lane,) = draw_lanes(moments)
    assert lane.title == "evaluator workers busy"
    assert lane.path == "M0,100 V50.0 H333.3 V100.0 H666.7 V90.0 H1000.0 V100 Z"


def test_no_line_is_drawn_of_events_that_are_damaged() -> None:
    assert sample_moments([tokens(5, 40), DamagedEvent(2), tokens(3, 10)]) == []


def test_starts_are_laid_end_to_end_and_each_counts_its_tokens_from_zero() -> None:
    moments = sample_moments(
        [
            RunStarted(),
            tokens(10, 1000),
            RunResumed(),
            tokens(5, 50),
        ]
    )
    assert [(moment.seconds, moment.tokens) for moment in moments] == [(10, 1000), (15, 1050)]


def test_busy_rows_are_a_share() -> None:
    (moment,) = sample_moments([gauges(elapsed_seconds=1, engine=EngineStatistics(rows_busy=3, rows_total=4))])
    assert moment.rows_busy == 0.75


def test_a_long_run_keeps_a_bounded_number_of_moments_over_its_whole_length() -> None:
    moments = sample_moments(gauges(elapsed_seconds=second) for second in range(1, 20 * MAX_MOMENTS))
    assert MAX_MOMENTS <= len(moments) < 2 * MAX_MOMENTS
    gaps = {later.seconds - earlier.seconds for earlier, later in pairwise(moments[:-1])}
    assert (moments[0].seconds, moments[-1].seconds, len(gaps)) == (1, 20 * MAX_MOMENTS - 1, 1)


def test_curves_that_are_zero_throughout_are_left_out() -> None:
    moments = sample_moments(judging(second, second) for second in (1, 2))
    assert [lane.title for lane in draw_lanes(moments)] == ["evaluator workers busy"]


def test_one_gauge_draws_nothing() -> None:
    assert draw_lanes(sample_moments([judging(1, 1)])) == []


def test_a_curve_reaches_from_the_bottom_to_its_most() -> None:
    moments = sample_moments(
        [gauges(elapsed_seconds=5, completions_waiting=0), gauges(elapsed_seconds=10, completions_waiting=8)]
    )
    (lane,) = draw_lanes(moments)
    assert lane.top == "8"
    assert lane.path == "M0,100 V100.0 H500.0 V0.0 H1000.0 V100 Z"
