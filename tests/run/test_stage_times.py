"""Busy time from the spans of samples: the sums of an exact reckoning, in whatever order the spans come."""

import random
from itertools import pairwise

import pytest

from taco_stream.run.stage_times import CoveredTime, StageTimes

SEEDS = range(60)


def random_spans(source: random.Random, count: int) -> list[tuple[float, float]]:
    """Spans on a coarse grid, so that they often touch, cover each other or are empty."""
    starts = [source.randrange(60) for _ in range(count)]
    return [(start / 4, (start + source.randrange(9)) / 4) for start in starts]


def covered(spans: list[tuple[float, float]]) -> set[float]:
    """The quarters of a second that spans cover, by their beginnings."""
    return {quarter / 4 for start, end in spans for quarter in range(round(4 * start), round(4 * end))}


@pytest.mark.parametrize("seed", SEEDS)
def test_time_that_spans_cover_counts_once_in_any_order(seed: int) -> None:
    source = random.Random(seed)
    spans = random_spans(source, 25)
    coverage = CoveredTime()
    fresh = [part for start, end in spans for part in coverage.add(start, end)]
    assert coverage.seconds == len(covered(spans)) / 4
    assert sum(end - start for start, end in fresh) == coverage.seconds
    assert all(one.end <= other.start for one, other in pairwise(sorted(fresh)))
    start, end = 3.5, 11.25
    assert coverage.covered_seconds(start, end) == len(covered(spans) & covered([(start, end)])) / 4


@pytest.mark.parametrize("seed", SEEDS)
def test_overlap_is_the_time_that_both_stages_cover(seed: int) -> None:
    source = random.Random(seed)
    generated, judged = random_spans(source, 12), random_spans(source, 20)
    times = StageTimes()
    adding = [(times.add_generated, span) for span in generated] + [(times.add_judged, span) for span in judged]
    source.shuffle(adding)
    for add, span in adding:
        add(*span)
    totals = times.totals(now=100.0)
    assert totals.generating == len(covered(generated)) / 4
    assert totals.judging == len(covered(judged)) / 4
    assert totals.overlapped == len(covered(generated) & covered(judged)) / 4
    assert times.generating.began_at is not None
    assert times.generating.ended_at is not None
    assert totals.generating_idle == times.generating.ended_at - times.generating.began_at - totals.generating


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_under_way_counts_as_if_it_ended_now(seed: int) -> None:
    source = random.Random(seed)
    generated, judged = random_spans(source, 6), random_spans(source, 9)
    times, after = StageTimes(), StageTimes()
    for either in (times, after):
        for span in generated:
            either.add_generated(*span)
        for span in judged:
            either.add_judged(*span)
    now = 20.0
    assert times.generating.ended_at is not None
    assert times.judging.ended_at is not None
    since = times.generating.ended_at + 0.5, times.judging.ended_at + 0.25
    after.add_generated(since[0], now)
    after.add_judged(since[1], now)
    assert times.totals(now, generating_since=since[0], judging_since=since[1]) == after.totals(now)


def test_a_stage_seen_busy_before_its_newest_span_ended_counts_from_that_end() -> None:
    """Before it, its spans are known; it may have been idle between two of them."""
    times = StageTimes()
    times.add_generated(1.0, 2.0)
    times.add_generated(3.0, 4.0)
    assert times.totals(5.0, generating_since=0.5).generating == 3.0


def test_stages_that_did_nothing_have_no_time() -> None:
    assert StageTimes().totals(5.0) == (0.0, 0.0, 0.0, 0.0, 0.0)


def test_memory_does_not_grow_and_no_time_is_counted_twice() -> None:
    """Of an hour of work with gaps, ended by a sample that was under way all the time."""
    coverage = CoveredTime(max_spans=16)
    for number in range(1000):
        coverage.add(number, number + 0.5)
    assert coverage.seconds == 500
    assert len(coverage._starts) <= 16
    coverage.add(0.0, 1000.0)
    assert 500 < coverage.seconds < 510
    assert coverage.began_at == 0.0
