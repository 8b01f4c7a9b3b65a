"""The summary: what was scored, what is missing, and where the time went, over all starts."""

from collections.abc import Iterable

import msgspec
import pytest
from sample_values import finished, gauges, record

from taco_stream.events import DamagedEvent, PromptTooLong, RunResumed, RunStarted, UnknownEvent, WrittenEvent
from taco_stream.metrics import Tally
from taco_stream.report.summary import Overlap, Stage, Summary, summarise
from taco_stream.statistics import EngineStatistics, Tail
from taco_stream.types import ComparisonMode, Record, Status

STRICT = ComparisonMode.STRICT


def count_records(records: Iterable[Record]) -> Tally:
    tally = Tally()
    for each in records:
        tally.add(each)
    return tally


def summarise_records(
    records: Iterable[Record], events: Iterable[WrittenEvent] = (), ks: tuple[int, ...] = (1,)
) -> Summary:
    return summarise(count_records(records), events, mode=STRICT, ks=ks)


def test_a_run_without_a_result_has_a_summary() -> None:
    summary = summarise_records([])
    assert (summary.coverage.problems, summary.coverage.samples, summary.pass_at_k) == (0, 0, {})


def test_statuses_are_counted_most_frequent_first() -> None:
    records = [record("a", index, Status.WRONG_ANSWER) for index in range(3)] + [record("a", 3)]
    assert list(summarise_records(records).statuses.items()) == [("wrong_answer", 3), ("passed", 1)]


def test_problems_with_fewer_samples_are_counted_and_the_first_ten_named() -> None:
    records = [record("whole", index) for index in range(2)] + [record(f"p{number}") for number in range(12)]
    coverage = summarise_records(records, ks=(1, 2)).coverage
    assert coverage.incomplete_problems == 12
    assert coverage.incomplete_names == tuple(f"p{number}" for number in range(10))


def test_samples_that_could_not_be_judged_are_counted_apart() -> None:
    summary = summarise_records([record("a", 0), record("a", 1, Status.INFRASTRUCTURE_ERROR), record("b", 0)])
    assert (summary.coverage.unscored_samples, summary.coverage.unscored_names) == (1, ("a",))
    assert summary.pass_at_k[1].value == 1.0


def test_repeated_samples_are_counted_apart() -> None:
    assert summarise_records([record("a"), record("a")]).coverage.duplicated_samples == 1


def test_other_modes_have_their_scores_beside() -> None:
    assert set(summarise_records([record()]).other_modes) == {ComparisonMode.OFFICIAL, ComparisonMode.SPJ}


def test_time_is_the_sum_over_all_starts() -> None:
    """Also of one that was killed: its last gauges stand for it."""
    events = [
        RunStarted(),
        gauges(elapsed_seconds=5, generating_seconds=4, engine=EngineStatistics(completion_tokens=100)),
        gauges(elapsed_seconds=10, generating_seconds=8, engine=EngineStatistics(completion_tokens=300)),  # killed then
        RunResumed(),
        gauges(elapsed_seconds=5, generating_seconds=1, engine=EngineStatistics(completion_tokens=10)),
        finished(elapsed_seconds=7, generating_seconds=2, engine=EngineStatistics(completion_tokens=50)),
    ]
    throughput = summarise_records([], events).throughput
    assert (throughput.wall_seconds, throughput.generating_seconds, throughput.completion_tokens) == (17, 10, 350)
    assert throughput.tokens_per_second == pytest.approx(35)


def test_the_parts_of_the_critical_path_add_up_to_the_time_of_the_run() -> None:
    events = [
        RunStarted(),
        gauges(
            elapsed_seconds=10,
            startup_seconds=2.0,
            generating_seconds=7,
            judging_seconds=3,
            overlapped_seconds=2.5,
            generating_idle_seconds=0.25,
        ),
        RunResumed(),
        gauges(elapsed_seconds=1),  # killed before it did anything
        RunResumed(),
        gauges(elapsed_seconds=5, startup_seconds=1.0, judging_seconds=4, held_back_seconds=0.5),
    ]
    overlap = summarise_records([], events).throughput.overlap
    assert overlap == Overlap(
        startup_seconds=3.0,
        generating_alone_seconds=4.5,
        both_seconds=2.5,
        judging_alone_seconds=4.5,
        neither_seconds=0.5,
        generating_idle_seconds=0.25,
        judging_idle_seconds=0,
        held_back_seconds=0.5,
        bound_by=Stage.GENERATING,
        efficiency=7 / 12,
    )


def test_a_run_of_a_version_that_did_not_note_its_start_up_has_no_critical_path() -> None:
    throughput = summarise_records([], [finished(elapsed_seconds=10, generating_seconds=7)]).throughput
    assert (throughput.overlap, throughput.tail) == (None, None)


def test_the_first_token_and_the_tail_are_the_newest_starts_that_had_one() -> None:
    tail = Tail(seconds=1.0, mean_rows=2.0, problem_id="p", sample_index=3, completion_tokens=9)
    events = [
        gauges(first_token_seconds=5.0, first_verdict_seconds=6.0),
        RunResumed(),
        gauges(first_token_seconds=4.0, tail=tail),
        RunResumed(),
        finished(first_verdict_seconds=0.5),
    ]
    throughput = summarise_records([], events).throughput
    assert (throughput.first_token_seconds, throughput.first_verdict_seconds, throughput.tail) == (4.0, 0.5, tail)


def test_occupancy_is_the_share_of_row_time_used() -> None:
    events = [finished(engine=EngineStatistics(row_seconds=3, row_seconds_available=4))]
    assert summarise_records([], events).throughput.occupancy == pytest.approx(0.75)
    assert summarise_records([]).throughput.occupancy is None


def test_how_many_samples_are_expected_is_what_the_newest_start_counted() -> None:
    events = [
        gauges(samples_expected=10),
        RunResumed(),
        gauges(samples_expected=20),
        gauges(samples_expected=None),
    ]
    assert summarise_records([], events).coverage.samples_expected == 20
    assert summarise_records([]).coverage.samples_expected is None


def test_the_summary_reads_back_from_json() -> None:
    summary = summarise_records([record("a", skills=("Sorting",), difficulty="EASY")], [gauges(elapsed_seconds=1)])
    assert msgspec.json.decode(msgspec.json.encode(summary), type=Summary) == summary


def test_every_problem_with_too_long_a_prompt_stands_in_the_summary_once() -> None:
    """Two devices and two starts note it again."""
    events = [
        PromptTooLong(
            message="the prompt is too long",
            problem_id=name,
            prompt_tokens=250,
            context_length=256,
            new_tokens_wanted=40,
            new_tokens_left=6,
        )
        for name in "abab"
    ]
    found = summarise_records([], events).coverage.long_prompts
    assert [(each.problem_id, each.prompt_tokens, each.new_tokens_left) for each in found] == [
        ("a", 250, 6),
        ("b", 250, 6),
    ]


def test_events_of_a_newer_version_are_left_out_and_counted_by_kind() -> None:
    events = [UnknownEvent("moved", 1.0), gauges(elapsed_seconds=5), UnknownEvent("moved", 2.0)]
    summary = summarise_records([], events)
    assert summary.unknown_events == {"moved": 2}
    assert summary.throughput.wall_seconds == 5


def test_the_first_damaged_events_are_named_and_the_others_count() -> None:
    events = [gauges(elapsed_seconds=5), *map(DamagedEvent, range(2, 20)), gauges(elapsed_seconds=9)]
    summary = summarise_records([], events)
    assert summary.damaged_events == tuple(range(2, 12))
    assert summary.throughput.wall_seconds == 9
