"""The consoles that a person reads, through which no text moves the cursor, colours or hides what is around it.

Programs choose the last line of their error, datasets choose ids and model repositories choose names; each may hold
escape sequences, which terminals obey. Files keep texts as they are. On the way to a person `printable` shows every
control character as a sign, whatever the source: after rich has rendered the text, before it adds its own.
"""

import os
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, TextIO, cast

import msgspec
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""All control characters but tab and line feed, what changes the direction of writing or ends a line, and halves of
characters, which cannot be printed at all."""


def printable(text: str) -> str:
    """The text with a sign of the same width in the place of each control character: `␛` for an escape."""

    def sign(found: re.Match[str]) -> str:
        # Unicode has a picture for each of the C0 controls, in their order from U+2400, and one for DEL.
        code = ord(found[0])
        return chr(0x2400 + code) if code < 0x20 else "\u2421" if code == 0x7F else "\ufffd"

    return CONTROL.sub(sign, text)


class PrintableConsole(Console):
    """A console that prints every text as `printable` shows it, and takes nothing in it for markup."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The rendered segments; those with which rich itself controls the terminal pass."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))


class Lenient:
    """A stream whose loss must not end the work: the terminal is closed, the pipe has no reader, the disk is full.

    Output that cannot be written is dropped, and so is all that follows.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Writes, if that is possible."""
        try:
            return self._stream.write(text)
        except (OSError, ValueError):
            self._drop()
            return len(text)

    def flush(self) -> None:
        """Flushes, if that is possible."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self._drop()

    def _drop(self) -> None:
        # Also the buffered output: the interpreter writes it at its end, and would fail then.
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


def stderr_console(*, is_quiet: bool = False) -> Console:
    """The console that talks to the person: standard error, honouring `NO_COLOR` and the kind of terminal.

    If it is quiet, it prints nothing.
    """
    file = cast(TextIO, Lenient(sys.stderr))
    return PrintableConsole(file=file, quiet=is_quiet, highlight=False, markup=False, emoji=False)


def stdout_console(*, lenient: bool = False) -> Console:
    """The console for reports: the same on standard output. A `lenient` one drops output that cannot be written."""
    file = cast(TextIO, Lenient(sys.stdout)) if lenient else sys.stdout
    return PrintableConsole(file=file, highlight=False, markup=False, emoji=False)


def write_json(value: Any) -> None:
    """Writes a value to standard output as indented JSON, as `write_out` does."""
    write_out(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def write_out(text: str) -> None:
    """Writes a text to standard output: as it is to a file or a pipe, as `printable` shows it to a terminal."""
    sys.stdout.write(printable(text) if sys.stdout.isatty() else text)
