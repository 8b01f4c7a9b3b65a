"""The `official` mode: the rules of FlagOpen/TACO's `metrics/testing_util.py`.

Standard input (`compare_std_results` reduced, its dead branches left out). An output is accepted when any holds:

1. it equals the expected text after both are stripped;
2. its *characters*, each read as a float, are `numpy.allclose` to the non-empty expected *lines*, one to one (the
   original iterates over a text where it means a list of lines);
3. the set of character sets of its tokens equals the set of token sets of the expected lines;
4. the same with every element rounded as a float to three decimals.

Call-based: the value, tuples as lists two levels deep, equals the expected value or the first element of it, which
TACO wraps in a list: either reading counts, per test, so `[[5]]` is answered by `[5]` as by `[[5]]`.

The original does not execute quite the program: it puts a header of imports after the program's leading imports,
first imports the program wrapped in a function (a program that this breaks fails), executes that if every test of
the plain one exits with 1, and repeats a failed test with `input.txt` and `output.txt`. `executed_text` and
`wrapped_text` make these texts; `placement_matters` says when the first differs from the program as other modes run it.
"""

import ast
import functools
import importlib
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

HEADER = """\
import sys
import time
import itertools
from itertools import accumulate, product, permutations, combinations
import collections
from collections import Counter, OrderedDict, deque, defaultdict, ChainMap
from functools import lru_cache
import math
from math import sqrt, sin, cos, tan, ceil, fabs, floor, gcd, exp, log, log2
import fractions
from typing import List, Tuple
import random
import heapq
from heapq import *

stdin = sys.stdin
stdout = sys.stdout
"""
"""The imports that the original puts before every program, without numpy, which is added if a program names it."""

STAR_MODULES = frozenset(
    {"array", "bisect", "collections", "copy", "decimal", "fractions", "functools", "heapq", "itertools", "math",
     "operator", "queue", "random", "re", "statistics", "string", "sys", "time", "typing"}
)  # fmt: skip
"""Modules of the standard library whose `import *` can be looked up here without running anything of the program's."""

NAMES_NUMPY = re.compile(r"\b(np|numpy)\b")

MAX_PARSED_LENGTH = 1 << 14
"""Characters of leading imports that are parsed in the worker: a tree takes 200 times the memory of its text."""

RELATIVE_TOLERANCE = 1e-5
ABSOLUTE_TOLERANCE = 1e-8


def same_output(output: str, expected: str) -> bool:
    """Whether the original would accept the output, which it reads in text mode."""
    # As reading a pipe in text mode does in the original.
    output = output.replace("\r\n", "\n").replace("\r", "\n")
    if output.strip() == expected.strip():
        return True
    lines = [line.strip() for line in expected.split("\n") if line]
    if _characters_close_to_lines(output, lines):
        return True
    output_sets = {frozenset(token) for token in output.split()}
    expected_sets = {frozenset(line.split()) for line in lines}
    if output_sets == expected_sets:
        return True
    try:
        return _round_sets(output_sets) == _round_sets(expected_sets)
    except (ValueError, OverflowError):
        return False


def same_value(value: Any, expected: Any) -> bool:
    """Whether the original would accept the returned value."""
    if isinstance(value, tuple):
        value = list(value)
    accepted = bool(value == expected)
    first = expected[:1] if isinstance(expected, list) else []
    accepted = accepted or (bool(first) and bool(value == first[0]))
    if isinstance(value, list) and value and isinstance(value[0], tuple) and first:
        try:
            accepted = accepted or [list(each) for each in value] == first[0]
        except TypeError:
            return accepted
    return accepted


def executed_text(program: str) -> str:
    """The text that the original executes: the header comes after the program's leading imports."""
    lines = program.split("\n")
    leading = _leading_imports(lines)
    return "\n".join([*lines[:leading], _header(program) + "\n".join(lines[leading:]), ""])


def wrapped_text(program: str) -> str:
    """The text that the original imports first and, if every test exits with 1, executes: all in a function."""
    lines = program.split("\n")
    leading = _leading_imports(lines)
    stars = "\n".join(line.lstrip("\t") for line in lines if "import *" in line)
    body = ["\t" + line for number, line in enumerate(lines[leading:]) if number == 0 or "import *" not in line]
    before = [line for line in lines[:leading] if "import *" not in line]
    return "\n".join([*before, f"{_header(program)}{stars}\ndef code():", *body, "code()", ""])


def placement_matters(program: str) -> bool:
    """Whether the header, put after the leading imports, gives a name another meaning than put before the program.

    It can only if a leading import binds a name of the header to something else (`from time import time`). Whatever
    cannot be looked up without running the program counts as something else, and so do imports that are too long to be
    parsed in a process that must not be bloated.
    """
    lines = program.split("\n")
    ours = _header_bindings()
    # Only the leading imports are looked at: of all that a program binds, these alone come before the header there.
    leading = "\n".join(lines[: _leading_imports(lines)])
    if len(leading) > MAX_PARSED_LENGTH:
        return True
    try:
        statements = ast.parse(leading).body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return True
    return any(name in ours and ours[name] != origin for name, origin in _bindings(statements)) or any(
        isinstance(each, ast.ImportFrom) and each.names[0].name == "*" and each.module not in STAR_MODULES
        for each in statements
    )


def _leading_imports(lines: list[str]) -> int:
    """How many lines, from the first on, the original takes for imports."""
    for number, line in enumerate(lines):
        if not (line.startswith(("from ", "import ")) or "import *" in line):
            return number
    return len(lines)


def _header(program: str) -> str:
    return HEADER + ("import numpy as np\n" if NAMES_NUMPY.search(program) else "")


@functools.cache
def _header_bindings() -> dict[str, tuple[str, str]]:
    names = dict(_bindings(ast.parse(HEADER).body))
    return names | {"stdin": ("sys", "stdin"), "stdout": ("sys", "stdout")}


def _bindings(statements: list[ast.stmt]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Every name that import statements bind, and the module and attribute it stands for."""
    for statement in statements:
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                bound = alias.asname or alias.name.partition(".")[0]
                yield bound, (alias.name if alias.asname else bound, "")
        elif isinstance(statement, ast.ImportFrom):
            module = statement.module or ""
            for alias in statement.names:
                if alias.name != "*":
                    yield alias.asname or alias.name, (module, alias.name)
                elif module in STAR_MODULES:
                    names = vars(importlib.import_module(module))
                    for name in names.get("__all__", [name for name in names if not name.startswith("_")]):
                        yield name, (module, name)


def _characters_close_to_lines(output: str, lines: list[str]) -> bool:
    # The original's fault, kept: it means to compare lines with lines, and iterates over the output's characters.
    if len(output) != len(lines):
        return False
    try:
        return all(_close(float(character), float(line)) for character, line in zip(output, lines, strict=True))
    except ValueError:
        return False


def _close(value: float, expected: float) -> bool:
    """numpy's `allclose` for one pair."""
    if math.isinf(value) or math.isinf(expected):  # else the tolerance of an infinity would be infinite
        return value == expected
    return abs(value - expected) <= ABSOLUTE_TOLERANCE + RELATIVE_TOLERANCE * abs(expected)


def _round_sets(sets: Iterable[frozenset[str]]) -> set[frozenset[float]]:
    return {frozenset(round(float(each), 3) for each in one) for one in sets}
