"""Which choices are tried, and which is the best by the figures that were measured."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taco_stream.run.tuning import (
    Choice,
    Measurement,
    Prospect,
    choose,
    expect,
    free_workers,
    thread_counts,
    worker_counts,
)


def measurement(tokens_per_second: float, threads: int | None = 1, rows: int = 8) -> Measurement:
    return Measurement(Choice(threads, None), rows, tokens_per_second)


@pytest.mark.parametrize(("cores", "counts"), [(1, (1,)), (2, (2, 1)), (4, (4, 2, 1)), (12, (12, 6, 3))])
def test_all_half_and_a_quarter_of_the_cores_are_tried(cores: int, counts: tuple[int, ...]) -> None:
    assert thread_counts(cores, None) == counts


def test_a_given_number_is_the_only_one_tried() -> None:
    assert thread_counts(8, 3) == (3,)
    assert worker_counts(8, 5) == (5,)


@pytest.mark.parametrize(("cores", "counts"), [(1, (1,)), (2, (1, 2)), (6, (1, 2, 4, 6)), (8, (1, 2, 4, 8))])
def test_judging_is_tried_with_powers_of_two_and_all_cores(cores: int, counts: tuple[int, ...]) -> None:
    assert worker_counts(cores, None) == counts


def test_the_workers_beside_generating_are_those_that_were_measured() -> None:
    assert free_workers(8, 3, (1, 2, 4, 8)) == 4
    assert free_workers(8, 8, (1, 2, 4, 8)) == 1
    assert free_workers(8, None, (1, 2, 4, 8)) == 8


def test_a_sample_takes_its_generation_and_the_judging_that_was_left() -> None:
    """Ten a second are generated and six judged meanwhile; the rest is judged at twelve a second."""
    prospect = expect(measurement(100.0), 2, 10.0, {1: 6.0, 2: 12.0})
    assert prospect.samples_per_second == pytest.approx(1 / (1 / 10 + 0.4 / 12))


def test_judging_that_keeps_up_costs_nothing() -> None:
    assert expect(measurement(100.0), 2, 10.0, {1: 50.0, 2: 90.0}).samples_per_second == pytest.approx(10)


def test_more_threads_are_chosen_if_generating_takes_longer() -> None:
    cheap = {1: 100.0, 2: 190.0}
    assert choose(
        [expect(measurement(150.0, 2), 2, 10.0, cheap), expect(measurement(100.0, 1), 2, 10.0, cheap)]
    ).measurement.choice == (Choice(2, None))


def test_fewer_threads_are_chosen_if_they_leave_judging_a_core() -> None:
    """With four threads on four cores one worker judges beside them, and most is left for later."""
    judged = {1: 2.0, 2: 4.0, 4: 8.0}
    prospects = [expect(measurement(110.0, 4), 4, 10.0, judged), expect(measurement(90.0, 2), 4, 10.0, judged)]
    assert choose(prospects).measurement.choice == Choice(2, None)


def test_without_a_finished_sample_tokens_decide() -> None:
    prospects = [expect(measurement(80.0, 1), 4, None, {}), expect(measurement(110.0, 4), 4, None, {})]
    assert choose(prospects).measurement.choice == Choice(4, None)


@given(
    st.floats(0.1, 1e5),
    st.integers(1, 64),
    st.floats(1, 4096),
    st.dictionaries(st.integers(1, 64), st.floats(0.01, 1e4), min_size=1),
)
def test_nothing_is_expected_to_be_faster_than_generating(
    tokens: float, cores: int, length: float, judged: dict[int, float]
) -> None:
    expected = expect(measurement(tokens), cores, length, judged).samples_per_second
    assert expected is not None
    assert 0 < expected <= tokens / length * (1 + 1e-9)


def test_of_choices_that_cannot_be_told_apart_the_first_is_chosen() -> None:
    one, other, best = (Prospect(measurement(1.0), rate) for rate in (4.9, 4.95, 5.0))
    assert choose([one, other, best]) is one
    assert choose([other, best, one]) is other
    assert choose([Prospect(measurement(1.0), 4.8), best]) is best


def test_judging_on_all_cores_is_no_slower_than_on_some() -> None:
    """Rows that make no difference to a run that judging bounds are not found to make one by a slow second."""
    judged = {1: 13.4, 2: 12.7}
    many, fewer = (expect(measurement(rate), 2, 10.0, judged) for rate in (711.0, 549.0))
    assert many.samples_per_second == pytest.approx(fewer.samples_per_second)
