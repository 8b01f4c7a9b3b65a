"""Tests that are code: assertions that run where the judged program does not.

HumanEval and MBPP publish Python code that calls a function, the *entry point*, and makes assertions about its results.
That code holds the expected values, so a program that shares a process with it could read them, or forge its result.
(EvalPlus publishes inputs and a solution: `reference` makes ordinary tests of those.)

Who runs: for one test, two tests of the sandbox at the same time.

* The *program's* executes the judged program and then serves calls of its entry point (`calls`).
* The *assertion's* executes the published code, in a process of another zygote, which never executes a judged program.
  There the entry point is a function that asks the program's test. Its result is that of the test: True, or False
  if an assertion failed.

Promised: nothing but arguments goes to the program and nothing but plain values comes back, so equality is Python's own
on built-in types, and a program can do no more than return something. All calls of one test are made of one process, as
in the originals: a program is executed once for each test, and its state stays between calls. The limits are
those of one test, for the sum of both: CPU time is added up, and the program's clock goes on while nobody asks it.
A result that takes too long to compare, or too much memory, ends the assertion's test, not the worker.

How a test ends: as the program's does if that fails, otherwise as the assertion's does. An exception that the
program raises is raised in the assertion, which may expect it.

Not covered, and marked in the verdict (`judged_in_program`): code that reads another name of the program than its entry
point (`other_names`: three problems of MBPP build arguments of the program's own classes), and code that passes as an
argument a value that is not plain (one of MBPP passes a type). Both depend on the dataset alone, so a program cannot
choose it. This code is appended to the program and runs in its process, where a program written to cheat could forge
the verdict. A returned value that is not plain never equals anything: `calls` says how it is passed on.
"""

import builtins
import symtable
from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec

from taco_stream.evaluator.zygote import ASK, HEADER

_STATEMENTS = """
_taco_stream_statements = {statements!r}


def {check}(number):
    try:
        exec(_taco_stream_statements[number], globals())
    except AssertionError:
        return False
    return True
"""

_PROMPT_IN_PROGRAM = """
_taco_stream_prompt = {{}}
exec({prompt!r}, _taco_stream_prompt)
for _taco_stream_name, _taco_stream_value in _taco_stream_prompt.items():
    if _taco_stream_name != {entry_point!r}:
        globals().setdefault(_taco_stream_name, _taco_stream_value)
"""


class Assertions(msgspec.Struct, frozen=True, kw_only=True):
    """A problem's tests that are code, as the datasets write them.

    `prompt` is code that a program is supposed to continue: its imports and helpers are there for the assertions.
    `setup` comes after it and, if there are no `statements`, defines the function that the tests call; otherwise
    that function is made, and executes the statement whose number it is given.
    """

    entry_point: str
    setup: str = ""
    statements: tuple[str, ...] = ()
    prompt: str = ""

    def outside_text(self, check: str) -> str:
        """The code that runs outside of the program's process; it defines the function `check`."""
        return f"{self.prompt}\n{self.entry_point} = {ASK}\n{self._checks(check)}"

    def inside_text(self, check: str) -> str:
        """The same, to be appended to the program. The program's definitions win over the prompt's."""
        if not self.prompt:
            return self._checks(check)
        return _PROMPT_IN_PROGRAM.format(prompt=self.prompt, entry_point=self.entry_point) + self._checks(check)

    @property
    def needs_program(self) -> bool:
        """Whether the code can only run in the program's process. Raises as `other_names` does."""
        return not self.entry_point or bool(self.other_names())

    def other_names(self) -> set[str]:
        """The names that the code reads and only the program can define, except its entry point.

        Raises `SyntaxError` or `ValueError` if the code is not Python.
        """
        tables = [symtable.symtable(text, "assertions", "exec") for text in (self.prompt, self.setup, *self.statements)]
        read = {name for table in tables[1:] for name in _names_read(table)}
        return read - {name for table in tables for name in _names_defined(table)} - given_names() - {self.entry_point}

    def _checks(self, check: str) -> str:
        statements = _STATEMENTS.format(statements=list(self.statements), check=check) if self.statements else ""
        return f"{self.setup}\n{statements}"


def _names_read(table: symtable.SymbolTable) -> Iterator[str]:
    """The names of a module that it, or anything within, reads."""
    # On the module's own level a name is the module's whatever its scope is called; in a function only a global one is.
    is_module = table.get_type() == "module"
    yield from (
        each.get_name() for each in table.get_symbols() if each.is_referenced() and (is_module or each.is_global())
    )
    for child in table.get_children():
        yield from _names_read(child)


def _names_defined(table: symtable.SymbolTable) -> Iterator[str]:
    """The names of a module that it, or anything within, binds."""
    is_module = table.get_type() == "module"
    for each in table.get_symbols():
        if (each.is_assigned() or each.is_imported()) and (is_module or each.is_declared_global()):
            yield each.get_name()
    for child in table.get_children():
        yield from _names_defined(child)


@cache
def given_names() -> frozenset[str]:
    """The names that every process of a zygote has: builtins and the header's."""
    header: dict[str, Any] = {"np": None, "__name__": ""}
    exec(HEADER, header)
    return frozenset((*vars(builtins), *header))
