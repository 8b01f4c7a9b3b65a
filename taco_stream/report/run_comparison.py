"""Runs compared problem by problem: the difference of their pass@k, and whether chance explains it. Pure.

Two runs are paired by problem: only problems with a scored sample in both count, and pass@k only those with at least k
in both. Pairing takes the difficulty of the problems out of the comparison, which is most of a score's variation
(Miller 2024, arXiv:2411.00640, section 4.2).

*The difference* is the mean over problems of the candidate's pass@k less the baseline's. Its 95 % interval says where
the mean lies for other problems of the same kind: quantiles of the Bayesian bootstrap over problems (Rubin 1981), as
`metrics` has them for a score, with one unseen problem on which one of the runs is better by 0.5. It is deterministic,
and keeps runs that agree on every problem from claiming that they agree on all others. Simulated, it holds the truth in
at least 93 % of cases, the percentile bootstrap in 19 % to 98 % (`docs/design/run-directory.md`).

*The sign test* (Dixon and Mood 1946) counts on how many problems the candidate passed a larger share of its samples
than the baseline, and on how many a smaller one. If neither is better each of these is as likely as the other, so the
smaller count of n is binomial(n, 1/2), and p is the probability of one as small, doubled for the two sides:

    p = min(1, 2 * sum(C(n, i) for i = 0 … min(better, worse)) / 2^n)

Problems with equal shares say nothing. With one sample per problem this is McNemar's test in its exact form (McNemar
1947). The test asks how many problems moved, not how far, so it does not depend on k.

*Several candidates* against one baseline are several chances to be lucky: `adjust_p_values` is the step-down correction
of Holm 1979.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from taco_stream.metrics import DECIMALS, ProblemCount, difficulty_rank, mean_interval, pass_at_k

UNSEEN_DIFFERENCE = 0.5
"""How much one run is better, on the problem not seen. 1, the most there is, makes intervals of 50 problems up to 1.6
times as wide, and none of those simulated needs it."""


class ScoreDifference(msgspec.Struct, frozen=True, kw_only=True):
    """Mean pass@k of both runs over the same `problems` problems, and of the candidate less the baseline.

    `value` and its 95 % interval are within [-1, 1].
    """

    baseline: float
    candidate: float
    value: float
    low: float
    high: float
    problems: int


class PassCount(msgspec.Struct, frozen=True, kw_only=True):
    """The samples of a problem in one run that were scored, and those of them that passed."""

    passed: int
    scored: int


class ProblemChange(msgspec.Struct, frozen=True, kw_only=True):
    """A problem that both runs have, and its samples in each."""

    problem_id: str
    difficulty: str
    baseline: PassCount
    candidate: PassCount

    @property
    def sign(self) -> int:
        """1 if the candidate passed a larger share of its samples, -1 if a smaller one, 0 if the same; exact."""
        here, there = self.candidate, self.baseline
        # Multiplied crosswise: as floats, equal shares of different numbers of samples may differ in the last digit.
        crosswise = here.passed * there.scored - there.passed * here.scored
        return (crosswise > 0) - (crosswise < 0)

    @property
    def share(self) -> float:
        """The candidate's share of passed samples less the baseline's."""
        return self.candidate.passed / self.candidate.scored - self.baseline.passed / self.baseline.scored


class SignTest(msgspec.Struct, frozen=True, kw_only=True):
    """On how many problems the candidate is better, worse and equal, and the two-sided p of the module's formula.

    `is_mcnemar` says that every problem has one sample in each run.
    """

    better: int
    worse: int
    equal: int
    p_value: float
    is_mcnemar: bool


class RunComparison(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate against a baseline, under one comparison mode.

    `gained` are problems of which the candidate solved a sample and the baseline none, `lost` the reverse. `changes`
    are all problems with another share of passed samples, the largest change first. `only_in_baseline` and
    `only_in_candidate` are problems without a scored sample in the other run, which count nowhere here.
    """

    pass_at_k: Mapping[int, ScoreDifference]
    by_difficulty: Mapping[str, Mapping[int, ScoreDifference]]
    sign_test: SignTest
    gained: tuple[ProblemChange, ...]
    lost: tuple[ProblemChange, ...]
    changes: tuple[ProblemChange, ...]
    only_in_baseline: tuple[str, ...]
    only_in_candidate: tuple[str, ...]


