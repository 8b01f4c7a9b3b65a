"""What the verdicts on its reference solutions say of a problem."""

from collections.abc import Mapping

import pytest

from taco_stream.audit.findings import (
    Finding,
    FollowUp,
    Rate,
    Trial,
    Verdicts,
    classify,
    count_refusals,
    follow_up,
    pick_evenly,
    sum_rates,
)
from taco_stream.types import ComparisonMode, Status, Verdict

STRICT, OFFICIAL, SPJ = ComparisonMode.STRICT, ComparisonMode.OFFICIAL, ComparisonMode.SPJ
PASSED, WRONG, SLOW, CRASHED = Status.PASSED, Status.WRONG_ANSWER, Status.TIME_LIMIT, Status.RUNTIME_ERROR


def verdicts(
    status: Status, others: Mapping[ComparisonMode, Status] | None = None, *, failed_test: int = 0, detail: str = ""
) -> Verdicts:
    statuses = {**dict.fromkeys(ComparisonMode, status), **(others or {})}
    return {
        mode: Verdict(
            status=each,
            failed_test=None if each is PASSED else failed_test,
            tests_total=9,
            peak_cpu_seconds=3.21,
            detail=detail,
        )
        for mode, each in statuses.items()
    }


def finding(*trials: Trial, mode: ComparisonMode = STRICT) -> Finding:
    return classify(trials, mode, 2.0).finding


def test_a_problem_whose_solutions_pass_is_ok() -> None:
    assert finding(Trial(0, verdicts(PASSED), again=verdicts(PASSED)), Trial(1, verdicts(PASSED))) is Finding.OK


def test_a_problem_without_solutions_says_so() -> None:
    assert finding() is Finding.NO_SOLUTIONS


def test_a_failure_of_the_evaluator_is_no_fault_of_the_problem() -> None:
    broken = Trial(0, verdicts(Status.INFRASTRUCTURE_ERROR))
    assert finding(broken) is Finding.UNJUDGED
    assert finding(broken, Trial(1, verdicts(PASSED))) is Finding.OK


def test_a_solution_that_passes_only_once_makes_a_problem_flaky() -> None:
    assert finding(Trial(0, verdicts(PASSED), again=verdicts(WRONG))) is Finding.FLAKY
    assert finding(Trial(0, verdicts(WRONG), again=verdicts(PASSED))) is Finding.FLAKY


def test_a_solution_that_fails_at_another_test_the_second_time_makes_a_problem_flaky() -> None:
    again = verdicts(WRONG, failed_test=5)
    assert finding(Trial(0, verdicts(WRONG, failed_test=4), again=again)) is Finding.FLAKY


def test_a_solution_at_the_edge_of_its_time_is_slow_and_not_flaky() -> None:
    assert finding(Trial(0, verdicts(PASSED), again=verdicts(SLOW))) is Finding.TOO_SLOW


def test_solutions_of_which_some_fail_are_told_of_and_kept() -> None:
    found = classify([Trial(0, verdicts(PASSED)), Trial(1, verdicts(WRONG, failed_test=3))], STRICT, 2.0)
    assert found == (Finding.SOME_FAIL, "1 of 2 fail: solution 1: wrong_answer at test 3 of 9")
    assert not found.finding.is_excluded


def test_an_answer_that_only_another_mode_accepts_needs_a_special_judge_in_this_one() -> None:
    trial = Trial(0, verdicts(WRONG, {SPJ: PASSED}))
    assert finding(trial) is Finding.NEEDS_SPECIAL_JUDGE
    assert finding(trial, mode=SPJ) is Finding.OK


def test_a_missing_checker_is_a_need_of_a_special_judge() -> None:
    trial = Trial(0, verdicts(WRONG, {SPJ: Status.NO_CHECKER}))
    assert finding(trial, mode=SPJ) is Finding.NEEDS_SPECIAL_JUDGE
    assert finding(trial, mode=STRICT) is Finding.DISAGREEING


