"""Journals: what a kill, a full disk and a power cut leave, and what the next start makes of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sample_values import completion

from taco_stream.errors import StoreError
from taco_stream.store.journal import Journal, last_lines, read_lines, read_values, repair
from taco_stream.types import Completion

TEXTS = ("first\n", "naïve — ünïcode 😀", 'quotes " and \\ and \x00')


async def written(path: Path, texts: tuple[str, ...] = TEXTS) -> bytes:
    """Appends a completion for each text, and gives the file's bytes."""
    journal = Journal(path)
    await journal.open()
    await journal.append([completion(sample_index=index, text=text) for index, text in enumerate(texts)])
    await journal.sync()
    await journal.close()
    return path.read_bytes()


def texts_in(path: Path) -> list[str]:
    return [value.text for value in read_values(path, Completion)]


@pytest.mark.anyio
@pytest.mark.both_loops
async def test_what_is_appended_reads_back(tmp_path: Path) -> None:
    await written(tmp_path / "j")
    assert texts_in(tmp_path / "j") == list(TEXTS)


@pytest.mark.anyio
async def test_each_value_is_one_line_of_json(tmp_path: Path) -> None:
    content = await written(tmp_path / "j")
    assert content.count(b"\n") == len(TEXTS)
    assert content.endswith(b"}\n")


@pytest.mark.anyio
async def test_a_reopened_journal_goes_on_behind_what_is_there(tmp_path: Path) -> None:
    await written(tmp_path / "j")
    await written(tmp_path / "j", ("more",))
    assert texts_in(tmp_path / "j") == [*TEXTS, "more"]


@pytest.mark.anyio
async def test_cut_at_any_byte_the_whole_lines_survive_and_appending_goes_on(tmp_path: Path) -> None:
    """The crash test: a kill can end the file anywhere in its last lines."""
    content = await written(tmp_path / "whole")
    torn = tmp_path / "torn"
    for size in range(len(content) + 1):
        torn.write_bytes(content[:size])
        whole_lines = content[:size].count(b"\n")
        told = repair(torn)
        assert (told is None) == (content[:size].endswith(b"\n") or size == 0), size
        await written(torn, ("after",))
        assert texts_in(torn) == [*TEXTS[:whole_lines], "after"], size


@pytest.mark.anyio
async def test_a_reader_leaves_a_torn_last_line_out(tmp_path: Path) -> None:
    content = await written(tmp_path / "j")
    (tmp_path / "j").write_bytes(content[:-3])
    assert texts_in(tmp_path / "j") == list(TEXTS[:-1])


@pytest.mark.anyio
async def test_a_whole_last_line_that_is_no_json_is_cut_off_and_told(tmp_path: Path) -> None:
    content = await written(tmp_path / "j")
    (tmp_path / "j").write_bytes(content + b"\x00\x00\x00\n")
    told = repair(tmp_path / "j")
    assert told is not None
    assert "j ended in a broken line of 4 bytes" in told
    assert (tmp_path / "j").read_bytes() == content


@pytest.mark.anyio
async def test_a_broken_line_in_the_middle_is_named_by_file_and_line(tmp_path: Path) -> None:
    lines = (await written(tmp_path / "j")).splitlines(keepends=True)
    (tmp_path / "j").write_bytes(lines[0] + b"{broken\n" + lines[1])
    assert repair(tmp_path / "j") is None
    with pytest.raises(StoreError, match=r"j, line 2 is broken"):
        texts_in(tmp_path / "j")


def test_an_empty_or_missing_file_needs_no_repair(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert repair(tmp_path / "empty") is None
    assert repair(tmp_path / "missing") is None
    assert list(read_lines(tmp_path / "missing", Completion)) == []


def test_a_file_without_any_newline_is_emptied(tmp_path: Path) -> None:
    (tmp_path / "j").write_bytes(b"x" * 200_000)
    assert "200,000 bytes" in (repair(tmp_path / "j") or "")
    assert (tmp_path / "j").stat().st_size == 0


def test_a_long_torn_line_is_found_across_blocks(tmp_path: Path) -> None:
    (tmp_path / "j").write_bytes(b"{}\n" + b"x" * 200_000)
    assert repair(tmp_path / "j") is not None
    assert (tmp_path / "j").read_bytes() == b"{}\n"


@pytest.mark.anyio
async def test_a_full_disk_is_told_in_a_sentence() -> None:
    journal = Journal(Path("/dev/full"))
    await journal.open()
    with pytest.raises(StoreError, match="/dev/full cannot be written: No space left on device"):
        await journal.append([completion()])
    await journal.close()


LIMITED = """
import anyio, pathlib, resource, signal, sys
sys.path.insert(0, {tests!r})
from sample_values import completion
from taco_stream.errors import StoreError
from taco_stream.store.journal import Journal

async def main():
    journal = Journal(pathlib.Path({path!r}))
    await journal.open()
    await journal.append([completion(sample_index=0, text="a" * 1000)])
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
    try:
        await journal.append([completion(sample_index=1, text="b" * 5000)])
    except StoreError as error:
        print(error)
    await journal.close()

anyio.run(main)
"""


def test_a_partly_written_line_is_cut_off_at_once(tmp_path: Path) -> None:
    """A disk that fills up takes a part of the buffer; the limit on the file's size stands for it."""
    path = tmp_path / "j"
    code = LIMITED.format(tests=str(Path(__file__).parents[1]), path=str(path), limit=3000)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "cannot be written: File too large" in done.stdout
    assert texts_in(path) == ["a" * 1000]
    assert path.read_bytes().endswith(b"\n")


@pytest.mark.anyio
async def test_an_unwritable_file_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "j").mkdir()
    with pytest.raises(StoreError, match="j cannot be written: Is a directory"):
        await Journal(tmp_path / "j").open()


@pytest.mark.anyio
@pytest.mark.both_loops
async def test_appended_lines_are_visible_to_others_before_any_sync(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    await journal.open()
    await journal.append([completion()])
    assert os.path.getsize(tmp_path / "j") > 0
    await journal.close()


@pytest.mark.parametrize(
    ("content", "limit", "lines"),
    [
        (b"", 100, []),
        (b"1\n2\n3\n", 100, [b"3", b"2", b"1"]),
        (b"1\n2\n3", 100, [b"2", b"1"]),
        (b"11\n22\n33\n", 6, [b"33"]),
        (b"11\n22\n33\n", 7, [b"33", b"22"]),
        (b"1234567\n", 4, []),
    ],
)
def test_the_last_whole_lines_come_newest_first(tmp_path: Path, content: bytes, limit: int, lines: list[bytes]) -> None:
    (tmp_path / "file").write_bytes(content)
    assert last_lines(tmp_path / "file", limit) == lines
    assert last_lines(tmp_path / "missing") == []
