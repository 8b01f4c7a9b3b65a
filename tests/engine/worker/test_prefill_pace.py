"""How fast prompts are computed beside decoding rows, on imaginary costs."""

from collections.abc import Callable

import pytest

from taco_stream.engine.worker.prefill_pace import ROWS_PER_TILE, PrefillPace
from taco_stream.engine.worker.scheduler import BatchRow, PrefillChunk, Sample, Step
from taco_stream.types import Request, SamplingParameters, TextPrompt

REQUEST = Request(problem_id="p", prompt=TextPrompt(""), sample_indices=(0,), sampling=SamplingParameters())
SAMPLE = Sample(REQUEST, 0, 0, (1,), limit=9)


def step_with(prompt_tokens: int) -> Step:
    """One row decodes beside a chunk of so many tokens."""
    chunks = (PrefillChunk(SAMPLE, 1, 0, (0,) * prompt_tokens, False),) if prompt_tokens else ()
    return Step((), chunks, (BatchRow(SAMPLE, 0, 1, 1),), ())


def cost(tokens: int) -> float:
    """What a step takes that computes so many prompt tokens, in seconds."""
    return 0.010 + 0.0002 * tokens


def pace_after(step_seconds: Callable[[int], float], decoding: int = 16) -> int:
    """The budget that a pace settles at while so many of 16 rows decode; every other step has a chunk."""
    pace = PrefillPace(largest=512, smallest=8)
    for number in range(30):
        tokens = pace.tokens(decoding, 16) if number % 2 else 0
        pace.observe(step_with(tokens), step_seconds(tokens))
    return pace.tokens(decoding, 16)


def test_the_pace_keeps_a_step_with_a_chunk_under_twice_one_without() -> None:
    budget = pace_after(cost)
    assert cost(budget) <= 2 * cost(0)
    assert budget >= 16


def test_fewer_rows_that_decode_allow_longer_steps() -> None:
    assert pace_after(cost, decoding=4) > 3 * pace_after(cost)


@pytest.mark.parametrize("decoding", [1, 7, 15])
def test_decoding_rows_and_chunks_fill_whole_tiles_together(decoding: int) -> None:
    assert (decoding + pace_after(cost, decoding)) % ROWS_PER_TILE == 0


def settled_pace(token_seconds: float) -> PrefillPace:
    """A pace that has seen one step without a chunk and one with ten tokens."""
    pace = PrefillPace(largest=512, smallest=1)
    pace.observe(step_with(0), 0.010)
    pace.observe(step_with(10), 0.010 + 10 * token_seconds)
    return pace


def test_a_cost_that_grows_is_believed_at_once() -> None:
    pace = settled_pace(0.00012)
    assert pace.tokens(16, 16) == 32
    pace.observe(step_with(10), 0.010 + 10 * 0.00024)
    assert pace.tokens(16, 16) == 16


def test_a_single_slow_step_is_not_believed_whole() -> None:
    pace = settled_pace(0.0001)
    pace.observe(step_with(10), 0.100)
    assert pace.tokens(16, 16) == 16


def test_a_long_prompt_lets_a_step_without_it_through_now_and_then() -> None:
    pace = settled_pace(0.0001)
    budgets = []
    for _ in range(40):
        budgets.append(pace.tokens(16, 16))
        pace.observe(step_with(budgets[-1]), cost(budgets[-1]))
    assert budgets.count(0) == 2


def test_a_decode_step_that_grows_dearer_is_not_taken_for_the_price_of_prompt_tokens() -> None:
    pace = settled_pace(0.0001)
    decode_seconds = 0.010
    for _ in range(200):
        decode_seconds += 0.0001
        tokens = pace.tokens(16, 16)
        pace.observe(step_with(tokens), decode_seconds + 0.0001 * tokens)
    assert pace.tokens(15, 16) >= 97  # 0.5 * 30 ms / 0.1 ms per token, where it has kept up by a third at least


def test_all_of_the_budget_is_free_while_nobody_decodes() -> None:
    assert PrefillPace(largest=512, smallest=16).tokens(0, 16) == 512


def test_chunks_of_one_size_stay_that_size() -> None:
    """The reproducible mode computes in fixed shapes."""
    pace = PrefillPace(largest=64, smallest=64)
    assert {pace_step(pace) for _ in range(40)} == {64}


def pace_step(pace: PrefillPace) -> int:
    """The budget of a step, which is then observed."""
    budget = pace.tokens(16, 16)
    pace.observe(step_with(budget), cost(budget))
    return budget
