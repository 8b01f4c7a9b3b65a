"""JSON Lines: what is particular to text files and standard input."""

import io
import json
import os
from collections.abc import Iterator
from typing import Any, BinaryIO

import pytest
from taco_rows import WriteLines, taco_row

from taco_stream.datasets.jsonl import JsonLines
from taco_stream.datasets.open import open_dataset
from taco_stream.datasets.rows import BadRow, Row
from taco_stream.errors import DatasetError


def table_over(content: bytes) -> JsonLines:
    return JsonLines("table", lambda: io.BufferedReader(io.BytesIO(content)))  # type: ignore[arg-type]


def read_values(content: bytes, *wanted: str) -> list[Any]:
    return [row.values for row in table_over(content).rows(frozenset(wanted)) if isinstance(row, Row)]


def test_only_the_wanted_columns_are_decoded() -> None:
    assert read_values(b'{"a": 1, "b": "x", "c": null}\n', "a", "c") == [{"a": 1, "c": None}]


def test_objects_and_lists_stay_json_text_digit_for_digit() -> None:
    (values,) = read_values(b'{"tests": {"n": 123456789012345678901234567890, "x": 1.10}}\n', "tests")
    assert values["tests"] == '{"n": 123456789012345678901234567890, "x": 1.10}'


def test_blank_lines_count_as_lines_but_not_as_rows() -> None:
    rows = list(table_over(b'\n{"a": 1}\n\n{"a": 2}').rows(frozenset("a")))
    assert rows == [Row("table:2", {"a": 1}), Row("table:4", {"a": 2})]


def test_byte_order_mark_is_no_part_of_the_first_object() -> None:
    assert read_values(b'\xef\xbb\xbf{"a": 1}\n', "a") == [{"a": 1}]


@pytest.mark.parametrize(
    "line", [b"{", b"[1]", b"{'a': 1}", b'{"a": "\xff"}', b'{"a": 1} x', b'{"a": NaN, "b": "\\ud800"}']
)
def test_a_malformed_line_is_a_bad_row_in_its_place(line: bytes) -> None:
    rows = list(table_over(b'{"a": 1}\n' + line + b'\n{"a": 3}\n').rows(frozenset("a")))
    assert [type(row) for row in rows] == [Row, BadRow, Row]
    assert rows[1].location == "table:2"


def test_what_pythons_writer_adds_to_json_is_read() -> None:
    """A field that is NaN is none, as pandas means it; inside a test it is a value."""
    line = b'{"a": NaN, "b": {"x": [NaN, -Infinity, 123456789012345678901234567890]}, "c": Infinity}\n'
    (values,) = read_values(line, "a", "b", "c")
    assert values == {"a": None, "b": '{"x": [NaN, -Infinity, 123456789012345678901234567890]}', "c": float("inf")}


def test_looking_at_the_columns_consumes_no_row() -> None:
    table = table_over(b'{"a": 1}\n{"a": 2}\n')
    assert table.columns() == {"a"}
    assert len(list(table.rows(frozenset("a")))) == 2


def test_broken_lines_before_the_first_object_are_bad_rows() -> None:
    table = table_over(b'{broken\n{"a": 2}\n')
    assert table.columns() == {"a"}
    assert [type(row) for row in table.rows(frozenset("a"))] == [BadRow, Row]


def test_a_file_of_broken_lines_is_no_json_lines_file() -> None:
    with pytest.raises(DatasetError, match="table:2 is not a JSON object, nor is any"):
        table_over(b"\n{broken\n" + b"{\n" * 200).columns()


def test_an_empty_file_holds_no_rows() -> None:
    with pytest.raises(DatasetError, match="table holds no rows"):
        table_over(b"\n").columns()


def test_a_bad_line_is_fatal_unless_asked_otherwise(write_lines: WriteLines) -> None:
    path = write_lines(taco_row(0), "{broken", taco_row(2))
    problems = open_dataset(str(path))
    assert next(problems).problem_id == "0"
    with pytest.raises(DatasetError, match=r"problems\.jsonl:2: not a JSON object"):
        next(problems)


@pytest.fixture
def typed() -> Iterator[BinaryIO]:
    """The other end of this process's standard input."""
    kept, (reader, writer) = os.dup(0), os.pipe()
    os.dup2(reader, 0)
    os.close(reader)
    with open(writer, "wb", buffering=0) as outgoing:
        yield outgoing
    os.dup2(kept, 0)
    os.close(kept)


def test_rows_are_read_from_standard_input_before_it_ends(typed: BinaryIO) -> None:
    typed.write(json.dumps(taco_row(0)).encode() + b"\n" + json.dumps(taco_row(1)).encode() + b"\n")
    problems = open_dataset("-")
    assert next(problems).problem_id == "0"
