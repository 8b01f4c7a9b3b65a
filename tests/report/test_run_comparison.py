"""Two runs compared: worked examples, properties, and scipy's figures where it is installed."""

import math
import random
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taco_stream.metrics import ProblemCount, pass_at_k
from taco_stream.report.run_comparison import (
    RunComparison,
    adjust_p_values,
    compare,
    difference_interval,
    sign_test_p_value,
)

Counts = dict[str, ProblemCount]


def counts(**problems: tuple[int, int]) -> Counts:
    """Problems by name, with their samples passed and scored."""
    return {
        name: ProblemCount(difficulty="EASY", skills=(), passed=passed, scored=scored)
        for name, (passed, scored) in problems.items()
    }


def names(changes: tuple[object, ...]) -> list[str]:
    return [change.problem_id for change in changes]  # type: ignore[attr-defined]


RUNS = st.dictionaries(
    st.sampled_from("abcdefgh"),
    st.tuples(st.integers(0, 10), st.integers(0, 10)).map(lambda pair: (min(pair), max(pair))),
).map(lambda problems: counts(**problems))

few_examples = settings(max_examples=30, deadline=None)


def test_the_difference_is_of_the_problems_that_both_runs_have() -> None:
    """pass@1 of 1/2 and 0/2 against 2/2 and 1/2; `c` and `d` have no partner."""
    found = compare(counts(a=(1, 2), b=(0, 2), c=(2, 2)), counts(a=(2, 2), b=(1, 2), d=(0, 2)), [1, 2])
    one = found.pass_at_k[1]
    assert (one.baseline, one.candidate, one.value, one.problems) == (0.25, 0.75, 0.5, 2)
    assert found.pass_at_k[2].value == 0.5  # 1 and 0 against 1 and 1
    assert (found.only_in_baseline, found.only_in_candidate) == (("c",), ("d",))


def test_a_problem_with_too_few_samples_in_one_run_stays_out_of_that_k() -> None:
    found = compare(counts(a=(1, 2), b=(1, 2)), counts(a=(1, 2), b=(1, 1)), [1, 2, 3])
    assert {k: difference.problems for k, difference in found.pass_at_k.items()} == {1: 2, 2: 1}


def test_a_problem_without_a_scored_sample_has_no_partner() -> None:
    found = compare(counts(a=(0, 0), b=(1, 1)), counts(a=(1, 1), b=(0, 0)), [1])
    assert found.pass_at_k == {}
    assert (found.only_in_baseline, found.only_in_candidate) == (("b",), ("a",))


def test_differences_are_split_by_difficulty_in_tacos_order() -> None:
    baseline, candidate = counts(a=(0, 1), b=(1, 1)), counts(a=(1, 1), b=(0, 1))
    for run in (baseline, candidate):
        run["a"].difficulty, run["b"].difficulty = "HARD", "EASY"
    found = compare(baseline, candidate, [1])
    assert [(name, split[1].value) for name, split in found.by_difficulty.items()] == [("EASY", -1), ("HARD", 1)]


def test_gains_losses_and_changes_are_told_apart() -> None:
    baseline = counts(gained=(0, 10), lost=(2, 10), rose=(1, 10), fell=(9, 10), same=(5, 10), equal=(1, 2))
    candidate = counts(gained=(3, 10), lost=(0, 10), rose=(6, 10), fell=(8, 10), same=(5, 10), equal=(5, 10))
    found = compare(baseline, candidate, [1])
    assert names(found.gained) == ["gained"]
    assert names(found.lost) == ["lost"]
    assert names(found.changes) == ["rose", "gained", "lost", "fell"]
    assert [round(change.share, 9) for change in found.changes] == [0.5, 0.3, -0.2, -0.1]
    test = found.sign_test
    assert (test.better, test.worse, test.equal, test.p_value) == (2, 2, 2, 1.0)


def test_shares_of_different_numbers_of_samples_are_equal_exactly() -> None:
    """1/3 and 2/6 differ in floating point in some products; 100,000 and 300,000 likewise."""
    found = compare(counts(a=(1, 3), b=(100_000, 300_000)), counts(a=(2, 6), b=(1, 3)), [1])
    assert (found.changes, found.sign_test.equal) == ((), 2)


def test_the_sign_test_of_one_sample_each_is_mcnemars() -> None:
    assert compare(counts(a=(1, 1)), counts(a=(0, 1)), [1]).sign_test.is_mcnemar
    assert not compare(counts(a=(1, 1)), counts(a=(0, 2)), [1]).sign_test.is_mcnemar


@pytest.mark.parametrize(
    ("better", "worse", "p_value"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (5, 0, 0.0625),
        (6, 0, 0.03125),
        (8, 1, 0.0390625),  # 2 * (1 + 9) / 512
        (5, 5, 1.0),
        (14, 6, 0.11531829833984375),  # 2 * 60,460 / 2^20
    ],
)
def test_p_values_of_the_sign_test(better: int, worse: int, p_value: float) -> None:
    assert sign_test_p_value(better, worse) == sign_test_p_value(worse, better) == p_value


@given(st.integers(0, 60), st.integers(0, 60))
def test_the_sign_test_is_its_formula(better: int, worse: int) -> None:
    total = better + worse
    tail = Fraction(2 * sum(math.comb(total, i) for i in range(min(better, worse) + 1)), 2**total)
    assert sign_test_p_value(better, worse) == float(min(Fraction(1), tail))


