"""Streams of JSON objects: read as they come, refused by file and line, and written as `json.dump` writes."""

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from foreign_files import Write, few_examples, refused, samples, seconds, texts
from hypothesis import given
from hypothesis import strategies as st

from taco_stream.formats import json_files
from taco_stream.formats.json_files import read_entries, write_json_array, write_json_lines, write_json_object

values = st.recursive(
    st.none() | st.booleans() | st.integers() | seconds | texts,
    lambda each: st.lists(each, max_size=3) | st.dictionaries(texts, each, max_size=3),
    max_leaves=8,
)
objects = st.lists(st.dictionaries(texts, values, max_size=3), max_size=4)


@given(objects, st.integers(1, 64))
@few_examples
def test_an_array_is_what_json_dump_writes_and_is_read_whatever_the_chunk(
    folder: Path, entries: list[dict[str, Any]], chunk: int
) -> None:
    path = write_json_array(entries, folder / "array.json")
    assert path.read_text("ascii") == json.dumps(entries, indent=4)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(json_files, "CHUNK_CHARACTERS", chunk)
        assert [each.value for each in read_entries(path)] == entries


@given(objects)
@few_examples
def test_lines_that_we_write_are_read_the_same(folder: Path, entries: list[dict[str, Any]]) -> None:
    path = write_json_lines(entries, folder / "lines.jsonl")
    assert [each.value for each in read_entries(path)] == entries


@given(st.dictionaries(texts, values, max_size=4))
@few_examples
def test_an_object_holds_its_entries_in_order(folder: Path, expected: dict[str, Any]) -> None:
    path = write_json_object(expected.items(), folder / "object.json")
    assert list(json.loads(path.read_text("ascii")).items()) == list(expected.items())


@pytest.mark.parametrize("indent", [None, 4])
def test_arrays_are_read_however_they_are_spaced(tmp_path: Path, indent: int | None) -> None:
    path = tmp_path / "g.json"
    path.write_text("\n\n " + json.dumps([{"task_id": n, "output": ["x" * n]} for n in range(5)], indent=indent) + "\n")
    assert samples(path) == [(str(n), 0, "x" * n) for n in range(5)]


@pytest.mark.parametrize("chunk", [1, 7, 64, 10_000])
def test_arrays_are_read_whatever_the_chunk(write: Write, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    path = write([{"task_id": n, "output": ["[{" * n, "é"]} for n in range(20)], name="g.json")
    expected = samples(path)
    monkeypatch.setattr(json_files, "CHUNK_CHARACTERS", chunk)
    assert samples(path) == expected
    assert len(expected) == 40


def test_gzipped_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"task_id": "a", "solution": "b"}\n'))
    assert samples(path) == [("a", 0, "b")]


def test_blank_lines_and_a_byte_order_mark_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"task_id": "a", "solution": "b"}\n\n\n{"task_id": "c", "solution": "d"}')
    assert samples(path) == [("a", 0, "b"), ("c", 0, "d")]


def test_a_lone_surrogate_becomes_a_character_that_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_text('{"task_id": "a", "solution": "x\\ud800y"}\n')
    assert samples(path) == [("a", 0, "x?y")]


def test_a_lone_surrogate_in_an_id_becomes_a_character_that_can_be_written(write: Write) -> None:
    assert samples(write({"task_id": "a\ud800", "solution": "x"})) == [("a?", 0, "x")]


def test_no_such_file_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "none.jsonl", "No such file")


def test_an_empty_file_is_refused(write: Write) -> None:
    refused(write(), "no completions")
    refused(write([], name="empty.json"), "no completions")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    refused(tmp_path / "picture.png", "not UTF-8")


def test_a_broken_gzip_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f.gz").write_bytes(gzip.compress(b'{"task_id": "a", "solution": "b"}\n' * 99)[:-9])
    refused(tmp_path / "f.gz", "cannot be read")


def test_a_gzip_file_that_cannot_be_unpacked_is_refused(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(b'{"task_id": "a", "solution": "b"}\n'))
    content[10] |= 0b110  # the first block, behind a header of ten bytes, is now of a kind that there is not
    (tmp_path / "f.gz").write_bytes(content)
    refused(tmp_path / "f.gz", "cannot be read")


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "f.jsonl").write_text('{"task_id": "a", "solution": "b"}\n{broken\n')
    refused(tmp_path / "f.jsonl", "line 2 is not JSON")


def test_a_line_of_another_kind_is_named(write: Write) -> None:
    refused(write({"task_id": "a", "solution": "b"}, ["no", "object"]), "line 2 is list, not an object")


@pytest.mark.parametrize("wrong", [{"task_id": "a"}, {"task_id": "a", "solution": 7}, {"solution": "b"}])
def test_a_line_that_lacks_what_it_must_have_is_named(write: Write, wrong: dict[str, Any]) -> None:
    refused(write({"task_id": "a", "solution": "b"}, wrong), "line 2")


def test_an_array_that_is_cut_short_is_named_by_its_entry(tmp_path: Path) -> None:
    (tmp_path / "g.json").write_text('[{"task_id": 0, "output": ["a"]}, {"task_id": 1, "out')
    refused(tmp_path / "g.json", "entry 2")


def test_completions_come_from_standard_input() -> None:
    code = (
        "from pathlib import Path; from taco_stream.formats import read_completions;"
        "print(*((each.problem_id, each.text) for each in read_completions(Path('-'))))"
    )
    lines = b'\n{"task_id": 1, "solution": "a"}\n{"task_id": 2, "solution": "b"}\n'
    for content in (lines, gzip.compress(lines), b'[{"task_id": 1, "solution": "a"}, {"task_id": 2, "solution": "b"}]'):
        done = subprocess.run([sys.executable, "-c", code], input=content, capture_output=True, check=True)
        assert done.stdout == b"('1', 'a') ('2', 'b')\n"


def test_lines_are_counted_from_the_first_also_where_it_is_blank(tmp_path: Path) -> None:
    path = tmp_path / "file.jsonl"
    path.write_text('\n \n{"id": 1, "text": "a"}\nno\n')
    refused(path, "line 4")
