"""From executions to verdicts: which tests are run in which form, and the verdict of each comparison mode.

No process is known here: `judge_program` asks a `Runner` for executions and compares.

One execution serves every mode as long as the executed text is the same. `official` needs others in two cases, both
rare: a leading import that the original's header overrides (`placement_matters`), and a program whose every test exits
with 1, which it executes again wrapped in a function. A program that names `input.txt` and exits with an error is
executed again on files, in every mode.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from taco_stream.evaluator.checker import Checker
from taco_stream.evaluator.comparators import official
from taco_stream.evaluator.difference import Difference, text_difference, value_difference
from taco_stream.evaluator.execution import Execution
from taco_stream.evaluator.failure_order import MAX_DEFERRED, SLICE_SECONDS
from taco_stream.evaluator.outcomes import Compare, Outcome, Outcomes, execution_status
from taco_stream.evaluator.problem_tests import ProblemTests
from taco_stream.evaluator.protocol import Limits, Sweep
from taco_stream.types import ComparisonMode, SpecialJudge, Status, Verdict

STDERR_TAIL_BYTES = 2000
DETAIL_LENGTH = 300
PLAIN, WRAPPED, OFFICIAL = range(3)
"""The forms of a program, by their place in `program_forms`; the last is there only if it matters."""


BYTE_ORDER_MARK = "\ufeff"
"""An interpreter skips this at the start of a program's file; `compile` refuses it in a text."""


class Runner(Protocol):
    """A compiled program that runs tests."""

    @property
    def compile_errors(self) -> list[str | None]:
        """The error of each form, None if it compiles."""
        ...

    def run(
        self, given: bytes, limits: Limits, *, form: int = 0, fn_name: str | None = None, file_io: bool = False
    ) -> Execution:
        """Runs one test in one form."""
        ...


def program_forms(program: str, tests: ProblemTests) -> list[str]:
    """The texts of a program that some mode may execute."""
    program = program.removeprefix(BYTE_ORDER_MARK)
    text = f"{program}\n\n{tests.epilogue}" if tests.epilogue else program
    if tests.fn_name:
        return [text]
    forms = [text, official.wrapped_text(text)]
    if official.placement_matters(text):
        forms.append(official.executed_text(text))
    return forms


def judge_program(
    program: str,
    tests: ProblemTests,
    runner: Runner,
    compare: Compare,
    checker: Checker | None = None,
    *,
    sweep: Sweep,
    tier: str,
) -> Mapping[ComparisonMode, Verdict]:
    """The verdict under every mode. Unless the sweep is full, testing stops when every mode has met a failing test."""
    judgement = Judgement(program, tests, runner, Outcomes(tests, compare, checker), sweep)
    modes = {mode: ModeTally(mode, tests, has_checker=checker is not None) for mode in ComparisonMode}
    errors = runner.compile_errors
    own_form = len(errors) > OFFICIAL and errors[OFFICIAL] is None
    if errors[PLAIN] is None:
        together = [modes[mode] for mode in ComparisonMode if not (own_form and mode is ComparisonMode.OFFICIAL)]
        judgement.run_tests_or_on_files(together, PLAIN)
        if own_form:
            judgement.run_tests_or_on_files([modes[ComparisonMode.OFFICIAL]], OFFICIAL)
    if not tests.fn_name:
        judgement.run_wrapped(modes[ComparisonMode.OFFICIAL], form=OFFICIAL if own_form else PLAIN)
    verdicts = {}
    for mode, tally in modes.items():
        error = errors[WRAPPED] if mode is ComparisonMode.OFFICIAL and not tests.fn_name else errors[PLAIN]
        verdicts[mode] = uncompiled(error, tests, tier) if error else tally.verdict(sweep, tier)
    return verdicts


