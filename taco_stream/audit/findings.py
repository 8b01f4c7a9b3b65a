"""The finding of an audit on one problem, from the verdicts on its reference solutions. Pure.

A reference solution is a program that its source says is right. If an evaluation refuses it, one of the two is
wrong, and a model's right program may be refused as well. A finding is relative to the comparison mode that counts:
audit in the mode in which you will run.

Each solution is judged once; then, as `follow_up` decides, some are judged again: every failing one and one passing one
under the same conditions (a verdict that differs is luck), and one that ran out of time under `LONGER` times its limit
(how much it needs). `classify` makes one finding of it all, the first of `Finding` that holds.

Not covered: whether a wrong program would pass (the tests may be too weak), and a reference that is wrong in the same
way as the tests.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

import msgspec

from taco_stream.types import ComparisonMode, Status, Verdict

LONGER = 4.0
"""A program that is too slow gets its limit times this once, to measure how much it needs."""

Verdicts = Mapping[ComparisonMode, Verdict]


class Finding(StrEnum):
    """The fault of a problem. The set is closed; the first that holds is reported."""

    BROKEN = "broken"
    """The row cannot be read as a problem, or its tests cannot be run: no JSON, none at all, outputs missing."""
    NO_SOLUTIONS = "no_solutions"
    """There is no reference solution that can be read, so nothing can be said."""
    UNJUDGED = "unjudged"
    """The evaluator failed on every solution. The next start judges the problem again."""
    FLAKY = "flaky"
    """The same program, judged twice, passed once or failed at different tests; running out of time does not count."""
    OK = "ok"
    """Every solution judged passes."""
    SOME_FAIL = "some_fail"
    """Some solutions pass and others fail: those are wrong or slow, or several answers are right."""
    NEEDS_SPECIAL_JUDGE = "needs_special_judge"
    """No solution passes, and one gives an answer that another mode accepts, or that only a checker could judge."""
    TOO_SLOW = "too_slow"
    """No solution passes, and one would with more time; or all of them run out of time."""
    NOT_SUPPORTED = "not_supported"
    """No solution can run here: none is Python 3, a module is missing, or it asks for something unavailable."""
    DISAGREEING = "disagreeing"
    """No solution passes under any mode: the tests are wrong, or the solutions, or several answers are right."""

    @property
    def is_excluded(self) -> bool:
        """Whether `run --exclude` leaves the problem out: no known program passes it every time.

        A problem without solutions, or one that some of them pass, stays in: a right program may well be counted.
        """
        return self not in (Finding.OK, Finding.SOME_FAIL, Finding.NO_SOLUTIONS, Finding.UNJUDGED)


class FollowUp(StrEnum):
    """How a solution is judged a second time."""

    NONE = "none"
    AGAIN = "again"
    LONGER = "longer"


class Trial(NamedTuple):
    """One reference solution, by its number, and its outcomes: at first, then by either follow-up."""

    number: int
    verdicts: Verdicts
    again: Verdicts | None = None
    longer: Verdicts | None = None

    @property
    def is_judged(self) -> bool:
        """Whether the evaluator gave verdicts."""
        return all(verdict.status is not Status.INFRASTRUCTURE_ERROR for verdict in self.verdicts.values())

    def verdict(self, mode: ComparisonMode) -> Verdict:
        """The verdict under a mode; of two, one that refuses the program."""
        first = self.verdicts[mode]
        return self.again[mode] if self.again and first.status is Status.PASSED else first

    def passes(self, mode: ComparisonMode) -> bool:
        """Whether the program passed each time."""
        return self.verdict(mode).status is Status.PASSED

    @property
    def passes_elsewhere(self) -> bool:
        """Whether some mode passes the program."""
        return any(self.passes(mode) for mode in self.verdicts)


class Conclusion(NamedTuple):
    """A finding, and one sentence for a person."""

    finding: Finding
    detail: str = ""


def pick_evenly(count: int, wanted: int) -> tuple[int, ...]:
    """At most `wanted` of the numbers below `count`, evenly spread and the first among them."""
    return tuple(range(count)) if count <= wanted else tuple(index * count // wanted for index in range(wanted))


def follow_up(trial: Trial, trials: Sequence[Trial], mode: ComparisonMode) -> FollowUp:
    """Whether, and how, one of a problem's solutions is judged a second time."""
    status = trial.verdicts[mode].status
    same = [each for each in trials if each.is_judged and each.verdicts[mode].status is status]
    if not trial.is_judged or status is Status.COMPILE_ERROR:
        return FollowUp.NONE
    if status is Status.PASSED:
        return FollowUp.AGAIN if trial is same[0] else FollowUp.NONE
    if status is not Status.TIME_LIMIT:
        return FollowUp.AGAIN
    # A slow program costs its limit for each test: one is enough, and none if the tests are known to be passable.
    is_needed = trial is same[0] and not any(each.passes(mode) for each in trials)
    return FollowUp.LONGER if is_needed else FollowUp.NONE


