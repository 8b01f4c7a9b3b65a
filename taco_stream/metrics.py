"""pass@k and the counts around it. Pure: numbers in, numbers out.

pass@k is the unbiased estimator of Chen et al. 2021 (arXiv:2107.03374, section 2.1): of n samples of a problem c are
right, and 1 - C(n-c, k) / C(n, k) estimates the probability that one of k is. The score of a run is the mean over its
problems.

The 95 % interval beside it says how far another set of problems of the same kind might move that mean: problems are
the units that a benchmark samples, and the samples of one problem are a cluster (Miller 2024, arXiv:2411.00640, section
2.2). Its limits are those of Learned-Miller and Thomas 2019 (arXiv:1905.06208) in a mid-P form (Lancaster 1961):

* The values, and one more at 0, are weighted at random (uniform weights that add up to 1, the Bayesian bootstrap of
  Rubin 1981), and so are the values and one more at 1. The interval lies between the 2.5 % and 97.5 % quantiles of
  those two means, taken with equal chance. The extra value represents the problem that has not been seen; it keeps
  problems that score alike from claiming certainty.
* Each of the two is taken for the beta distribution that has its mean and variance.

For values of 0 and 1 only, as with one sample each, both are exactly beta and this is the mid-P interval of a
proportion. One formula serves all values, so similar scores have similar intervals. Simulated, the interval holds the
truth in at least 93 % of cases from five problems up: in some 98 % for five to ten problems, in 95 % for many
(`bench/coverage.py`, `docs/design/run-directory.md`). Below `FEWEST_PROBLEMS` it means little.

Memory is a few counters per problem and a bit per sample.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from taco_stream.errors import UsageError
from taco_stream.sample_set import SampleSet
from taco_stream.types import ComparisonMode, ExtractionMethod, FinishReason, SampleKey, Status, Verdict

DEFAULT_KS = (1, 10, 100)
TAIL = 0.025
"""The probability that a 95 % interval leaves to either side."""

FEWEST_PROBLEMS = 5
"""Below this an interval is reported with a warning."""

MAX_STRENGTH = 1e7
"""The most observations that a beta distribution represents: more would change no digit that is shown."""

DECIMALS = 12
"""Decimals of an estimate. The sixteenth depends on the order in which problems are summed; none of these does."""

DIFFICULTIES = ("EASY", "MEDIUM", "MEDIUM_HARD", "HARD", "VERY_HARD", "UNKNOWN")
"""TACO's own, in the order a person expects; a dataset's other names come behind them by name."""


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A mean over `problems` problems and its 95 % confidence interval within [0, 1], as the module describes it."""

    value: float
    low: float
    high: float
    problems: int


class ProblemCount(msgspec.Struct, kw_only=True):
    """The counts of one problem: samples judged and scored (n), those that passed (c), and those not scored."""

    difficulty: str
    skills: tuple[str, ...]
    scored: int = 0
    passed: int = 0
    unscored: int = 0

    @property
    def samples(self) -> int:
        """Samples judged."""
        return self.scored + self.unscored


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """The scores of one comparison mode: overall, by difficulty and by skill, keyed by k."""

    overall: Mapping[int, Estimate]
    by_difficulty: Mapping[str, Mapping[int, Estimate]]
    by_skill: Mapping[str, Mapping[int, Estimate]]


def pass_at_k(samples: int, passed: int, k: int) -> float:
    """The probability that at least one of k samples, drawn from `samples` of which `passed` are right, is right.

    Raises `UsageError` if k is over `samples`: no unbiased estimate exists then.
    """
    if k > samples:
        raise UsageError(f"pass@{k} needs at least {k} samples of each problem, there are {samples}")
    if samples - passed < k:
        return 1.0
    # C(n-c, k) / C(n, k) as a product of factors below 1: no factorial, nothing that overflows.
    return 1.0 - math.prod(1.0 - k / which for which in range(samples - passed + 1, samples + 1))


