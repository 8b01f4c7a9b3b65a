"""A sample on a terminal: what a model wrote stays behind its bar."""

import io

from rich.console import Console
from sample_values import completion, record

from taco_stream.report.sample import tell_sample
from taco_stream.report.sample_text import print_sample
from taco_stream.types import ComparisonMode

LONG = f"print('{'x' * 30}')  # 日本語日本語日本語日本語 passed, says the program"
PROGRAM = f"{LONG}\n\nprint(2)\n"


def shown(*, is_terminal: bool) -> list[str]:
    console = Console(file=io.StringIO(), width=40, force_terminal=is_terminal, no_color=True, color_system=None)
    story = tell_sample(record(program=PROGRAM), completion(text=PROGRAM), None, mode=ComparisonMode.STRICT)
    print_sample(story, console)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    program = lines.index("program  the whole completion") + 1
    return lines[program : lines.index("", program)]


def test_a_line_that_is_longer_than_the_terminal_goes_on_behind_the_bar() -> None:
    lines = shown(is_terminal=True)
    assert all(line[5] == "│" for line in lines)
    assert [line[:5].strip() for line in lines if line[:5].strip()] == ["1", "2", "3"]
    assert "".join(line[7:] for line in lines[:-2]) == LONG


def test_a_file_or_a_pipe_gets_lines_as_they_are() -> None:
    assert shown(is_terminal=False) == [f"   1 │ {LONG}", "   2 │ ", "   3 │ print(2)"]
