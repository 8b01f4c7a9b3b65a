"""Which problems are taken, and in which order."""

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from taco_rows import WriteLines, taco_row

from taco_stream.datasets.open import open_dataset
from taco_stream.datasets.selection import Selection, Shard, parse_shard, read_selection
from taco_stream.datasets.settings import DatasetSettings
from taco_stream.errors import DatasetError, UsageError

ROWS = [
    taco_row(0, difficulty="EASY", skill_types="['Sorting']", tags="['Greedy']", source="kattis"),
    taco_row(1, difficulty="HARD", skill_types="['Sorting', 'Bit manipulation']", tags="['Maths']", source="aizu"),
    taco_row(2, difficulty="MEDIUM_HARD", skill_types="[]", tags="['Greedy', 'Maths']", source="kattis"),
    taco_row(3, difficulty="EASY", skill_types="['Range queries']", tags="[]", raw_tags="[]", source="codechef"),
]


def chosen(path: Path, **wanted: Any) -> list[str]:
    return [problem.problem_id for problem in open_dataset(str(path), selection=Selection(**wanted))]


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        ({"difficulties": ("EASY",)}, ["0", "3"]),
        ({"difficulties": ("medium hard", "hard")}, ["1", "2"]),
        ({"skills": ("sorting",)}, ["0", "1"]),
        ({"tags": ("maths",)}, ["1", "2"]),
        ({"sources": ("kattis", "codechef")}, ["0", "2", "3"]),
        ({"sources": ("kattis",), "tags": ("maths",)}, ["2"]),
        ({"ids": ("2", "0")}, ["0", "2"]),
        ({"excluded": ("1", "3")}, ["0", "2"]),
        ({"limit": 2}, ["0", "1"]),
        ({"limit": 2, "difficulties": ("EASY",)}, ["0", "3"]),
    ],
)
def test_filters(write_lines: WriteLines, wanted: dict[str, Any], ids: Sequence[str]) -> None:
    assert chosen(write_lines(*ROWS), **wanted) == ids


def test_positions_are_those_before_the_filters(write_lines: WriteLines) -> None:
    (problem,) = open_dataset(str(write_lines(*ROWS)), selection=Selection(difficulties=("HARD",)))
    assert problem.position == 1


def test_same_shuffle_seed_gives_the_same_order_and_another_another(write_lines: WriteLines) -> None:
    path = write_lines(*(taco_row(number) for number in range(20)))
    first = chosen(path, shuffle_seed=1)
    assert first == chosen(path, shuffle_seed=1)
    assert first != chosen(path, shuffle_seed=2)
    assert sorted(first, key=int) == [str(number) for number in range(20)]


def test_shuffled_problems_are_whole(write_lines: WriteLines) -> None:
    path = write_lines(*ROWS)
    in_order = {problem.problem_id: problem for problem in open_dataset(str(path))}
    for problem in open_dataset(str(path), selection=Selection(shuffle_seed=0)):
        assert problem == in_order[problem.problem_id]


def test_shards_are_disjoint_and_complete(write_lines: WriteLines) -> None:
    path = write_lines(*(taco_row(number) for number in range(10)))
    shards = [chosen(path, shuffle_seed=5, limit=8, shard=Shard(index, 3)) for index in range(3)]
    assert [len(shard) for shard in shards] == [3, 3, 2]
    assert sorted(itertools.chain(*shards)) == sorted(chosen(path, shuffle_seed=5, limit=8))


def test_limit_reads_no_row_beyond_it(write_lines: WriteLines) -> None:
    assert chosen(write_lines(taco_row(0), "{broken"), limit=1) == ["0"]


def test_a_selection_that_leaves_nothing_is_an_error(write_lines: WriteLines) -> None:
    with pytest.raises(DatasetError, match="leaves no problem"):
        chosen(write_lines(*ROWS), difficulties=("VERY_HARD",))


def test_an_id_that_does_not_exist_is_an_error_before_the_first_problem(write_lines: WriteLines) -> None:
    problems = open_dataset(str(write_lines(*ROWS)), selection=Selection(ids=("0", "17")))
    with pytest.raises(DatasetError, match="has no selected problem 17"):
        next(problems)


