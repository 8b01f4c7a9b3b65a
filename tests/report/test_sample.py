"""A sample's whole story, assembled from a record, a completion and a problem; each of them may be missing."""

import json

import pytest
from sample_values import completion, record

from taco_stream.evaluator.settings import EvaluatorSettings
from taco_stream.extraction import extract_chat
from taco_stream.report.sample import KnownProblem, tell_problem, tell_sample
from taco_stream.types import ComparisonMode, Problem, Record, Status, Verdict

STRICT = ComparisonMode.STRICT
TESTS = json.dumps({"inputs": ["1\n", "2\n"], "outputs": ["one\n", "two\n"]})


def known(tests: str = TESTS) -> KnownProblem:
    problem = Problem(problem_id="p", position=0, question="Name it.", tests=tests, time_limit_seconds=3)
    return KnownProblem(problem, EvaluatorSettings(time_limit_factor=2))


def wrong(index: int = 3) -> Record:
    verdict = Verdict(
        status=Status.WRONG_ANSWER,
        failed_test=1,
        tests_total=2,
        detail="line 1: printed three, expected two",
        output_head="three\n",
    )
    return record(sample_index=index, verdicts={STRICT: verdict}, completion_tokens=9)


def test_a_failing_test_has_its_input_and_both_answers() -> None:
    story = tell_sample(wrong(), completion(sample_index=3), known(), mode=STRICT)
    failing = story.failing
    assert failing is not None
    assert failing.test is not None
    assert (failing.index, failing.test.given, failing.test.expected) == (1, "2\n", "two\n")
    assert (failing.actual_head, failing.difference) == ("three\n", "line 1: printed three, expected two")
    assert story.limits is not None
    assert story.limits.cpu_seconds == 6
    assert story.notes == ()


def test_a_sample_that_passed_has_no_failing_test() -> None:
    assert tell_sample(record(), completion(), known(), mode=STRICT).failing is None


def test_without_the_dataset_the_story_has_what_the_record_says() -> None:
    story = tell_sample(wrong(), None, None, mode=STRICT, notes=["the dataset is gone"])
    assert story.failing is not None
    assert story.failing.test is None
    assert story.failing.actual_head == "three\n"
    assert story.limits is None
    assert story.notes[0] == "the dataset is gone"
    assert "not in completions.jsonl" in story.notes[1]


def test_a_sample_without_a_record_is_not_judged_yet() -> None:
    story = tell_sample(None, completion(text="print(2)\n"), known(), mode=STRICT)
    assert (story.verdict, story.completion) == (None, "print(2)\n")
    assert story.notes == ("this sample has not been judged yet",)


def test_what_was_cut_away_is_text_again() -> None:
    text = "<think>\nhm\n</think>\nHere:\r\n```python\r\nprint(1)\r\n```\r\nDone."
    found = extract_chat(text)
    judged = record(
        program=found.program, extraction=found.method, cut_before=found.cut_before, cut_after=found.cut_after
    )
    story = tell_sample(judged, completion(text=text), known(), mode=STRICT)
    assert found.program == "print(1)\n"
    assert (story.cut_before.lstrip(), story.cut_after) == ("Here:\n```python\n", "```\nDone.")
    assert story.reasoning_characters == len("<think>\nhm\n</think>")


def test_a_dataset_with_other_tests_is_noted() -> None:
    story = tell_sample(
        wrong(), completion(sample_index=3), known(json.dumps({"inputs": ["1"], "outputs": ["1"]})), mode=STRICT
    )
    assert "the dataset has changed: the record is of 2 tests, and the problem has 1 now" in story.notes
    assert story.failing is not None
    assert story.failing.test is None


def test_tests_that_cannot_be_read_are_noted() -> None:
    story = tell_sample(wrong(), completion(sample_index=3), known("{}"), mode=STRICT)
    assert any("the tests of problem p cannot be read" in note for note in story.notes)


def test_a_story_needs_a_sample() -> None:
    with pytest.raises(ValueError, match="has no story"):
        tell_sample(None, None, known(), mode=STRICT)


def test_a_problem_has_a_row_for_each_sample_by_index() -> None:
    story = tell_problem("p", [wrong(3), record(sample_index=1)], [completion(sample_index=2)], known(), mode=STRICT)
    rows = [(row.sample_index, row.status, row.failed_test) for row in story.samples]
    assert rows == [(1, Status.PASSED, None), (2, None, None), (3, Status.WRONG_ANSWER, 1)]
    assert (story.question, story.tests) == ("Name it.", 2)


def test_a_problem_without_its_dataset_has_what_its_records_say() -> None:
    story = tell_problem("p", [record(difficulty="HARD")], [], None, mode=STRICT, notes=["gone"])
    assert (story.question, story.difficulty, story.notes) == (None, "HARD", ("gone",))