def compare(
    baseline: Mapping[str, ProblemCount], candidate: Mapping[str, ProblemCount], ks: Sequence[int]
) -> RunComparison:
    """Compares the counts of two runs, keyed by problem id. A k that no problem reaches in both has no difference."""
    paired = [
        ProblemChange(
            problem_id=name,
            difficulty=count.difficulty,
            baseline=PassCount(passed=count.passed, scored=count.scored),
            candidate=PassCount(passed=other.passed, scored=other.scored),
        )
        for name, count in sorted(baseline.items())
        if count.scored and (other := candidate.get(name)) is not None and other.scored
    ]
    changes = sorted((each for each in paired if each.sign), key=lambda each: (-abs(each.share), each.problem_id))
    names = {each.problem_id for each in paired}
    return RunComparison(
        pass_at_k=_differences(paired, ks),
        by_difficulty={
            name: _differences([each for each in paired if each.difficulty == name], ks)
            for name in sorted({each.difficulty for each in paired}, key=difficulty_rank)
        },
        sign_test=_sign_test(paired),
        gained=tuple(each for each in changes if not each.baseline.passed),
        lost=tuple(each for each in changes if not each.candidate.passed),
        changes=tuple(changes),
        only_in_baseline=_others(baseline, names),
        only_in_candidate=_others(candidate, names),
    )


def difference_interval(differences: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the mean of at least one difference from [-1, 1]."""
    # `mean_interval` is for values from 0 to 1.
    unseen = ((1 - UNSEEN_DIFFERENCE) / 2, (1 + UNSEEN_DIFFERENCE) / 2)
    low, high = mean_interval([(1 + each) / 2 for each in differences], unseen)
    return 2 * low - 1, 2 * high - 1


def sign_test_p_value(better: int, worse: int) -> float:
    """The two-sided p of the exact sign test; 1 if nothing differs."""
    differing = better + worse
    ways = tail = 1  # C(n, 0); whole numbers throughout, so that nothing is lost before the last division
    for index in range(min(better, worse)):
        ways = ways * (differing - index) // (index + 1)
        tail += ways
    return min(1.0, 2 * tail / (1 << differing))


def adjust_p_values(p_values: Sequence[float]) -> list[float]:
    """The p values of several tests, in the same order, so corrected that all of them together keep to their level."""
    # Holm 1979: the smallest times their number, the next times one less, and none below one that is smaller.
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def _sign_test(paired: Sequence[ProblemChange]) -> SignTest:
    signs = [each.sign for each in paired]
    better, worse = signs.count(1), signs.count(-1)
    return SignTest(
        better=better,
        worse=worse,
        equal=signs.count(0),
        p_value=sign_test_p_value(better, worse),
        is_mcnemar=all(each.baseline.scored == each.candidate.scored == 1 for each in paired),
    )


def _differences(paired: Sequence[ProblemChange], ks: Iterable[int]) -> dict[int, ScoreDifference]:
    differences = {}
    for k in ks:
        reaching = [each for each in paired if min(each.baseline.scored, each.candidate.scored) >= k]
        if reaching:
            differences[k] = _difference(reaching, k)
    return differences


def _difference(paired: Sequence[ProblemChange], k: int) -> ScoreDifference:
    before = [pass_at_k(each.baseline.scored, each.baseline.passed, k) for each in paired]
    after = [pass_at_k(each.candidate.scored, each.candidate.passed, k) for each in paired]
    differences = [there - here for here, there in zip(before, after, strict=True)]
    value = math.fsum(differences) / len(paired)
    low, high = difference_interval(differences)
    # Rounded as every estimate is; the interval may then miss its mean by the last digit.
    value, low, high = round(value, DECIMALS), round(min(low, value), DECIMALS), round(max(high, value), DECIMALS)
    return ScoreDifference(
        baseline=round(math.fsum(before) / len(paired), DECIMALS),
        candidate=round(math.fsum(after) / len(paired), DECIMALS),
        value=value,
        low=low,
        high=high,
        problems=len(paired),
    )


def _others(counts: Mapping[str, ProblemCount], paired: set[str]) -> tuple[str, ...]:
    return tuple(sorted(name for name, count in counts.items() if count.scored and name not in paired))
