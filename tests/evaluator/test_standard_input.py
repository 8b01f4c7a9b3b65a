"""Programs that read standard input or files: what of their texts and files counts, and under which mode."""

import json
from collections.abc import Callable, Iterator, Mapping

import pytest
from judging_here import statuses

from taco_stream.evaluator.comparer import Comparer
from taco_stream.evaluator.execution import Zygotes
from taco_stream.evaluator.protocol import Limits
from taco_stream.evaluator.sandbox.plan import SandboxPlan
from taco_stream.evaluator.sandbox.probe import available_plans
from taco_stream.types import ComparisonMode, Status

LIMITS = Limits(cpu_seconds=4, wall_seconds=20, memory_bytes=1 << 30, output_bytes=8 << 20)
OFFICIAL, STRICT, SPJ = ComparisonMode.OFFICIAL, ComparisonMode.STRICT, ComparisonMode.SPJ

Judge = Callable[..., Mapping[ComparisonMode, Status]]


@pytest.fixture(scope="module", params=available_plans(), ids=lambda plan: plan.tier)
def zygotes(request: pytest.FixtureRequest) -> Iterator[Zygotes]:
    plan: SandboxPlan = request.param
    opened = Zygotes(plan)
    yield opened
    opened.close()


@pytest.fixture
def judge(zygotes: Zygotes, comparer: Comparer) -> Judge:
    """Judges a program on tests, each an input and the expected output."""

    def judged(program: str, *tests: tuple[str, str]) -> Mapping[ComparisonMode, Status]:
        text = json.dumps({"inputs": [given for given, _ in tests], "outputs": [expected for _, expected in tests]})
        return statuses(program, text, zygotes=zygotes, comparer=comparer, limits=LIMITS)

    return judged


def everywhere(status: Status) -> dict[ComparisonMode, Status]:
    return dict.fromkeys(ComparisonMode, status)


ONE_MORE = [("1", "2"), ("41", "42")]


@pytest.mark.parametrize(
    "program",
    [
        "sys.stdin = open('input.txt'); sys.stdout = open('output.txt', 'w'); print(int(input()) + 1)",
        "sys.stdin = open('input.txt'); sys.stdout = open('output.txt', 'w'); print(int(input()) + 1); sys.stdout.close()",
        "f = open('input.txt'); g = open('output.txt', 'w'); g.write(str(int(f.read()) + 1))",
        "f = open('input.txt'); g = open('output.txt', 'w')\ndef p(x): g.write(x)\np(str(int(f.read()) + 1))",
        "open('output.txt', 'w').write(str(int(open('input.txt').read()) + 1)); sys.exit()",
        "import os\nwith open('output.txt', 'w') as f: f.write(str(int(open('input.txt').read()) + 1))\nos._exit(0)",
        "print('progress'); print(int(open('input.txt').readline()) + 1, file=open('output.txt', 'w'))",
    ],
)
def test_output_txt_counts_as_the_program_has_left_it(judge: Judge, program: str) -> None:
    assert judge(f"import sys\n{program}", *ONE_MORE) == everywhere(Status.PASSED)


@pytest.mark.parametrize(
    "program",
    ["print(int(open('input.txt').read()) + 1)", "open('output.txt', 'w').write(str(int(open('input.txt').read())))"],
)
def test_only_a_right_output_txt_counts(judge: Judge, program: str) -> None:
    assert judge(program, *ONE_MORE) == everywhere(Status.WRONG_ANSWER)


@pytest.mark.parametrize(
    "left", ["os.mkdir('output.txt')", "os.symlink('input.txt', 'output.txt')", "os.mkfifo('output.txt')"]
)
def test_an_output_txt_that_is_no_file_counts_as_none(judge: Judge, left: str) -> None:
    """Under some plans the program may make none of these, and fails for that."""
    statuses = judge(f"import os\nopen('input.txt')\n{left}", ("1", "1"))
    assert Status.PASSED not in statuses.values()


def test_line_ends_are_those_of_text_mode_officially(judge: Judge) -> None:
    """To `strict` line ends are white space like any other; the characters of `1\\r\\n` are none to the original."""
    assert judge("print('1 2\\r\\n3 4\\r5 6')", ("", "1 2\n3 4\n5 6")) == everywhere(Status.PASSED)


@pytest.mark.parametrize("program", ["print('x\\udcff')", "import sys\nsys.stdout.buffer.write(b'x\\xff')"])
def test_an_output_that_is_no_text_is_wrong(judge: Judge, program: str) -> None:
    assert judge(program, ("", "x\N{REPLACEMENT CHARACTER}")) == everywhere(Status.WRONG_ANSWER)


@pytest.mark.parametrize("text", ["print(input())", "import sys\nprint(input())", "from math import *\nprint(input())"])
def test_a_program_with_a_byte_order_mark_compiles(judge: Judge, text: str) -> None:
    assert judge(f"\ufeff{text}", ("1", "1")) == everywhere(Status.PASSED)


def test_carriage_returns_arrive(judge: Judge) -> None:
    program = "s = input()\nprint('YES' if s == s[::-1] else 'NO')"
    assert judge(program, ("abba\r\n", "NO")) == everywhere(Status.PASSED)
