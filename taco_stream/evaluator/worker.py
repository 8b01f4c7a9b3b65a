"""An evaluator worker: the trusted process that holds tests and limits, runs programs through a zygote and compares.

Who talks to whom: the parent over standard input and output, in the frames of `protocol`; the zygote over a socket,
with descriptors. Expected outputs stay in this process, and in the one that compares the large ones (`comparer`). Pass
or fail comes from the kernel's wait status, its usage figures and the output bytes; nothing that a program says about
itself is believed, but for `MemoryError` as the last word of one that failed, which names its failure.

One program is judged at a time. A zygote that dies or does not answer is replaced, and the parent, who hears of it,
asks once more. Every exception is an answer too. The worker ends when its standard input closes, and its zygote with
it: between programs at once, and in the middle of one after `GRACE_SECONDS`, for a parent that was killed can close
nothing else.
"""

import os
import sys
import time
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import BinaryIO

import msgspec

from taco_stream.evaluator.asserted_program import AssertedProgram
from taco_stream.evaluator.checker import Checker, CheckerError, sandboxed_checker
from taco_stream.evaluator.comparer import Comparer
from taco_stream.evaluator.execution import CompilerCrashError, Execution, RunningProgram, ZygoteError, Zygotes
from taco_stream.evaluator.idle_clock import is_counted
from taco_stream.evaluator.judging import (
    BYTE_ORDER_MARK,
    Runner,
    judge_program,
    last_line,
    program_forms,
    uncompiled,
)
from taco_stream.evaluator.outcomes import execution_status
from taco_stream.evaluator.problem_tests import ProblemTests, TestsError, parse_tests, with_answers
from taco_stream.evaluator.protocol import (
    Executed,
    ExecuteProgram,
    Forget,
    Judged,
    JudgeProgram,
    Judging,
    Limits,
    Tests,
    ToWorker,
    ZygoteReady,
)
from taco_stream.evaluator.reference import ANSWERS, all_inputs, decode_answers, reference_limits
from taco_stream.evaluator.sandbox.plan import SandboxPlan
from taco_stream.evaluator.sandbox.probe import probe
from taco_stream.evaluator.sandbox.rlimits import ProgramLimits, shortfall
from taco_stream.types import ComparisonMode, ExecutionResult, Status, Verdict
from taco_stream.workers.child import exit_with_parent, take_pipes
from taco_stream.workers.frames import FrameDecoder, write_frame

GRACE_SECONDS = 1.0
"""How long the worker may take to end by itself once its standard input is closed."""

PULSE_SECONDS = 1.0


def main() -> None:
    """Serves the parent until it closes standard input."""
    inbound, outbound = take_pipes()
    exit_with_parent(inbound, grace_seconds=GRACE_SECONDS)
    # Python's limit on converting long integers would refuse right answers to problems about large numbers.
    sys.set_int_max_str_digits(0)
    decoder: FrameDecoder[ToWorker] = FrameDecoder(ToWorker)
    problems: dict[int, ProblemTests | TestsError] = {}
    pulse = Pulse(outbound)
    zygotes, comparer = Zygotes(probe(), pulse=pulse), Comparer(pulse=pulse)
    write_frame(outbound, ZygoteReady(sandbox_tier=zygotes.plan.tier, clock_knows_load=is_counted()))
    while (message := decoder.read(inbound)) is not None:
        match message:
            case Tests():
                problems[message.key] = parse_tests_or_error(message, zygotes.plan)
            case Forget():
                problems.pop(message.key, None)
            case JudgeProgram():
                write_frame(outbound, judge(message, problems, zygotes, comparer))
            case ExecuteProgram():
                write_frame(outbound, execute(message, zygotes))
    zygotes.close()
    comparer.close()


class Pulse:
    """Reports to the parent, at most once in `PULSE_SECONDS`, that the worker is at work."""

    def __init__(self, outbound: BinaryIO) -> None:
        self._outbound = outbound
        self._sent_at = time.monotonic()

    def __call__(self) -> None:
        # Called for each test, which may take a millisecond; the parent is in no hurry to hear of it.
        if time.monotonic() - self._sent_at >= PULSE_SECONDS:
            write_frame(self._outbound, Judging())
            self._sent_at = time.monotonic()


