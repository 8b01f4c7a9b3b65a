"""Programs whose function is called: what they find around them, which function it is, and which values are right."""

import json
import random
from collections.abc import Callable, Iterator, Mapping

import pytest
from judging_here import statuses

from taco_stream.evaluator import problem_tests, protocol
from taco_stream.evaluator.comparer import Comparer
from taco_stream.evaluator.execution import Zygotes
from taco_stream.evaluator.protocol import Limits
from taco_stream.evaluator.sandbox.plan import RLIMITS_ONLY
from taco_stream.types import ComparisonMode, SpecialJudge, Status

LIMITS = Limits(cpu_seconds=4, wall_seconds=20, memory_bytes=1 << 30, output_bytes=64 << 20)
NO_JUDGE, TOLERANT = SpecialJudge.NONE, SpecialJudge.FLOAT_TOLERANCE
OFFICIAL, STRICT, SPJ = ComparisonMode.OFFICIAL, ComparisonMode.STRICT, ComparisonMode.SPJ

Judge = Callable[..., Mapping[ComparisonMode, Status]]


@pytest.fixture(scope="module")
def zygotes() -> Iterator[Zygotes]:
    opened = Zygotes(RLIMITS_ONLY)
    yield opened
    opened.close()


@pytest.fixture
def judge(zygotes: Zygotes, comparer: Comparer) -> Judge:
    """Judges a program on calls of `f`, each the arguments and the expected value as the tests' JSON has it."""

    def judged(
        program: str,
        *calls: tuple[list[object], object],
        fn_name: str = "f",
        spj: SpecialJudge = NO_JUDGE,
        **keys: object,
    ) -> Mapping[ComparisonMode, Status]:
        content = {"fn_name": fn_name, "inputs": [call[0] for call in calls], "outputs": [call[1] for call in calls]}
        return statuses(
            program, json.dumps(content | keys), zygotes=zygotes, comparer=comparer, limits=LIMITS, special_judge=spj
        )

    return judged


def everywhere(status: Status) -> dict[ComparisonMode, Status]:
    return dict.fromkeys(ComparisonMode, status)


ADD = "def f(a, b): return a + b\n"


@pytest.mark.parametrize(
    "main",
    [
        "print(f(*map(int, input().split())))",
        "import json, sys; print(f(*json.loads(sys.stdin.read())))",
        "import sys; sys.exit(main())",
        "import unittest; unittest.main()",
        "exit()",
        "while True: pass",
        "import sys; print(f(sys.argv[1], 1))",
    ],
)
def test_the_main_part_of_a_program_that_is_called_does_not_run(judge: Judge, main: str) -> None:
    program = f"{ADD}if __name__ == '__main__':\n    {main}"
    assert judge(program, ([1, 2], [3]), ([5, 6], [11])) == everywhere(Status.PASSED)


@pytest.mark.parametrize(
    "looks",
    [
        "import sys\nseen = sys.stdin.read()\n",
        "import os\nseen = os.read(0, 100)\n",
        "import os\nseen = ''\nfor d in range(3, 64):\n    try: seen = seen or os.pread(d, 100, 0)\n    except OSError: pass\n",
    ],
)
def test_a_program_that_is_called_does_not_find_its_arguments_in_a_file(judge: Judge, looks: str) -> None:
    assert judge(f"{looks}def f(a): return len(seen)", ([12345], [0])) == everywhere(Status.PASSED)


@pytest.mark.parametrize(
    "program",
    [
        "import sys\ndef f(): return sys.modules[__name__].__name__",
        "import pickle\nclass A: pass\ndef f(): pickle.loads(pickle.dumps(A())); return __name__",
        "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass A:\n    x: int\ndef f(): return A.__module__",
    ],
)
def test_a_program_that_is_called_finds_itself_among_the_modules(judge: Judge, program: str) -> None:
    assert judge(program, ([], ["tmp_sol"])) == everywhere(Status.PASSED)


