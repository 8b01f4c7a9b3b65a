"""Opening a dataset: what is refused when, and how a dataset is told from another."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from taco_rows import WriteLines, taco_row

from taco_stream.datasets.open import dataset_fingerprint, open_dataset
from taco_stream.datasets.rows import BadRow
from taco_stream.errors import DatasetError


def test_what_is_wrong_with_the_source_is_raised_by_the_call(tmp_path: Path) -> None:
    with pytest.raises(DatasetError):
        open_dataset(str(tmp_path / "nowhere"))


def test_a_repeated_id_is_a_bad_row(write_lines: WriteLines) -> None:
    path = write_lines(taco_row(0, task_id=1), taco_row(1, task_id="1"))
    bad_rows: list[BadRow] = []
    assert len(list(open_dataset(str(path), on_bad_row=bad_rows.append))) == 1
    assert "id 1 has been used" in bad_rows[0].reason


def test_a_folder_with_a_file_of_another_kind_is_refused_by_the_call(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(taco_row(0)) + "\n")
    (tmp_path / "b.jsonl").write_text(json.dumps({"task_id": 1, "program": "print(1)"}) + "\n")
    with pytest.raises(DatasetError, match=r"b\.jsonl has no input_output, question, unlike .*a\.jsonl"):
        open_dataset(str(tmp_path))


def test_an_open_dataset_holds_one_problem_and_no_file_after_it_is_dropped(write_lines: WriteLines) -> None:
    problems = open_dataset(str(write_lines(taco_row(0), taco_row(1))))
    next(problems)
    before = len(os.listdir("/proc/self/fd"))
    del problems
    assert len(os.listdir("/proc/self/fd")) == before - 1


def test_fingerprint_is_the_contents(write_lines: WriteLines) -> None:
    path = write_lines(taco_row(0))
    first = dataset_fingerprint(str(path))
    assert first == dataset_fingerprint(str(path))
    path.write_bytes(path.read_bytes().replace(b"Question 0", b"Question 1"))
    assert dataset_fingerprint(str(path)) != first


def test_fingerprint_does_not_depend_on_where_the_file_lies(tmp_path: Path, write_lines: WriteLines) -> None:
    path = write_lines(taco_row(0))
    (tmp_path / "elsewhere").mkdir()
    copy = tmp_path / "elsewhere" / path.name
    copy.write_bytes(path.read_bytes())
    assert dataset_fingerprint(str(copy)) == dataset_fingerprint(str(path))


def test_standard_input_is_only_named() -> None:
    assert dataset_fingerprint("-") == "stdin"


def test_importing_the_module_loads_no_heavy_library() -> None:
    code = "import sys, taco_stream.datasets.open; print({'pyarrow', 'huggingface_hub', 'numpy'} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "set()"
