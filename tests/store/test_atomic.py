"""Files are replaced whole or not at all."""

from pathlib import Path

import pytest

from taco_stream.errors import StoreError
from taco_stream.store.atomic import replacing, write_atomically


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    write_atomically(tmp_path / "f", b"old and long")
    write_atomically(tmp_path / "f", b"new")
    assert (tmp_path / "f").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_a_file_that_cannot_be_replaced_keeps_its_content_and_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    with pytest.raises(StoreError, match="f cannot be written: Is a directory"):
        write_atomically(tmp_path / "f", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_a_block_that_fails_keeps_the_old_content_and_leaves_nothing_behind(tmp_path: Path) -> None:
    write_atomically(tmp_path / "f", b"old")

    def fail_half_way() -> None:
        with replacing(tmp_path / "f") as file:
            file.write(b"half of the ne")
            raise KeyError

    with pytest.raises(KeyError):
        fail_half_way()
    assert (tmp_path / "f").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    with replacing(tmp_path / "f") as first, replacing(tmp_path / "f") as second:
        first.write(b"the first writer's")
        second.write(b"the second's")
    assert (tmp_path / "f").read_bytes() == b"the first writer's"
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
