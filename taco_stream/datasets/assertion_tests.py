"""Assertion-style tests as calls.

HumanEval and MBPP publish Python code that asserts. Here that becomes tests that call one function of such code: it
answers True, or False if an assertion failed, so that a wrong answer is a wrong answer and not a crash. The
evaluator runs the code apart from the program (`taco_stream/evaluator/assertions.py`).
"""

from collections.abc import Sequence

from taco_stream.datasets.tests_text import AssertionsJson, TestsJson

CHECK = "taco_stream_check"
"""The function that the tests call."""


def statement_tests(entry_point: str, statements: Sequence[str], *, setup: str = "", prompt: str = "") -> TestsJson:
    """One test for each statement, which calls the function `entry_point`, run after `setup`.

    `prompt` is code that a program is supposed to continue, as far as `entry_point`, which has any body there.
    """
    return TestsJson(
        inputs=[[number] for number in range(len(statements))],
        outputs=[[True]] * len(statements),
        fn_name=CHECK,
        assertions=AssertionsJson(entry_point=entry_point, setup=setup, statements=statements, prompt=prompt),
    )
