"""Tests that are code, judged by the real evaluator: what assertions see of a program, and where they run."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from taco_stream.evaluator.pool import Evaluator, EvaluatorSettings
from taco_stream.types import Problem, Status, Verdict

pytestmark = pytest.mark.anyio

CHECK = "check_number"


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """One loop for the file, in which the evaluator lives that its tests share."""
    return ("asyncio", {"use_uvloop": True})


@pytest.fixture(scope="module")
async def evaluator(anyio_backend: object) -> AsyncIterator[Evaluator]:
    settings = EvaluatorSettings(workers=1, time_limit_seconds=1.0, time_limit_factor=1.0, memory_limit=512)
    async with Evaluator(settings) as opened:
        yield opened


async def judge(evaluator: Evaluator, program: str, *statements: str, **assertions: Any) -> Verdict:
    """The verdict of a problem with these statements about the program's function `f`."""
    tests = {
        "fn_name": CHECK,
        "inputs": [[number] for number in range(len(statements))],
        "outputs": [[True]] * len(statements),
        "assertions": {"entry_point": "f", "statements": statements} | assertions,
    }
    problem = Problem(problem_id="p", position=0, question="", tests=json.dumps(tests))
    return await evaluator.judge(problem, program)


SEEN = {
    "equality is Python's own": ("def f(): return (1, True, 2.0)", "assert f() == (1.0, 1, 2)"),
    "a tuple is not a list": ("def f(): return (1, 2)", "assert f() != [1, 2]"),
    "arguments have names": ("def f(a, *, b): return a - b", "assert f(b=1, a=3) == 2"),
    "an iterator is one": (
        "def f(): return map(str, (1, 2))",
        "x = f()\nassert x != ['1', '2'] and list(x) == ['1', '2']",
    ),
    "an argument is changed in place": (
        "def f(a, b): a.sort(); b['x'][0].add(3); a.append(b)",
        "a, b = [2, 1], {'x': [{1}]}\ninner = b['x'][0]\nf(a, b)\nassert a[:2] == [1, 2] and inner == {1, 3}",
    ),
    "an exception is expected": (
        "class Own(KeyError): pass\ndef f(a): raise Own('no', a)",
        "try: f(1)\nexcept KeyError as error: assert error.args == ('no', 1)\nelse: assert False",
    ),
    "the process stays between calls": (
        "count = 0\ndef f():\n    global count\n    count += 1\n    return count",
        "assert [f(), f(), f()] == [1, 2, 3]",
    ),
    "what is not a plain value equals nothing": (
        "def f(): return object",
        "assert f() not in (None, True, object, f())",
    ),
    "many and large calls": ("def f(a): return a", "for n in range(300): assert f([n] * n) == [n] * n"),
}


@pytest.mark.parametrize(("program", "statement"), SEEN.values(), ids=SEEN)
async def test_an_assertion_sees_plain_values(evaluator: Evaluator, program: str, statement: str) -> None:
    verdict = await judge(evaluator, program, statement)
    assert (verdict.status, verdict.judged_in_program) == (Status.PASSED, False), verdict


FAILING = {
    "an assertion fails": ("def f(): return 1", "assert f() == 2", Status.WRONG_ANSWER),
    "the program asserts": ("def f(): assert False", "f()", Status.WRONG_ANSWER),
    "the program raises": ("def f(): return 1 // 0", "f()", Status.RUNTIME_ERROR),
    "the program exits": ("def f(): raise SystemExit(0)", "f()", Status.WRONG_ANSWER),
    "the program exits with an error": ("def f(): raise SystemExit(3)", "f()", Status.RUNTIME_ERROR),
    "the program has no such function": ("def g(): return 1", "f()", Status.RUNTIME_ERROR),
    "the program's module raises": ("def f(): return 1\n1 // 0", "assert f() == 1", Status.RUNTIME_ERROR),
    "the assertion raises": ("def f(): return None", "assert abs(f()) < 1", Status.RUNTIME_ERROR),
    "the program takes too long": ("def f():\n    while True: pass", "f()", Status.TIME_LIMIT),
    "the program asks for more memory": ("def f(): return len(bytes(1 << 30))", "f()", Status.MEMORY_LIMIT),
    "a loop over calls is not ended by the program": (
        "def f(n): raise StopIteration",
        "for each in map(f, [1, 2]): assert each == 5",
        Status.RUNTIME_ERROR,
    ),
    "all calls together take too long": (
        "import time\ndef f():\n    until = time.process_time() + 0.3\n    while time.process_time() < until: pass",
        "for number in range(9): f()",
        Status.TIME_LIMIT,
    ),
    "the comparison takes too long": (
        "def f(): return {((1 << 61) - 1) * n for n in range(1, 9000)}",
        "f().union(f(), f(), f(), f())\nassert True",
        Status.TIME_LIMIT,
    ),
}


