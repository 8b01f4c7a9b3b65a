"""Sets of samples behave as sets of keys do."""

from hypothesis import given
from hypothesis import strategies as st

from taco_stream.sample_set import SampleSet
from taco_stream.types import SampleKey

KEYS = st.lists(st.builds(SampleKey, st.sampled_from(["a", "b", ""]), st.integers(0, 300)))


@given(KEYS, KEYS)
def test_it_holds_what_was_added_and_nothing_else(added: list[SampleKey], asked: list[SampleKey]) -> None:
    samples, expected = SampleSet(), set()
    for key in added:
        assert samples.add(key) == (key not in expected)
        expected.add(key)
    assert len(samples) == len(expected)
    assert [key in samples for key in asked] == [key in expected for key in asked]


def test_the_number_of_samples_is_that_of_the_problem_with_most() -> None:
    samples = SampleSet()
    assert samples.max_samples == 0
    for problem, index in (("a", 0), ("b", 7), ("b", 2), ("b", 7)):
        samples.add(SampleKey(problem, index))
    assert samples.max_samples == 2