def judge(
    asked: JudgeProgram,
    problems: dict[int, ProblemTests | TestsError],
    zygotes: Zygotes,
    comparer: Comparer,
) -> Judged:
    """The verdicts on one program. Whatever goes wrong is an answer, for a worker that ends takes its tests with it."""
    tests = problems[asked.key]
    if isinstance(tests, TestsError):
        return _in_every_mode(asked, _broken(str(tests), zygotes))
    try:
        problems[asked.key] = tests = fill_answers(tests, zygotes)
        return run(asked, tests, zygotes, comparer)
    except TestsError as error:
        problems[asked.key] = error
        return _in_every_mode(asked, _broken(str(error), zygotes))
    except ZygoteError as error:
        zygotes.restart()
        return _failed(asked, str(error), zygotes)
    except Exception as error:
        # A fault of ours, and as such nobody's to catch further up. What a socket still holds is the answer to the
        # question that failed: a zygote that is kept would give it to the next.
        zygotes.restart()
        return _failed(asked, f"the worker failed: {error!r}", zygotes)


def run(asked: JudgeProgram, tests: ProblemTests, zygotes: Zygotes, comparer: Comparer) -> Judged:
    """Runs the program's tests. Raises `ZygoteError` if the zygote fails."""
    tier = zygotes.plan.tier
    try:
        with ExitStack() as opened:
            running = opened.enter_context(zygotes.program(program_forms(asked.program, tests), tests.limits))
            counted = Counted(assertion_runner(asked.program, running, tests, zygotes, opened))
            checker = open_checker(tests, zygotes, opened)
            compare = comparer.accepting_modes
            verdicts = judge_program(asked.program, tests, counted, compare, checker, sweep=asked.sweep, tier=tier)
    except CompilerCrashError:
        return _in_every_mode(asked, uncompiled("the compiler crashed", tests, tier))
    return Judged(ticket=asked.ticket, verdicts=verdicts, tests_run=counted.tests_run)


def execute(asked: ExecuteProgram, zygotes: Zygotes) -> Executed:
    """What one program does with its input. Whatever goes wrong is an answer here too."""
    if reason := shortfall_of_limits(asked.limits, zygotes.plan):
        return Executed(ticket=asked.ticket, result=_unknown(reason, zygotes))
    try:
        return Executed(ticket=asked.ticket, result=run_once(asked, zygotes))
    except ZygoteError as error:
        reason = str(error)
    except Exception as error:  # as in `judge`
        reason = f"the worker failed: {error!r}"
    zygotes.restart()
    return Executed(ticket=asked.ticket, result=_unknown(reason, zygotes), failure=reason)


def run_once(asked: ExecuteProgram, zygotes: Zygotes) -> ExecutionResult:
    """Runs the program on its input. Raises `ZygoteError` if the zygote fails."""
    tier = zygotes.plan.tier
    stdin = Path(asked.stdin_path).read_bytes() if asked.stdin_path else asked.stdin
    try:
        with zygotes.program([asked.program.removeprefix(BYTE_ORDER_MARK)], asked.limits) as running:
            if (error := running.compile_errors[0]) is not None:
                return ExecutionResult(status=Status.COMPILE_ERROR, detail=error, sandbox_tier=tier)
            execution = running.run(stdin, asked.limits)
    except CompilerCrashError:
        return ExecutionResult(status=Status.COMPILE_ERROR, detail="the compiler crashed", sandbox_tier=tier)
    status = execution_status(execution, asked.limits)
    if status is Status.INFRASTRUCTURE_ERROR:
        return _unknown("the machine is too busy: the program was kept from running", zygotes)
    return ExecutionResult(
        status=status,
        exit_code=os.waitstatus_to_exitcode(execution.status),
        stdout=execution.output,
        stderr=execution.errors,
        cpu_seconds=execution.cpu_seconds,
        wall_seconds=execution.wall_seconds,
        peak_memory_bytes=execution.peak_memory_bytes,
        sandbox_tier=tier,
    )


