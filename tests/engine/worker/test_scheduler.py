"""The scheduler's plans, executed by a cache of token lists instead of tensors."""

from collections.abc import Iterator
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taco_stream.engine.worker.scheduler import Sample, Scheduler, Step, common_length
from taco_stream.types import Request, SamplingParameters, TextPrompt

REQUEST = Request(problem_id="p", prompt=TextPrompt(""), sample_indices=(0,), sampling=SamplingParameters())


def samples(prompt: tuple[int, ...], count: int, limit: int = 4, ticket: int = 0) -> list[Sample]:
    return [Sample(REQUEST, index, ticket, prompt, limit) for index in range(count)]


def next_token(seen: list[int], sample_index: int) -> int:
    """What the imaginary model says after the tokens it has seen."""
    return hash((tuple(seen), sample_index)) % 1000


class TokenCache:
    """Slots that hold tokens where the real ones hold keys and values; the model sees exactly what a slot holds."""

    def __init__(self) -> None:
        self.slots: dict[int, list[int]] = {}
        self.last: dict[int, int] = {}
        self.prefilled = 0
        self.copied = 0

    def compute(self, step: Step) -> list[int]:
        for copy in step.copies:
            self.slots[copy.target] = self.slots[copy.source][: copy.length]
            self.copied += 1
        for chunk in step.chunks:
            self.slots[chunk.slot] = [*self.slots.get(chunk.slot, [])[: chunk.start], *chunk.tokens]
            self.prefilled += len(chunk.tokens)
        for row in step.decoding:
            self.slots[row.slot] = [*self.slots[row.slot][: row.position], self.last[row.slot]]
        tokens = [
            next_token(self.slots[row.slot][: self._seen(row, step)], row.sample.sample_index) for row in step.rows
        ]
        for row, token in zip(step.rows, tokens, strict=True):
            self.last[row.slot] = token
        return tokens

    @staticmethod
    def _seen(row: object, step: Step) -> int:
        return row.position + (row in step.decoding)  # type: ignore[attr-defined]


def run(scheduler: Scheduler, cache: TokenCache, budget: int = 64, lag: int = 0) -> Iterator[Step]:
    """Steps until nothing is left; samples end at their limit."""
    flying: list[tuple[Step, list[int]]] = []
    while not scheduler.is_idle or flying:
        step = scheduler.plan(budget)
        assert scheduler.busy == sum(sample.slot is not None for sample in scheduler.samples())
        if not step.is_empty:
            flying.append((step, cache.compute(step)))
            yield step
        while len(flying) > (0 if step.is_empty else lag):
            grown = scheduler.record(*flying.pop(0))
            for sample in grown:
                if len(sample.tokens) == sample.limit:
                    scheduler.finish(sample)


def alone(sample: Sample) -> list[int]:
    """The tokens of a sample that is generated with nobody beside it."""
    seen, tokens = list(sample.prompt), []
    while len(tokens) < sample.limit:
        tokens.append(next_token(seen, sample.sample_index))
        seen.append(tokens[-1])
    return tokens


def test_a_prompt_is_prefilled_once_for_all_its_samples() -> None:
    scheduler, cache = Scheduler(3), TokenCache()
    batch = samples((1, 2, 3, 4, 5), 7)
    scheduler.add(batch)
    list(run(scheduler, cache))
    assert cache.prefilled == 5
    assert [sample.tokens for sample in batch] == [alone(sample) for sample in batch]


def test_a_slot_that_held_the_prompt_needs_no_copy() -> None:
    scheduler, cache = Scheduler(2), TokenCache()
    scheduler.add(samples((1, 2, 3), 10))
    list(run(scheduler, cache))
    assert cache.copied == 1


def test_later_requests_of_a_resident_prompt_prefill_nothing() -> None:
    scheduler, cache = Scheduler(2), TokenCache()
    scheduler.add(samples((1, 2, 3), 2))
    list(run(scheduler, cache))
    scheduler.add(samples((1, 2, 3), 2, ticket=1))
    list(run(scheduler, cache))
    assert cache.prefilled == 3


def test_samples_join_while_others_decode() -> None:
    scheduler, cache = Scheduler(2), TokenCache()
    scheduler.add(samples((1, 2), 1, limit=9))
    steps = run(scheduler, cache)
    next(steps)
    next(steps)
    scheduler.add(samples((3, 4), 1, ticket=1))
    step = next(steps)
    assert len(step.decoding) == 1
    assert [chunk.tokens for chunk in step.chunks] == [(3, 4)]