class Judgement(NamedTuple):
    """One program on its way to its verdicts: which of its tests are run, and in which form."""

    program: str
    tests: ProblemTests
    runner: Runner
    outcomes: Outcomes
    sweep: Sweep

    def run_tests(self, tallies: Sequence["ModeTally"], form: int, *, file_io: bool = False) -> None:
        """Runs tests until each of the tallies has met one that fails, all of them in a full sweep."""
        modes = [tally.mode for tally in tallies]
        for index, execution in self._executions(form, file_io=file_io):
            outcomes = self.outcomes.decide(execution, self.tests.tests[index], modes)
            for tally in tallies:
                tally.add(index, execution, outcomes[tally.mode])
            # Not at the first failure: under another mode the program may still be right.
            if self.sweep is not Sweep.FULL and all(tally.failed_test is not None for tally in tallies):
                self.tests.order.failed(index)
                return

    def run_tests_or_on_files(self, tallies: Sequence["ModeTally"], form: int) -> None:
        """Runs tests, and runs them again for the tallies that saw a program that names `input.txt` exit with an error.

        Then the input is in that file, and the program writes the output to `output.txt`.
        """
        self.run_tests(tallies, form)
        again = [tally for tally in tallies if tally.exited_with_error]
        if again and not self.tests.fn_name and "input.txt" in self.program:
            for tally in again:
                tally.start_again()
            self.run_tests(again, form, file_io=True)

    def run_wrapped(self, tally: "ModeTally", *, form: int) -> None:
        """The original's last attempt at a program that, executed in `form`, exits with an error: in a function."""
        if self.runner.compile_errors[WRAPPED] is not None or tally.status is Status.PASSED:
            return
        did_not_compile = self.runner.compile_errors[PLAIN] is not None
        if did_not_compile or self._only_exits_with_one(tally, form):
            tally.start_again()
            self.run_tests([tally], WRAPPED)

    def _executions(self, form: int, *, file_io: bool) -> Iterator[tuple[int, Execution]]:
        """The tests in the order of the sweep, each run when it is asked for."""
        limits = self.tests.limits
        if self.sweep is not Sweep.FAILURES_FIRST:
            for index in range(len(self.tests.tests)):
                yield index, self._run(index, limits, form, file_io=file_io)
            return
        # A test that uses up its short slice comes last, under its full limits.
        slice_limits = msgspec.structs.replace(limits, cpu_seconds=min(SLICE_SECONDS, limits.cpu_seconds))
        deferred: list[int] = []
        for index in self.tests.order.indices():
            may_wait = len(deferred) < MAX_DEFERRED
            execution = self._run(index, slice_limits if may_wait else limits, form, file_io=file_io)
            if (
                may_wait
                and not execution.out_of_wall
                and execution_status(execution, slice_limits) is Status.TIME_LIMIT
            ):
                deferred.append(index)
            else:
                yield index, execution
        for index in deferred:
            yield index, self._run(index, limits, form, file_io=file_io)

    def _run(self, index: int, limits: Limits, form: int, *, file_io: bool = False) -> Execution:
        given = self.tests.tests[index].given
        return self.runner.run(given, limits, form=form, fn_name=self.tests.fn_name, file_io=file_io)

    def _only_exits_with_one(self, tally: "ModeTally", form: int) -> bool:
        """Whether every test exits with 1, as far as that matters: those not run yet are run until one does not."""
        if not tally.only_exited_with_one:
            return False
        if self.sweep is not Sweep.FULL:
            # Many programs raise NameError in every test, wrapped or not. If the wrapped one fails the same test, the
            # program has failed either way, and nothing else need be run.
            assert tally.failed_test is not None
            execution = self._run(tally.failed_test, self.tests.limits, WRAPPED)
            outcomes = self.outcomes.decide(execution, self.tests.tests[tally.failed_test], [tally.mode])
            if outcomes[tally.mode].status is not Status.PASSED:
                return False
        executions = (self._run(index, self.tests.limits, form) for index in tally.not_run())
        return all(os.waitstatus_to_exitcode(execution.status) == 1 for execution in executions)


