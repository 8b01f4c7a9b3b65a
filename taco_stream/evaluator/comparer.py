"""Comparing large outputs in a process that may die.

Who runs: a worker spawns this file as a module when it first has a large output to compare, and keeps it. They speak in
frames (`workers.frames`) over standard input and output, one `Comparison` at a time, answered by one `Compared`.
Closing its standard input ends the process.

Promised: an answer, or None if the comparison takes more than `CPU_SECONDS` of CPU time or `MEMORY_BYTES` of address
space, or crashes; the process is dead then, and the next comparison starts another. If somebody else kills it (the
kernel's out-of-memory killer, a person), the comparison is made once more, and the second time that is a
`ComparerError`: not the program's fault. Small outputs are compared in the worker, for
their size bounds their cost.

The expected output is in this process's memory, and nothing of the program's is executed here: its output is only
decoded and compared (`comparators.comparison`).
"""

import json
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec

from taco_stream.evaluator.comparators.comparison import Modes, accepting_modes_of_output, accepting_modes_of_value
from taco_stream.evaluator.comparators.eval_plus_rule import Rule
from taco_stream.evaluator.problem_tests import Test
from taco_stream.evaluator.tagged_values import tagged, untagged
from taco_stream.types import ComparisonMode, SpecialJudge
from taco_stream.workers.frames import FrameDecoder, FrameError, write_frame

SMALL_BYTES = 1 << 16
"""Written and expected together. The worst value of this size (a set of 2,300 integers with one hash) takes 0.1 s."""

CPU_SECONDS = 5
MEMORY_BYTES = 2 << 30
"""The limits of one large comparison. Splitting the largest output that is looked at takes 1.5 s and 300 MB."""

PULSE_SECONDS = 1.0
MAX_PULSES = 600
"""The process is given up after this many, whatever keeps it: five seconds of CPU time on a hundredth of a core."""


ATTEMPTS = 2


class ComparerError(Exception):
    """The process that compares large outputs was killed, again and again."""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A program's output, and the expected one as JSON: a text, or a tagged value if `is_value`.

    `is_wrapped` says that the value is wrapped in a list of one, `rule` that the problem has a rule of its own.
    """

    written: bytes
    expected: bytes
    is_value: bool
    is_wrapped: bool
    rule: Rule | None
    judge: SpecialJudge
    modes: tuple[ComparisonMode, ...]


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """The modes that accept."""

    modes: tuple[ComparisonMode, ...]


class Comparer:
    """Compares outputs: the small ones itself, the large ones in a process of its own. `pulse` is called meanwhile."""

    def __init__(self, *, pulse: Callable[[], None] = lambda: None) -> None:
        self._pulse = pulse
        self._process: subprocess.Popen[bytes] | None = None

    def accepting_modes(
        self, written: bytes, test: Test, *, is_value: bool, judge: SpecialJudge, modes: Modes
    ) -> list[ComparisonMode] | None:
        """The modes that accept the output; None if comparing exceeds the limits."""
        if len(written) + test.expected_length <= SMALL_BYTES:
            if is_value:
                return accepting_modes_of_value(
                    written, test.expected, judge, modes, is_wrapped=test.is_wrapped, rule=test.rule
                )
            return accepting_modes_of_output(written, test.expected, judge, modes)
        expected = json.dumps(tagged(test.expected) if is_value else test.expected).encode()
        asked = Comparison(
            written=written,
            expected=expected,
            is_value=is_value,
            is_wrapped=test.is_wrapped,
            rule=test.rule,
            judge=judge,
            modes=tuple(modes),
        )
        for _ in range(ATTEMPTS):
            answer, signalled = self._ask(asked)
            if answer is not None:
                return list(answer.modes)
            # The process's own limits end it by SIGXCPU or a MemoryError; only somebody else sends SIGKILL.
            if signalled != signal.SIGKILL:
                return None
        raise ComparerError("the process that compares large outputs was killed")

    @property
    def pid(self) -> int | None:
        """The process, None before there is one."""
        return None if self._process is None else self._process.pid

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _ask(self, question: Comparison) -> tuple[Compared | None, int]:
        """The answer, or None and the signal that ended the process, 0 if none did."""
        if self._process is None:
            command = [sys.executable, "-P", "-m", "taco_stream.evaluator.comparer"]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        decoder: FrameDecoder[Compared] = FrameDecoder(Compared)
        try:
            write_frame(process.stdin, question)
            for _ in range(MAX_PULSES):
                if select.select([process.stdout], [], [], PULSE_SECONDS)[0]:
                    if (answer := decoder.read(process.stdout)) is not None:
                        return answer, 0
                    break
                self._pulse()
            else:
                process.kill()
        except (BrokenPipeError, FrameError):
            pass  # it died
        self._process = None
        with suppress(BrokenPipeError):
            process.communicate()
        return None, max(0, -process.returncode)


def main() -> None:
    """Answers comparisons until standard input is closed."""
    sys.set_int_max_str_digits(0)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    decoder: FrameDecoder[Comparison] = FrameDecoder(Comparison)
    while (asked := decoder.read(sys.stdin.buffer)) is not None:
        # The kernel's limit is on the sum since the process's start, in whole seconds. Only the soft one is moved: a
        # hard one could not be raised again for the next comparison.
        used = int(time.process_time()) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (used + CPU_SECONDS, resource.RLIM_INFINITY))
        write_frame(sys.stdout.buffer, Compared(modes=tuple(_accepting_modes(asked))))


def _accepting_modes(asked: Comparison) -> list[ComparisonMode]:
    expected: Any = json.loads(asked.expected)
    if asked.is_value:
        value = untagged(expected)
        return accepting_modes_of_value(
            asked.written, value, asked.judge, asked.modes, is_wrapped=asked.is_wrapped, rule=asked.rule
        )
    return accepting_modes_of_output(asked.written, expected, asked.judge, asked.modes)


if __name__ == "__main__":
    main()