def test_a_long_prompt_is_cut_into_chunks_beside_the_decoding_rows() -> None:
    scheduler, cache = Scheduler(2), TokenCache()
    short, long = samples((1,), 1, limit=12), samples(tuple(range(20)), 1, ticket=1)
    scheduler.add(short)
    steps = run(scheduler, cache, budget=6)
    next(steps)
    scheduler.add(long)
    chunks = [(len(step.chunks[0].tokens), len(step.decoding)) for step in steps if step.chunks]
    assert chunks == [(6, 1), (6, 1), (6, 1), (2, 1)]
    assert [sample.tokens for sample in short + long] == [alone(sample) for sample in short + long]


def test_several_short_prompts_share_a_step() -> None:
    scheduler = Scheduler(4)
    for number in range(3):
        scheduler.add(samples((number, number), 1, ticket=number))
    assert len(scheduler.plan(64).chunks) == 3


def test_a_plan_can_be_held_to_one_prompt() -> None:
    scheduler = Scheduler(4)
    for number in range(3):
        scheduler.add(samples((number, number), 1, ticket=number))
    assert len(scheduler.plan(64, prompts=1).chunks) == 1


def test_slots_are_kept_for_samples_whose_prompt_is_on_its_way() -> None:
    scheduler = Scheduler(4)
    scheduler.add(samples((1, 2), 4))
    scheduler.add(samples((3, 4), 4, ticket=1))
    scheduler.plan(64)
    second = scheduler.plan(64)
    assert {row.sample.ticket for row in second.rows} == {0}


def test_a_sample_that_left_frees_its_slot_for_the_next_step() -> None:
    scheduler, cache = Scheduler(1), TokenCache()
    first, second = samples((1,), 1), samples((2,), 1, ticket=1)
    scheduler.add(first)
    next(run(scheduler, cache))
    scheduler.add(second)
    scheduler.finish(first[0])
    assert [chunk.sample for chunk in scheduler.plan(64).chunks] == second


def test_a_token_for_a_sample_that_left_is_ignored() -> None:
    scheduler = Scheduler(1)
    batch = samples((1,), 1)
    scheduler.add(batch)
    step = scheduler.plan(64)
    scheduler.finish(batch[0])
    assert scheduler.record(step, [7]) == []
    assert batch[0].tokens == []


def test_no_token_is_planned_beyond_the_limit() -> None:
    scheduler = Scheduler(1)
    scheduler.add(samples((1,), 1, limit=2))
    plans = [scheduler.plan(64) for _ in range(4)]  # as if no token had come back yet
    assert [len(step.rows) for step in plans] == [1, 1, 0, 0]


def test_a_cancelled_prefill_leaves_its_prompt_to_the_other_samples() -> None:
    scheduler, cache = Scheduler(2), TokenCache()
    batch = samples((1, 2, 3, 4), 2)
    scheduler.add(batch)
    steps = run(scheduler, cache, budget=2)
    next(steps)
    scheduler.finish(batch[0])
    list(steps)
    assert batch[1].tokens == alone(batch[1])


def test_samples_without_a_token_are_told_from_preempted_ones() -> None:
    scheduler = Scheduler(1)
    batch = samples((1,), 3)
    scheduler.add(batch)
    scheduler.record(scheduler.plan(64), [5])
    scheduler.preempt_all(1)
    assert scheduler.not_started() == batch[1:]


FEW_SHOT = tuple(range(100, 140))


def test_a_common_beginning_is_computed_once() -> None:
    scheduler, cache = Scheduler(4), TokenCache()
    batch = [samples((*FEW_SHOT, ticket, 7), 3, ticket=ticket) for ticket in range(5)]
    for group in batch:
        scheduler.add(group)
    list(run(scheduler, cache))
    assert cache.prefilled == 40 + 5 * 2
    assert [sample.tokens for group in batch for sample in group] == [
        alone(sample) for group in batch for sample in group
    ]


def test_a_prompt_waits_for_the_beginning_that_another_computes() -> None:
    """Though there is a slot for it, and room in the step."""
    scheduler, cache = Scheduler(4), TokenCache()
    scheduler.add(samples((*FEW_SHOT, 1), 1))
    scheduler.add(samples((*FEW_SHOT, 2), 1, ticket=1))
    steps = run(scheduler, cache, budget=50)
    assert [chunk.sample.ticket for chunk in next(steps).chunks] == [0]
    second = next(steps)
    assert [(copy.length, copy.is_whole) for copy in second.copies] == [(40, False)]
    assert [(chunk.sample.ticket, chunk.start, list(chunk.tokens)) for chunk in second.chunks] == [(1, 40, [2])]


def test_a_prompt_that_begins_otherwise_waits_for_nobody() -> None:
    scheduler, cache = Scheduler(4), TokenCache()
    scheduler.add(samples((*FEW_SHOT, 1), 1))
    scheduler.add(samples((*FEW_SHOT, 2), 1, ticket=1))
    scheduler.add(samples((1, 2, 3), 1, ticket=2))
    step = next(run(scheduler, cache, budget=50))
    assert [chunk.sample.ticket for chunk in step.chunks] == [0, 2]


