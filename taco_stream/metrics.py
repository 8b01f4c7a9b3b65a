"""pass@k and the counts around it. Pure: numbers in, numbers out.

pass@k is the unbiased estimator of Chen et al. 2021 (arXiv:2107.03374, section 2.1): of n samples of a problem c are
right, and 1 - C(n-c, k) / C(n, k) estimates the probability that one of k is. The score of a run is the mean over its
problems.

The 95 % confidence interval is the normal approximation of that mean, problems being what a benchmark samples (Miller
2024, arXiv:2411.00640, section 2.1): it says how far another set of problems of the same kind might move the score.
Where every problem has the same value the standard error is 0 and would claim certainty; there it is the interval of
Wilson 1927 for as many problems.

Memory is a few counters per problem and a bit per sample.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from taco_stream.errors import UsageError
from taco_stream.sample_set import SampleSet
from taco_stream.types import ComparisonMode, ExtractionMethod, Record, Status

DEFAULT_KS = (1, 10, 100)
NORMAL_95 = 1.959964
DIFFICULTIES = ("EASY", "MEDIUM", "MEDIUM_HARD", "HARD", "VERY_HARD", "UNKNOWN")
"""TACO's own, in the order a person expects; a dataset's other names come behind them by name."""


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A mean over `problems` problems and its 95 % confidence interval within [0, 1]."""

    value: float
    low: float
    high: float
    problems: int


class ProblemCount(msgspec.Struct, kw_only=True):
    """What is known of one problem: samples judged and scored (n), those that passed (c), and those not scored."""

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

    Raises `UsageError` where k is over `samples`: no unbiased estimate exists then.
    """
    if k > samples:
        raise UsageError(f"pass@{k} needs at least {k} samples of each problem, there are {samples}")
    if samples - passed < k:
        return 1.0
    # C(n-c, k) / C(n, k) as a product of factors below 1: no factorial, nothing that overflows.
    return 1.0 - math.prod(1.0 - k / which for which in range(samples - passed + 1, samples + 1))


def settled_ks(asked: Sequence[int], samples: int) -> tuple[int, ...]:
    """The k to report: those asked for, or 1, 10 and 100 as far as there are samples.

    Raises `UsageError` where a k asked for is over the number of samples.
    """
    for k in asked:
        if k < 1:
            raise UsageError(f"--k {k} is not a number of samples: give 1 or more")
        if k > samples:
            raise UsageError(
                f"--k {k} needs at least {k} samples of each problem, there are {samples}: raise --samples"
            )
    return tuple(sorted(set(asked))) or tuple(k for k in DEFAULT_KS if k <= samples)


class Tally:
    """Counts records as they come, under every comparison mode; a sample that comes twice counts once, the first.

    `fenced_programs` counts chat answers that were taken for programs as they stand, and so do not compile.
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

    def add(self, record: Record) -> None:
        """Counts one record."""
        if not self._seen.add(record.key):
            self.duplicates += 1
            return
        self.extractions[record.extraction] += 1
        self.finish_reasons[record.finish_reason] += 1
        self.fenced_programs += _is_fenced(record)
        self.completion_tokens += record.completion_tokens
        for mode, verdict in record.verdicts.items():
            self.statuses[mode][verdict.status] += 1
            count = self.problems[mode].setdefault(
                record.problem_id, ProblemCount(difficulty=record.difficulty, skills=record.skills)
            )
            if verdict.status.is_scored:
                count.scored += 1
                count.passed += verdict.status is Status.PASSED
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
                for name in sorted({count.difficulty for count in counts}, key=_rank)
            },
            by_skill={
                name: _estimates([count for count in counts if name in count.skills], ks)
                for name in sorted({skill for count in counts for skill in count.skills})
            },
        )


def _is_fenced(record: Record) -> bool:
    """Whether a text that was taken for a program as a whole is a chat answer: no program holds a Markdown fence."""
    verdict = record.verdicts.get(ComparisonMode.STRICT)
    return (
        record.extraction is ExtractionMethod.WHOLE_TEXT
        and verdict is not None
        and verdict.status is Status.COMPILE_ERROR
        and "```" in (record.program or "")
    )


def mean_estimate(values: Sequence[float]) -> Estimate:
    """The mean of at least one value from [0, 1], and its 95 % interval."""
    size = len(values)
    mean = math.fsum(values) / size
    if min(values) == max(values):
        low, high = _wilson_interval(mean, size)
    else:
        half = NORMAL_95 * math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (size - 1) / size)
        low, high = max(0.0, mean - half), min(1.0, mean + half)
    return Estimate(value=mean, low=low, high=high, problems=size)


def _rank(difficulty: str) -> tuple[int, str]:
    known = difficulty in DIFFICULTIES
    return (DIFFICULTIES.index(difficulty) if known else len(DIFFICULTIES), difficulty)


def _wilson_interval(mean: float, size: int) -> tuple[float, float]:
    """The values of a binomial mean that `size` draws with this mean do not contradict at 95 %."""
    weight = NORMAL_95**2 / size
    centre = (mean + weight / 2) / (1 + weight)
    half = math.sqrt(weight * mean * (1 - mean) + weight**2 / 4) / (1 + weight)
    return max(0.0, min(mean, centre - half)), min(1.0, max(mean, centre + half))


def _estimates(counts: Iterable[ProblemCount], ks: Sequence[int]) -> dict[int, Estimate]:
    counts = list(counts)
    estimates = {}
    for k in ks:
        values = [pass_at_k(count.scored, count.passed, k) for count in counts if count.scored >= k]
        if values:
            estimates[k] = mean_estimate(values)
    return estimates