def settled_ks(asked: Sequence[int], samples: int) -> tuple[int, ...]:
    """The k to report: those asked for, or 1, 10 and 100 as far as there are samples.

    Raises `UsageError` if a k asked for is over the number of samples.
    """
    for k in asked:
        if k < 1:
            raise UsageError(f"--k {k} is not a number of samples: give 1 or more")
        if k > samples:
            raise UsageError(
                f"--k {k} needs at least {k} samples of each problem, there are {samples}: raise --samples"
            )
    return tuple(sorted(set(asked))) or tuple(k for k in DEFAULT_KS if k <= samples)


class JudgedSample(Protocol):
    """The part of a record that is counted."""

    @property
    def key(self) -> SampleKey: ...
    @property
    def statuses(self) -> Mapping[ComparisonMode, Status]: ...
    @property
    def program(self) -> str | None: ...
    @property
    def extraction(self) -> ExtractionMethod: ...
    @property
    def finish_reason(self) -> FinishReason: ...
    @property
    def difficulty(self) -> str: ...
    @property
    def skills(self) -> tuple[str, ...]: ...
    @property
    def completion_tokens(self) -> int: ...


class Tally:
    """Counts records as they come, under every comparison mode; a sample that comes twice counts once, the first.

    `fenced_programs` counts chat answers that were taken for programs unchanged, and so do not compile.
    """

    def __init__(self) -> None:
        self.problems: dict[ComparisonMode, dict[str, ProblemCount]] = {mode: {} for mode in ComparisonMode}
        self.statuses: dict[ComparisonMode, Counter[str]] = {mode: Counter() for mode in ComparisonMode}
        self.extractions: Counter[str] = Counter()
        self.finish_reasons: Counter[str] = Counter()
        self.completion_tokens = 0
        self.duplicates = 0
        self.fenced_programs = 0
        self._seen = SampleSet()

    def add(self, record: JudgedSample) -> None:
        """Counts one record."""
        key, statuses = record.key, record.statuses
        if not self._seen.add(key):
            self.duplicates += 1
            return
        self.extractions[record.extraction] += 1
        self.finish_reasons[record.finish_reason] += 1
        # No program holds a Markdown fence: a text that was taken for one as a whole, and has one, is a chat answer.
        self.fenced_programs += (
            record.extraction is ExtractionMethod.WHOLE_TEXT
            and statuses.get(ComparisonMode.STRICT) is Status.COMPILE_ERROR
            and "```" in (record.program or "")
        )
        self.completion_tokens += record.completion_tokens
        for mode, status in statuses.items():
            self.statuses[mode][status] += 1
            count = self.problems[mode].get(key.problem_id)
            if count is None:
                count = ProblemCount(difficulty=record.difficulty, skills=record.skills)
                self.problems[mode][key.problem_id] = count
            if status.is_scored:
                count.scored += 1
                count.passed += status is Status.PASSED
            else:
                count.unscored += 1

    @property
    def samples(self) -> int:
        """Samples counted."""
        return len(self._seen)

    def pass_at_1(self, mode: ComparisonMode) -> float | None:
        """The mean share of right samples over the problems judged so far; None before the first."""
        shares = [count.passed / count.scored for count in self.problems[mode].values() if count.scored]
        return sum(shares) / len(shares) if shares else None

    def scores(self, mode: ComparisonMode, ks: Sequence[int]) -> Scores:
        """Every score of one mode. A problem with fewer scored samples than a k stays out of that k."""
        counts = list(self.problems[mode].values())
        return Scores(
            overall=_estimates(counts, ks),
            by_difficulty={
                name: _estimates([count for count in counts if count.difficulty == name], ks)
                for name in sorted({count.difficulty for count in counts}, key=difficulty_rank)
            },
            by_skill={
                name: _estimates([count for count in counts if name in count.skills], ks)
                for name in sorted({skill for count in counts for skill in count.skills})
            },
        )


def mean_estimate(values: Sequence[float]) -> Estimate:
    """The mean of at least one value from [0, 1], and its 95 % interval."""
    mean = math.fsum(values) / len(values)
    low, high = mean_interval(values)
    value, low, high = (round(each, DECIMALS) for each in (mean, min(mean, low), max(mean, high)))
    return Estimate(value=value, low=low, high=high, problems=len(values))


