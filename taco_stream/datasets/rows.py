"""A row of any source, and how its fields are read.

A table hands over rows whose values are scalars; a list or an object inside a row comes as its JSON text, whether the
source was JSON, Arrow or Parquet. An adapter (one file per benchmark) turns such a row into a `Problem`. Nothing of a
row is ever evaluated or unpickled: lists written as Python literals are read with `ast.literal_eval`.
"""

import ast
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, Protocol

import msgspec

from taco_stream.types import Problem

Value = str | int | float | bool | bytes | None


class RowError(Exception):
    """This one row cannot be understood; the message says why, without naming the row."""


class BadRow(msgspec.Struct, frozen=True):
    """A row that was not turned into a problem: its location and its fault."""

    location: str
    reason: str

    def __str__(self) -> str:
        return f"{self.location}: {self.reason}"


class Row(NamedTuple):
    """One row: its location (`problems.jsonl:12`) and its values by column."""

    location: str
    values: Mapping[str, Value]


class Table(Protocol):
    """A file of rows, read once and forwards. Every method raises `DatasetError` if the file cannot be read."""

    @property
    def name(self) -> str:
        """Names the file in messages."""
        ...

    def columns(self) -> frozenset[str]:
        """The columns, known before any row is handed over."""
        ...

    def rows(self, wanted: frozenset[str]) -> Iterator[Row | BadRow]:
        """Every row in order with the columns `wanted` that it has; a malformed row in its place as a `BadRow`."""
        ...


class Adapter(NamedTuple):
    """How one benchmark's rows become problems.

    A table is the benchmark's if it has every column of `recognised_by` and none of `excluded_by`. `reads` is all
    columns that `parse_problem` looks at; it is given a row's values and position and raises `RowError` if they make no
    problem.
    """

    name: str
    recognised_by: frozenset[str]
    reads: frozenset[str]
    parse_problem: Callable[[Mapping[str, Value], int], Problem]
    excluded_by: frozenset[str] = frozenset()


def read_text(values: Mapping[str, Value], column: str) -> str:
    """A column's text, empty if the row has none."""
    value = values.get(column)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise RowError(f"{column} is {type(value).__name__}, not text")
    return value


def read_required_text(values: Mapping[str, Value], column: str) -> str:
    """A column's text, which must not be blank."""
    text = read_text(values, column)
    if not text.strip():
        raise RowError(f"{column} is missing or empty")
    return text


def read_problem_id(values: Mapping[str, Value], position: int, columns: tuple[str, ...]) -> str:
    """The first id among `columns`, integers as their digits; the row's position if it has none."""
    for column in columns:
        value = values.get(column)
        if value is None or value == "":
            continue
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise RowError(f"{column} is {type(value).__name__}, neither text nor an integer")
        return str(value)
    return str(position)


def read_names(values: Mapping[str, Value], column: str) -> tuple[str, ...]:
    """A list of names written as JSON, as a Python literal, or as one bare name; none if it is missing or empty."""
    text = read_text(values, column).strip()
    if text in ("", "None", "null", "nan"):
        return ()
    if text[0] not in "[({":
        return (text,)
    try:
        listed = msgspec.json.decode(text)
    except msgspec.DecodeError:
        try:
            listed = ast.literal_eval(text)  # TACO writes its lists by Python's `str`
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            listed = None
    if not isinstance(listed, list | tuple | set):
        raise RowError(f"{column} is not a list of names: {text[:60]}")
    return tuple(str(name) for name in listed if name is not None)


def read_difficulty(values: Mapping[str, Value], column: str = "difficulty") -> str:
    """The difficulty under TACO's spelling: `medium hard` and `Medium-Hard` are `MEDIUM_HARD`, none is `UNKNOWN`."""
    name = "_".join(read_text(values, column).upper().replace("-", " ").replace("_", " ").split())
    return "UNKNOWN" if name in ("", "UNKNOWN_DIFFICULTY", "NONE", "NAN") else name
