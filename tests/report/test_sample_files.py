"""A sample as files: the script that is written with them shows by hand what the evaluator saw."""

import subprocess
import sys
from pathlib import Path

from taco_stream.evaluator.readable_test import ReadableTest
from taco_stream.evaluator.readable_test import TestKind as Kind
from taco_stream.report.sample_files import sample_files


def printed(folder: Path, program: str, test: ReadableTest) -> str:
    """What `python run.py` prints in a folder that holds the files."""
    for name, text in sample_files(program, test).items():
        (folder / name).write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, folder / "run.py"], capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
    )
    return done.stdout


def test_a_program_reads_the_input_and_has_the_names_of_every_program(tmp_path: Path) -> None:
    test = ReadableTest(kind=Kind.STANDARD_INPUT, given="9\n", expected="3\n")
    assert printed(tmp_path, "if __name__ == '__main__':\n    print(int(sqrt(int(stdin.readline()))))\n", test) == "3\n"
    assert (tmp_path / "expected.txt").read_text() == "3\n"


def test_a_function_is_called_with_the_arguments(tmp_path: Path) -> None:
    test = ReadableTest(
        kind=Kind.CALL, given="f(inf, [1])", expected="2", fn_name="f", arguments=repr([float("inf"), [1]])
    )
    assert printed(tmp_path, "def f(x, y):\n    return (x, y)\n", test) == "returned: (inf, [1])\nexpected: 2\n"


def test_the_method_of_a_solution_is_called(tmp_path: Path) -> None:
    test = ReadableTest(kind=Kind.CALL, given="f(1)", expected=None, fn_name="f", arguments="[1]")
    program = "class Solution:\n    def f(self, x: List[int]) -> int:\n        return x + 1\n"
    assert printed(tmp_path, program, test) == "returned: 2\n"
    assert not (tmp_path / "expected.txt").exists()


def test_code_asserts_with_what_the_prompt_defines(tmp_path: Path) -> None:
    test = ReadableTest(
        kind=Kind.CODE,
        given="assert f(1) == half(4)\n",
        expected=None,
        fn_name="f",
        prompt="def half(x): return x // 2\n",
    )
    assert printed(tmp_path, "def f(x):\n    return x + 1\n", test) == "every assertion holds\n"


def test_without_a_test_there_is_the_program_alone() -> None:
    assert sample_files("print(1)\r\n", None) == {"program.py": "print(1)\r\n"}
