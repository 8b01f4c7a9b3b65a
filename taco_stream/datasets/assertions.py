"""Assertion-style tests as call-based ones.

HumanEval and MBPP publish Python code that asserts. The evaluator runs it where the program runs, in the sandbox: the
code is the `epilogue` of the tests, appended to the program, and defines one function that the tests call. It answers
True, or False where an assertion failed, so that a wrong answer is a wrong answer and not a crash.

What this cannot promise: expected values stand in the assertions, so they are in the memory of the program under test,
and a program written to cheat could forge its verdict. Only benchmarks whose tests are code have this weakness.
"""

from collections.abc import Sequence

import msgspec

from taco_stream.datasets.tests_text import Tests

CHECK = "taco_stream_check"
"""The function that an epilogue defines."""

_STATEMENTS = """
_taco_stream_statements = {statements!r}


def {check}(number):
    try:
        exec(_taco_stream_statements[number], globals())
    except AssertionError:
        return False
    return True
"""

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


def statement_tests(setup: str, statements: Sequence[str]) -> Tests:
    """One test for each statement, run in the program's own namespace after `setup`."""
    body = _STATEMENTS.format(statements=list(statements), check=CHECK)
    return Tests(
        inputs=[[number] for number in range(len(statements))],
        outputs=[[True]] * len(statements),
        fn_name=CHECK,
        epilogue=f"{setup}\n{body}",
    )


def differential_tests(entry_point: str, reference: str, arguments: Sequence[msgspec.Raw], tolerance: float) -> Tests:
    """One test for each list of arguments: the program must return what `reference` returns, by EvalPlus' own rule.

    Equal is right. Otherwise, where `tolerance` is not zero or the expected value is a float or a list of floats, a
    value of the same type is right whose numbers differ by `tolerance` (1e-6 where that is zero) and 1e-7 of the
    expected one. One oddity is left out: there, once a problem has expected floats, its later tests have a tolerance
    too.

    A test passes its arguments as one list, so that the evaluator takes none of them for a dictionary of TACO's, whose
    keys it would turn into integers.
    """
    return Tests(
        inputs=[[each] for each in arguments],
        outputs=[[True]] * len(arguments),
        fn_name=CHECK,
        epilogue=_DIFFERENTIAL.format(reference=reference, entry_point=entry_point, tolerance=tolerance, check=CHECK),
    )


def missing_names(prompt: str, entry_point: str) -> str:
    """Code that adds what a HumanEval prompt defines before its function (imports, helpers) where a program has not."""
    return (
        "_taco_stream_prompt = {}\n"
        f"exec({prompt.rstrip() + chr(10) + '    pass' + chr(10)!r}, _taco_stream_prompt)\n"
        "for _taco_stream_name, _taco_stream_value in _taco_stream_prompt.items():\n"
        f"    if _taco_stream_name != {entry_point!r}:\n"
        "        globals().setdefault(_taco_stream_name, _taco_stream_value)\n"
    )
