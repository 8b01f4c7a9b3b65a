"""CodeContests (`deepmind/code_contests`, Parquet).

Columns: name, description, public_tests, private_tests and generated_tests ({input: […], output: […]}), source and
difficulty (numbers of the enumerations below), solutions ({language: […], solution: […]}), cf_tags, cf_rating,
time_limit ({seconds, nanos}), memory_limit_bytes, input_file, output_file. All three kinds of tests are taken, in that
order, and of the solutions those in Python 3. The incorrect solutions are never read.
"""

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from taco_stream.datasets.rows import (
    Adapter,
    RowError,
    Value,
    read_names,
    read_problem_id,
    read_required_text,
    read_text,
)
from taco_stream.datasets.tests_text import TestsJson, tests_text
from taco_stream.types import Problem

_SOURCES = ("", "codechef", "codeforces", "hackerearth", "codejam", "atcoder", "aizu")
_DIFFICULTIES = ("UNKNOWN", "EASY", "MEDIUM", "HARD", "HARDER", "HARDEST", "EXTERNAL", *"ABCDEFGHIJKLMNOPQRSTUV")
_PYTHON_3 = 3

_TEST_COLUMNS = ("public_tests", "private_tests", "generated_tests")

T = TypeVar("T")


class _TestPairs(msgspec.Struct):
    input: list[msgspec.Raw]
    output: list[msgspec.Raw]


class _Solutions(msgspec.Struct):
    language: list[int]
    solution: list[str]


class _Duration(msgspec.Struct):
    seconds: int | None = None
    nanos: int | None = None


def _parse_problem(values: Mapping[str, Value], position: int) -> Problem:
    if file := read_text(values, "input_file"):
        raise RowError(f"it reads the file {file}, not standard input")
    return Problem(
        problem_id=read_problem_id(values, position, ("name",)),
        position=position,
        question=read_required_text(values, "description"),
        tests=_read_tests(values),
        difficulty=_read_name(_DIFFICULTIES, values, "difficulty"),
        tags=tuple(tag for tag in read_names(values, "cf_tags") if tag),
        source=_read_name(_SOURCES, values, "source"),
        time_limit_seconds=_read_seconds(values),
        memory_limit_bytes=size if isinstance(size := values.get("memory_limit_bytes"), int) and size > 0 else None,
        solutions=_solutions(values),
    )


def _read_tests(values: Mapping[str, Value]) -> str:
    inputs: list[msgspec.Raw] = []
    outputs: list[msgspec.Raw] = []
    for column in _TEST_COLUMNS:
        pairs = _decode_column(values, column, _TestPairs)
        if pairs is not None:
            inputs += pairs.input
            outputs += pairs.output
    return tests_text(TestsJson(inputs, outputs))


def _solutions(values: Mapping[str, Value]) -> str:
    found = _decode_column(values, "solutions", _Solutions)
    # Every language has its solutions in here; those in Python 2 have a number of their own.
    programs = zip(found.language, found.solution, strict=False) if found else ()
    return msgspec.json.encode([program for language, program in programs if language == _PYTHON_3]).decode("utf-8")


def _read_seconds(values: Mapping[str, Value]) -> float | None:
    limit = _decode_column(values, "time_limit", _Duration)
    seconds = (limit.seconds or 0) + (limit.nanos or 0) / 1e9 if limit else 0.0
    return seconds or None


def _read_name(names: tuple[str, ...], values: Mapping[str, Value], column: str) -> str:
    number = values.get(column)
    if number is None:
        return names[0]
    if not isinstance(number, int) or not 0 <= number < len(names):
        raise RowError(f"{column} is {number!r}, not a number of its enumeration")
    return names[number]


def _decode_column(values: Mapping[str, Value], column: str, kind: type[T]) -> T | None:
    text = read_text(values, column)
    try:
        return msgspec.json.decode(text, type=kind) if text else None
    except msgspec.MsgspecError as error:
        raise RowError(f"{column} is not as published: {error}") from error


ADAPTER = Adapter(
    name="CodeContests",
    recognised_by=frozenset({"name", "description", "public_tests", "private_tests"}),
    reads=frozenset(
        {"name", "description", "difficulty", "cf_tags", "source", "time_limit", "memory_limit_bytes", "solutions"}
        | {"input_file", *_TEST_COLUMNS}
    ),
    parse_problem=_parse_problem,
)
