"""Assertion-style tests as calls.

HumanEval and MBPP publish Python code that asserts, EvalPlus a solution to compare with. Here that becomes tests that
call one function of such code: it answers True, or False where an assertion failed, so that a wrong answer is a wrong
answer and not a crash. The evaluator runs the code apart from the program (`taco_stream/evaluator/assertions.py`).
"""

from collections.abc import Sequence

import msgspec

from taco_stream.datasets.tests_text import Assertions, Tests

CHECK = "taco_stream_check"
"""The function that the tests call."""

_DIFFERENTIAL = """
_taco_stream_reference = {{}}
exec({reference!r}, _taco_stream_reference)


def _taco_stream_is_floats(value):
    return isinstance(value, float) or (
        isinstance(value, (list, tuple)) and bool(value) and all(isinstance(each, float) for each in value)
    )


def _taco_stream_close(found, expected, tolerance):
    if isinstance(expected, (list, tuple)):
        if not isinstance(found, (list, tuple)) or len(found) != len(expected):
            return False
        return all(_taco_stream_close(*pair, tolerance) for pair in zip(found, expected))
    most = tolerance + 1e-7 * abs(expected)
    return found == expected or abs(found - expected) <= most < float("inf")


def _taco_stream_same(found, expected, tolerance):
    if found == expected:
        return True
    if not tolerance and _taco_stream_is_floats(expected):
        tolerance = 1e-6
    if not tolerance or type(found) is not type(expected):
        return False
    try:
        return bool(_taco_stream_close(found, expected, tolerance))
    except (TypeError, ArithmeticError):
        return False


def {check}(arguments):
    import copy

    expected = _taco_stream_reference[{entry_point!r}](*copy.deepcopy(arguments))
    return bool(_taco_stream_same({entry_point}(*arguments), expected, {tolerance!r}))
"""


def statement_tests(entry_point: str, statements: Sequence[str], *, setup: str = "", prompt: str = "") -> Tests:
    """One test for each statement, which calls the function `entry_point`, run after `setup`.

    `prompt` is code that a program is supposed to continue, as far as `entry_point`, which has any body there.
    """
    return Tests(
        inputs=[[number] for number in range(len(statements))],
        outputs=[[True]] * len(statements),
        fn_name=CHECK,
        assertions=Assertions(entry_point=entry_point, setup=setup, statements=statements, prompt=prompt),
    )


def differential_tests(entry_point: str, reference: str, arguments: Sequence[msgspec.Raw], tolerance: float) -> Tests:
    """One test for each list of arguments: the program must return what `reference` returns, by EvalPlus' own rule.

    Equal is right. Otherwise, where `tolerance` is not zero or the expected value is a float or a list of floats, a
    value of the same type is right whose numbers differ by `tolerance` (1e-6 where that is zero) and 1e-7 of the
    expected one. One oddity is left out: there, once a problem has expected floats, its later tests have a tolerance
    too.
    """
    setup = _DIFFERENTIAL.format(reference=reference, entry_point=entry_point, tolerance=tolerance, check=CHECK)
    return checked_calls(entry_point, setup, arguments)


def checked_calls(entry_point: str, setup: str, arguments: Sequence[msgspec.Raw]) -> Tests:
    """One test for each list of arguments, given to the function `CHECK` that `setup` defines.

    A test passes its arguments as one list, so that the evaluator takes none of them for a dictionary of TACO's, whose
    keys it would turn into integers.
    """
    return Tests(
        inputs=[[each] for each in arguments],
        outputs=[[True]] * len(arguments),
        fn_name=CHECK,
        assertions=Assertions(entry_point=entry_point, setup=setup),
    )
