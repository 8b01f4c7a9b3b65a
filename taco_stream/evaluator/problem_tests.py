"""A problem's tests, from the JSON text of its source (TACO's `input_output`)."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from taco_stream.evaluator.assertions import Assertions
from taco_stream.evaluator.comparators.eval_plus_rule import Rule
from taco_stream.evaluator.failure_order import FailureOrder
from taco_stream.evaluator.protocol import Limits, Tests
from taco_stream.evaluator.reference import Reference
from taco_stream.evaluator.tagged_values import tagged
from taco_stream.types import SpecialJudge

OUTPUT_ALLOWANCE_BYTES, OUTPUT_MULTIPLE = 4 << 20, 16
"""An output may have this many bytes, and so many times the expected one's. A larger one is not looked at: the worker
would take 20 seconds to split 50 MB of short words. The program is not stopped there: that would
reveal how long the expected output is."""


class Test(NamedTuple):
    """One test: standard input (call-based: the arguments as JSON) and the expected output.

    `expected_length` is its length in characters, as text or as JSON. `is_wrapped` says that the expected value
    is wrapped in a list of one, as TACO writes it; `rule` is how to compare if the problem decides that.
    """

    given: bytes
    expected: Any
    expected_length: int
    is_wrapped: bool = False
    rule: Rule | None = None

    @property
    def answer(self) -> Any:
        """The expected text or value itself."""
        return self.expected[0] if self.is_wrapped else self.expected

    @property
    def max_bytes(self) -> int:
        """An output of more bytes cannot be right."""
        return OUTPUT_ALLOWANCE_BYTES + OUTPUT_MULTIPLE * self.expected_length


class ProblemTests(NamedTuple):
    """A problem as a worker keeps it. `order` learns from the programs that are judged.

    If the tests are code, that is in `assertions`; if it has to run in the program's process, it is the `epilogue`
    that is put after the program. If there is a `reference`, the expected values are unknown until it has been run.
    """

    fn_name: str | None
    tests: tuple[Test, ...]
    limits: Limits
    special_judge: SpecialJudge
    order: FailureOrder
    epilogue: str = ""
    assertions: Assertions | None = None
    reference: Reference | None = None
    checker: str | None = None


class TestsError(Exception):
    """The tests cannot be read; the message is one sentence that names the problem."""


def parse_tests(message: Tests) -> ProblemTests:
    """The tests, ready to run. Outputs beyond the inputs are left out, as the original leaves them."""
    try:
        raw = decode_tests(Path(message.tests_path).read_text("utf-8") if message.tests_path else message.tests)
        fn_name = raw.get("fn_name") or None
        reference = msgspec.convert(raw["reference"], Reference) if "reference" in raw else None
        pairs = zip(raw["inputs"], raw["outputs"], strict=False)
        tests = tuple(_test(given, expected, fn_name, reference) for given, expected in pairs)
        if fn_name and _are_wrapped(tests, raw.get("wrapped")):
            tests = tuple(test._replace(is_wrapped=True) for test in tests)
        epilogue, assertions = "", None
        if fn_name and "assertions" in raw:
            assertions = msgspec.convert(raw["assertions"], Assertions)
            if assertions.needs_program:
                epilogue, assertions = assertions.inside_text(fn_name), None
    except (OSError, msgspec.DecodeError, AttributeError, KeyError, TypeError, ValueError, SyntaxError) as error:
        raise TestsError(f"the tests of problem {message.problem_id} cannot be read: {error!r}") from error
    # More outputs than inputs are left out, but an input without an output would silently be a test less.
    if len(tests) < len(raw["inputs"]):
        raise TestsError(f"problem {message.problem_id} has {len(raw['inputs'])} inputs and only {len(tests)} outputs")
    if not tests:
        raise TestsError(f"problem {message.problem_id} has no tests")
    return ProblemTests(
        fn_name,
        tests,
        message.limits,
        message.special_judge,
        FailureOrder(len(tests)),
        epilogue,
        assertions,
        None if reference is None or reference.rule.is_zero else reference,
        message.checker,
    )


def _are_wrapped(tests: Sequence[Test], stated: bool | None) -> bool:
    """Whether each expected value is wrapped in a list of one: as the source has `stated`, else if every one does.

    TACO wraps them, and others in its format do not. Raises `ValueError` if the values are stated to be wrapped and one
    is not.
    """
    # Settled for the problem and not for each test, so that a program that returns `[5]` for 5 at every test is wrong.
    # A bare problem whose every right value is a list of one element can be recognised only by what is stated
    # (`datasets.taco` looks at the starter code).
    can_be = all(isinstance(test.expected, list) and len(test.expected) == 1 for test in tests)
    if stated and not can_be:
        raise ValueError("the outputs are stated to be wrapped, and one is not a list of one value")
    return can_be if stated is None else stated


def decode_tests(text: str) -> Any:
    """The JSON of a problem's tests."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return json.loads(text)  # Python's own writer writes NaN and Infinity, which JSON does not have


def with_answers(tests: ProblemTests, answers: Sequence[Any]) -> ProblemTests:
    """The tests, with the reference solution's answers as expected values."""
    known = tuple(
        test._replace(expected=answer, expected_length=len(json.dumps(tagged(answer))))
        for test, answer in zip(tests.tests, answers, strict=True)
    )
    return tests._replace(tests=known, reference=None)


def _test(given: Any, expected: Any, fn_name: str | None, reference: Reference | None) -> Test:
    if reference is not None:
        # The first argument of `find_zero` is the polynomial. No other expected value is known yet.
        value = given[0] if reference.rule.is_zero else None
        return Test(_arguments(given), value, len(json.dumps(tagged(value))), rule=reference.rule)
    if fn_name:
        value = _with_integer_keys(expected)
        return Test(_arguments(_with_integer_keys(given)), value, len(json.dumps(tagged(value))))
    text = _join_lines(expected)
    return Test(_join_lines(given).encode(), text, len(text))


def _arguments(values: Any) -> bytes:
    return json.dumps(tagged(values)).encode()


def _with_integer_keys(value: Any) -> Any:
    """Undoes JSON's text keys as the original does: in a dictionary, or in the first element of a list."""
    if isinstance(value, dict):
        return _integer_keys(value)
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [_integer_keys(value[0]), *value[1:]]
    return value


def _integer_keys(value: dict[str, Any]) -> dict[Any, Any]:
    try:
        return {int(key): each for key, each in value.items()}
    except ValueError:
        return value


def _join_lines(value: Any) -> str:
    """A text, or the original's list of lines."""
    if isinstance(value, list):
        return "\n".join(str(each) for each in value)
    return str(value)
