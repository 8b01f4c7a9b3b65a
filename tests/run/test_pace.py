"""The time left follows the recent pace, whatever happened before: loading, a burst, a suspension."""

import pytest
from sample_values import statistics

from taco_stream.run.pace import MAX_GAP_SECONDS, Pace, count_done, count_total
from taco_stream.statistics import EvaluatorStatistics


def observe(pace: Pace, start: float, seconds: int, per_second: float, done: float = 0.0) -> tuple[float, float]:
    """Observes a steady pace every second; the time and the count at its end."""
    for _ in range(seconds):
        start, done = start + 1, done + per_second
        pace.observe(int(done), start)
    return start, done


def test_a_steady_pace_is_the_time_left() -> None:
    pace = Pace()
    pace.observe(0, 100.0)
    observe(pace, 100.0, 10, 2.0)
    assert pace.seconds_left(40) == pytest.approx(10.0)
    assert pace.seconds_left(20) == 0.0


def test_nothing_is_said_before_anything_is_done_or_counted() -> None:
    pace = Pace()
    assert pace.seconds_left(10) is None
    pace.observe(0, 0.0)
    pace.observe(0, 1.0)
    assert pace.seconds_left(10) is None
    pace.observe(1, 2.0)
    assert pace.seconds_left(None) is None
    assert pace.seconds_left(10) == pytest.approx(18.0)


def test_the_last_minute_counts() -> None:
    """A burst at the start: the mean of everything would say 10 samples a second."""
    pace = Pace()
    pace.observe(0, 0.0)
    now, done = observe(pace, 0.0, 100, 19.0)
    observe(pace, now, 100, 1.0, done)
    assert pace.seconds_left(int(done) + 200) == pytest.approx(100.0, rel=0.05)


def test_slow_samples_widen_the_window() -> None:
    """One in two minutes: a minute would hold half a sample."""
    pace = Pace()
    pace.observe(0, 0.0)
    for minute in range(1, 61):
        for second in range(60):
            pace.observe(minute // 2, 60.0 * (minute - 1) + second + 1)
    assert pace.seconds_left(40) == pytest.approx(10 * 120.0, rel=0.06)


def test_a_suspension_changes_little() -> None:
    """Thirty seconds without an observation: a mean would say three times as long."""
    pace = Pace()
    pace.observe(0, 0.0)
    now, done = observe(pace, 0.0, 10, 1.0)
    now, done = observe(pace, now + 30, 5, 1.0, done)
    assert pace.seconds_left(int(done) + 15) == pytest.approx(15.0, rel=0.5)
    assert pace.seconds_left(int(done) + 15) == pytest.approx(14.0 + MAX_GAP_SECONDS)


def test_loading_does_not_count_and_neither_does_a_backlog_judged_meanwhile() -> None:
    pace = Pace()
    for second in range(60):
        pace.observe(10 * second, float(second), is_working=False)
    assert pace.seconds_left(1000) is None
    observe(pace, 59.0, 10, 1.0, 590.0)
    assert pace.seconds_left(610) == pytest.approx(10.0)


def test_a_pace_that_falls_to_nothing_lengthens_the_time_left() -> None:
    pace = Pace()
    pace.observe(0, 0.0)
    now, done = observe(pace, 0.0, 10, 1.0)
    before = pace.seconds_left(20)
    observe(pace, now, 30, 0.0, done)
    assert before is not None
    assert pace.seconds_left(20) == pytest.approx(4 * before)


def test_a_clock_that_goes_back_and_a_count_that_falls_do_no_harm() -> None:
    pace = Pace()
    pace.observe(5, 100.0)
    pace.observe(6, 50.0)
    pace.observe(3, 51.0)
    assert pace.seconds_left(10) is None
    observe(pace, 51.0, 7, 1.0, 3.0)
    assert pace.seconds_left(13) == pytest.approx(3.0)


def test_the_window_stays_small() -> None:
    pace = Pace()
    pace.observe(0, 0.0)
    observe(pace, 0.0, 5000, 3.0)
    assert len(pace._marks) <= 62


def test_what_counts_is_the_last_stage_of_this_start() -> None:
    both = statistics(generated=5, judged=3, samples_expected=10, samples_resumed=2, evaluator=EvaluatorStatistics())
    assert (count_done(both), count_total(both)) == (3, 8)
    assert count_done(statistics(generated=5, judged=0)) == 5
    assert count_total(statistics(samples_expected=None)) is None
