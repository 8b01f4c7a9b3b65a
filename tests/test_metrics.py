"""pass@k: exact against counting every draw, refused where no estimate exists, with intervals that mean something."""

import itertools
import math
import random
import time
from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_values import record

from taco_stream.errors import UsageError
from taco_stream.metrics import Tally, mean_estimate, pass_at_k, settled_ks
from taco_stream.types import ComparisonMode, Status, Verdict

STRICT = ComparisonMode.STRICT


def count_records(*records: object) -> Tally:
    tally = Tally()
    for each in records:
        tally.add(each)  # type: ignore[arg-type]
    return tally


@given(st.integers(1, 8).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_the_share_of_draws_that_hold_a_right_sample(case: tuple[int, int, int]) -> None:
    samples, passed, k = case
    draws = list(itertools.combinations([index < passed for index in range(samples)], k))
    assert pass_at_k(samples, passed, k) == pytest.approx(sum(map(any, draws)) / len(draws))


@pytest.mark.parametrize(("samples", "passed", "k"), [(200, 1, 100), (100_000, 3, 1000), (1000, 999, 1), (200, 0, 10)])
def test_pass_at_k_is_exact_for_many_samples(samples: int, passed: int, k: int) -> None:
    exact = 1 - Fraction(math.comb(samples - passed, k), math.comb(samples, k))
    assert pass_at_k(samples, passed, k) == pytest.approx(float(exact), rel=1e-9)


def test_a_k_over_the_samples_has_no_estimate() -> None:
    with pytest.raises(UsageError, match="pass@10 needs at least 10 samples of each problem, there are 5"):
        pass_at_k(5, 5, 10)


def test_the_default_ks_end_with_the_samples() -> None:
    assert [settled_ks((), samples) for samples in (1, 9, 10, 200)] == [(1,), (1,), (1, 10), (1, 10, 100)]


def test_asked_ks_are_sorted_and_single() -> None:
    assert settled_ks((5, 1, 5), 5) == (1, 5)


@pytest.mark.parametrize(("k", "samples"), [(0, 5), (-1, 5), (6, 5)])
def test_an_impossible_k_is_refused_by_its_flag(k: int, samples: int) -> None:
    with pytest.raises(UsageError, match=rf"--k {k} "):
        settled_ks((1, k), samples)


def test_samples_that_say_nothing_about_the_program_are_not_scored() -> None:
    tally = count_records(
        record("p", 0, Status.PASSED), record("p", 1, Status.INFRASTRUCTURE_ERROR), record("p", 2, Status.NO_CHECKER)
    )
    count = tally.problems[STRICT]["p"]
    assert (count.scored, count.passed, count.unscored) == (1, 1, 2)
    assert tally.pass_at_1(STRICT) == 1.0


def test_a_sample_that_comes_twice_counts_once_the_first() -> None:
    tally = count_records(record("p", 0, Status.PASSED), record("p", 0, Status.WRONG_ANSWER))
    assert (tally.samples, tally.duplicates) == (1, 1)
    assert tally.statuses[STRICT] == {"passed": 1}


def test_pass_at_1_is_the_mean_over_problems_not_over_samples() -> None:
    tally = count_records(record("a", 0), *(record("b", index, Status.WRONG_ANSWER) for index in range(9)))
    assert tally.pass_at_1(STRICT) == pytest.approx(0.5)
    assert Tally().pass_at_1(STRICT) is None


def test_each_mode_has_its_own_score() -> None:
    verdicts = dict.fromkeys(ComparisonMode, Verdict(status=Status.PASSED))
    verdicts[STRICT] = Verdict(status=Status.WRONG_ANSWER)
    tally = count_records(record(verdicts=verdicts))
    assert [tally.scores(mode, [1]).overall[1].value for mode in (STRICT, ComparisonMode.OFFICIAL)] == [0, 1]


def test_scores_split_by_difficulty_in_tacos_order_and_by_every_skill() -> None:
    tally = count_records(
        record("a", difficulty="HARD", skills=("Sorting", "Greedy algorithms")),
        record("b", 0, Status.WRONG_ANSWER, difficulty="EASY", skills=("Sorting",)),
        record("c", difficulty="MEDIUM"),
        record("d", difficulty="2*"),
    )
    scores = tally.scores(STRICT, [1])
    assert list(scores.by_difficulty) == ["EASY", "MEDIUM", "HARD", "2*"]
    assert {name: split[1].value for name, split in scores.by_skill.items()} == {"Greedy algorithms": 1, "Sorting": 0.5}
    assert scores.overall[1].problems == 4


def test_a_problem_with_too_few_samples_stays_out_of_that_k_alone() -> None:
    tally = count_records(record("a", 0), record("a", 1), record("b", 0, Status.WRONG_ANSWER))
    scores = tally.scores(STRICT, [1, 2])
    assert (scores.overall[1].problems, scores.overall[2].problems) == (2, 1)


def test_a_k_that_no_problem_reaches_has_no_score() -> None:
    assert set(count_records(record()).scores(STRICT, [1, 2]).overall) == {1}


def test_the_order_of_records_does_not_matter() -> None:
    records = [record(f"p{number % 7}", number // 7, list(Status)[number % 5]) for number in range(70)]
    shuffled = random.Random(3).sample(records, len(records))
    assert count_records(*records).scores(STRICT, [1, 5]) == count_records(*shuffled).scores(STRICT, [1, 5])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_an_interval_holds_its_mean_stays_within_0_and_1_and_has_a_width(values: list[float]) -> None:
    estimate = mean_estimate(values)
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
    assert estimate.high - estimate.low > 1 / (2 * len(values) + 2) ** 2


@pytest.mark.parametrize(("right", "size"), [(0, 10), (1, 5), (3, 8), (10, 10), (1, 60), (950, 1000)])
def test_for_scores_of_0_and_1_the_limits_are_the_mid_p_ones(right: int, size: int) -> None:
    """Checked by what defines them: 2.5 % for what is more extreme, half of what was seen included."""
    estimate = mean_estimate([1.0] * right + [0.0] * (size - right))

    def probability(count: int, chance: float) -> float:
        return math.comb(size, count) * chance**count * (1 - chance) ** (size - count)

    if right:
        more = sum(probability(count, estimate.low) for count in range(right + 1, size + 1))
        assert more + probability(right, estimate.low) / 2 == pytest.approx(0.025, rel=1e-6)
    if right < size:
        fewer = sum(probability(count, estimate.high) for count in range(right))
        assert fewer + probability(right, estimate.high) / 2 == pytest.approx(0.025, rel=1e-6)


def test_scores_that_differ_in_the_last_digit_have_an_interval_like_those_that_do_not() -> None:
    """pass@1 of 1 of 2 and of 3 of 6 samples: 0.5 and 0.4999999999999999."""
    values = [pass_at_k(2, 1, 1), pass_at_k(6, 3, 1)]
    assert values[0] != values[1]
    estimate, alike = mean_estimate(values), mean_estimate([0.5, 0.5])
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((0.5, alike.low, alike.high), abs=1e-6)
    assert alike.high - alike.low > 0.5


def test_a_worse_score_has_no_better_interval() -> None:
    """All of 20 right, and the last of them less and less."""
    estimates = [mean_estimate([1.0] * 19 + [last]) for last in (1.0, 0.999, 0.99, 0.9, 0.5, 0.1, 0.0)]
    assert [each.low for each in estimates] == sorted((each.low for each in estimates), reverse=True)
    assert [each.high for each in estimates] == sorted((each.high for each in estimates), reverse=True)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=20), st.floats(0, 1))
def test_similar_scores_have_similar_intervals(values: list[float], step: float) -> None:
    moved = [*values[:-1], min(1.0, values[-1] + step * 1e-6)]
    before, after = mean_estimate(values), mean_estimate(moved)
    assert (after.low, after.high) == pytest.approx((before.low, before.high), abs=2e-3)


@pytest.mark.parametrize("size", [5, 20])
@pytest.mark.parametrize(("chances", "samples", "k", "mean"), [
    (lambda dice: 0.1, 1, 1, 0.1),
    (lambda dice: dice.betavariate(0.3, 0.7), 10, 1, 0.3),
    (lambda dice: dice.betavariate(0.3, 0.7), 10, 10, 1 - math.prod((0.7 + index) / (1 + index) for index in range(10))),
    (lambda dice: dice.betavariate(0.1, 0.9), 10, 1, 0.1),
])  # fmt: skip
def test_the_interval_holds_the_truth_as_often_as_it_says(
    chances: Callable[[random.Random], float], samples: int, k: int, mean: float, size: int
) -> None:
    """Few problems of a known population, as `bench/coverage.py` has it for many. The bound is 93 % less one error."""
    dice = random.Random(7)
    held = 0
    for _ in range(400):
        values = []
        for _ in range(size):
            chance = chances(dice)
            passed = sum(dice.random() < chance for _ in range(samples))
            values.append(pass_at_k(samples, passed, k))
        estimate = mean_estimate(values)
        held += estimate.low <= mean <= estimate.high
    assert held >= 0.92 * 400
    assert held < 400


def test_a_thousand_problems_take_no_time() -> None:
    """Some 5 ms; the bound leaves room for a busy machine."""
    dice = random.Random(1)
    values = [dice.betavariate(0.3, 0.7) for _ in range(1000)]
    started_at = time.process_time()
    for _ in range(10):
        mean_estimate(values)
    assert time.process_time() - started_at < 0.5


@pytest.mark.parametrize(
    "values", [[0.5] * 100_000, [0.999] * 100_000, [1.0] * 100_000, [1 - 1e-12] * 10, [1e-300, 0.0]]
)
def test_scores_that_hardly_vary_have_an_interval(values: list[float]) -> None:
    estimate = mean_estimate(values)
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