@pytest.mark.parametrize(
    ("program", "fn_name", "call"),
    [
        (
            "from heapq import *\nclass Solution:\n    def merge(self, a, b): return a + b",
            "merge",
            ([[3], [1]], [[3, 1]]),
        ),
        ("from itertools import *\nclass Solution:\n    def compress(self, a): return a", "compress", (["x"], ["x"])),
        ("from re import *\nclass Solution:\n    def search(self, a): return a", "search", ([1], [1])),
        (
            "def dfs(g, seen, u): return 9\nclass Solution:\n    def dfs(self, g): return dfs(g, 0, 0)",
            "dfs",
            ([[]], [9]),
        ),
        ("class Solution:\n    def helper(self): return 1\ndef f(a): return a", "f", ([1], [1])),
        ("# class Solution\ndef f(a): return a", "f", ([1], [1])),
        ("class  Solution:\n    def f(self, a): return a", "f", ([1], [1])),
        ("class Node: pass\nclass Solution(object):\n    f = staticmethod(lambda a: a)", "f", ([1], [1])),
    ],
)
def test_the_method_of_solution_is_called_where_the_text_has_one(
    judge: Judge, program: str, fn_name: str, call: tuple[list[object], object]
) -> None:
    assert judge(program, call, fn_name=fn_name) == everywhere(Status.PASSED)


def test_a_program_without_the_function_fails(judge: Judge) -> None:
    assert judge("def g(a): return a", ([1], [1])) == everywhere(Status.RUNTIME_ERROR)


def test_an_error_of_solutions_making_is_the_programs(judge: Judge) -> None:
    program = "class Solution:\n    def __init__(self): self.missing\n    def f(self, a): return a\ndef f(a): return a"
    assert judge(program, ([1], [1])) == everywhere(Status.RUNTIME_ERROR)


VALUES: list[tuple[str, object]] = [
    ("Fraction(4, 2)", 2),
    ("Fraction(1, 2)", 0.5),
    ("Decimal('1.5')", 1.5),
    ("Decimal(7)", 7),
    ("complex(3, 0)", 3),
    ("[Fraction(3)]", [3]),
    ("{Decimal(1): 2}", {"1": 2}),
    ("IntEnum('E', 'A')(1)", 1),
    ("Text.A", "a"),
    ("Point(1, 2)", [1, 2]),
    ("Counter('aab')", {"a": 2, "b": 1}),
    ("ChainMap({'a': 1}, {'b': 2})", {"a": 1, "b": 2}),
    ("MappingProxyType({'a': 1})", {"a": 1}),
    ("UserList([1, 2])", [1, 2]),
    ("UserString('ab')", "ab"),
]
NUMPY_VALUES: list[tuple[str, object]] = [
    ("np.sum([1, 2])", 3),
    ("np.bool_(True)", True),
    ("np.array([1, 2]).all()", True),
    ("np.float32(0.5)", 0.5),
    ("np.float64(0.1)", 0.1),
    ("np.longdouble(2)", 2.0),
    ("np.uint8(7)", 7),
    ("np.str_('a')", "a"),
    ("list(np.cumsum([1, 2]))", [1, 3]),
    ("{np.int64(1): np.int8(2)}", {"1": 2}),
    ("(np.int64(1), np.int64(2))", [1, 2]),
    ("np.array([5])", [5]),
    ("np.array(5)", 5),
]
IMPORTS = """
from collections import *; from decimal import Decimal; from enum import Enum, IntEnum
from fractions import Fraction; from types import MappingProxyType
Point = namedtuple("Point", "x y")
class Text(str, Enum): A = "a"
"""


@pytest.mark.parametrize(("value", "expected"), VALUES)
def test_what_python_finds_equal_to_the_expected_value_is_right(judge: Judge, value: str, expected: object) -> None:
    assert judge(f"{IMPORTS}def f(): return {value}", ([], [expected])) == everywhere(Status.PASSED)


@pytest.mark.parametrize(("value", "expected"), NUMPY_VALUES)
def test_numpy_scalars_are_the_values_that_they_hold(judge: Judge, value: str, expected: object) -> None:
    pytest.importorskip("numpy")
    assert judge(f"import numpy as np\ndef f(): return {value}", ([], [expected])) == everywhere(Status.PASSED)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Fraction(1, 3)", 0.3333333333333333),
        ("Decimal('0.1')", 0.1),
        ("Decimal('sNaN')", 1),
        ("Decimal('1E+999999999')", 1),
        ("Fraction(10**400, 3)", 1),
        ("range(3)", [0, 1, 2]),
        ("{}.keys()", []),
        ("b'a'", "a"),
        ("deque([1])", [1]),
        ("'1'", 1),
        ("object()", None),
    ],
)
def test_what_python_does_not_find_equal_is_wrong(judge: Judge, value: str, expected: object) -> None:
    assert judge(f"{IMPORTS}def f(): return {value}", ([], [expected])) == everywhere(Status.WRONG_ANSWER)


