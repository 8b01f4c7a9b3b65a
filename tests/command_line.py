"""The command line in the tests' own process: exit code and what was printed, in milliseconds instead of a second."""

import sys
from collections.abc import Callable
from typing import NamedTuple

import pytest

from taco_stream.cli import main


class Answer(NamedTuple):
    """What a command gave back."""

    code: int
    out: str
    err: str

    @property
    def sentences(self) -> list[str]:
        """The errors that it ended with: one, if it failed as it should."""
        return [line for line in self.err.splitlines() if line.startswith("taco-stream: ")]


CommandLine = Callable[..., Answer]


def command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """Runs a command; whatever it raises beyond its exit code is a bug, and the test's."""

    def invoke(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["taco-stream", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        code = ended.value.code
        return Answer(code if isinstance(code, int) else int(code is not None), captured.out, captured.err)

    return invoke
