"""The summary: what was scored, what is missing, and where the time went, over all starts."""

from collections.abc import Iterable

import msgspec
import pytest
from sample_values import record

from taco_stream.metrics import Tally
from taco_stream.report.summary import Summary, summarise
from taco_stream.types import ComparisonMode, Event, Record, Status

STRICT = ComparisonMode.STRICT


def tally_of(records: Iterable[Record]) -> Tally:
    tally = Tally()
    for each in records:
        tally.add(each)
    return tally


def summary_of(records: Iterable[Record], events: Iterable[Event] = (), ks: tuple[int, ...] = (1,)) -> Summary:
    return summarise(tally_of(records), events, mode=STRICT, ks=ks)


def gauges(kind: str = "gauges", **figures: float) -> Event:
    return Event(kind=kind, at=0.0, figures=figures)


def test_a_run_without_a_result_has_a_summary() -> None:
    summary = summary_of([])
    assert (summary.coverage.problems, summary.coverage.samples, summary.pass_at_k) == (0, 0, {})


def test_statuses_are_counted_most_frequent_first() -> None:
    records = [record("a", index, Status.WRONG_ANSWER) for index in range(3)] + [record("a", 3)]
    assert list(summary_of(records).statuses.items()) == [("wrong_answer", 3), ("passed", 1)]


def test_problems_with_fewer_samples_are_counted_and_the_first_ten_named() -> None:
    records = [record("whole", index) for index in range(2)] + [record(f"p{number}") for number in range(12)]
    coverage = summary_of(records, ks=(1, 2)).coverage
    assert coverage.incomplete_problems == 12
    assert coverage.incomplete_names == tuple(f"p{number}" for number in range(10))


def test_samples_that_could_not_be_judged_are_counted_apart() -> None:
    summary = summary_of([record("a", 0), record("a", 1, Status.INFRASTRUCTURE_ERROR), record("b", 0)])
    assert (summary.coverage.unscored_samples, summary.coverage.unscored_names) == (1, ("a",))
    assert summary.pass_at_k[1].value == 1.0


def test_repeated_samples_are_counted_apart() -> None:
    assert summary_of([record("a"), record("a")]).coverage.duplicated_samples == 1


def test_other_modes_have_their_scores_beside() -> None:
    assert set(summary_of([record()]).other_modes) == {ComparisonMode.OFFICIAL, ComparisonMode.SPJ}


def test_time_is_the_sum_over_all_starts() -> None:
    """Also of one that was killed: its last gauges stand for it."""
    events = [
        gauges("run_started"),
        gauges(elapsed_seconds=5, generating_seconds=4, completion_tokens=100),
        gauges(elapsed_seconds=10, generating_seconds=8, completion_tokens=300),  # killed after this
        gauges("run_resumed"),
        gauges(elapsed_seconds=5, generating_seconds=1, completion_tokens=10),
        gauges("run_finished", elapsed_seconds=7, generating_seconds=2, completion_tokens=50),
    ]
    throughput = summary_of([], events).throughput
    assert (throughput.wall_seconds, throughput.generating_seconds, throughput.completion_tokens) == (17, 10, 350)
    assert throughput.tokens_per_second == pytest.approx(35)


def test_occupancy_is_the_share_of_row_time_used() -> None:
    events = [gauges("run_finished", row_seconds=3, row_seconds_available=4)]
    assert summary_of([], events).throughput.occupancy == pytest.approx(0.75)
    assert summary_of([]).throughput.occupancy is None


def test_how_many_samples_are_expected_is_what_the_newest_start_counted() -> None:
    events = [
        gauges(samples_expected=10),
        gauges("run_resumed"),
        gauges(samples_expected=20),
        gauges(samples_expected=0),
    ]
    assert summary_of([], events).coverage.samples_expected == 20
    assert summary_of([]).coverage.samples_expected is None


def test_the_summary_reads_back_from_json() -> None:
    summary = summary_of([record("a", skills=("Sorting",), difficulty="EASY")], [gauges(elapsed_seconds=1)])
    assert msgspec.json.decode(msgspec.json.encode(summary), type=Summary) == summary


def test_every_problem_with_too_long_a_prompt_stands_in_the_summary_once() -> None:
    """Two devices and two starts note it again."""
    figures = {"prompt_tokens": 250, "context_length": 256, "new_tokens_wanted": 40, "new_tokens_left": 6}
    events = [Event(kind="prompt_too_long", at=0.0, problem_id=name, figures=figures) for name in "abab"]
    found = summary_of([], events).coverage.long_prompts
    assert [(each.problem_id, each.prompt_tokens, each.new_tokens_left) for each in found] == [
        ("a", 250, 6),
        ("b", 250, 6),
    ]
