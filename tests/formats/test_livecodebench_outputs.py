"""Outputs of LiveCodeBench, read and written."""

import json
from pathlib import Path

from foreign_files import Write, few_examples, problem_records, samples, texts_in_order
from hypothesis import given

from taco_stream.formats.livecodebench import write as write_outputs
from taco_stream.formats.samples import ProblemRecords


@given(problem_records())
@few_examples
def test_outputs_that_we_write_are_read_the_same(folder: Path, problems: list[ProblemRecords]) -> None:
    """All but indices, and whether there is no program or an empty one; a problem without samples keeps its place."""
    path = write_outputs(problems, folder / "livecodebench.json")
    assert samples(path) == texts_in_order(problems)
    assert [each["question_id"] for each in json.loads(path.read_text("ascii"))] == [each[0] for each in problems]


def test_livecodebench_code_lists(write: Write) -> None:
    path = write([{"question_id": "abc301_a", "code_list": ["a", "b"], "pass@1": 0.5}], name="l.json")
    assert samples(path) == [("abc301_a", 0, "a"), ("abc301_a", 1, "b")]
