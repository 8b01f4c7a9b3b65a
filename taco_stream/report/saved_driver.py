"""Runs `program.py` on the test that lies beside it, as taco-stream does but without its sandbox and limits.

A model wrote the program: read it before you run it here. `taco-stream show RUN PROBLEM SAMPLE --rerun` judges it in
the sandbox.

    python run.py
    python run.py | diff - expected.txt    # if the program reads standard input
"""

import builtins
import os
from pathlib import Path
from typing import Any

FUNCTION = ""
"""The function that the test calls, empty if the program reads standard input."""

HEADER = ""
"""The names that every program is given."""


def main() -> None:
    """Runs the program on standard input, calls its function, or executes the code that asserts."""
    os.chdir(Path(__file__).resolve().parent)
    if not FUNCTION:
        os.dup2(os.open("input.txt", os.O_RDONLY), 0)
    give_names()
    names = execute("prompt.py", {}) if Path("prompt.py").exists() else {}
    program = execute("program.py", {**names, "__name__": "tmp_sol" if FUNCTION else "__main__"})
    if Path("assertions.py").exists():
        execute("assertions.py", program)
        print("every assertion holds")
    elif FUNCTION:
        numbers = {"nan": float("nan"), "inf": float("inf")}  # Python writes these without quotes
        arguments = eval(Path("input.txt").read_text(encoding="utf-8"), numbers)
        print("returned:", repr(find_function(program)(*arguments)))
        if Path("expected.txt").exists():
            print("expected:", Path("expected.txt").read_text(encoding="utf-8").rstrip("\n"))


def give_names() -> None:
    """Makes the header's names builtins, so that a program's own win over them."""
    given: dict[str, Any] = {}
    exec(HEADER, given)
    for name in given.keys() - vars(builtins).keys() - {"__builtins__"}:
        setattr(builtins, name, given[name])


def execute(path: str, names: dict[str, Any]) -> dict[str, Any]:
    """Executes a file; the names that are there then."""
    exec(compile(Path(path).read_text(encoding="utf-8"), path, "exec"), names)
    return names


def find_function(program: dict[str, Any]) -> Any:
    """The program's function, or the method of its `Solution`."""
    prefer_solution = "class Solution" in Path("program.py").read_text(encoding="utf-8")
    if "Solution" in program and (prefer_solution or FUNCTION not in program):
        solution = program["Solution"]()
        if hasattr(solution, FUNCTION):
            return getattr(solution, FUNCTION)
    return program[FUNCTION]


if __name__ == "__main__":
    main()
