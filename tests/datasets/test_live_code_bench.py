"""LiveCodeBench rows; private tests are a pickle that is read but never loaded."""

import base64
import json
import pickle
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from taco_rows import WriteLines

from taco_stream.datasets.live_code_bench import pickled_text
from taco_stream.datasets.open import open_dataset
from taco_stream.datasets.rows import BadRow, RowError
from taco_stream.types import Problem


def cases(*pairs: tuple[str, str], kind: str = "stdin") -> str:
    return json.dumps([{"input": given, "output": expected, "testtype": kind} for given, expected in pairs])


def packed(value: object, protocol: int = 4) -> str:
    """As published: base64 of zlib of a pickle."""
    return base64.b64encode(zlib.compress(pickle.dumps(value, protocol))).decode()


def row(**changes: Any) -> dict[str, Any]:
    return {
        "question_title": "Add",
        "question_content": "Add two numbers.",
        "platform": "atcoder",
        "question_id": "abc301_a",
        "contest_id": "abc301",
        "contest_date": "2023-05-13T00:00:00",
        "starter_code": "",
        "difficulty": "easy",
        "public_test_cases": cases(("1 2\n", "3\n")),
        "private_test_cases": packed(cases(("2 2\n", "4\n"), ("é\n", "?\n"))),
        "metadata": "{}",
    } | changes


FUNCTIONAL = {
    "starter_code": "class Solution:\n    def add(self, a: int, b: List[int]) -> int:\n        ",
    "public_test_cases": cases(("12345678901234567890123\n[1, 2.50]", "[3]"), kind="functional"),
    "private_test_cases": cases(('"x"\n[]', "null"), kind="functional"),
    "metadata": '{"func_name": "add"}',
}


def problem_in(write_lines: WriteLines, **changes: Any) -> Problem:
    (problem,) = open_dataset(str(write_lines(row(**changes))))
    return problem


def test_row_becomes_a_problem(write_lines: WriteLines) -> None:
    problem = problem_in(write_lines)
    assert (problem.problem_id, problem.source, problem.difficulty) == ("abc301_a", "atcoder", "EASY")
    assert problem.question == "Add two numbers."


def test_private_tests_follow_the_public_ones(write_lines: WriteLines) -> None:
    assert json.loads(problem_in(write_lines).tests) == {
        "inputs": ["1 2\n", "2 2\n", "é\n"],
        "outputs": ["3\n", "4\n", "?\n"],
    }


def test_functional_tests_have_one_json_argument_per_line_kept_digit_for_digit(write_lines: WriteLines) -> None:
    problem = problem_in(write_lines, **FUNCTIONAL)
    assert problem.fn_name == "add"
    assert problem.tests == (
        '{"inputs":[[12345678901234567890123,[1, 2.50]],["x",[]]],"outputs":[[[3]],[null]],"fn_name":"add","wrapped":true}'
    )


@given(st.text(), st.sampled_from([2, 3, 4, 5]))
def test_the_text_of_a_pickle_is_read_as_pickle_would(text: str, protocol: int) -> None:
    assert pickled_text(pickle.dumps(text, protocol)) == text


@pytest.mark.parametrize("length", [0, 255, 256, 70_000])
def test_text_of_any_length_is_read(length: int) -> None:
    assert pickled_text(pickle.dumps("x" * length, 4)) == "x" * length


class Hostile:
    """Unpickling it would run a command."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("unpickled",)


@pytest.mark.parametrize("value", [Hostile(), ["a"], ("a", "b"), 1, None, b"a", {"a": "b"}])
def test_a_pickle_of_anything_else_is_refused_and_never_run(value: object, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RowError, match="more than one string"):
        pickled_text(pickle.dumps(value, 4))
    assert capsys.readouterr().out == ""


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    try:
        pickled_text(content)
    except RowError:
        return


@given(st.integers(min_value=0))
def test_a_pickle_cut_anywhere_is_refused(cut: int) -> None:
    whole = pickle.dumps("some text", 4)
    with pytest.raises(RowError):
        pickled_text(whole[: cut % len(whole)])


@pytest.mark.parametrize(
    ("private", "reason"),
    [
        (packed(["x"]), "more than one string"),
        (packed("not json"), "is not a list of test cases"),
        ("no base64!", "neither JSON nor base64"),
        (base64.b64encode(b"no zlib").decode(), "neither JSON nor base64 of zlib"),
        (base64.b64encode(zlib.compress(b"x" * 1000)[:-6]).decode(), "cut short"),
    ],
)
def test_private_tests_of_another_form_make_a_bad_row(write_lines: WriteLines, private: str, reason: str) -> None:
    bad_rows: list[BadRow] = []
    path = write_lines(row(question_id="ok"), row(private_test_cases=private))
    assert len(list(open_dataset(str(path), on_bad_row=bad_rows.append))) == 1
    assert reason in bad_rows[0].reason


def test_a_functional_argument_that_is_no_json_makes_a_bad_row(write_lines: WriteLines) -> None:
    bad_rows: list[BadRow] = []
    changed = FUNCTIONAL | {"public_test_cases": cases(("a b", "1"), kind="functional")}
    list(open_dataset(str(write_lines(row(), row(question_id="2", **changed))), on_bad_row=bad_rows.append))
    assert "'a b', which is not JSON" in bad_rows[0].reason
