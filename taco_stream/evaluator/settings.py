"""How programs are run: the evaluator's settings, and what they mean for a problem."""

import math
from pathlib import Path

import msgspec

from taco_stream.errors import EvaluatorError
from taco_stream.evaluator.checkers.several_answers import checker_text
from taco_stream.evaluator.protocol import Limits, Sweep
from taco_stream.evaluator.sandbox.plan import SandboxPlan
from taco_stream.evaluator.sandbox.rlimits import ProgramLimits, shortfall
from taco_stream.settings import RunSettings
from taco_stream.types import ComparisonMode, Problem, SpecialJudge

LEAST_MEMORY_BYTES = 32 << 20


class EvaluatorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How programs are run and which verdict counts.

    The CPU limit of a test is the problem's own (`time_limit_seconds` where it states none) times `time_limit_factor`;
    its wall limit `wall_multiple` times that and a second more. Limits stated for compiled languages are tight for
    CPython, hence a factor over 1. A test gets `memory_limit_bytes`, or what its problem states where that is more.

    `failures_first` refuses failing programs sooner, at a price that `failure_order` tells. `checkers_folder` is the
    registry that `checkers.several_answers` describes. `cache_folder` keeps verdicts between runs.
    """

    workers: int = 0
    mode: ComparisonMode = ComparisonMode.STRICT
    time_limit_factor: float = 2.0
    time_limit_seconds: float = 4.0
    memory_limit_bytes: int = 4 << 30
    output_limit_bytes: int = 64 << 20
    wall_multiple: float = 3.0
    full_results: bool = False
    failures_first: bool = False
    unsafe_no_sandbox: bool = False
    checkers_folder: str | None = None
    cache_folder: str | None = None

    @property
    def sweep(self) -> Sweep:
        """Which tests of a program are run."""
        if self.full_results:
            return Sweep.FULL
        return Sweep.FAILURES_FIRST if self.failures_first else Sweep.FIRST_FAILURE


def evaluator_settings(settings: RunSettings) -> EvaluatorSettings:
    """What of a run's settings concerns the evaluator; what was not given stays its default."""
    asked = {
        "mode": settings.mode,
        "workers": settings.workers,
        "time_limit_factor": settings.time_limit_factor,
        "memory_limit_bytes": settings.memory_limit and settings.memory_limit << 20,
        "full_results": settings.full_results,
        "failures_first": settings.failures_first,
        "checkers_folder": settings.checkers_folder,
        "unsafe_no_sandbox": settings.unsafe_no_sandbox,
        "cache_folder": settings.verdict_cache,
    }
    return msgspec.convert({name: value for name, value in asked.items() if value is not None}, EvaluatorSettings)


def limits_of(problem: Problem, settings: EvaluatorSettings) -> Limits:
    """What one test of the problem may use."""
    cpu_seconds = (problem.time_limit_seconds or settings.time_limit_seconds) * settings.time_limit_factor
    return Limits(
        cpu_seconds=cpu_seconds,
        wall_seconds=math.ceil(cpu_seconds * settings.wall_multiple + 1),
        memory_bytes=max(problem.memory_limit_bytes or 0, settings.memory_limit_bytes),
        output_bytes=settings.output_limit_bytes,
    )


def checker_of(problem: Problem, settings: EvaluatorSettings) -> str | None:
    """The text of the problem's checker, where the registry has one. Raises `EvaluatorError` where it is unreadable."""
    if settings.checkers_folder is None or problem.special_judge is not SpecialJudge.SEVERAL_ANSWERS:
        return None
    try:
        return checker_text(Path(settings.checkers_folder), problem.problem_id)
    except (OSError, UnicodeDecodeError) as error:
        raise EvaluatorError(f"the checker of problem {problem.problem_id} cannot be read: {error}") from error


def refusal(plan: SandboxPlan, settings: EvaluatorSettings) -> str:
    """Why programs must not be judged under this plan, and what to do about it; empty where they may."""
    if plan.lacks and not settings.unsafe_no_sandbox:
        return (
            f"programs cannot be confined here: the sandbox ({plan.tier}) lacks {plan.lacks}; `taco-stream doctor` "
            "says what would help, --unsafe-no-sandbox (unsafe_no_sandbox) runs them all the same"
        )
    if settings.memory_limit_bytes < LEAST_MEMORY_BYTES:
        return f"memory_limit_bytes cannot be below {LEAST_MEMORY_BYTES}: an interpreter takes as much"
    granted = ProgramLimits(settings.memory_limit_bytes, settings.output_limit_bytes)
    cpu_seconds = settings.time_limit_seconds * settings.time_limit_factor
    if reason := shortfall(granted, cpu_seconds, user_is_ours=plan.has_own_user):
        return f"{reason}; raise it (`ulimit -H`, `sudo prlimit --pid $$`), or lower what a test gets"
    return ""
