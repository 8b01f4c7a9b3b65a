"""One test of a problem as a person reads it. Pure: nothing is run."""

from enum import StrEnum

import msgspec

from taco_stream.evaluator.assertions import Assertions
from taco_stream.evaluator.problem_tests import ProblemTests, TestsError, decode_tests, parse_tests
from taco_stream.evaluator.protocol import Tests
from taco_stream.evaluator.settings import EvaluatorSettings, limits_per_test
from taco_stream.evaluator.tagged_values import untagged
from taco_stream.types import Problem


class TestKind(StrEnum):
    """How a test asks. The set is closed."""

    STANDARD_INPUT = "standard_input"  # the program reads the input and prints the output
    CALL = "call"  # a function is called with arguments and returns a value
    CODE = "code"  # code that asserts, as HumanEval and MBPP publish it


class ReadableTest(msgspec.Struct, frozen=True, kw_only=True):
    """A test in words. `given` is the standard input, the call or the code, as Python writes those.

    `arguments` is the list of a call's arguments as Python writes it. `expected` is None if the tests do not state it:
    code asserts, the answers of a reference solution are known only once it has run, and `find_zero` has many.
    `prompt` is code whose names are there for code that asserts, unless the program defines them.
    """

    kind: TestKind
    given: str
    expected: str | None
    fn_name: str | None = None
    arguments: str | None = None
    prompt: str = ""


def read_tests(problem: Problem, settings: EvaluatorSettings) -> ProblemTests:
    """The problem's tests. Raises `TestsError` if they cannot be read."""
    message = Tests(
        key=0,
        problem_id=problem.problem_id,
        tests=problem.tests,
        limits=limits_per_test(problem, settings),
        special_judge=problem.special_judge,
    )
    try:
        return parse_tests(message)
    except RecursionError as error:
        raise TestsError(f"the tests of problem {problem.problem_id} are nested too deeply") from error


def readable_test(problem: Problem, tests: ProblemTests, index: int) -> ReadableTest:
    """The test at `index`, counted from 0. Raises `IndexError` if the problem has fewer."""
    test = tests.tests[index]
    if tests.fn_name is None:
        return ReadableTest(kind=TestKind.STANDARD_INPUT, given=test.given.decode(), expected=test.expected)
    arguments = untagged(msgspec.json.decode(test.given))
    if tests.assertions or tests.epilogue:
        code = msgspec.convert(decode_tests(problem.tests)["assertions"], Assertions)
        call = f"assert {tests.fn_name}({', '.join(map(repr, arguments))})"
        statement = code.statements[arguments[0]] if code.statements else call
        return ReadableTest(
            kind=TestKind.CODE,
            given=f"{code.setup.strip()}\n\n{statement.strip()}\n".lstrip(),
            expected=None,
            fn_name=code.entry_point or None,
            prompt=code.prompt,
        )
    is_stated = tests.reference is None and not (test.rule and test.rule.is_zero)
    return ReadableTest(
        kind=TestKind.CALL,
        given=f"{tests.fn_name}({', '.join(map(repr, arguments))})",
        expected=repr(test.answer) if is_stated else None,
        fn_name=tests.fn_name,
        arguments=repr(arguments),
    )
