"""The document that the page of a run is drawn from."""

from collections.abc import Iterable

import msgspec
import pytest
from sample_values import finished, gauges, manifest, record

from taco_stream.events import (
    DamagedEvent,
    EvaluatorRestarted,
    PromptTooLong,
    RunResumed,
    RunStarted,
    UnknownEvent,
    WrittenEvent,
)
from taco_stream.report.page_data import (
    CURVE_POINTS,
    LATEST_SAMPLES,
    RunCounts,
    RunPage,
    curve_ks,
    describe_run,
)
from taco_stream.report.run_list import RunState
from taco_stream.types import ComparisonMode, Record, Status, Verdict

STRICT = ComparisonMode.STRICT


def counts(records: Iterable[Record] = (), events: Iterable[WrittenEvent] = ()) -> RunCounts:
    run = RunCounts(STRICT)
    for each in records:
        run.add(each)
    for event in events:
        run.add_event(event)
    return run


def page(
    records: Iterable[Record] = (),
    events: Iterable[WrittenEvent] = (),
    *,
    ks: tuple[int, ...] = (1,),
    is_running: bool = False,
) -> RunPage:
    return describe_run(counts(records, events), manifest(), name="run", path="runs/run", ks=ks, is_running=is_running)


def failed(name: str, index: int, status: Status, detail: str = "", **observed: object) -> Record:
    verdict = Verdict(status=status, detail=detail, **observed)  # type: ignore[arg-type]
    return record(name, index, verdicts=dict.fromkeys(ComparisonMode, verdict))


def test_a_run_without_a_result_has_a_page() -> None:
    empty = page()
    assert (empty.problems, empty.causes, empty.curve, empty.lengths, empty.timeline, empty.ks) == (
        [],
        [],
        None,
        None,
        [],
        [],
    )


def test_the_document_is_json_of_known_names() -> None:
    """The script of the page reads these; a name that changes here has to change there."""
    built = msgspec.json.decode(msgspec.json.encode(page([record("p", 0), record("p", 1, Status.TIME_LIMIT)])))
    assert set(built) == set(RunPage.__struct_fields__)
    assert built["summary"]["pass_at_k"]["1"]["value"] == 0.5
    assert set(built["problems"][0]) == {
        "problem_id", "difficulty", "skills", "samples", "scored", "passed", "closest", "statuses", "scores",
    }  # fmt: skip


def test_problems_stand_in_the_order_of_their_numbers_with_their_counts() -> None:
    records = [
        record("p10", 0),
        record("p2", 0, Status.WRONG_ANSWER),
        record("p2", 1),
        record("p2", 2, Status.NO_CHECKER),
    ]
    first, second = page(records, ks=(1, 2)).problems
    assert (first.problem_id, first.samples, first.scored, first.passed) == ("p2", 3, 2, 1)
    assert first.statuses == {"wrong_answer": 1, "passed": 1, "no_checker": 1}
    assert first.scores == [0.5, 1.0]
    assert (second.problem_id, second.scores) == ("p10", [1.0, None])


def test_how_close_a_problem_came_is_its_best_sample() -> None:
    records = [
        failed("p", 0, Status.WRONG_ANSWER, failed_test=1, tests_run=2, tests_total=10),
        failed("p", 1, Status.WRONG_ANSWER, failed_test=9, tests_run=10, tests_total=10),
        failed("q", 0, Status.NO_PROGRAM),
    ]
    assert [each.closest for each in page(records).problems] == [0.9, None]
    assert page([*records, record("p", 2)]).problems[0].closest == 1.0


def test_failures_of_one_kind_are_one_cause() -> None:
    records = [
        failed("p", 0, Status.RUNTIME_ERROR, "KeyError: 1 (line 3)", failed_test=0),
        failed("q", 4, Status.RUNTIME_ERROR, "KeyError: 'x'", failed_test=2),
        failed("p", 1, Status.RUNTIME_ERROR, "EOFError", failed_test=0),
        failed("p", 2, Status.TIME_LIMIT, "ran for 8 s", failed_test=1),
        record("p", 3),
    ]
    first, *others = page(records).causes
    assert (first.status, first.cause, first.samples, first.problems, first.first_test) == (
        "runtime_error",
        "KeyError",
        2,
        2,
        1,
    )
    assert (first.problem_id, first.sample_index) == ("p", 0)
    assert {(each.status, each.cause, each.samples) for each in others} == {
        ("runtime_error", "EOFError", 1),
        ("time_limit", "", 1),
    }


def test_tests_that_several_samples_failed_first_are_named_most_first() -> None:
    records = [
        *(failed("p", index, Status.WRONG_ANSWER, failed_test=3) for index in range(3)),
        *(failed("q", index, Status.WRONG_ANSWER, failed_test=0) for index in range(2)),
        failed("q", 2, Status.WRONG_ANSWER, failed_test=1),
    ]
    assert [(each.problem_id, each.test, each.failed, each.scored) for each in page(records).hard_tests] == [
        ("p", 3, 3, 3),
        ("q", 0, 2, 3),
    ]