def test_a_prompt_that_is_another_prompts_beginning_computes_its_last_token() -> None:
    """The logits behind it are nowhere."""
    scheduler, cache = Scheduler(2), TokenCache()
    scheduler.add(samples((*FEW_SHOT, 1), 1))
    list(run(scheduler, cache))
    short = samples(FEW_SHOT, 2, ticket=1)
    scheduler.add(short)
    list(run(scheduler, cache))
    assert cache.prefilled == 41 + 1
    assert [sample.tokens for sample in short] == [alone(sample) for sample in short]


def test_a_beginning_whose_computation_is_cancelled_is_waited_for_no_longer() -> None:
    scheduler, cache = Scheduler(2), TokenCache()
    first, second = samples((*FEW_SHOT, 1), 1), samples((*FEW_SHOT, 2), 1, ticket=1)
    scheduler.add(first)
    scheduler.add(second)
    steps = run(scheduler, cache, budget=20)
    next(steps)
    scheduler.finish(first[0])
    list(steps)
    assert cache.prefilled == 41  # its first 20 tokens were there
    assert second[0].tokens == alone(second[0])


@pytest.mark.parametrize(("common", "start"), [(31, 0), (32, 32), (40, 32), (64, 64)])
def test_beginnings_are_shared_up_to_where_all_prompts_are_cut(common: int, start: int) -> None:
    scheduler, cache = Scheduler(2, cut=32), TokenCache()
    scheduler.add(samples((*range(common), 500, *range(70)), 1))
    list(run(scheduler, cache))
    scheduler.add(samples((*range(common), 501, *range(70)), 1, ticket=1))
    assert next(run(scheduler, cache)).chunks[0].start == start


@given(st.lists(st.integers(0, 1), max_size=9), st.lists(st.integers(0, 1), max_size=9))
def test_common_length_counts_what_both_begin_with(first: list[int], second: list[int]) -> None:
    counted = next((index for index, pair in enumerate(zip(first, second, strict=False)) if pair[0] != pair[1]), None)
    assert common_length(first, second) == (min(len(first), len(second)) if counted is None else counted)


@settings(max_examples=200, deadline=None)
@given(
    prompts=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(1, 6)), min_size=1, max_size=5),
    own=st.integers(0, 3),
    shared=st.integers(1, 3),
    slots=st.integers(1, 5),
    budget=st.integers(1, 8),
    lag=st.integers(0, 1),
    preemptions=st.lists(st.tuples(st.integers(1, 12), st.integers(1, 4)), max_size=3),
    whole_prompts=st.booleans(),
)
def test_every_sample_comes_out_as_if_it_were_alone(
    *,
    prompts: list[tuple[int, int, int]],
    own: int,
    shared: int,
    slots: int,
    budget: int,
    lag: int,
    preemptions: list[tuple[int, int]],
    whole_prompts: bool,
) -> None:
    """Whatever is admitted when, shares what, and is sent back in between."""
    scheduler, cache = Scheduler(slots, whole_prompts=whole_prompts), TokenCache()
    batch = [
        samples((*range(length), *[ticket] * own), count, limit, ticket)
        for ticket, (length, count, limit) in enumerate(prompts)
    ]
    for group in batch:
        scheduler.add(group)
    at = dict(preemptions)
    with patch("taco_stream.engine.worker.scheduler.SHARED_TOKENS", shared):
        for number, _ in enumerate(run(scheduler, cache, budget, lag)):
            if lag == 0 and number in at:
                scheduler.preempt_all(at[number])
    assert [sample.tokens for group in batch for sample in group] == [
        alone(sample) for group in batch for sample in group
    ]


def test_whole_prompts_are_neither_cut_nor_shared_in_part() -> None:
    scheduler, cache = Scheduler(4, whole_prompts=True), TokenCache()
    beginning = tuple(range(40))
    asked = [samples((*beginning, 50 + number), 2, ticket=number) for number in range(3)]
    for group in asked:
        scheduler.add(group)
    steps = list(run(scheduler, cache, budget=50))
    assert [[len(chunk.tokens) for chunk in step.chunks] for step in steps if step.chunks] == [[41], [41], [41]]
    assert all(sample.tokens == alone(sample) for group in asked for sample in group)
    assert all(copy.is_whole for step in steps for copy in step.copies)


def test_a_whole_prompt_longer_than_the_budget_is_computed_alone() -> None:
    scheduler, cache = Scheduler(3, whole_prompts=True), TokenCache()
    for number, length in enumerate((10, 100, 10)):
        scheduler.add(samples(tuple(range(number, number + length)), 1, ticket=number))
    steps = list(run(scheduler, cache, budget=30))
    assert [[len(chunk.tokens) for chunk in step.chunks] for step in steps if step.chunks] == [[10], [100], [10]]
