"""How programs are run: the evaluator's settings, and the limits that follow from them for a problem."""

import math
from pathlib import Path
from typing import Annotated

import msgspec

from taco_stream.errors import EvaluatorError, UsageError
from taco_stream.evaluator.checker import checker_text
from taco_stream.evaluator.protocol import Limits, Sweep
from taco_stream.evaluator.sandbox.plan import SandboxPlan
from taco_stream.evaluator.sandbox.rlimits import ProgramLimits, shortfall
from taco_stream.settings import setting
from taco_stream.types import ComparisonMode, Problem, SpecialJudge

MIN_MEMORY_MIB = 32
"""An interpreter takes as much."""

MIN_SECONDS, MAX_SECONDS = 0.001, 86_400.0
MAX_MEMORY_BYTES = 1 << 44
MAX_OUTPUT_BYTES = 256 << 20
"""A caller's limits are between these. An output comes back in one frame, which holds 1 GiB at most."""


class EvaluatorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How programs are run and which verdict counts: a group of `taco_stream.settings`.

    The CPU limit of a test is the problem's own (`time_limit_seconds` if it states none) times `time_limit_factor`; its
    limit on the clock, in which only idle time counts, is `wall_multiple` times that and a second more. Limits stated
    for compiled languages are tight for CPython, hence a factor over 1. A test gets `memory_limit` MiB, or what its
    problem states if that is more.

    `failures_first` refuses failing programs sooner, at a price that `failure_order` states. `checkers_folder` is the
    registry that `checker` describes.
    """

    mode: Annotated[ComparisonMode, setting("Score by strict, official or spj; all are recorded.")] = (
        ComparisonMode.STRICT
    )
    workers: Annotated[
        int | None,
        setting(
            "Evaluator processes; default: the cores that generating leaves, and its own when it is idle.",
            ge=1,
            le=1024,
        ),
    ] = None
    time_limit_factor: Annotated[
        float, setting("Multiplies every problem's time limit.", changes_results=True, gt=0, le=10_000)
    ] = 2.0
    memory_limit: Annotated[
        int,
        setting(
            "Memory per test in MiB; a problem may grant more.", changes_results=True, ge=MIN_MEMORY_MIB, le=1 << 24
        ),
    ] = 4096
    full_results: Annotated[bool, setting("Run every test, even after a failure.", changes_results=True)] = False
    failures_first: Annotated[
        bool,
        setting(
            "Run tests that failed other programs first. Faster; the failing test reported may vary.",
            changes_results=True,
        ),
    ] = False
    checkers_folder: Annotated[
        str | None,
        setting("Folder of PROBLEM_ID.py checkers for problems with several correct answers.", changes_results=True),
    ] = None
    verdict_cache: Annotated[str | None, setting("Folder that caches verdicts of identical programs across runs.")] = (
        None
    )
    unsafe_no_sandbox: Annotated[bool, setting("Judge even without a sufficient sandbox.")] = False
    time_limit_seconds: float = 4.0
    output_limit_bytes: int = 64 << 20
    wall_multiple: float = 3.0

    @property
    def memory_limit_bytes(self) -> int:
        """`memory_limit` in bytes."""
        return self.memory_limit << 20

    @property
    def worst_case(self) -> str:
        """The longest that a test may take, in words."""
        cpu_seconds = self.time_limit_seconds * self.time_limit_factor
        return (
            f"each test gets {self.time_limit_factor:g}x its problem's CPU time limit "
            f"({cpu_seconds:g} s if unspecified) and may be idle for {self.wall_multiple:g}x that"
        )

    @property
    def sweep(self) -> Sweep:
        """Which tests of a program are run."""
        return self.choose_sweep(full_results=self.full_results)

    def choose_sweep(self, *, full_results: bool) -> Sweep:
        """Which tests of a program are run if a caller decides about `full_results` itself."""
        if full_results:
            return Sweep.FULL
        return Sweep.FAILURES_FIRST if self.failures_first else Sweep.FIRST_FAILURE


def limits_per_test(problem: Problem, settings: EvaluatorSettings) -> Limits:
    """The limits of one test of the problem."""
    cpu_seconds = (problem.time_limit_seconds or settings.time_limit_seconds) * settings.time_limit_factor
    return Limits(
        cpu_seconds=cpu_seconds,
        wall_seconds=clock_limit(cpu_seconds, settings),
        memory_bytes=max(problem.memory_limit_bytes or 0, settings.memory_limit_bytes),
        output_bytes=settings.output_limit_bytes,
    )


def clock_limit(cpu_seconds: float, settings: EvaluatorSettings) -> float:
    """The limit on the clock of a test that may use so much CPU time."""
    return math.ceil(cpu_seconds * settings.wall_multiple + 1)


def check_limits(limits: Limits) -> None:
    """Raises `UsageError` for limits that no test can be run under."""
    ranges = {
        "cpu_seconds": (limits.cpu_seconds, MIN_SECONDS, MAX_SECONDS),
        "wall_seconds": (limits.wall_seconds, MIN_SECONDS, MAX_SECONDS),
        "memory_bytes": (limits.memory_bytes, MIN_MEMORY_MIB << 20, MAX_MEMORY_BYTES),
        "output_bytes": (limits.output_bytes, 1, MAX_OUTPUT_BYTES),
    }
    for name, (value, lowest, highest) in ranges.items():
        if not lowest <= value <= highest:  # not a number is in no range
            raise UsageError(f"{name} is {value:,}; it has to be at least {lowest:,} and at most {highest:,}")


def read_checker(problem: Problem, settings: EvaluatorSettings) -> str | None:
    """The text of the problem's checker, if the registry has one. Raises `EvaluatorError` if it is unreadable."""
    if settings.checkers_folder is None or problem.special_judge is not SpecialJudge.SEVERAL_ANSWERS:
        return None
    try:
        return checker_text(Path(settings.checkers_folder), problem.problem_id)
    except (OSError, UnicodeDecodeError) as error:
        raise EvaluatorError(f"the checker of problem {problem.problem_id} cannot be read: {error}") from error


def refusal(plan: SandboxPlan, settings: EvaluatorSettings) -> str:
    """Why programs must not be judged under this plan, and the remedy; empty if they may."""
    if plan.lacks and not settings.unsafe_no_sandbox:
        return (
            f"programs cannot be confined here: the sandbox ({plan.tier}) lacks {plan.lacks}; `taco-stream doctor` "
            "says what would help, --unsafe-no-sandbox (unsafe_no_sandbox) runs them all the same"
        )
    if settings.memory_limit < MIN_MEMORY_MIB:
        return f"memory_limit cannot be below {MIN_MEMORY_MIB} MiB: an interpreter takes as much"
    # A limit that this process is under itself can only be lowered for a test: better refused now than at each test.
    granted = ProgramLimits(settings.memory_limit_bytes, settings.output_limit_bytes)
    cpu_seconds = settings.time_limit_seconds * settings.time_limit_factor
    if reason := shortfall(granted, cpu_seconds, user_is_ours=plan.has_own_user):
        return f"{reason}; raise it (`ulimit -H`, `sudo prlimit --pid $$`), or lower the limits of a test"
    return ""
