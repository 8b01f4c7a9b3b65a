"""From executions to verdicts: which tests are run in which form, and what each comparison mode says of them.

No process is known here: `judge_program` asks a `Runner` for executions and compares.

One execution serves every mode as long as the executed text is the same. `official` needs others in three cases, all of
them rare: a leading import that the original's header overrides (`placement_matters`), a program whose every test
exits with 1, which it executes again wrapped in a function, and a program that names `input.txt`.
"""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Protocol

import msgspec

from taco_stream.evaluator.checkers import official, spj, strict
from taco_stream.evaluator.checkers.several_answers import Checker, CheckerError
from taco_stream.evaluator.execution import Execution
from taco_stream.evaluator.failure_order import MOST_DEFERRED, SLICE_SECONDS
from taco_stream.evaluator.problem_tests import ProblemTests, Test
from taco_stream.evaluator.protocol import Limits, Sweep
from taco_stream.evaluator.tagged_values import untagged
from taco_stream.types import ComparisonMode, SpecialJudge, Status, Verdict

STDERR_TAIL_BYTES = 2000
PLAIN, WRAPPED, OFFICIAL = range(3)
"""The forms of a program, by their place in `forms_of`; the last is there only where it matters."""


class Runner(Protocol):
    """A compiled program that runs tests."""

    @property
    def compile_errors(self) -> list[str | None]:
        """What is wrong with each form, None where it compiles."""
        ...

    def run(
        self, given: bytes, limits: Limits, *, form: int = 0, fn_name: str | None = None, file_io: bool = False
    ) -> Execution:
        """Runs one test in one form."""
        ...


def forms_of(program: str, tests: ProblemTests) -> list[str]:
    """The texts of a program that some mode may execute."""
    text = f"{program}\n\n{tests.epilogue}" if tests.epilogue else program
    if tests.fn_name:
        return [text]
    forms = [text, official.wrapped_text(text)]
    if official.placement_matters(text):
        forms.append(official.executed_text(text))
    return forms


def judge_program(
    program: str, tests: ProblemTests, runner: Runner, checker: Checker | None = None, *, sweep: Sweep, tier: str
) -> Mapping[ComparisonMode, Verdict]:
    """The verdict under every mode. Unless the sweep is full, testing stops when every mode has met a failing test."""
    modes = {mode: Tally(mode, tests, checker) for mode in ComparisonMode}
    errors = runner.compile_errors
    own_form = len(errors) > OFFICIAL and errors[OFFICIAL] is None
    if errors[PLAIN] is None:
        together = [modes[mode] for mode in ComparisonMode if not (own_form and mode is ComparisonMode.OFFICIAL)]
        _run_tests(together, tests, runner, PLAIN, sweep)
        if own_form:
            _run_tests([modes[ComparisonMode.OFFICIAL]], tests, runner, OFFICIAL, sweep)
    if not tests.fn_name:
        form = OFFICIAL if own_form else PLAIN
        _run_official_again(modes[ComparisonMode.OFFICIAL], program, tests, runner, sweep, form=form)
    verdicts = {}
    for mode, tally in modes.items():
        error = errors[WRAPPED] if mode is ComparisonMode.OFFICIAL and not tests.fn_name else errors[PLAIN]
        verdicts[mode] = uncompiled(error, tests, tier) if error else tally.verdict(sweep, tier)
    return verdicts


def _run_tests(
    tallies: list["Tally"], tests: ProblemTests, runner: Runner, form: int, sweep: Sweep, *, file_io: bool = False
) -> None:
    def run(index: int, limits: Limits) -> Execution:
        return runner.run(tests.tests[index].given, limits, form=form, fn_name=tests.fn_name, file_io=file_io)

    in_order = ((index, run(index, tests.limits)) for index in range(len(tests.tests)))
    for index, execution in _failures_first(tests, run) if sweep is Sweep.FAILURES_FIRST else in_order:
        for tally in tallies:
            tally.add(index, execution)
        if sweep is not Sweep.FULL and all(tally.failed_test is not None for tally in tallies):
            tests.order.failed(index)
            return