def fill_answers(tests: ProblemTests, zygotes: Zygotes) -> ProblemTests:
    """The tests with the answers of their reference solution, if they have one, which is asked once.

    Raises `TestsError` if it does not answer, and `ZygoteError` if the zygote fails.
    """
    if tests.reference is None:
        return tests
    inputs = [test.given for test in tests.tests]
    # Apart: the answers must not be in a process from which a judged program is forked.
    program = zygotes.apart.kept_program(tests.reference.asked_text, tests.limits)
    execution = program.run(all_inputs(inputs), reference_limits(len(inputs), tests.limits), fn_name=ANSWERS)
    try:
        return with_answers(tests, decode_answers(execution.result, len(inputs)))
    except (ValueError, TypeError, RecursionError) as error:
        reason = last_line(execution.errors.decode("utf-8", "replace")) or str(error)
        raise TestsError(f"the reference solution does not answer: {reason}") from error


def assertion_runner(
    program: str, running: RunningProgram, tests: ProblemTests, zygotes: Zygotes, opened: ExitStack
) -> Runner:
    """The program as its tests are run: beside the code that asserts, if they are code."""
    if tests.assertions is None:
        return running
    assert tests.fn_name is not None
    apart = zygotes.apart.kept_program(tests.assertions.outside_text(tests.fn_name), tests.limits)
    text = f"{program}\n\n{tests.assertions.inside_text(tests.fn_name)}"

    def within() -> RunningProgram:
        return opened.enter_context(zygotes.program([text], tests.limits))

    return AssertedProgram(running, apart, tests.assertions.entry_point, within)


def open_checker(tests: ProblemTests, zygotes: Zygotes, opened: ExitStack) -> Checker | None:
    """The problem's own checker, if it has one. Its process starts when it is first asked and ends with `opened`."""
    text = tests.checker
    if text is None:
        return None

    # A checker is asked only about an output that is not the expected one, so for many programs never.
    @cache
    def running() -> RunningProgram:
        return opened.enter_context(zygotes.program([text], tests.limits))

    def execute(arguments: bytes) -> tuple[int, bytes, bytes]:
        try:
            program = running()
        except CompilerCrashError as error:
            raise CheckerError("the compiler crashed on the checker") from error
        if program.compile_errors[0] is not None:
            raise CheckerError(f"the checker does not compile: {program.compile_errors[0]}")
        execution = program.run(arguments, tests.limits, fn_name="check")
        return execution.status, execution.result, execution.errors

    return sandboxed_checker(execute)


class Counted:
    """Passes tests on and counts them."""

    def __init__(self, running: Runner) -> None:
        self.compile_errors = running.compile_errors
        self.tests_run = 0
        self._running = running

    def run(
        self, given: bytes, limits: Limits, *, form: int = 0, fn_name: str | None = None, file_io: bool = False
    ) -> Execution:
        self.tests_run += 1
        return self._running.run(given, limits, form=form, fn_name=fn_name, file_io=file_io)


def parse_tests_or_error(message: Tests, plan: SandboxPlan) -> ProblemTests | TestsError:
    """The tests, or why no program of the problem can be judged."""
    if reason := shortfall_of_limits(message.limits, plan):
        return TestsError(reason)
    try:
        return parse_tests(message)
    except TestsError as error:
        return error


def shortfall_of_limits(limits: Limits, plan: SandboxPlan) -> str:
    """The limit of this session that is lower than what is asked for, and the remedy; empty if there is none."""
    granted = ProgramLimits(limits.memory_bytes, limits.output_bytes)
    reason = shortfall(granted, limits.cpu_seconds, user_is_ours=plan.has_own_user)
    return f"{reason}; raise it, or lower the limit" if reason else ""


def _in_every_mode(asked: JudgeProgram, verdict: Verdict) -> Judged:
    return Judged(ticket=asked.ticket, verdicts=dict.fromkeys(ComparisonMode, verdict), tests_run=0)


def _failed(asked: JudgeProgram, reason: str, zygotes: Zygotes) -> Judged:
    return msgspec.structs.replace(_in_every_mode(asked, _broken(reason, zygotes)), failure=reason)


def _unknown(reason: str, zygotes: Zygotes) -> ExecutionResult:
    return ExecutionResult(status=Status.INFRASTRUCTURE_ERROR, detail=reason, sandbox_tier=zygotes.plan.tier)


def _broken(reason: str, zygotes: Zygotes) -> Verdict:
    return Verdict(status=Status.INFRASTRUCTURE_ERROR, detail=reason, sandbox_tier=zygotes.plan.tier)


if __name__ == "__main__":
    main()