def classify(trials: Sequence[Trial], mode: ComparisonMode, limit_seconds: float) -> Conclusion:
    """The finding on one problem whose tests can be read. The limit is the CPU time of a test."""
    if not trials:
        return Conclusion(Finding.NO_SOLUTIONS)
    judged = [trial for trial in trials if trial.is_judged]
    if not judged:
        return Conclusion(Finding.UNJUDGED, trials[0].verdicts[mode].detail)
    for trial in judged:
        for each, second in (trial.again or {}).items():
            if _is_luck(trial.verdicts[each], second):
                outcomes = f"{_outcome(trial.verdicts[each])} and then {_outcome(second)}"
                return Conclusion(Finding.FLAKY, f"solution {trial.number} under {each}: {outcomes}")
    failing = [trial for trial in judged if not trial.passes(mode)]
    if not failing:
        return Conclusion(Finding.OK)
    failures = "; ".join(_failure(trial, mode) for trial in failing)
    if len(failing) < len(judged):
        return Conclusion(Finding.SOME_FAIL, f"{len(failing)} of {len(judged)} fail: {failures}")
    if needing := next((trial for trial in failing if _needs_special_judge(trial, mode)), None):
        return Conclusion(Finding.NEEDS_SPECIAL_JUDGE, _judged_elsewhere(needing, mode))
    for trial in failing:
        if trial.longer and any(verdict.status is Status.PASSED for verdict in trial.longer.values()):
            needed = trial.longer[mode].peak_cpu_seconds
            return Conclusion(
                Finding.TOO_SLOW,
                f"solution {trial.number} needs {needed:.1f} s of CPU time for a test, "
                f"whose limit is {limit_seconds:g} s",
            )
    if all(trial.verdict(mode).status is Status.TIME_LIMIT for trial in failing):
        return Conclusion(
            Finding.TOO_SLOW, f"none passes within {limit_seconds * LONGER:g} s a test either: {failures}"
        )
    if all(_is_unsupported(trial, mode) for trial in failing):
        return Conclusion(Finding.NOT_SUPPORTED, failures)
    return Conclusion(Finding.DISAGREEING, failures)


class Rate(msgspec.Struct, frozen=True):
    """How many of the solutions that a mode scored it refused."""

    refused: int = 0
    scored: int = 0

    def __add__(self, other: "Rate") -> "Rate":
        return Rate(self.refused + other.refused, self.scored + other.scored)

    @property
    def share(self) -> float | None:
        """The false-negative rate; None if nothing was scored."""
        return self.refused / self.scored if self.scored else None


Rates = Mapping[ComparisonMode, Rate]


def count_refusals(trials: Iterable[Trial]) -> Rates:
    """The solutions that each mode refused when they were first judged."""
    totals = dict.fromkeys(ComparisonMode, Rate())
    for trial in trials:
        for mode, verdict in trial.verdicts.items():
            totals[mode] += Rate(int(verdict.status is not Status.PASSED), 1) if verdict.status.is_scored else Rate()
    return totals


def sum_rates(rates: Iterable[Rates]) -> Rates:
    """The rates over many problems."""
    totals = dict.fromkeys(ComparisonMode, Rate())
    for each in rates:
        for mode, rate in each.items():
            totals[mode] += rate
    return totals


def _is_luck(first: Verdict, second: Verdict) -> bool:
    """Whether two verdicts on one program differ by more than the time that it took."""
    # A time limit met once and not again says that the limit is close, and not that the answer is random.
    if {first.status, second.status} & {Status.TIME_LIMIT, Status.INFRASTRUCTURE_ERROR}:
        return False
    return first.failed_test != second.failed_test or _tests_passed(first) != _tests_passed(second)


def _tests_passed(verdict: Verdict) -> tuple[bool, ...]:
    """The tests that passed, if all were run; else whether all did."""
    return tuple(status is Status.PASSED for status in verdict.test_statuses or (verdict.status,))


def _needs_special_judge(trial: Trial, mode: ComparisonMode) -> bool:
    status = trial.verdict(mode).status
    return status is Status.NO_CHECKER or (status is Status.WRONG_ANSWER and trial.passes_elsewhere)


def _is_unsupported(trial: Trial, mode: ComparisonMode) -> bool:
    """Whether a program failed because something is missing here, not because of its computations."""
    verdict = trial.verdict(mode)
    if verdict.status is Status.RUNTIME_ERROR:
        return verdict.detail.startswith(("ModuleNotFoundError", "ImportError")) or trial.passes_elsewhere
    return verdict.status in (Status.COMPILE_ERROR, Status.SANDBOX_VIOLATION, Status.MEMORY_LIMIT)


def _judged_elsewhere(trial: Trial, mode: ComparisonMode) -> str:
    modes = " and ".join(each for each in trial.verdicts if trial.passes(each))
    failure = _failure(trial, mode)
    return f"{failure}; it passes under {modes}" if modes else f"{failure}: --checkers-folder has no checker for it"


def _failure(trial: Trial, mode: ComparisonMode) -> str:
    return f"solution {trial.number}: {_outcome(trial.verdict(mode))}"


def _outcome(verdict: Verdict) -> str:
    parts = [str(verdict.status)]
    if verdict.failed_test is not None:
        parts.append(f"at test {verdict.failed_test} of {verdict.tests_total}")
    if verdict.test_statuses is not None:
        parts.append(f"({sum(status is not Status.PASSED for status in verdict.test_statuses)} of them fail)")
    if verdict.detail:
        parts.append(f"({verdict.detail})")
    return " ".join(parts)