def _failures_first(tests: ProblemTests, run: Callable[[int, Limits], Execution]) -> Iterator[tuple[int, Execution]]:
    """Executions in the order of `failure_order`; a test that uses up its slice comes last, under its full limits."""
    slice_limits = msgspec.structs.replace(tests.limits, cpu_seconds=min(SLICE_SECONDS, tests.limits.cpu_seconds))
    deferred: list[int] = []
    for index in tests.order.indices():
        may_wait = len(deferred) < MOST_DEFERRED
        execution = run(index, slice_limits if may_wait else tests.limits)
        if may_wait and not execution.out_of_wall and status_of(execution, slice_limits) is Status.TIME_LIMIT:
            deferred.append(index)
        else:
            yield index, execution
    for index in deferred:
        yield index, run(index, tests.limits)


def _run_official_again(
    tally: "Tally", program: str, tests: ProblemTests, runner: Runner, sweep: Sweep, *, form: int
) -> None:
    """What the original tries when a program, executed in `form`, exits with an error: files, then the function."""
    if runner.compile_errors[WRAPPED] is not None or tally.status is Status.PASSED:
        return
    did_not_compile = runner.compile_errors[PLAIN] is not None
    if "input.txt" in program and not did_not_compile and tally.exited_with_error:
        tally.start_again()
        _run_tests([tally], tests, runner, form, sweep, file_io=True)
    if did_not_compile or _only_exits_with_one(tally, tests, runner, sweep, form=form):
        tally.start_again()
        _run_tests([tally], tests, runner, WRAPPED, sweep)


def _only_exits_with_one(tally: "Tally", tests: ProblemTests, runner: Runner, sweep: Sweep, *, form: int) -> bool:
    """Whether every test exits with 1, as far as that matters: those that have not been run are run until one does not.

    Many programs fail for want of a name, at every test and wrapped or not. Where the wrapped one fails the same test,
    the program has failed either way, and nothing else is run.
    """
    if not tally.only_exited_with_one or (sweep is not Sweep.FULL and not _passes_wrapped(tally, tests, runner)):
        return False
    executions = (runner.run(tests.tests[index].given, tests.limits, form=form) for index in tally.not_run())
    return all(os.waitstatus_to_exitcode(execution.status) == 1 for execution in executions)


def _passes_wrapped(tally: "Tally", tests: ProblemTests, runner: Runner) -> bool:
    """Whether the program, wrapped, passes the test that it failed."""
    assert tally.failed_test is not None
    trial = Tally(ComparisonMode.OFFICIAL, tests, None)
    trial.add(tally.failed_test, runner.run(tests.tests[tally.failed_test].given, tests.limits, form=WRAPPED))
    return trial.status is Status.PASSED


class Tally:
    """What one comparison mode says of the tests so far."""

    def __init__(self, mode: ComparisonMode, tests: ProblemTests, checker: Checker | None) -> None:
        self._tests = tests
        self._has_several_answers = mode is ComparisonMode.SPJ and tests.special_judge is SpecialJudge.SEVERAL_ANSWERS
        self._checker = checker if self._has_several_answers else None
        self._accepts = acceptance(mode, tests, self._checker)
        self.start_again()

    def start_again(self) -> None:
        """Forgets the tests so far."""
        self.statuses: dict[int, Status] = {}
        self.failed_test: int | None = None
        self._failed: Execution | None = None
        self._executions: dict[int, Execution] = {}
        self._broken = ""

    @property
    def status(self) -> Status | None:
        """The status of the failing test that was met first, `passed` where none failed, None before any test."""
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

    def add(self, index: int, execution: Execution) -> None:
        """Counts one test."""
        status = status_of(execution, self._tests.limits)
        if status is Status.PASSED:
            status = self._status_of_output(execution, self._tests.tests[index])
        if status is not Status.PASSED and self.failed_test is None:
            self.failed_test, self._failed = index, execution
        self.statuses[index] = status
        self._executions[index] = execution._replace(output=b"", errors=b"", result=b"")

    def _status_of_output(self, execution: Execution, test: Test) -> Status:
        if len(execution.output) + len(execution.result) > test.most_bytes:
            return Status.OUTPUT_LIMIT
        try:
            return Status.PASSED if self._accepts(execution, test) else Status.WRONG_ANSWER
        except CheckerError as error:
            self._broken = str(error)
            return Status.INFRASTRUCTURE_ERROR

    def verdict(self, sweep: Sweep, tier: str) -> Verdict:
        """The verdict over all tests that ran."""
        errors = b"" if self._failed is None else self._failed.errors[-STDERR_TAIL_BYTES:]
        tail = errors.decode("utf-8", "replace")
        status = self.status or Status.PASSED
        if self._has_several_answers and self._checker is None and status is Status.WRONG_ANSWER:
            status = Status.NO_CHECKER
        executions = self._executions.values()
        return Verdict(
            status=status,
            failed_test=self.failed_test,
            tests_run=len(self.statuses),
            tests_total=len(self._tests.tests),
            cpu_seconds=sum(each.cpu_seconds for each in executions),
            wall_seconds=sum(each.wall_seconds for each in executions),
            peak_cpu_seconds=max((each.cpu_seconds for each in executions), default=0),
            peak_memory_bytes=max((each.peak_memory_bytes for each in executions), default=0),
            detail=self._broken or last_line(tail),
            stderr_tail=tail,
            test_statuses=tuple(self.statuses.values()) if sweep is Sweep.FULL else None,
            sandbox_tier=tier,
        )


