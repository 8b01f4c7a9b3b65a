"""The published list of special judges, attached by position."""

from pathlib import Path

import pytest
from taco_rows import WriteLines, taco_row

from taco_stream.datasets.open import open_dataset
from taco_stream.datasets.special_judges import read_special_judges
from taco_stream.errors import DatasetError, UsageError
from taco_stream.types import SpecialJudge


@pytest.fixture
def published(tmp_path: Path) -> Path:
    path = tmp_path / "output_spj.jsonl"
    path.write_text(
        '{"idx":0,"special_judge":false,"case":0}\n'
        '{"idx":1,"special_judge":true,"case":3}\n'
        '{"idx":2,"special_judge":true,"case":2}\n',
        encoding="utf-8",
    )
    return path


def test_list_gives_each_position_its_class(published: Path) -> None:
    assert read_special_judges(published) == {
        0: SpecialJudge.NONE,
        1: SpecialJudge.FLOAT_TOLERANCE,
        2: SpecialJudge.LETTER_CASE,
    }


def test_a_special_problem_without_a_class_has_several_answers(published: Path) -> None:
    published.write_text('{"idx":382,"special_judge":true,"case":0}\n', encoding="utf-8")
    assert read_special_judges(published) == {382: SpecialJudge.SEVERAL_ANSWERS}


def test_problems_carry_the_class_of_their_position(published: Path, write_lines: WriteLines) -> None:
    path = write_lines(taco_row(0), taco_row(1), taco_row(2), taco_row(3, spj=1))
    classes = [problem.special_judge for problem in open_dataset(str(path), special_judges=published)]
    assert classes == [
        SpecialJudge.NONE,
        SpecialJudge.FLOAT_TOLERANCE,
        SpecialJudge.LETTER_CASE,
        SpecialJudge.SEVERAL_ANSWERS,
    ]


@pytest.mark.parametrize("line", ['{"idx": 1}', '{"idx":1,"special_judge":true,"case":9}', "x"])
def test_a_line_of_another_form_is_named(published: Path, line: str) -> None:
    published.write_text('{"idx":0,"special_judge":false,"case":0}\n' + line, encoding="utf-8")
    with pytest.raises(DatasetError, match=r"output_spj\.jsonl:2 is not a line of the published list"):
        read_special_judges(published)


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.jsonl cannot be read"):
        read_special_judges(tmp_path / "nowhere.jsonl")


def test_a_part_of_the_split_is_known_by_the_numbers_in_its_ids(write_lines: WriteLines, published: Path) -> None:
    path = write_lines(taco_row(2, task_id="taco/2"), taco_row(1, id=1))
    classes = [problem.special_judge for problem in open_dataset(str(path), special_judges=published)]
    assert classes == [SpecialJudge.LETTER_CASE, SpecialJudge.FLOAT_TOLERANCE]
