"""Running programs whose tests are code: the processes that `assertions` describes."""

import os
from collections.abc import Callable
from contextlib import closing
from functools import cache
from io import FileIO

from taco_stream.evaluator.calls import UNPLAIN_ARGUMENT
from taco_stream.evaluator.execution import (
    CallPipes,
    Execution,
    RunningProgram,
    RunningTest,
)
from taco_stream.evaluator.protocol import Limits
from taco_stream.evaluator.zygote import ASKS, SERVES


class AssertedProgram:
    """A judged program whose tests are code: a `Runner` that runs each in two processes.

    `within` opens the program with the code appended, and is called if some test cannot do otherwise.
    """

    def __init__(
        self,
        running: RunningProgram,
        assertion: RunningProgram,
        entry_point: str,
        within: Callable[[], RunningProgram],
    ) -> None:
        self.compile_errors = running.compile_errors
        self._running = running
        self._assertion = assertion
        self._entry_point = entry_point
        self._within = cache(within)

    def run(
        self, given: bytes, limits: Limits, *, form: int = 0, fn_name: str | None = None, file_io: bool = False
    ) -> Execution:
        """Runs one test: `fn_name` of the published code, with the arguments `given`."""
        served: list[Execution] = []
        asking, serving = call_pipes()

        # Called while the asking test runs: the two wait for each other, and this worker has one thread.
        def serve(asked: RunningTest) -> None:
            entry_point = self._entry_point
            served.append(self._running.run(b"", limits, form=form, fn_name=entry_point, calls=serving, beside=asked))

        with closing(asking), closing(serving):
            asserted = self._assertion.run(given, limits, fn_name=fn_name, calls=asking, meanwhile=serve)
        if asserted.result == UNPLAIN_ARGUMENT:
            return self._within().run(given, limits, fn_name=fn_name)._replace(in_program=True)
        return both(served[0], asserted)


def both(program: Execution, assertion: Execution) -> Execution:
    """One test made of two: it ends as the program does if that fails, otherwise as the assertion does."""
    return Execution(
        status=program.status or assertion.status,
        cpu_seconds=program.cpu_seconds + assertion.cpu_seconds,
        wall_seconds=max(program.wall_seconds, assertion.wall_seconds),
        peak_memory_bytes=max(program.peak_memory_bytes, assertion.peak_memory_bytes),
        out_of_wall=program.out_of_wall or assertion.out_of_wall,
        output=program.output,
        errors=program.errors + assertion.errors,
        result=assertion.result,
        is_starved=program.is_starved or assertion.is_starved,
    )


def call_pipes() -> tuple[CallPipes, CallPipes]:
    """The asking and the serving side of two pipes."""
    (asked, requests), (answered, answers) = os.pipe(), os.pipe()
    asking = CallPipes(ASKS, FileIO(answered, "r"), FileIO(requests, "w"))
    return asking, CallPipes(SERVES, FileIO(asked, "r"), FileIO(answers, "w"))
