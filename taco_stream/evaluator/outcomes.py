"""The outcome of one execution under each comparison mode.

The kernel's word comes first (`execution_status`), then the size of the output, then the comparison, and last,
under `spj`, the problem's own checker. None of these is the program's to break: a comparison that takes too much is the
status `output_limit`, and a checker that fails on the program's output but copes with the expected answer has been
given something that is not an answer.
"""

import os
import signal
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import msgspec

from taco_stream.evaluator.checker import Checker, CheckerError
from taco_stream.evaluator.comparators.comparison import Modes
from taco_stream.evaluator.execution import Execution
from taco_stream.evaluator.problem_tests import ProblemTests, Test
from taco_stream.evaluator.protocol import Limits
from taco_stream.evaluator.tagged_values import untagged
from taco_stream.types import ComparisonMode, SpecialJudge, Status


class Outcome(NamedTuple):
    """One mode's outcome for one test; `reason` is one sentence if the evaluator is to blame."""

    status: Status
    reason: str = ""


class Compare(Protocol):
    """Compares a program's output with the expected one."""

    def __call__(
        self, written: bytes, test: Test, *, is_value: bool, judge: SpecialJudge, modes: Modes
    ) -> list[ComparisonMode] | None:
        """The modes that accept it; None if it takes too much to find out."""
        ...


class Outcomes:
    """Decides each mode's outcome for the executions of one problem's tests."""

    def __init__(self, tests: ProblemTests, compare: Compare, checker: Checker | None = None) -> None:
        self._tests = tests
        self._compare = compare
        self._checker = checker

    def decide(self, execution: Execution, test: Test, modes: Modes) -> Mapping[ComparisonMode, Outcome]:
        """The outcome under each of the modes."""
        status = execution_status(execution, self._tests.limits)
        if status is Status.INFRASTRUCTURE_ERROR:
            return dict.fromkeys(modes, Outcome(status, "the machine is too busy: a test was kept from running"))
        if status is not Status.PASSED:
            return dict.fromkeys(modes, Outcome(status))
        is_value = self._tests.fn_name is not None
        written = execution.result if is_value else execution.output
        if len(written) > test.max_bytes:  # anything a function prints is ignored, as the original does
            return dict.fromkeys(modes, Outcome(Status.OUTPUT_LIMIT))
        accepting = self._compare(written, test, is_value=is_value, judge=self._tests.special_judge, modes=modes)
        if accepting is None:
            return dict.fromkeys(modes, Outcome(Status.OUTPUT_LIMIT, "comparing the output takes too much"))
        outcomes = {mode: Outcome(Status.PASSED if mode in accepting else Status.WRONG_ANSWER) for mode in modes}
        asks = self._checker is not None and self._tests.special_judge is SpecialJudge.SEVERAL_ANSWERS
        if asks and ComparisonMode.SPJ in modes and ComparisonMode.SPJ not in accepting:
            outcomes[ComparisonMode.SPJ] = self._outcome_of_checker(written, test)
        return outcomes

    def _outcome_of_checker(self, written: bytes, test: Test) -> Outcome:
        assert self._checker is not None
        given, output = test.given.decode(), written.decode("utf-8", "replace")
        arguments: tuple[Any, Any] = (given, output)
        if self._tests.fn_name is not None:
            try:
                arguments = untagged(msgspec.json.decode(given)), untagged(msgspec.json.decode(written))
            except Exception:  # whatever the program wrote in place of a value
                return Outcome(Status.WRONG_ANSWER)
        try:
            is_right = self._checker(*arguments, test.answer)
        except CheckerError as error:
            # Asked about the expected answer: if it copes with that, the program's output was not an answer at all,
            # which a checker need not be ready for. Otherwise the checker is to blame, and not the program.
            try:
                self._checker(arguments[0], test.answer, test.answer)
            except CheckerError:
                return Outcome(Status.INFRASTRUCTURE_ERROR, str(error))
            return Outcome(Status.WRONG_ANSWER)
        return Outcome(Status.PASSED if is_right else Status.WRONG_ANSWER)


def execution_status(execution: Execution, limits: Limits) -> Status:
    """The status of one execution before its output is looked at."""
    number = os.WTERMSIG(execution.status) if os.WIFSIGNALED(execution.status) else 0
    if execution.out_of_wall and execution.is_starved:
        return Status.INFRASTRUCTURE_ERROR
    # The kernel counts its limit in ticks, and on a loaded virtual machine those run ahead of the time it reports.
    killed_for_time = number == signal.SIGKILL and execution.cpu_seconds > limits.cpu_seconds / 2
    if execution.out_of_wall or killed_for_time or number == signal.SIGXCPU:
        return Status.TIME_LIMIT
    # A kernel limit is in whole seconds, so a test may end by itself after its own limit and before the kernel's.
    if execution.cpu_seconds > limits.cpu_seconds:
        return Status.TIME_LIMIT
    if len(execution.output) >= limits.output_bytes or number == signal.SIGXFSZ:
        return Status.OUTPUT_LIMIT
    if number == signal.SIGSYS:
        return Status.SANDBOX_VIOLATION
    if number or os.WEXITSTATUS(execution.status):
        # The one thing that a program is believed about itself: it names a failure, and excuses none. A SIGKILL that
        # was not for time is the kernel's for memory, for nobody else may signal a test.
        out_of_memory = b"MemoryError" in execution.errors[-500:]
        return Status.MEMORY_LIMIT if out_of_memory or number == signal.SIGKILL else Status.RUNTIME_ERROR
    return Status.PASSED