@pytest.mark.parametrize("value", ["np.array([1, 2])", "np.float32(0.1)"])
def test_what_numpy_1_does_not_find_equal_is_wrong(judge: Judge, value: str) -> None:
    pytest.importorskip("numpy")
    program = f"import numpy as np\ndef f(): return {value}"
    assert judge(program, ([], [[1, 2] if "array" in value else 0.1])) == everywhere(Status.WRONG_ANSWER)


@pytest.mark.parametrize(("value", "status"), [("Fraction(1, 3)", Status.PASSED), ("10**400", Status.WRONG_ANSWER)])
def test_numbers_of_every_type_have_the_tolerance(judge: Judge, value: str, status: Status) -> None:
    assert judge(f"{IMPORTS}def f(): return {value}", ([], [0.3333333]), spj=TOLERANT)[SPJ] is status


FORGED = """
class Always:
    def __eq__(self, other): return True
    def __hash__(self): return 0
    size = 1
    def tolist(self): return Always()
Always.__module__ = "numpy"
def f(): return Always()
"""


def test_a_forged_numpy_type_gains_nothing(judge: Judge) -> None:
    assert Status.PASSED not in judge(FORGED, ([], [1])).values()


def test_what_a_function_prints_is_ignored_however_much(judge: Judge) -> None:
    program = "def f(a):\n    for _ in range(9): print('x' * (1 << 20))\n    return a"
    assert judge(program, ([1], [1])) == everywhere(Status.PASSED)


def test_a_wrapped_value_is_not_the_answer_except_officially(judge: Judge) -> None:
    """The original takes `[5]` as well as 5 for the expected `[5]`; it does not look at the other tests."""
    wrong = judge("def f(a): return [a]", ([5], [5]), ([7], [7]))
    assert wrong == {OFFICIAL: Status.PASSED, STRICT: Status.WRONG_ANSWER, SPJ: Status.WRONG_ANSWER}


def test_one_value_that_is_no_list_of_one_settles_that_none_is_wrapped(judge: Judge) -> None:
    tests: list[tuple[list[object], object]] = [([[5]], [5]), ([[5, 6]], [5, 6])]
    assert judge("def f(a): return a", *tests) == everywhere(Status.PASSED)
    assert judge("def f(a): return a if len(a) > 1 else a[0]", *tests)[STRICT] is Status.WRONG_ANSWER


@pytest.mark.parametrize(("wrapped", "right"), [(True, "a"), (False, "[a]")])
def test_the_tests_may_state_whether_values_are_wrapped(judge: Judge, wrapped: bool, right: str) -> None:
    statuses = {
        value: judge(f"def f(a): return {value}", ([5], [5]), wrapped=wrapped)[STRICT] for value in ("a", "[a]")
    }
    assert [value for value, status in statuses.items() if status is Status.PASSED] == [right]


def test_a_doubly_wrapped_value_is_read_once(judge: Judge) -> None:
    tests: list[tuple[list[object], object]] = [([5], [[5]])]
    assert judge("def f(a): return [a]", *tests) == everywhere(Status.PASSED)
    assert judge("def f(a): return a", *tests) == everywhere(Status.WRONG_ANSWER)


def test_values_stated_to_be_wrapped_that_are_not_are_the_datasets_fault() -> None:
    text = json.dumps({"fn_name": "f", "inputs": [[1]], "outputs": [1], "wrapped": True})
    with pytest.raises(problem_tests.TestsError, match="stated to be wrapped"):
        problem_tests.parse_tests(
            protocol.Tests(key=1, problem_id="p", tests=text, limits=LIMITS, special_judge=NO_JUDGE)
        )


@pytest.mark.parametrize(
    "program",
    [
        "def f(n, seen=[]):\n    seen.append(n)\n    return len(seen)",
        "class Solution:\n    def __init__(self): self.seen = []\n    def f(self, n):\n        self.seen.append(n)\n        return len(self.seen)",
        "count = 0\ndef f(n):\n    global count\n    count += 1\n    return count",
    ],
)
def test_every_call_starts_fresh(judge: Judge, program: str) -> None:
    """Also officially, where the original calls one instance of one module for all tests: a decision, see the docs."""
    order = random.Random(1).sample(range(9), 9)
    assert judge(program, *(([each], [1]) for each in order)) == everywhere(Status.PASSED)


def test_a_called_function_recurses_as_deep_as_usual(judge: Judge) -> None:
    assert judge("def f(n): return n and 1 + f(n - 1)", ([990], [990])) == everywhere(Status.PASSED)
