"""From executions to verdicts: the status of one, and which are asked for."""

import json
import signal
from collections.abc import Mapping

import pytest

from taco_stream.evaluator import protocol
from taco_stream.evaluator.comparer import Comparer
from taco_stream.evaluator.execution import Execution
from taco_stream.evaluator.judging import OFFICIAL, PLAIN, WRAPPED, judge_program, uncompiled
from taco_stream.evaluator.outcomes import execution_status
from taco_stream.evaluator.problem_tests import ProblemTests, parse_tests
from taco_stream.evaluator.protocol import Limits, Sweep
from taco_stream.types import ComparisonMode, SpecialJudge, Status, Verdict

LIMITS = Limits(cpu_seconds=4.0, wall_seconds=13.0, memory_bytes=1 << 30, output_bytes=1000)


def execution(status: int = 0, cpu_seconds: float = 0.1, **others: object) -> Execution:
    fields: dict[str, object] = {"wall_seconds": cpu_seconds, "peak_memory_bytes": 1 << 20, "out_of_wall": False}
    return Execution(status=status, cpu_seconds=cpu_seconds, **(fields | others))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "status"),
    [
        (execution(), Status.PASSED),
        (execution(cpu_seconds=4.1), Status.TIME_LIMIT),
        (execution(signal.SIGXCPU, 3.0), Status.TIME_LIMIT),
        (execution(signal.SIGKILL, 3.9), Status.TIME_LIMIT),
        (execution(signal.SIGKILL, 0.5), Status.MEMORY_LIMIT),
        (execution(signal.SIGKILL, 0.5, out_of_wall=True), Status.TIME_LIMIT),
        (execution(signal.SIGKILL, 0.5, out_of_wall=True, is_starved=True), Status.INFRASTRUCTURE_ERROR),
        (execution(signal.SIGSYS), Status.SANDBOX_VIOLATION),
        (execution(signal.SIGSEGV), Status.RUNTIME_ERROR),
        (execution(signal.SIGXFSZ), Status.OUTPUT_LIMIT),
        (execution(1 << 8), Status.RUNTIME_ERROR),
        (execution(1 << 8, errors=b"MemoryError\n"), Status.MEMORY_LIMIT),
        (execution(1 << 8, output=b"x" * 1000), Status.OUTPUT_LIMIT),
    ],
)
def test_the_status_is_what_the_kernel_said(found: Execution, status: Status) -> None:
    assert execution_status(found, LIMITS) is status


class Scripted:
    """A program that ends each test as told by its form, and what was asked of it."""

    def __init__(self, by_form: dict[int, Execution], compile_errors: list[str | None] | None = None) -> None:
        self.compile_errors: list[str | None] = compile_errors or [None] * len(by_form)
        self.asked: list[tuple[int, bool]] = []
        self._by_form = by_form

    def run(
        self, given: bytes, limits: Limits, *, form: int = 0, fn_name: str | None = None, file_io: bool = False
    ) -> Execution:
        """One test, as told."""
        self.asked.append((form, file_io))
        return self._by_form[form]

    def statuses(self, program: str = "", sweep: Sweep = Sweep.FIRST_FAILURE) -> tuple[Status, Status]:
        """What `official` and `strict` say of three tests that expect a 3."""
        verdicts = self.verdicts(program, sweep)
        return verdicts[ComparisonMode.OFFICIAL].status, verdicts[ComparisonMode.STRICT].status

    def verdicts(self, program: str = "", sweep: Sweep = Sweep.FIRST_FAILURE) -> Mapping[ComparisonMode, Verdict]:
        """The verdicts over the same tests."""
        return judge_program(program, three_tests(), self, Comparer().accepting_modes, sweep=sweep, tier="")


def three_tests() -> ProblemTests:
    tests = json.dumps({"inputs": ["1", "2", "3"], "outputs": ["3", "3", "3"]})
    return parse_tests(
        protocol.Tests(key=1, problem_id="p", tests=tests, limits=LIMITS, special_judge=SpecialJudge.NONE)
    )


EXITS_WITH_ONE, RIGHT, WRONG = execution(1 << 8), execution(output=b"3"), execution(output=b"4")


def test_a_program_that_fails_wrapped_as_well_costs_one_test_more() -> None:
    program = Scripted({PLAIN: EXITS_WITH_ONE, WRAPPED: EXITS_WITH_ONE})
    assert program.statuses() == (Status.RUNTIME_ERROR, Status.RUNTIME_ERROR)
    assert program.asked == [(PLAIN, False), (WRAPPED, False)]


def test_a_program_that_needs_the_wrapping_passes_under_official_alone() -> None:
    program = Scripted({PLAIN: EXITS_WITH_ONE, WRAPPED: RIGHT})
    assert program.statuses() == (Status.PASSED, Status.RUNTIME_ERROR)


def test_every_status_is_found_out_in_a_full_sweep() -> None:
    program = Scripted({PLAIN: EXITS_WITH_ONE, WRAPPED: WRONG})
    assert program.statuses(sweep=Sweep.FULL) == (Status.WRONG_ANSWER, Status.RUNTIME_ERROR)
    assert program.asked.count((WRAPPED, False)) == 3


def test_a_text_that_compiles_only_wrapped_is_run_wrapped() -> None:
    program = Scripted({WRAPPED: RIGHT}, compile_errors=["SyntaxError", None])
    assert program.statuses() == (Status.PASSED, Status.COMPILE_ERROR)


def test_files_are_tried_with_the_text_that_official_executes() -> None:
    program = Scripted({PLAIN: WRONG, WRAPPED: EXITS_WITH_ONE, OFFICIAL: EXITS_WITH_ONE})
    assert program.statuses("open('input.txt')")[0] is Status.RUNTIME_ERROR
    assert [form for form, file_io in program.asked if file_io] == [OFFICIAL]


def test_what_the_compiler_says_is_cut_as_other_details_are() -> None:
    tests = three_tests()
    assert len(uncompiled("SyntaxError: " + "x" * 1000, tests, "tier").detail) == 300


def test_a_wrong_answer_is_shown_with_where_it_first_differs() -> None:
    verdict = Scripted({PLAIN: execution(output=b"4\n"), WRAPPED: RIGHT}).verdicts()[ComparisonMode.STRICT]
    assert (verdict.output_head, verdict.detail) == ("4\n", "line 1: printed 4, expected 3")


def test_what_a_program_that_failed_otherwise_printed_is_not_kept() -> None:
    failed = execution(1 << 8, output=b"4\n", errors=b"ValueError: no\n")
    verdict = Scripted({PLAIN: failed, WRAPPED: failed}).verdicts()[ComparisonMode.STRICT]
    assert (verdict.output_head, verdict.detail) == ("", "ValueError: no")
