"""What a case of the differential test is: a legitimate program, what it is given, and nothing of what should come out.

To add one, write `case("its name", "the program")` into the module of its kind. What it prints must not depend on where
it runs: no folders, process numbers, addresses or times.
"""

import textwrap
from typing import NamedTuple

GIVEN = b"3\n1 2 3\nhello world\n"


class Case(NamedTuple):
    """One program, run both ways on the same standard input."""

    name: str
    text: str
    given: bytes


def case(name: str, text: str, given: bytes = GIVEN) -> Case:
    """A program as it stands, but for its indentation."""
    return Case(name, textwrap.dedent(text).removeprefix("\n"), given)
