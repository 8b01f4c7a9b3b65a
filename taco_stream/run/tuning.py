"""What is tried to find how a machine runs a model fastest, and which of it is chosen. Pure: figures come from outside.

Two numbers cannot change while a run goes on, so they are found before it: the threads that a model computes with on a
CPU, and the samples that are decoded at once. The evaluator's workers are not among them (`balance`).

A choice is judged by the time that a sample takes in a long run. Generating it takes the inverse of the rate measured
beside an evaluator at work. Of each sample the workers that have cores of their own judge a part meanwhile; the rest is
judged on all cores when generating is over. Nothing of that is a model of the machine but the order: the rates are
measured.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

SAME_SHARE = 0.97
"""Of the best: a few seconds do not tell rates apart that are closer."""


class Choice(NamedTuple):
    """What a model is generated with. None is the default: no thread is counted, and as many rows as memory holds."""

    threads: int | None
    batch_size: int | None


class Measurement(NamedTuple):
    """A choice, the rows that it had, and how fast it generated beside an evaluator."""

    choice: Choice
    rows: int
    tokens_per_second: float


class Prospect(NamedTuple):
    """Samples per second that a measurement promises for a long run; None if no sample says how many tokens it has."""

    measurement: Measurement
    samples_per_second: float | None


def thread_counts(cores: int, given: int | None) -> tuple[int, ...]:
    """The threads to try: all cores, half and a quarter of them, unless their number is given."""
    return (given,) if given else tuple(sorted({cores, max(1, cores // 2), max(1, cores // 4)}, reverse=True))


def worker_counts(cores: int, given: int | None) -> tuple[int, ...]:
    """The workers to judge with: powers of two, and all cores, unless their number is given."""
    if given:
        return (given,)
    return (*(1 << power for power in range((cores - 1).bit_length())), cores)


def free_workers(cores: int, threads: int | None, counts: Sequence[int]) -> int:
    """The largest of the counts for which there are cores beside a choice's threads, at least the smallest."""
    return max((count for count in counts if count <= cores - (threads or 0)), default=min(counts))


def expect(
    measurement: Measurement, cores: int, tokens_per_sample: float | None, judged_per_second: Mapping[int, float]
) -> Prospect:
    """The prospect of a measurement, from the rates at which so many workers judged alone.

    What is left to judge in the end is judged at the best of these rates: more workers are slower only by accident.
    """
    if not tokens_per_sample or not judged_per_second:
        return Prospect(measurement, None)
    generated = measurement.tokens_per_second / tokens_per_sample
    counts = sorted(judged_per_second)
    meanwhile = judged_per_second[free_workers(cores, measurement.choice.threads, counts)]
    left = max(0.0, 1 - meanwhile / generated)
    return Prospect(measurement, 1 / (1 / generated + left / max(judged_per_second.values())))


def choose(prospects: Sequence[Prospect]) -> Prospect:
    """The first that is as good as the best: by samples if they are known for all, else by tokens."""
    by_tokens = [each.measurement.tokens_per_second for each in prospects]
    by_samples = [each.samples_per_second for each in prospects if each.samples_per_second is not None]
    rates = by_samples if len(by_samples) == len(prospects) else by_tokens
    return next(each for each, rate in zip(prospects, rates, strict=True) if rate >= SAME_SHARE * max(rates))
