"""The spool finds completions by key, and the reference solutions are a dataset's own."""

import pytest

from taco_stream.datasets.solutions import read_solutions
from taco_stream.run.existing import CompletionSpool, reference_solutions
from taco_stream.types import Completion, FinishReason, Problem, SampleKey

PROBLEM = Problem(problem_id="p", position=0, question="", tests="{}", solutions='["one", "two"]')


def completion(problem_id: str, index: int, text: str) -> Completion:
    return Completion(problem_id=problem_id, sample_index=index, text=text, finish_reason=FinishReason.STOP)


def test_the_spool_returns_what_was_put_in() -> None:
    originals = [completion("p", 1, "ä" * 5000), completion("p", 0, ""), completion("q", 0, "x")]
    with CompletionSpool(originals) as spool:
        assert [spool[original.key] for original in originals] == originals
        existing = spool.existing()
        assert [existing.completion(PROBLEM, index) for index in existing.sample_indices(PROBLEM)] == originals[1::-1]


def test_the_spool_lacks_what_was_not_put_in() -> None:
    with CompletionSpool([completion("p", 0, "x")]) as spool:
        assert SampleKey("p", 1) not in spool
        assert spool.sample_indices("q") == ()
        with pytest.raises(KeyError):
            spool[SampleKey("p", 1)]


def test_the_first_of_two_completions_of_one_sample_counts() -> None:
    with CompletionSpool([completion("p", 0, "first"), completion("p", 0, "second")]) as spool:
        assert spool[SampleKey("p", 0)].text == "first"
        assert spool.repeated == [SampleKey("p", 0)]


def test_reference_solutions_are_numbered_from_zero() -> None:
    existing = reference_solutions()
    assert list(existing.sample_indices(PROBLEM)) == [0, 1]
    assert existing.completion(PROBLEM, 1).text == "two"


def test_a_problem_without_solutions_has_none() -> None:
    assert read_solutions(Problem(problem_id="p", position=0, question="", tests="{}", solutions="")) == ()