def test_lengths_are_counted_in_bins_by_status() -> None:
    records = [record("p", index, completion_tokens=tokens) for index, tokens in enumerate((0, 10, 10, 100))]
    records.append(record("p", 9, Status.WRONG_ANSWER, completion_tokens=50))
    lengths = page(records).lengths
    assert lengths is not None
    assert (list(lengths.counts), lengths.medians) == (["passed", "wrong_answer"], {"passed": 10, "wrong_answer": 50})
    bins = lengths.counts["passed"]
    assert (bins[0], bins[10 // lengths.width], bins[100 // lengths.width], sum(bins)) == (1, 2, 1, 4)
    assert len(bins) * lengths.width > 100


def test_the_tokens_of_all_samples_are_shared_among_the_problems_solved() -> None:
    records = [record(name, index, completion_tokens=30) for name in "ab" for index in range(2)]
    failures = [record("c", index, Status.WRONG_ANSWER, completion_tokens=40) for index in range(3)]
    assert page([*records, *failures]).tokens_per_solved == (4 * 30 + 3 * 40) / 2
    assert page(failures).tokens_per_solved is None
    assert page([record("a", 0)]).tokens_per_solved is None


def test_completions_that_do_not_say_how_long_they_are_have_no_lengths() -> None:
    assert page([record("p", 0)]).lengths is None


def test_the_curve_is_over_the_problems_that_have_all_samples() -> None:
    """One problem has only begun: it would lift or lower the first points alone."""
    whole = [
        record(name, index, Status.PASSED if index else Status.WRONG_ANSWER) for name in "abc" for index in range(4)
    ]
    curve = page([*whole, record("d", 0, Status.WRONG_ANSWER)]).curve
    assert curve is not None
    assert (curve.samples, curve.problems, [point.k for point in curve.points]) == (4, 3, [1, 2, 3, 4])
    assert [point.value for point in curve.points] == [0.75, 1, 1, 1]
    assert all(point.low <= point.value <= point.high for point in curve.points)


def test_one_sample_per_problem_has_no_curve() -> None:
    assert page([record("a", 0), record("b", 0)]).curve is None


@pytest.mark.parametrize("samples", [1, 5, CURVE_POINTS, 100, 10_000])
def test_a_curve_has_few_points_from_1_to_all_samples(samples: int) -> None:
    ks = curve_ks(samples)
    assert (ks[0], ks[-1]) == (1, samples)
    assert ks == sorted(set(ks))
    assert len(ks) <= CURVE_POINTS


def test_a_sample_that_comes_twice_counts_once() -> None:
    built = page([record("p", 0, Status.WRONG_ANSWER), record("p", 0)])
    assert (built.problems[0].statuses, len(built.latest), len(built.causes)) == ({"wrong_answer": 1}, 1, 1)


def test_the_latest_samples_are_the_last_that_were_judged() -> None:
    latest = page(record("p", index) for index in range(LATEST_SAMPLES + 5)).latest
    assert [each.sample_index for each in latest] == list(range(5, LATEST_SAMPLES + 5))


def at(moment: float, event: WrittenEvent) -> WrittenEvent:
    return msgspec.structs.replace(event, at=moment)  # type: ignore[type-var]


@pytest.mark.parametrize(
    ("events", "is_running", "state"),
    [
        ([RunStarted()], True, RunState.RUNNING),
        ([RunStarted(), gauges()], False, RunState.RESUMABLE),
        ([RunStarted(), finished(samples_expected=1)], False, RunState.COMPLETE),
        ([RunStarted(), finished(samples_expected=1)], True, RunState.COMPLETE),  # it writes its report
        ([RunStarted(), finished(samples_expected=2)], False, RunState.FAILED),
        ([RunStarted(), finished(samples_expected=2, draining=True)], False, RunState.RESUMABLE),
        ([RunStarted(), finished(samples_expected=2), RunResumed()], True, RunState.RUNNING),
        ([], False, RunState.RESUMABLE),
    ],
)
def test_the_state_is_what_the_events_and_the_lock_say(
    events: list[WrittenEvent], is_running: bool, state: RunState
) -> None:
    assert page([record("p", 0)], events, is_running=is_running).state is state


def test_the_time_left_goes_by_the_pace_of_the_last_minute() -> None:
    """10 samples a second of late, 90 left."""
    events = [
        RunStarted(at=0),
        *(gauges(elapsed_seconds=5 * n, judged=50 * n, samples_expected=100) for n in range(1, 3)),
    ]
    assert counts([record("p", index) for index in range(10)], events).seconds_left() == pytest.approx(9)
    assert counts([], [RunStarted(at=0)]).seconds_left() is None


def test_incidents_are_what_happened_and_name_the_problem() -> None:
    """Long prompts, of which every problem may have one, are counted in a note instead."""
    long = PromptTooLong(
        at=2,
        message="too long",
        problem_id="p",
        prompt_tokens=9,
        context_length=8,
        new_tokens_wanted=1,
        new_tokens_left=0,
    )
    restarted = EvaluatorRestarted(at=4, message="a worker died", problem_id="p")
    events = [
        RunStarted(at=1), long, UnknownEvent("new", 3.0), DamagedEvent(4), restarted, at(5, gauges()), at(6, finished())
    ]  # fmt: skip
    incidents = page([], events).incidents
    assert [(each.at, each.kind, each.message) for each in incidents] == [
        (1, "run_started", ""),
        (4, "evaluator_restarted", "p: a worker died"),
        (6, "run_finished", ""),
    ]
