"""Programs run in the sandbox as plain `python3 program.py < input` runs them: the same output and the same exit code.

Not compared: standard error, and what is different by design. The header's names are there (a program that asks whether
`Counter` is defined is answered otherwise), the program's text is no file that could be opened, frames of the zygote are
below the program's own (`len(inspect.stack())`), an uncaught `KeyboardInterrupt` exits with 1 and is not a signal, files
outside, other processes and networks are refused, and an integer of any length can be printed.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from differential import endings, introspection, language, streams, texts
from differential.case import Case

from taco_stream.evaluator.execution import ENVIRONMENT, Zygotes
from taco_stream.evaluator.protocol import Limits
from taco_stream.evaluator.sandbox.probe import probe

CASES = (*streams.CASES, *texts.CASES, *endings.CASES, *introspection.CASES, *language.CASES)
LIMITS = Limits(cpu_seconds=10, wall_seconds=30, memory_bytes=4 << 30, output_bytes=64 << 20)

PLAIN = f'ulimit -v {LIMITS.memory_bytes >> 10}; exec "$0" -s -P program.py < input > output 2> errors'
"""A shell's line that runs the interpreter `$0` under the same limit of memory."""


@pytest.fixture(scope="module")
def plainly(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[tuple[int, bytes]]]]:
    """What plain Python makes of each program, by name, on all cores."""
    folder = tmp_path_factory.mktemp("plain")
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        yield {each.name: pool.submit(run_plainly, each, folder / str(number)) for number, each in enumerate(CASES)}


@pytest.fixture(scope="module")
def zygotes() -> Iterator[Zygotes]:
    """Zygotes under the strongest plan of this machine."""
    opened = Zygotes(probe())
    yield opened
    opened.close()


def run_plainly(one: Case, folder: Path) -> tuple[int, bytes]:
    """Exit code and output of a plain interpreter in a folder of its own."""
    folder.mkdir()
    (folder / "program.py").write_bytes(one.text.encode())
    (folder / "input").write_bytes(one.given)
    code = subprocess.run(["sh", "-c", PLAIN, sys.executable], cwd=folder, env=ENVIRONMENT, check=False).returncode
    return code, (folder / "output").read_bytes()


@pytest.mark.parametrize("one", CASES, ids=lambda one: one.name)
def test_a_program_runs_as_by_itself(
    plainly: dict[str, Future[tuple[int, bytes]]], zygotes: Zygotes, one: Case
) -> None:
    if "numpy" in one.name:
        pytest.importorskip("numpy")
    with zygotes.program([one.text], LIMITS) as program:
        if program.compile_errors[0] is None:
            execution = program.run(one.given, LIMITS)
            found = os.waitstatus_to_exitcode(execution.status), execution.output
        else:
            found = 1, b""
    assert found == plainly[one.name].result()


def test_there_are_at_least_two_hundred_programs_with_a_name_each() -> None:
    assert len({one.name for one in CASES}) == len(CASES) >= 200
