"""The spool finds completions by key and the reference solutions are a dataset's own."""

from taco_stream.engine.replay import CompletionSpool, reference_solution, solutions_of
from taco_stream.types import Completion, FinishReason, Problem, SampleKey

PROBLEM = Problem(problem_id="p", position=0, question="", tests="{}", solutions='["one", "two"]')


def completion(problem_id: str, index: int, text: str) -> Completion:
    return Completion(problem_id=problem_id, sample_index=index, text=text, finish_reason=FinishReason.STOP)


def test_the_spool_returns_what_was_put_in() -> None:
    originals = [completion("p", 1, "ä" * 5000), completion("p", 0, ""), completion("q", 0, "x")]
    with CompletionSpool(originals) as spool:
        assert [spool.lookup(original.key) for original in originals] == originals
        assert spool.sample_indices("p") == (0, 1)


def test_the_spool_lacks_what_was_not_put_in() -> None:
    with CompletionSpool([completion("p", 0, "x")]) as spool:
        assert spool.lookup(SampleKey("p", 1)) is None
        assert spool.sample_indices("q") == ()


def test_the_first_of_two_completions_of_one_sample_stands() -> None:
    with CompletionSpool([completion("p", 0, "first"), completion("p", 0, "second")]) as spool:
        found = spool.lookup(SampleKey("p", 0))
        assert found is not None
        assert found.text == "first"
        assert spool.repeated == [SampleKey("p", 0)]


def test_reference_solutions_are_numbered_from_zero() -> None:
    lookup = reference_solution({"p": PROBLEM}.__getitem__, "replay")
    found = lookup(SampleKey("p", 1))
    assert found is not None
    assert found.text == "two"
    assert lookup(SampleKey("p", 2)) is None


def test_a_problem_without_solutions_has_none() -> None:
    assert solutions_of(Problem(problem_id="p", position=0, question="", tests="{}", solutions="")) == ()
