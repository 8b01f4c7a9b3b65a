"""Checkers for problems with several right answers (case 1 of the special-judge list): a registry of Python files.

The registry is a folder. The checker of problem `taco/17` is its file `taco/17.py`, which defines

    def check(input, output, expected) -> bool: ...

For standard input the three are texts: the program's input, its output, and the answer in the data.
Call-based they are the list of arguments, the returned value and the expected one. A checker is asked only if the
output is not the expected one. It runs as programs do, in the sandbox and under the problem's limits, in a process that
the judged program never shares; a checker that raises, or returns anything but True or False, is an error of the
evaluator's and not of the program's.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import msgspec

from taco_stream.evaluator.tagged_values import tagged


class CheckerError(Exception):
    """A checker failed; the message is one sentence."""


class Checker(Protocol):
    """Whether an output that is not the expected one is right all the same."""

    def __call__(self, given: Any, output: Any, expected: Any) -> bool:
        """Raises `CheckerError` if the checker fails."""
        ...


def checker_text(folder: Path, problem_id: str) -> str | None:
    """The text of a problem's checker, None if the registry has none. Raises `OSError` if it cannot be read."""
    path = folder / f"{problem_id}.py"
    # An id is the dataset's: it must not lead to a file outside of the registry.
    if ".." in path.parts or not path.is_relative_to(folder) or not path.is_file():
        return None
    return path.read_text(encoding="utf-8")


def sandboxed_checker(run: Callable[[bytes], tuple[int, bytes, bytes]]) -> Checker:
    """The checker whose program `run` calls with arguments; it answers with wait status, result and errors."""

    def check(given: Any, output: Any, expected: Any) -> bool:
        try:
            arguments = msgspec.json.encode(tagged([given, output, expected]))
        except (RecursionError, ValueError) as error:
            raise CheckerError(f"the checker cannot be given the output: {error}") from error
        status, result, errors = run(arguments)
        if status != 0:
            raise CheckerError(f"the checker failed: {errors[-300:].decode('utf-8', 'replace').strip()}")
        if result not in (b"true", b"false"):
            raise CheckerError(f"the checker returned {result[:80]!r} and neither True nor False")
        return result == b"true"

    return check