class ModeTally:
    """One comparison mode's view of the tests so far."""

    def __init__(self, mode: ComparisonMode, tests: ProblemTests, *, has_checker: bool) -> None:
        self.mode = mode
        self._tests = tests
        has_several_answers = mode is ComparisonMode.SPJ and tests.special_judge is SpecialJudge.SEVERAL_ANSWERS
        self._lacks_checker = has_several_answers and not has_checker
        self.start_again()

    def start_again(self) -> None:
        """Forgets the tests so far."""
        self.statuses: dict[int, Status] = {}
        self.failed_test: int | None = None
        self._failed: Execution | None = None
        self._executions: dict[int, Execution] = {}
        self._reason = ""

    @property
    def status(self) -> Status | None:
        """The status of the failing test that was met first, `passed` if none failed, None before any test."""
        if not self.statuses:
            return None
        return Status.PASSED if self.failed_test is None else self.statuses[self.failed_test]

    @property
    def exited_with_error(self) -> bool:
        """Whether the failing test that was met first ended with a non-zero exit code of the program's."""
        return self._failed is not None and os.waitstatus_to_exitcode(self._failed.status) > 0

    @property
    def only_exited_with_one(self) -> bool:
        """Whether every test so far ended with the exit code 1."""
        return all(os.waitstatus_to_exitcode(execution.status) == 1 for execution in self._executions.values())

    def not_run(self) -> list[int]:
        """The tests that were not needed so far."""
        return [index for index in range(len(self._tests.tests)) if index not in self._executions]

    def add(self, index: int, execution: Execution, outcome: Outcome) -> None:
        if outcome.status is not Status.PASSED and self.failed_test is None:
            self.failed_test, self._failed, self._reason = index, execution, outcome.reason
        self.statuses[index] = outcome.status
        # Without the outputs, of which those of a hundred tests may be gigabytes.
        self._executions[index] = execution._replace(output=b"", errors=b"", result=b"")

    def verdict(self, sweep: Sweep, tier: str) -> Verdict:
        """The verdict over all tests that ran."""
        errors = b"" if self._failed is None else self._failed.errors[-STDERR_TAIL_BYTES:]
        tail = errors.decode("utf-8", "replace")
        status = self.status or Status.PASSED
        wrong = self._difference() if status is Status.WRONG_ANSWER else None
        # Another right answer, for all we know. Any other failure is one whatever a checker would say.
        if self._lacks_checker and status is Status.WRONG_ANSWER:
            status = Status.NO_CHECKER
        executions = self._executions.values()
        is_full = sweep is Sweep.FULL
        return Verdict(
            status=status,
            failed_test=self.failed_test,
            tests_run=len(self.statuses),
            tests_total=len(self._tests.tests),
            cpu_seconds=sum(each.cpu_seconds for each in executions),
            wall_seconds=sum(each.wall_seconds for each in executions),
            peak_cpu_seconds=max((each.cpu_seconds for each in executions), default=0),
            peak_memory_bytes=max((each.peak_memory_bytes for each in executions), default=0),
            detail=self._reason or (wrong.sentence if wrong else last_line(tail)),
            stderr_tail=tail,
            output_head=wrong.head if wrong else "",
            test_statuses=tuple(self.statuses.values()) if is_full else None,
            test_cpu_seconds=tuple(round(each.cpu_seconds, 6) for each in executions) if is_full else None,
            sandbox_tier=tier,
            judged_in_program=bool(self._tests.epilogue) or any(each.in_program for each in executions),
        )

    def _difference(self) -> Difference | None:
        """Where the answer of the failing test first differs; None if the tests are code, which expects no answer."""
        is_code = bool(self._tests.assertions or self._tests.epilogue)
        if self._failed is None or self.failed_test is None or is_code:
            return None
        expected = self._tests.tests[self.failed_test].answer
        if self._tests.fn_name is None:
            return text_difference(self._failed.output, expected)
        return value_difference(self._failed.result, expected)


def uncompiled(error: str, tests: ProblemTests, tier: str) -> Verdict:
    """The verdict on a program that does not compile."""
    detail = error[:DETAIL_LENGTH]
    return Verdict(status=Status.COMPILE_ERROR, tests_total=len(tests.tests), detail=detail, sandbox_tier=tier)


def last_line(text: str) -> str:
    """The last line that is not blank: of a traceback, the error."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip()[:DETAIL_LENGTH] if lines else ""
