"""How fast prompts are computed beside decoding rows, on imaginary costs."""

from collections.abc import Callable

from taco_stream.engine.prefill_pace import PrefillPace
from taco_stream.engine.scheduler import Chunk, Row, Sample, Step
from taco_stream.types import Request, SamplingParameters, TextPrompt

REQUEST = Request(problem_id="p", prompt=TextPrompt(""), sample_indices=(0,), sampling=SamplingParameters())
SAMPLE = Sample(REQUEST, 0, 0, (1,), limit=9)


def step_with(prompt_tokens: int) -> Step:
    """One row decodes beside a chunk of so many tokens."""
    chunks = (Chunk(SAMPLE, 1, 0, (0,) * prompt_tokens, False),) if prompt_tokens else ()
    return Step((), chunks, (Row(SAMPLE, 0, 1, 1),), ())


def cost(tokens: int) -> float:
    """What a step takes that computes so many prompt tokens, in seconds."""
    return 0.010 + 0.0002 * tokens


def pace_after(step_seconds: Callable[[int], float], share: float = 1.0) -> int:
    """The budget that a pace settles at; every other step has a chunk."""
    pace = PrefillPace(largest=512, smallest=16)
    for number in range(30):
        tokens = pace.tokens(share) if number % 2 else 0
        pace.observe(step_with(tokens), step_seconds(tokens))
    return pace.tokens(share)


def test_the_pace_keeps_a_step_with_a_chunk_under_twice_one_without() -> None:
    budget = pace_after(cost)
    assert cost(budget) <= 2 * cost(0)
    assert budget > 20


def test_fewer_rows_that_decode_allow_longer_steps() -> None:
    assert pace_after(cost, share=0.25) > 3 * pace_after(cost)


def test_a_cost_that_grows_is_believed_at_once() -> None:
    pace = PrefillPace(largest=512, smallest=1)
    pace.observe(step_with(0), 0.010)
    budgets = []
    for token_seconds in (0.0002, 0.0004):
        pace.observe(step_with(10), 0.010 + 10 * token_seconds)
        budgets.append(pace.tokens(1.0))
    assert budgets == [25, 12]


def test_all_of_the_budget_is_free_while_nobody_decodes() -> None:
    assert PrefillPace(largest=512, smallest=16).tokens(0.0) == 512
