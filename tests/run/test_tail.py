"""The tail of generating, known from samples as they finish."""

import random

import msgspec
import pytest
from sample_values import completion

from taco_stream.run.tail import TailWatch
from taco_stream.statistics import Tail


def watch(spans: list[tuple[float, float]]) -> TailWatch:
    """A watch that has seen these samples, numbered as they are listed, in the order in which they ended."""
    watch = TailWatch()
    for number, (start, end) in sorted(enumerate(spans), key=lambda each: each[1][1]):
        watch.add(start, end, msgspec.structs.replace(completion("p", number), completion_tokens=10 * number))
    return watch


def test_the_tail_begins_with_the_last_sample_and_ends_with_the_last_to_end() -> None:
    tail = watch([(0, 4), (0, 20), (4, 7), (7, 10)]).tail()
    assert tail == Tail(seconds=13, mean_rows=(13 + 3) / 13, problem_id="p", sample_index=1, completion_tokens=10)


def test_nothing_generated_has_no_tail() -> None:
    assert TailWatch().tail() is None


@pytest.mark.parametrize("seed", range(30))
def test_only_as_many_samples_are_remembered_as_decode_at_once(seed: int) -> None:
    source, rows = random.Random(seed), [0.0] * 8
    spans = []
    for _ in range(500):
        row = rows.index(min(rows))
        spans.append((rows[row], rows[row] + source.expovariate(1.0)))
        rows[row] = spans[-1][1]
    watched = watch(spans)
    assert len(watched._after) <= len(rows)
    tail, begun_at = watched.tail(), max(start for start, _ in spans)
    assert tail is not None
    assert tail.seconds == max(rows) - begun_at
    assert tail.mean_rows == pytest.approx(sum(max(0, end - begun_at) for _, end in spans) / tail.seconds)