def mean_interval(values: Sequence[float], unseen: tuple[float, float] = (0.0, 1.0)) -> tuple[float, float]:
    """The 95 % interval of at least one value from [0, 1]; `unseen` are the two values of the one not seen."""
    weighted = [_weighted_mean(values, each) for each in unseen]
    return _quantile(weighted, TAIL), _quantile(weighted, 1 - TAIL)


def difficulty_rank(difficulty: str) -> tuple[int, str]:
    """Sorts difficulties in the order of `DIFFICULTIES`."""
    known = difficulty in DIFFICULTIES
    return (DIFFICULTIES.index(difficulty) if known else len(DIFFICULTIES), difficulty)


class _Beta(NamedTuple):
    """A beta distribution; all of it lies at 0 if `a` is 0, and at 1 if `b` is."""

    a: float
    b: float

    def density(self, x: float) -> float:
        """The density at a point between 0 and 1."""
        a, b = self
        if a <= 0 or b <= 0:
            return 0.0
        scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
        return math.exp(scale + (a - 1) * math.log(x) + (b - 1) * math.log1p(-x))

    def below(self, x: float) -> float:
        """The probability of less than a point between 0 and 1, on the side where the fraction converges fast."""
        a, b = self
        if a <= 0 or b <= 0:
            return float(a <= 0)
        power = self.density(x) * x * (1 - x)
        if x < (a + 1) / (a + b + 2):
            return power / a * _fraction(a, b, x)
        return 1 - power / b * _fraction(b, a, 1 - x)


def _weighted_mean(values: Sequence[float], unseen: float) -> _Beta:
    """The mean of the values and an unseen one under uniform random weights, as far as its mean and variance go."""
    size = len(values) + 1
    mean = (math.fsum(values) + unseen) / size
    # The moments of a mean under Dirichlet(1, …, 1) weights (Rubin 1981), solved for the beta's strength.
    squares = math.fsum((value - mean) ** 2 for value in values) + (unseen - mean) ** 2
    # If nothing varies the mean lies at a point, of which a very narrow distribution is near enough.
    strength = min(mean * (1 - mean) * size * (size + 1) / squares - 1, MAX_STRENGTH) if squares else MAX_STRENGTH
    return _Beta(mean * strength, (1 - mean) * strength)


def _quantile(parts: Sequence[_Beta], share: float) -> float:
    """The point that `share` of an equal mixture lies below: Newton's method, kept within a bracket that shrinks."""
    low, high = 0.0, 1.0
    x = sum(part.a / (part.a + part.b) for part in parts) / len(parts)
    x = min(max(x, 1e-3), 1 - 1e-3)
    for _ in range(100):
        excess = sum(part.below(x) for part in parts) / len(parts) - share
        low, high = (x, high) if excess < 0 else (low, x)
        slope = sum(part.density(x) for part in parts) / len(parts)
        # A step of Newton's may leave the bracket where the density is all but zero; then the bracket is halved.
        guess = x - excess / slope if slope else low
        guess = guess if low < guess < high else (low + high) / 2
        if abs(guess - x) < 1e-13:
            break
        x = guess
    return x


def _fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function (DLMF 8.17.22), evaluated by Lentz's method."""
    numerator, denominator = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    value = denominator
    for m in range(1, 10_000):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            denominator = 1 / (1 + term * denominator)
            numerator = 1 + term / numerator
            value *= numerator * denominator
        if abs(numerator * denominator - 1) < 1e-14:
            break
    return value


def _estimates(counts: Iterable[ProblemCount], ks: Sequence[int]) -> dict[int, Estimate]:
    counts = list(counts)
    estimates = {}
    for k in ks:
        values = [pass_at_k(count.scored, count.passed, k) for count in counts if count.scored >= k]
        if values:
            estimates[k] = mean_estimate(values)
    return estimates


def reward(verdict: Verdict, *, share_of_tests: bool = False) -> float | None:
    """1 for a program that passes every test and 0 for one that does not, or the share of tests that it passes.

    The share is of a verdict with full results. None if the verdict says nothing about the program.
    """
    if not verdict.status.is_scored:
        return None
    if share_of_tests and verdict.test_statuses:
        return verdict.test_statuses.count(Status.PASSED) / len(verdict.test_statuses)
    return float(verdict.status is Status.PASSED)