@pytest.mark.parametrize(("program", "statement", "status"), FAILING.values(), ids=FAILING)
async def test_a_failure_has_the_status_it_deserves(
    evaluator: Evaluator, program: str, statement: str, status: Status
) -> None:
    verdict = await judge(evaluator, program, statement)
    assert (verdict.status, verdict.judged_in_program) == (status, False), verdict
    assert evaluator.statistics().restarts == 0


async def test_each_statement_is_a_test(evaluator: Evaluator) -> None:
    verdict = await judge(evaluator, "def f(a): return a", "assert f(1) == 1", "assert f(2) == 3", "assert f(3) == 3")
    assert (verdict.status, verdict.failed_test, verdict.tests_run) == (Status.WRONG_ANSWER, 1, 2)


async def test_the_prompts_helpers_are_there_and_are_not_the_programs(evaluator: Evaluator) -> None:
    prompt = "def double(a):\n    return 2 * a\n\ndef f(a):\n    pass\n"
    program = "def double(a): return 0\ndef f(a): return 0"
    verdict = await judge(evaluator, program, "assert f(1) == double(1)", prompt=prompt)
    assert (verdict.status, verdict.judged_in_program) == (Status.WRONG_ANSWER, False)


IN_PROGRAM = {
    "an argument is of a class of the program's": ("class Pair: pass\ndef f(a): return 1", "assert f(Pair()) == 1"),
    "an argument is a function": ("def f(a): return a(1)", "assert f(lambda each: each + 1) == 2"),
}


@pytest.mark.parametrize(("program", "statement"), IN_PROGRAM.values(), ids=IN_PROGRAM)
async def test_code_that_needs_the_programs_process_runs_there_and_the_verdict_says_so(
    evaluator: Evaluator, program: str, statement: str
) -> None:
    verdict = await judge(evaluator, program, statement)
    assert (verdict.status, verdict.judged_in_program) == (Status.PASSED, True), verdict


UNPLAIN = {
    "an object": "def f(a): return f",
    "an iterator": "def f(a): return iter([a])",
    "an exception": "def f(a): raise ValueError(a)",
    "a forged object": """import os\ndef f(a): os.write(4, b'{"value":{"other":"x"}}\\n'); return 1""",
    "a forged value": """import os\ndef f(a): os.write(4, b'{"value":{"i":"x"}}\\n'); return 1""",
}


@pytest.mark.parametrize("program", UNPLAIN.values(), ids=UNPLAIN)
async def test_a_program_cannot_have_the_code_run_in_its_process(evaluator: Evaluator, program: str) -> None:
    """Whatever it returns, or raises, is passed on to it."""
    statement = "try: given = f(1)\nexcept ValueError as error: given = error\nassert f(given) == 1"
    verdict = await judge(evaluator, program, statement)
    assert (verdict.status, verdict.judged_in_program) == (Status.RUNTIME_ERROR, False)


async def test_code_that_is_not_python_is_not_the_programs_fault(evaluator: Evaluator) -> None:
    assert (await judge(evaluator, "def f(): pass", "assert f(")).status is Status.INFRASTRUCTURE_ERROR


async def test_no_frame_of_the_evaluators_own_is_shown(evaluator: Evaluator) -> None:
    verdict = await judge(evaluator, "def f():\n    return 1 / 0", "assert f() == 1")
    assert "ZeroDivisionError: division by zero" in verdict.stderr_tail
    assert 'File "program.py", line 2, in f' in verdict.stderr_tail
    assert not [name for name in ("calls.py", "zygote.py") if name in verdict.stderr_tail], verdict.stderr_tail