def test_settings_become_a_selection(tmp_path: Path) -> None:
    exclude = tmp_path / "exclude.txt"
    exclude.write_text("# seen in training\n3\n\n taco/4 \n", encoding="utf-8")
    settings = DatasetSettings(
        split="train", difficulty=("EASY",), skill=("Sorting",), tag=("t",), source=("s",), ids=("1",),
        exclude=str(exclude), limit=5, shuffle=9, shard="1/4",
    )  # fmt: skip
    assert read_selection(settings) == Selection(
        split="train", difficulties=("EASY",), skills=("Sorting",), tags=("t",), sources=("s",), ids=("1",),
        excluded=("3", "taco/4"), limit=5, shuffle_seed=9, shard=Shard(1, 4),
    )  # fmt: skip


@pytest.mark.parametrize("shard", ["4/4", "0/0", "1", "-1/2", "a/b"])
def test_a_shard_that_is_none_is_refused(shard: str) -> None:
    with pytest.raises(UsageError, match="--shard cannot be"):
        read_selection(DatasetSettings(shard=shard))


def test_a_missing_exclude_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the file of ids"):
        read_selection(DatasetSettings(exclude=str(tmp_path / "nowhere")))


def excluded_by(tmp_path: Path, text: str) -> tuple[str, ...]:
    path = tmp_path / "exclude.jsonl"
    path.write_text(text, encoding="utf-8")
    return read_selection(DatasetSettings(exclude=str(path))).excluded


def test_lines_of_json_name_problems_to_leave_out(tmp_path: Path) -> None:
    lines = '{"problem_id": "a"}\n{"problem_id": "b", "exclude": false}\n{"problem_id": "c", "exclude": true}\nd\n'
    assert excluded_by(tmp_path, lines) == ("a", "c", "d")


def test_the_last_line_on_a_problem_counts(tmp_path: Path) -> None:
    lines = '{"problem_id": "a", "exclude": true}\n{"problem_id": "a", "exclude": false}\n'
    assert excluded_by(tmp_path, lines) == ()


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    assert excluded_by(tmp_path, '{"problem_id": "a"}\n{"problem_id": "b", "exc') == ("a",)


def test_a_line_of_json_without_a_problem_is_refused_by_its_place(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="exclude.jsonl:1 is not a line of JSON"):
        excluded_by(tmp_path, '{"task": "a"}\nb\n')


SLURM = {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "3", "SLURM_ARRAY_TASK_STEP": "2"}


@pytest.mark.parametrize(
    ("text", "environ", "shard"),
    [
        ("auto", {"SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_TASK_COUNT": "4"}, Shard(2, 4)),
        ("auto", SLURM | {"SLURM_ARRAY_TASK_COUNT": "4"}, Shard(2, 4)),
        ("auto/8", SLURM, Shard(7, 8)),
        ("auto/3", {"JOB_COMPLETION_INDEX": "0"}, Shard(0, 3)),
        (" 1/4 ", {}, Shard(1, 4)),
    ],
)
def test_a_shard_may_be_that_of_a_job_array(text: str, environ: dict[str, str], shard: Shard) -> None:
    assert parse_shard(text, environ) == shard


@pytest.mark.parametrize(
    ("text", "environ", "complaint"),
    [
        ("auto", {}, "neither SLURM_ARRAY_TASK_ID nor JOB_COMPLETION_INDEX is set"),
        ("auto", {"JOB_COMPLETION_INDEX": "1"}, "give it as auto/n, such as auto/8"),
        ("auto/4", {"JOB_COMPLETION_INDEX": "4"}, "'auto/4' in task 4 of this job array: it is i/n"),
        ("auto/4", {"JOB_COMPLETION_INDEX": "four"}, "in task four of this job array"),
        ("auto", SLURM | {"SLURM_ARRAY_TASK_COUNT": "4", "SLURM_ARRAY_TASK_STEP": "0"}, "in task 7"),
        ("auto/", {}, "it is i/n with i from 0 to n-1"),
    ],
)
def test_a_job_array_that_says_too_little_is_a_usage_error(text: str, environ: dict[str, str], complaint: str) -> None:
    with pytest.raises(UsageError, match=re.escape(complaint)):
        parse_shard(text, environ)
