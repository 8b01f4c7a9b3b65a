"""A journal that is read while it grows."""

from pathlib import Path

import msgspec
import pytest

from taco_stream.errors import StoreError
from taco_stream.store.journal_tail import JournalTail


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "numbers.jsonl"


def open_tail(path: Path) -> JournalTail[int]:
    return JournalTail(path, msgspec.json.Decoder(int).decode)


def values(tail: JournalTail[int]) -> list[int]:
    return [line.value for line in tail.new_lines()]


def test_each_call_reads_what_was_appended_since_the_last(path: Path) -> None:
    tail = open_tail(path)
    assert values(tail) == []  # no file yet
    path.write_text("1\n2\n")
    assert values(tail) == [1, 2]
    assert values(tail) == []
    with path.open("a") as file:
        file.write("3\n")
    assert [(line.value, line.offset) for line in tail.new_lines()] == [(3, 4)]


def test_a_torn_line_is_read_when_it_is_whole(path: Path) -> None:
    tail = open_tail(path)
    path.write_text("1\n2")
    assert values(tail) == [1]
    path.write_text("1\n23\n")
    assert values(tail) == [23]


def test_a_broken_line_is_named_and_the_next_call_begins_behind_it(path: Path) -> None:
    tail = open_tail(path)
    path.write_text("1\nx\n3\n")
    with pytest.raises(StoreError, match=r"numbers.jsonl, the line at byte 2 is broken"):
        values(tail)
    assert values(tail) == [3]


def test_a_file_that_shrank_or_was_replaced_is_noticed(path: Path) -> None:
    tail = open_tail(path)
    assert not tail.was_replaced()
    path.write_text("1\n2\n")
    values(tail)
    assert not tail.was_replaced()
    fresh = path.with_name("fresh")
    fresh.write_text("1\n2\n3\n")
    fresh.replace(path)
    assert tail.was_replaced()
    shrunk = open_tail(path)
    values(shrunk)
    path.write_text("1\n")
    assert shrunk.was_replaced()
    path.unlink()
    assert shrunk.was_replaced()