def uncompiled(error: str, tests: ProblemTests, tier: str) -> Verdict:
    """The verdict on a program that does not compile."""
    return Verdict(status=Status.COMPILE_ERROR, tests_total=len(tests.tests), detail=error, sandbox_tier=tier)


def acceptance(mode: ComparisonMode, tests: ProblemTests, checker: Checker | None) -> Callable[[Execution, Test], bool]:
    """How a mode compares what came out of one execution with what was expected; the checker has the last word."""
    same_output, same_value = comparison(mode, tests.special_judge)

    def accepts_output(execution: Execution, test: Test) -> bool:
        output = execution.output.decode("utf-8", "replace")
        if same_output(output, test.expected):
            return True
        return checker is not None and checker(test.given.decode(), output, test.expected)

    def accepts_value(execution: Execution, test: Test) -> bool:
        try:
            value = untagged(msgspec.json.decode(execution.result))
        except (msgspec.DecodeError, ValueError, TypeError, OverflowError, RecursionError):
            return False  # whatever the program wrote in place of a value
        # TACO wraps an expected value in a list, other sets do not: either reading counts.
        expected = test.expected
        is_wrapped = isinstance(expected, list) and len(expected) == 1
        if same_value(value, expected) or (is_wrapped and same_value(value, expected[0])):
            return True
        return checker is not None and checker(untagged(msgspec.json.decode(test.given)), value, expected)

    return accepts_value if tests.fn_name else accepts_output


def comparison(
    mode: ComparisonMode, judge: SpecialJudge
) -> tuple[Callable[[str, str], bool], Callable[[Any, Any], bool]]:
    """A mode's rules for what a program prints and for what a function returns."""
    if mode is ComparisonMode.OFFICIAL:
        return official.same_output, official.same_value
    if mode is ComparisonMode.SPJ:
        return partial(spj.same_output, judge=judge), partial(spj.same_value, judge=judge)
    return strict.same_output, strict.same_value


def status_of(execution: Execution, limits: Limits) -> Status:
    """The status of one execution before its output is looked at."""
    number = os.WTERMSIG(execution.status) if os.WIFSIGNALED(execution.status) else 0
    # The kernel counts its limit in ticks, and on a loaded virtual machine those run ahead of the time it reports.
    killed_for_time = number == signal.SIGKILL and execution.cpu_seconds > limits.cpu_seconds / 2
    if execution.out_of_wall or killed_for_time or number == signal.SIGXCPU:
        return Status.TIME_LIMIT
    if execution.cpu_seconds > limits.cpu_seconds:
        return Status.TIME_LIMIT
    if len(execution.output) >= limits.output_bytes or number == signal.SIGXFSZ:
        return Status.OUTPUT_LIMIT
    if number == signal.SIGSYS:
        return Status.SANDBOX_VIOLATION
    if number or os.WEXITSTATUS(execution.status):
        out_of_memory = b"MemoryError" in execution.errors[-500:]
        return Status.MEMORY_LIMIT if out_of_memory or number == signal.SIGKILL else Status.RUNTIME_ERROR
    return Status.PASSED


def last_line(text: str) -> str:
    """The last line that is not blank: of a traceback, the error."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else ""
