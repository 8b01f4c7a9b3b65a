"""The messages between the parent and an evaluator worker, as frames (`workers.frames`).

The parent sends a problem's tests once, under a key, and then any number of programs for that key, one at a time. The
worker answers each program with one `Judged`, or with one `Executed` if it was only to be run, and says `Judging` in
between at least as often as each test's clock is looked at, so that a long judgement is not taken for a hang. Closing
the worker's standard input ends it.
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from taco_stream.types import ComparisonMode, ExecutionResult, SpecialJudge, Verdict


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one test of one program, or of one execution.

    `wall_seconds` is the time on the clock in which it neither runs nor waits to run (`idle_clock`). `output_bytes`
    bounds each file that it writes, standard output and error included.
    """

    cpu_seconds: float
    wall_seconds: float
    memory_bytes: int
    output_bytes: int


class Sweep(StrEnum):
    """Which tests of a program are run, and in which order."""

    FULL = "full"  # all of them
    FIRST_FAILURE = "first_failure"  # in their order, until one fails
    FAILURES_FIRST = "failures_first"  # in the order of `failure_order`, until one fails


class Tests(msgspec.Struct, frozen=True, kw_only=True, tag="tests"):
    """A problem's tests, as the JSON text of its source, and the limits of each.

    Large tests do not pass through the pipe: `tests` is empty then, and `tests_path` names a memory file of the
    parent's, open until the first program's verdict. `checker` is the text of the problem's own checker.
    """

    key: int
    problem_id: str
    tests: str
    limits: Limits
    special_judge: SpecialJudge
    tests_path: str = ""
    checker: str | None = None


class JudgeProgram(msgspec.Struct, frozen=True, kw_only=True, tag="judge"):
    """Asks for the verdict on one program."""

    ticket: int
    key: int
    program: str
    sweep: Sweep


class ExecuteProgram(msgspec.Struct, frozen=True, kw_only=True, tag="execute"):
    """Asks what one program does with one standard input. A large one is in the memory file `stdin_path` instead."""

    ticket: int
    program: str
    stdin: bytes
    limits: Limits
    stdin_path: str = ""


class Forget(msgspec.Struct, frozen=True, kw_only=True, tag="forget"):
    """The tests of a key will not be used again."""

    key: int


class ZygoteReady(msgspec.Struct, frozen=True, kw_only=True, tag="ready"):
    """The worker's first word: its zygote is warm. `clock_knows_load` is `idle_clock.is_counted`."""

    sandbox_tier: str
    clock_knows_load: bool


class Judging(msgspec.Struct, frozen=True, kw_only=True, tag="judging"):
    """The program is still being judged."""


class Judged(msgspec.Struct, frozen=True, kw_only=True, tag="judged"):
    """The verdicts on one program, one for each comparison mode. `failure` says why there is none worth keeping."""

    ticket: int
    verdicts: Mapping[ComparisonMode, Verdict]
    tests_run: int
    failure: str = ""


class Executed(msgspec.Struct, frozen=True, kw_only=True, tag="executed"):
    """What a program did. `failure` says why it is not known, and that asking again may help."""

    ticket: int
    result: ExecutionResult
    failure: str = ""


ToWorker = Tests | JudgeProgram | ExecuteProgram | Forget
FromWorker = ZygoteReady | Judging | Judged | Executed