def test_a_slow_problem_says_what_it_needs() -> None:
    found = classify([Trial(0, verdicts(SLOW), longer=verdicts(PASSED)), Trial(1, verdicts(WRONG))], STRICT, 2.0)
    assert found.finding is Finding.TOO_SLOW
    assert "needs 3.2 s of CPU time for a test, whose limit is 2 s" in found.detail


def test_solutions_that_all_run_out_of_any_time_are_too_slow() -> None:
    found = classify([Trial(0, verdicts(SLOW), longer=verdicts(SLOW)), Trial(1, verdicts(SLOW))], STRICT, 2.0)
    assert found.finding is Finding.TOO_SLOW
    assert "none passes within 8 s" in found.detail


@pytest.mark.parametrize(
    "refused",
    [
        verdicts(Status.COMPILE_ERROR, detail="Missing parentheses in call to 'print'"),
        verdicts(CRASHED, detail="ModuleNotFoundError: No module named 'sortedcontainers'"),
        verdicts(CRASHED, {OFFICIAL: PASSED}, detail="SystemExit"),
        verdicts(Status.SANDBOX_VIOLATION),
        verdicts(Status.MEMORY_LIMIT),
    ],
)
def test_solutions_that_cannot_run_here_are_not_supported(refused: Verdicts) -> None:
    assert finding(Trial(0, refused)) is Finding.NOT_SUPPORTED
    assert finding(Trial(0, refused), Trial(1, verdicts(WRONG))) is Finding.DISAGREEING


def test_solutions_that_pass_nowhere_disagree_with_the_tests() -> None:
    assert finding(Trial(0, verdicts(WRONG)), Trial(1, verdicts(CRASHED))) is Finding.DISAGREEING


def test_what_no_solution_passes_every_time_is_excluded() -> None:
    kept = {found for found in Finding if not found.is_excluded}
    assert kept == {Finding.OK, Finding.SOME_FAIL, Finding.NO_SOLUTIONS, Finding.UNJUDGED}


def test_failing_solutions_and_one_passing_one_are_judged_again() -> None:
    statuses = (PASSED, PASSED, WRONG, CRASHED, Status.COMPILE_ERROR, Status.INFRASTRUCTURE_ERROR)
    trials = [Trial(number, verdicts(status)) for number, status in enumerate(statuses)]
    again = [follow_up(trial, trials, STRICT) is FollowUp.AGAIN for trial in trials]
    assert again == [True, False, True, True, False, False]


def test_one_slow_solution_gets_more_time_where_none_passes() -> None:
    slow = [Trial(number, verdicts(SLOW)) for number in range(2)]
    assert [follow_up(trial, slow, STRICT) for trial in slow] == [FollowUp.LONGER, FollowUp.NONE]
    assert follow_up(slow[0], [*slow, Trial(2, verdicts(PASSED))], STRICT) is FollowUp.NONE


@pytest.mark.parametrize(
    ("count", "wanted", "picked"), [(0, 5, ()), (3, 5, (0, 1, 2)), (10, 5, (0, 2, 4, 6, 8)), (7, 3, (0, 2, 4))]
)
def test_solutions_are_picked_evenly(count: int, wanted: int, picked: tuple[int, ...]) -> None:
    assert pick_evenly(count, wanted) == picked


def test_a_mode_that_refuses_a_solution_has_a_false_negative() -> None:
    first = count_refusals([Trial(0, verdicts(WRONG, {SPJ: PASSED})), Trial(1, verdicts(PASSED))])
    total = sum_rates([first, count_refusals([Trial(0, verdicts(PASSED))])])
    assert (total[STRICT], total[SPJ]) == (Rate(1, 3), Rate(0, 3))
    assert total[STRICT].share == pytest.approx(1 / 3)


def test_what_is_not_scored_is_in_no_rate() -> None:
    unscored = count_refusals(
        [Trial(0, verdicts(Status.INFRASTRUCTURE_ERROR)), Trial(1, verdicts(PASSED, {SPJ: Status.NO_CHECKER}))]
    )
    assert (unscored[STRICT], unscored[SPJ]) == (Rate(0, 1), Rate(0, 0))
    assert unscored[SPJ].share is None
