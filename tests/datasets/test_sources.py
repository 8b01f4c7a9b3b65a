"""Files are known by their content, and folders by what they hold."""

import gzip
import json
from pathlib import Path

import pytest
from taco_rows import WRITERS, Write, taco_row, write_arrow

from taco_stream.datasets.open import open_dataset
from taco_stream.errors import DatasetError


def test_no_such_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"there is no file or folder .*nowhere\.jsonl"):
        open_dataset(str(tmp_path / "nowhere.jsonl"))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"PK\x03\x04rest", "a zip archive"),
        (b"\x28\xb5\x2f\xfdrest", "compressed with zstd"),
        (b"[{}]", "a JSON array"),
        (b"\x80\x04\x95rest", "a pickle, which is never loaded"),
        (b"question,answer\n", "not JSON Lines, Parquet or Arrow"),
        (b"", "is empty"),
        (gzip.compress(b"question,answer\n", mtime=0), "not JSON Lines, Parquet or Arrow"),
        (gzip.compress(b'{"a": 1}\n', mtime=0)[:12], "cannot be read"),
    ],
)
def test_a_file_of_another_format_says_what_it_is(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "problems.jsonl"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=what):
        open_dataset(str(path))


def test_the_name_of_a_file_does_not_matter(write_rows: Write, tmp_path: Path) -> None:
    path = write_rows(tmp_path, [taco_row(0)])
    renamed = path.rename(tmp_path / "problems.txt")
    assert len(list(open_dataset(str(renamed)))) == 1


def test_a_folder_is_read_in_order_of_names_with_positions_going_on(tmp_path: Path) -> None:
    write_arrow(tmp_path / "data-00001-of-00002.arrow", [taco_row(2), taco_row(3)])
    write_arrow(tmp_path / "data-00000-of-00002.arrow", [taco_row(0), taco_row(1)])
    problems = list(open_dataset(str(tmp_path)))
    assert [(problem.position, problem.question) for problem in problems] == [
        (number, f"Question {number}?") for number in range(4)
    ]


def test_a_folder_of_splits_gives_the_split_asked_for(tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    WRITERS["parquet"](tmp_path / "test", [taco_row(1)])
    (tmp_path / "train").mkdir()
    WRITERS["parquet"](tmp_path / "train", [taco_row(0)])
    assert [problem.question for problem in open_dataset(str(tmp_path))] == ["Question 1?"]


def test_files_named_after_splits_are_told_apart(tmp_path: Path) -> None:
    write_arrow(tmp_path / "test-00000-of-00001.arrow", [taco_row(1)])
    write_arrow(tmp_path / "train-00000-of-00001.arrow", [taco_row(0)])
    assert [problem.question for problem in open_dataset(str(tmp_path))] == ["Question 1?"]


def test_files_of_another_split_are_not_taken_for_the_one_asked_for(tmp_path: Path) -> None:
    write_arrow(tmp_path / "train-00000-of-00001.arrow", [taco_row(0)])
    with pytest.raises(DatasetError, match=r"no files of the split 'test', but train-00000-of-00001\.arrow"):
        open_dataset(str(tmp_path))


def test_a_dataset_saved_to_disk_is_the_files_that_its_state_lists(tmp_path: Path) -> None:
    write_arrow(tmp_path / "data-00000-of-00001.arrow", [taco_row(0)])
    write_arrow(tmp_path / "cache-0123.arrow", [taco_row(9)])
    state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_fingerprint": "0"}
    (tmp_path / "state.json").write_text(json.dumps(state), encoding="utf-8")
    assert [problem.question for problem in open_dataset(str(tmp_path))] == ["Question 0?"]


def test_a_folder_without_problems_names_its_subfolders(tmp_path: Path) -> None:
    (tmp_path / "validation").mkdir()
    with pytest.raises(DatasetError, match=r"holds no \.jsonl.*it has the folders validation"):
        open_dataset(str(tmp_path))
