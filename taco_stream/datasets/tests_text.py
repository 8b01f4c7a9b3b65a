"""Writing a problem's tests as TACO's `input_output` JSON text.

Values that are JSON already are carried over unchanged, so that no number is rounded and nothing large is decoded.
"""

from collections.abc import Sequence

import msgspec

from taco_stream.datasets.rows import RowError


class AssertionsJson(msgspec.Struct, omit_defaults=True):
    """Tests that are Python code, which calls the function `entry_point` of the program.

    `setup` defines the function that the tests call. If there are `statements`, the evaluator defines that function,
    which executes the statement whose number it is given. `prompt` is code that a program is supposed to continue.
    """

    entry_point: str
    setup: str = ""
    statements: Sequence[str] = ()
    prompt: str = ""


class RuleJson(msgspec.Struct, omit_defaults=True):
    """How EvalPlus compares the results of one problem: within a tolerance, or as the zero of a polynomial."""

    tolerance: float = 0.0
    is_zero: bool = False


class ReferenceJson(msgspec.Struct):
    """A solution in whose `entry_point` the expected values are found, by calling it, and how to compare with them."""

    entry_point: str
    text: str
    rule: RuleJson


class TestsJson(msgspec.Struct, omit_defaults=True):
    """TACO's `input_output`, and further keys that the evaluator reads.

    With `fn_name` each input is the list of arguments of one call and each output the value expected, in a list of its
    own or bare; `wrapped` says which, None that the source does not say. Without `fn_name` inputs and outputs are the
    texts of standard input and output. `assertions` are there if the tests are code, and `reference` if the
    expected values are a solution's results; `outputs` then say nothing.
    """

    inputs: Sequence[object]
    outputs: Sequence[object]
    fn_name: str | None = None
    assertions: AssertionsJson | None = None
    reference: ReferenceJson | None = None
    wrapped: bool | None = None


def tests_text(tests: TestsJson) -> str:
    """The JSON text. Raises `RowError` if there is no test, or not an output for every input."""
    if not tests.inputs:
        raise RowError("there are no tests")
    if len(tests.inputs) != len(tests.outputs):
        raise RowError(f"there are {len(tests.inputs)} inputs and {len(tests.outputs)} outputs")
    return msgspec.json.encode(tests).decode("utf-8")


def json_value(text: str) -> msgspec.Raw:
    """JSON text as a value that is written back digit for digit. Raises `RowError` if it is not JSON."""
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
        msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise RowError(f"a test holds {text[:40]!r}, which is not JSON") from error
    return msgspec.Raw(text)
