"""A sample as files that a person can run and change: the program, failing test, and a script that runs it."""

from pathlib import Path

from taco_stream.evaluator.readable_test import ReadableTest, TestKind
from taco_stream.evaluator.zygote import HEADER
from taco_stream.report import saved_driver

PROGRAM, DRIVER = "program.py", "run.py"


def sample_files(program: str, test: ReadableTest | None) -> dict[str, str]:
    """The files by name; without a test, the program alone.

    `input.txt` is the standard input, or the list of a call's arguments as Python writes it, and `expected.txt` the
    answer. Tests that are code lie in `assertions.py`, and the part of the prompt that they need in `prompt.py`.
    """
    files = {PROGRAM: program}
    if test is None:
        return files
    if test.kind is TestKind.CODE:
        files |= {"assertions.py": test.given} | ({"prompt.py": test.prompt} if test.prompt else {})
    else:
        files["input.txt"] = test.given if test.arguments is None else f"{test.arguments}\n"
    if test.expected is not None:
        files["expected.txt"] = test.expected if test.kind is TestKind.STANDARD_INPUT else f"{test.expected}\n"
    return files | {DRIVER: _driver(test)}


def _driver(test: ReadableTest) -> str:
    function = "" if test.kind is TestKind.STANDARD_INPUT else test.fn_name or "the program"
    source = Path(saved_driver.__file__).read_text(encoding="utf-8")
    header = f'HEADER = """{HEADER}"""'
    return source.replace('FUNCTION = ""', f"FUNCTION = {function!r}", 1).replace('HEADER = ""', header, 1)
