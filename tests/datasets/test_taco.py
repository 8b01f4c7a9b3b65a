"""TACO's columns become a problem."""

import json
from typing import Any

import pytest
from taco_rows import taco_row

from taco_stream.datasets.rows import RowError
from taco_stream.datasets.taco import ADAPTER, parse_outline
from taco_stream.types import Problem, SpecialJudge


def parse_problem(position: int = 7, **changes: Any) -> Problem:
    return ADAPTER.parse_problem(taco_row(0, **changes), position)


def test_published_row_is_understood_whole() -> None:
    assert parse_problem() == Problem(
        problem_id="7",
        position=7,
        question="Question 0?",
        tests=taco_row(0)["input_output"],
        difficulty="EASY",
        skills=("Sorting", "Data structures"),
        tags=("Mathematics",),
        source="codeforces",
        time_limit_seconds=2.0,
        memory_limit_bytes=256 << 20,
        solutions='["print(0)"]',
    )


def test_function_name_is_peeled_off_the_tests() -> None:
    assert parse_problem(input_output='{"inputs": [[1]], "outputs": [1], "fn_name": "add"}').fn_name == "add"


@pytest.mark.parametrize("name", ["null", '""'])
def test_blank_function_name_is_none(name: str) -> None:
    assert parse_problem(input_output=f'{{"inputs": ["1"], "outputs": ["1"], "fn_name": {name}}}').fn_name is None


@pytest.mark.parametrize("value", ["NaN", "-Infinity", '"\\ud800"', "9" * 4000])
def test_values_that_json_forbids_but_python_writes_are_let_through(value: str) -> None:
    tests = f'{{"fn_name": "f", "inputs": [[{value}]], "outputs": [[1]]}}'
    assert parse_problem(input_output=tests).fn_name == "f"


@pytest.mark.parametrize(
    ("tests", "reason"),
    [
        ("", "input_output is missing or empty"),
        ("{", "input_output is not JSON"),
        ("[]", "does not hold inputs and outputs"),
        ('{"inputs": []}', "does not hold inputs and outputs"),
        ('{"inputs": [], "outputs": []}', "holds no tests"),
        ('{"inputs": [1, 2], "outputs": [1]}', "2 inputs and 1 outputs"),
        ('{"inputs": [NaN], "outputs": 1}', "does not hold lists"),
        ('{"inputs": [NaN]}', "does not hold inputs and outputs"),
    ],
)
def test_tests_that_cannot_be_run_are_refused(tests: str, reason: str) -> None:
    with pytest.raises(RowError, match=reason):
        parse_problem(input_output=tests)


def test_outputs_beyond_the_last_input_are_dropped() -> None:
    tests = '{"inputs": [[1.10], [2]], "outputs": [1.10, 2, 3], "fn_name": "f"}'
    assert parse_problem(input_output=tests).tests == '{"inputs":[[1.10],[2]],"outputs":[1.10,2],"fn_name":"f"}'


@pytest.mark.parametrize("column", ["task_id", "problem_id", "id"])
@pytest.mark.parametrize(("value", "problem_id"), [("taco/3", "taco/3"), (3, "3"), (0, "0"), ("", "7")])
def test_id_is_the_rows_own_or_else_its_position(column: str, value: object, problem_id: str) -> None:
    assert parse_problem(**{column: value}).problem_id == problem_id


def test_an_id_that_is_no_name_is_refused() -> None:
    with pytest.raises(RowError, match="task_id is float"):
        parse_problem(task_id=1.5)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("['A', 'B']", ("A", "B")),
        ('["A", "B"]', ("A", "B")),
        ("('A',)", ("A",)),
        ("[]", ()),
        ("", ()),
        (None, ()),
        ("A single name", ("A single name",)),
    ],
)
def test_names_are_read_however_the_list_is_written(text: str | None, names: tuple[str, ...]) -> None:
    assert parse_problem(skill_types=text).skills == names


def test_a_list_that_is_code_is_refused_and_not_run() -> None:
    with pytest.raises(RowError, match="skill_types is not a list of names"):
        parse_problem(skill_types="[__import__('os').getcwd()]")


def test_raw_tags_stand_in_where_there_are_no_tags() -> None:
    assert parse_problem(tags="[]").tags == ("math", "brute force")


@pytest.mark.parametrize(
    ("text", "difficulty"),
    [("medium hard", "MEDIUM_HARD"), ("Very-Hard", "VERY_HARD"), ("UNKNOWN_DIFFICULTY", "UNKNOWN"), (None, "UNKNOWN")],
)
def test_difficulty_takes_tacos_spelling(text: str | None, difficulty: str) -> None:
    assert parse_problem(difficulty=text).difficulty == difficulty


def test_missing_columns_take_their_defaults() -> None:
    problem = ADAPTER.parse_problem({"question": "?", "input_output": taco_row(0)["input_output"]}, 0)
    assert (problem.solutions, problem.time_limit_seconds, problem.memory_limit_bytes) == ("[]", None, None)


@pytest.mark.parametrize(
    ("case", "judge"),
    [
        (0, SpecialJudge.NONE),
        (1, SpecialJudge.SEVERAL_ANSWERS),
        (2, SpecialJudge.LETTER_CASE),
        (3, SpecialJudge.FLOAT_TOLERANCE),
        (None, SpecialJudge.NONE),
    ],
)
def test_a_row_may_carry_its_special_judge(case: int | None, judge: SpecialJudge) -> None:
    assert parse_problem(spj=case).special_judge is judge


def test_an_unknown_special_judge_is_refused() -> None:
    with pytest.raises(RowError, match="special-judge class is 4"):
        parse_problem(spj=4)


def test_outline_counts_tests_without_decoding_them() -> None:
    outline = parse_outline(json.dumps({"inputs": [[1], [2]], "outputs": [1, 2]}))
    assert (len(outline.inputs), len(outline.outputs), outline.fn_name) == (2, 2, None)


CLASS = "class Solution:\n    def f(self, a: List[int]) -> {returned}:\n        "


@pytest.mark.parametrize(
    ("returned", "outputs", "wrapped"),
    [
        ("List[int]", [[3], [7]], False),
        ("List[int]", [[[3]], [[7, 8]]], None),
        ("List[int]", [[[]]], None),
        ("List[List[int]]", [[[3]], [[7, 8]]], False),
        ("Optional[List[str]]", [["x"]], False),
        ("list[int]", [[3]], False),
        ("List", [[3]], False),
        ("List[int]", [[3], [7, 8]], None),
        ("int", [[3]], None),
        ("Dict[str, List[int]]", [[3]], None),
    ],
)
def test_lists_of_one_element_that_the_starter_code_returns_are_said_to_be_bare(
    returned: str, outputs: list[object], wrapped: bool | None
) -> None:
    tests = {"fn_name": "f", "inputs": [[1]] * len(outputs), "outputs": outputs}
    problem = parse_problem(input_output=json.dumps(tests), starter_code=CLASS.format(returned=returned))
    assert json.loads(problem.tests).get("wrapped") is wrapped


def test_what_a_row_says_of_its_values_stays() -> None:
    tests = {"fn_name": "f", "inputs": [[1]], "outputs": [[3], [4]], "wrapped": True}
    problem = parse_problem(input_output=json.dumps(tests), starter_code=CLASS.format(returned="List[int]"))
    assert json.loads(problem.tests) == tests | {"outputs": [[3]]}
