"""Samples of EvalPlus and HumanEval, read and written."""

from pathlib import Path

from foreign_files import Write, few_examples, problem_records, refused, samples, texts_in_order
from hypothesis import assume, given

from taco_stream.formats.evalplus import write as write_samples
from taco_stream.formats.samples import ProblemRecords


@given(problem_records())
@few_examples
def test_samples_that_we_write_are_read_the_same(folder: Path, problems: list[ProblemRecords]) -> None:
    """All but indices, problems without samples, and whether there is no program or an empty one."""
    expected = texts_in_order(problems)
    assume(expected)
    assert samples(write_samples(problems, folder / "samples.jsonl")) == expected


def test_evalplus_solutions(write: Write) -> None:
    path = write({"task_id": "HumanEval/0", "solution": "a"}, {"task_id": "HumanEval/0", "solution": "b"})
    assert samples(path) == [("HumanEval/0", 0, "a"), ("HumanEval/0", 1, "b")]


def test_humaneval_completions_stand_behind_their_prompt(write: Write) -> None:
    path = write({"task_id": "HumanEval/0", "completion": "    return 1\n"})
    prompts = {"HumanEval/0": "def f():\n"}
    assert samples(path, prompts=prompts) == [("HumanEval/0", 0, "def f():\n    return 1\n")]
    assert samples(path) == [("HumanEval/0", 0, "    return 1\n")]


def test_a_line_without_solution_and_completion_names_both(write: Write) -> None:
    refused(write({"task_id": 1, "solution": "a"}, {"task_id": 2}), "line 2", "solution and completion")
