"""No text that a program, a dataset or a model repository chose reaches a terminal with a control character in it."""

import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

import taco_stream
from taco_stream.audit.findings import Finding
from taco_stream.audit.ledger import Audited, Rules
from taco_stream.audit.tables import print_audit
from taco_stream.errors import NoRunError
from taco_stream.terminal import PrintableConsole, printable, write_out
from taco_stream.types import ComparisonMode

RULES = Rules(
    dataset="d",
    split="test",
    mode=ComparisonMode.STRICT,
    solutions=1,
    time_limit_factor=1.0,
    memory_limit_bytes=1,
    full_results=False,
    special_judges=None,
    checkers_folder=None,
)
HOSTILE = "a\x1b]0;title\x07b\x1b[2Jc\rd\x9bHe\u202ef\x7fg\ud800h"
SHOWN = "a␛]0;title␇b␛[2Jc␍d�He�f␡g�h"
PRINTED = SHOWN.replace("␇", "").replace("␍", "")
"""By a console: rich leaves bells and carriage returns out."""


def console(*, is_terminal: bool = False) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return PrintableConsole(
        file=file, width=120, force_terminal=is_terminal, highlight=False, markup=False, emoji=False
    ), file


def test_every_control_character_is_shown_as_a_sign() -> None:
    assert printable(HOSTILE) == SHOWN


def test_lines_tabs_and_all_other_text_stay() -> None:
    text = "one\ttwo\nδύο 三 🙂 é"
    assert printable(text) == text


@pytest.mark.parametrize("is_styled", [False, True])
def test_what_a_console_prints_is_printable(is_styled: bool) -> None:
    shown, file = console()
    shown.print(Text(HOSTILE, style="red") if is_styled else HOSTILE, soft_wrap=True)
    assert file.getvalue() == PRINTED + "\n"


def test_the_cells_and_titles_of_a_table_are_printable() -> None:
    shown, file = console()
    table = Table(HOSTILE, title=HOSTILE)
    table.add_row(HOSTILE)
    shown.print(table)
    assert file.getvalue().count("a␛]0;titleb␛[2Jc") == 3
    assert printable(file.getvalue()) == file.getvalue()


def test_rich_still_controls_the_terminal_and_colours() -> None:
    shown, file = console(is_terminal=True)
    with Live(Text(HOSTILE, style="red"), console=shown, auto_refresh=False):
        pass
    assert PRINTED in file.getvalue()
    assert "\x1b[31m" in file.getvalue()
    assert "\x1b[?25l" in file.getvalue()


def test_a_text_is_not_taken_for_markup() -> None:
    shown, file = console(is_terminal=True)
    shown.print("[link=https://example.org]:smile:[/link] [red]", soft_wrap=True)
    assert file.getvalue() == "[link=https://example.org]:smile:[/link] [red]\n"


def test_an_audit_prints_the_details_of_programs_as_signs() -> None:
    shown, file = console()
    finding = next(each for each in Finding if each is not Finding.OK)
    audited = Audited(problem_id=f"p{HOSTILE}", finding=finding, exclude=False, rules=RULES, detail=HOSTILE)
    print_audit([audited], ComparisonMode.STRICT, shown)
    assert printable(file.getvalue()) == file.getvalue()
    assert file.getvalue().count("␛]0;title") == 2


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("file", "written"), [(Terminal(), SHOWN), (io.StringIO(), HOSTILE)])
def test_a_prompt_goes_to_a_pipe_as_it_is_and_to_a_terminal_as_signs(
    monkeypatch: pytest.MonkeyPatch, file: io.StringIO, written: str
) -> None:
    monkeypatch.setattr(sys, "stdout", file)
    write_out(HOSTILE)
    assert file.getvalue() == written


@pytest.mark.parametrize("flags", [[], ["--debug"]])
def test_an_error_is_printed_in_signs(flags: list[str]) -> None:
    command = [sys.executable, "-m", "taco_stream", *flags, "report", "no\x1b[2Jfolder"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=550, check=False)
    assert done.returncode == NoRunError.exit_code
    assert "\x1b" not in done.stderr
    assert "no␛[2Jfolder" in done.stderr


def test_no_console_is_made_elsewhere() -> None:
    package = Path(taco_stream.__file__).parent
    makers = [path.name for path in package.rglob("*.py") if "Console(" in path.read_text(encoding="utf-8")]
    assert makers == ["terminal.py"]