def test_the_sign_test_of_many_problems_is_finite() -> None:
    assert 0 <= sign_test_p_value(30_000, 1_000) < 1e-300
    assert 0.99 < sign_test_p_value(20_000, 20_000) <= 1


@few_examples
@given(RUNS, RUNS, st.sets(st.integers(1, 10)).map(sorted))
def test_swapping_the_runs_turns_every_sign(baseline: Counts, candidate: Counts, ks: list[int]) -> None:
    forth, back = compare(baseline, candidate, ks), compare(candidate, baseline, ks)
    assert forth.pass_at_k.keys() == back.pass_at_k.keys()
    for k, there in forth.pass_at_k.items():
        here = back.pass_at_k[k]
        assert (there.baseline, there.candidate, there.value) == (here.candidate, here.baseline, -here.value)
        assert (there.low, there.high) == pytest.approx((-here.high, -here.low), abs=1e-9)
    assert (forth.sign_test.better, forth.sign_test.worse) == (back.sign_test.worse, back.sign_test.better)
    assert forth.sign_test.p_value == back.sign_test.p_value
    assert names(forth.gained) == names(back.lost)
    assert forth.only_in_baseline == back.only_in_candidate


@few_examples
@given(RUNS, st.sets(st.integers(1, 10)).map(sorted))
def test_a_run_does_not_differ_from_itself(run: Counts, ks: list[int]) -> None:
    found = compare(run, run, ks)
    assert {difference.value for difference in found.pass_at_k.values()} <= {0}
    assert all(difference.low == pytest.approx(-difference.high) for difference in found.pass_at_k.values())
    assert (found.sign_test.p_value, found.changes, found.only_in_baseline) == (1, (), ())


@few_examples
@given(RUNS, RUNS)
def test_a_difference_is_that_of_the_scores_and_within_its_interval(baseline: Counts, candidate: Counts) -> None:
    for k, difference in compare(baseline, candidate, [1, 3]).pass_at_k.items():
        assert difference.value == pytest.approx(difference.candidate - difference.baseline, abs=1e-11)
        assert -1 <= difference.low <= difference.value <= difference.high <= 1
        assert difference.problems == sum(
            count.scored >= k and name in candidate and candidate[name].scored >= k for name, count in baseline.items()
        )


def test_comparing_twice_gives_the_same_digits() -> None:
    baseline, candidate = random_runs(40)
    assert compare(baseline, candidate, [1, 5]) == compare(
        dict(reversed(baseline.items())), dict(reversed(candidate.items())), [1, 5]
    )


def test_runs_that_agree_on_few_problems_claim_no_certainty() -> None:
    few, many = (compare(*[counts(**{f"p{i}": (1, 1) for i in range(size)})] * 2, [1]) for size in (5, 500))
    assert few.pass_at_k[1].high > 0.05 > 5 * many.pass_at_k[1].high > 0


def test_p_values_of_several_candidates_are_corrected_by_holms_steps() -> None:
    assert adjust_p_values([0.04, 0.01, 0.03, 0.5]) == pytest.approx([0.09, 0.04, 0.09, 0.5])
    assert adjust_p_values([0.9, 0.6]) == [1.0, 1.0]
    assert adjust_p_values([0.03]) == [0.03]
    assert adjust_p_values([]) == []


def random_runs(size: int, samples: int = 10) -> tuple[Counts, Counts]:
    """Two runs over problems of all difficulties, the second a little better."""
    dice = random.Random(size)
    baseline, candidate = {}, {}
    for number in range(size):
        chance = dice.betavariate(0.3, 0.7)
        for run, own in ((baseline, chance), (candidate, 0.9 * chance + 0.1 * dice.random())):
            passed = sum(dice.random() < own for _ in range(samples))
            run[f"p{number}"] = ProblemCount(difficulty="EASY", skills=(), passed=passed, scored=samples)
    return baseline, candidate


def shares(run: Counts) -> list[float]:
    return [pass_at_k(count.scored, count.passed, 1) for count in run.values()]


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """The chances of both runs are beta, so the true difference is known: that of the two means."""
    dice = random.Random(3)
    held = 0
    for _ in range(200):
        differences = []
        for _ in range(50):
            first, second = dice.betavariate(0.3, 0.7), dice.betavariate(0.35, 0.65)
            differences.append(float(dice.random() < second) - float(dice.random() < first))
        low, high = difference_interval(differences)
        held += low <= 0.05 <= high
    assert 0.92 * 200 <= held < 200


def test_p_values_are_scipys() -> None:
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed: pip install scipy")
    for better in range(0, 40, 3):
        for worse in range(0, 40, 4):
            if better + worse:
                expected = stats.binomtest(better, better + worse, 0.5).pvalue
                assert sign_test_p_value(better, worse) == pytest.approx(expected, rel=1e-9)


def test_the_interval_is_scipys_bootstrap_where_problems_are_many() -> None:
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed: pip install scipy")
    numpy = pytest.importorskip("numpy")
    baseline, candidate = random_runs(2000)
    found: RunComparison = compare(baseline, candidate, [1])
    differences = numpy.subtract(shares(candidate), shares(baseline))
    expected = stats.bootstrap(
        (differences,), numpy.mean, n_resamples=9999, method="percentile", random_state=1
    ).confidence_interval
    width = expected.high - expected.low
    difference = found.pass_at_k[1]
    assert difference.value == pytest.approx(differences.mean(), abs=1e-12)
    assert (difference.low, difference.high) == pytest.approx((expected.low, expected.high), abs=0.1 * width)
