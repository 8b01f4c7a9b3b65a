"""LiveCodeBench (`livecodebench/code_generation_lite`, JSON Lines).

Columns: question_title, question_content, platform, question_id, contest_id, contest_date, starter_code, difficulty
(easy, medium, hard), public_test_cases, private_test_cases, metadata (JSON with `func_name` for functional problems).
Test cases are a JSON list of {input, output, testtype}; a functional input has one JSON argument per line. The private
ones are published as base64 of zlib of a pickle of that JSON text. They are never unpickled: `pickled_text` reads the
one string such a pickle holds and refuses every opcode that could do anything else. Public tests come first.
"""

import base64
import binascii
import struct
import zlib
from collections.abc import Mapping, Sequence

import msgspec

from taco_stream.datasets.rows import (
    Adapter,
    RowError,
    Value,
    read_difficulty,
    read_problem_id,
    read_required_text,
    read_text,
)
from taco_stream.datasets.tests_text import TestsJson, json_value, tests_text
from taco_stream.types import Problem

_MAX_UNFOLDED_BYTES = 1 << 30
"""The most that one problem's private tests may unfold to; a damaged or hostile row cannot ask for more."""


class _TestCase(msgspec.Struct):
    input: str
    output: str
    testtype: str


class _Metadata(msgspec.Struct):
    func_name: str | None = None


def _parse_problem(values: Mapping[str, Value], position: int) -> Problem:
    cases = [
        *_parse_cases(read_text(values, "public_test_cases"), "public_test_cases"),
        *_parse_private_cases(read_text(values, "private_test_cases")),
    ]
    fn_name = _read_function_name(values)
    if fn_name:
        # One argument a line, and the value bare: it is wrapped here as TACO does, and that is said, so that the
        # evaluator does not guess.
        tests = TestsJson(
            inputs=[[json_value(line) for line in case.input.split("\n") if line.strip()] for case in cases],
            outputs=[[json_value(case.output)] for case in cases],
            fn_name=fn_name,
            wrapped=True,
        )
    else:
        tests = TestsJson([case.input for case in cases], [case.output for case in cases])
    return Problem(
        problem_id=read_problem_id(values, position, ("question_id",)),
        position=position,
        question=read_required_text(values, "question_content"),
        tests=tests_text(tests),
        starter_code=read_text(values, "starter_code"),
        fn_name=fn_name,
        difficulty=read_difficulty(values),
        source=read_text(values, "platform"),
    )


def _read_function_name(values: Mapping[str, Value]) -> str | None:
    text = read_text(values, "metadata")
    try:
        return (msgspec.json.decode(text, type=_Metadata).func_name or None) if text else None
    except msgspec.MsgspecError as error:
        raise RowError(f"metadata is not as published: {error}") from error


def _parse_private_cases(text: str) -> Sequence[_TestCase]:
    if not text or text.lstrip().startswith("["):
        return _parse_cases(text, "private_test_cases")
    try:
        unfolder = zlib.decompressobj()
        pickled = unfolder.decompress(base64.b64decode(text, validate=True), _MAX_UNFOLDED_BYTES)
    except (binascii.Error, zlib.error, ValueError) as error:
        raise RowError(f"private_test_cases is neither JSON nor base64 of zlib: {error}") from error
    if not unfolder.eof:
        raise RowError("private_test_cases is cut short or unfolds to more than 1 GiB")
    return _parse_cases(pickled_text(pickled), "private_test_cases")


def _parse_cases(text: str, column: str) -> Sequence[_TestCase]:
    try:
        return msgspec.json.decode(text, type=list[_TestCase]) if text else []
    except msgspec.MsgspecError as error:
        raise RowError(f"{column} is not a list of test cases: {error}") from error


# Opcodes of a pickle that holds one string, with the struct of their argument; see CPython's Lib/pickletools.py.
_TEXT = {b"\x8c": struct.Struct("<B"), b"X": struct.Struct("<I"), b"\x8d": struct.Struct("<Q")}
_IGNORED = {b"\x80": 1, b"\x95": 8, b"\x94": 0, b"q": 1, b"r": 4}
"""The protocol, a frame's length, and the three ways to memoise: no effect on a single string."""
_STOP = b"."


def pickled_text(pickled: bytes) -> str:
    """The string that a pickle of one string holds. Raises `RowError` at any opcode that such a pickle does not need.

    Nothing is looked up, called or built: a pickle that would do anything is refused at its first such opcode.
    """
    text: str | None = None
    at = 0
    try:
        while (opcode := pickled[at : at + 1]) != _STOP:
            at += 1
            if opcode in _TEXT and text is None:
                (length,) = _TEXT[opcode].unpack_from(pickled, at)
                at += _TEXT[opcode].size
                if at + length > len(pickled):
                    raise RowError("a pickle of test cases is cut short")
                text = pickled[at : at + length].decode("utf-8", "surrogatepass")
                at += length
            elif opcode in _IGNORED:
                at += _IGNORED[opcode]
            else:
                raise RowError(f"a pickle of test cases holds more than one string (opcode {opcode!r})")
    except (struct.error, UnicodeDecodeError) as error:
        raise RowError(f"a pickle of test cases is damaged: {error}") from error
    if text is None:
        raise RowError("a pickle of test cases holds no string")
    return text


ADAPTER = Adapter(
    name="LiveCodeBench",
    recognised_by=frozenset({"question_content", "public_test_cases", "private_test_cases"}),
    reads=frozenset(
        {"question_content", "question_id", "platform", "starter_code", "difficulty", "metadata"}
        | {"public_test_cases", "private_test_cases"}
    ),
    parse_problem=_parse_problem,
)
