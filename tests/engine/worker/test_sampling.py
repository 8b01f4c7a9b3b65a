"""Sampling agrees with transformers' processors, with its own full sort, and with the distribution they imply."""

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers.generation.logits_process import (
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from taco_stream.engine.worker.counted_sampling import sample_without_waiting
from taco_stream.engine.worker.sampling import (
    UNSOUND,
    WINDOW,
    RowSampling,
    sample_in_window,
    sample_key,
    sample_sorted,
    sample_tokens,
    uniform_numbers,
)

LARGE = 17_003  # blocks enough for a window to choose from; neither a multiple of a block nor of anything else
ROWS = 48


def all_rows(
    rows: int, *, temperature: float = 1.0, top_p: float = 1.0, top_k: int = 0, min_p: float = 0.0
) -> RowSampling:
    """The same settings for every row."""
    return RowSampling(
        torch.full((rows,), temperature),
        torch.full((rows,), top_p),
        torch.full((rows,), top_k, dtype=torch.int64),
        torch.full((rows,), min_p),
    )


def evenly_spread(rows: int) -> Tensor:
    """Numbers that cover [0, 1) in equal steps: drawing with each of them shows the whole distribution."""
    return (torch.arange(rows, dtype=torch.float64) + 0.5) / rows


def expected(
    logits: Tensor, *, temperature: float = 1.0, top_p: float = 1.0, top_k: int = 0, min_p: float = 0.0
) -> Tensor:
    """The probabilities [vocabulary] that transformers draws from."""
    processors = LogitsProcessorList([TemperatureLogitsWarper(temperature)])
    processors += [TopKLogitsWarper(top_k)] if top_k else []
    processors += [TopPLogitsWarper(top_p)] if top_p < 1 else []
    processors += [MinPLogitsWarper(min_p)] if min_p else []
    scores: Tensor = processors(torch.zeros(1, 1, dtype=torch.int64), logits[None].float())
    return scores[0].softmax(-1)


FILTERS: dict[str, dict[str, Any]] = {
    "temperature": {"temperature": 0.7},
    "hot": {"temperature": 3.0},
    "top-p": {"top_p": 0.8},
    "tiny top-p": {"top_p": 1e-6},
    "top-k": {"top_k": 5},
    "top-k of one": {"top_k": 1},
    "min-p": {"min_p": 0.2},
    "top-k, top-p": {"top_k": 8, "top_p": 0.7},
    "top-k, min-p": {"top_k": 12, "min_p": 0.1},
    "top-p, min-p": {"top_p": 0.9, "min_p": 0.05},
    "all": {"temperature": 1.5, "top_k": 12, "top_p": 0.8, "min_p": 0.1},
}


Sampler = Callable[[Tensor, RowSampling, Tensor], Tensor]

in_float32 = pytest.mark.parametrize("sample", [sample_tokens, sample_without_waiting], ids=["window", "sorted"])
every_sampler = pytest.mark.parametrize(
    ("sample", "dtype"),
    [
        (sample_tokens, torch.float32),
        (sample_without_waiting, torch.float32),
        (sample_without_waiting, torch.bfloat16),
        (sample_without_waiting, torch.float16),
    ],
    ids=["window", "sorted", "counted brain floats", "counted half floats"],
)


@in_float32
@pytest.mark.parametrize("filters", FILTERS.values(), ids=FILTERS)
@pytest.mark.parametrize("vocabulary", [20, 500])
def test_draws_follow_the_distribution_of_transformers(
    filters: dict[str, Any], vocabulary: int, sample: Sampler
) -> None:
    torch.manual_seed(vocabulary)
    logits = torch.randn(vocabulary) * 2
    probabilities = expected(logits, **filters)
    draws = 20_000
    numbers = uniform_numbers(torch.full((draws,), sample_key(5, "chi-square", 0)), torch.arange(draws))
    tokens = sample(logits.expand(draws, -1), all_rows(draws, **filters), numbers)
    counts = tokens.bincount(minlength=vocabulary).double()
    assert counts[probabilities == 0].sum() == 0
    assert chi_square_probability(counts, probabilities.double() * draws) > 1e-4


def chi_square_probability(observed: Tensor, wanted: Tensor) -> float:
    """The probability of counts at least as far off, of bins merged until five are expected in each."""
    order = wanted.argsort()
    bins: list[tuple[float, float]] = []
    seen = hoped = 0.0
    for index in order.tolist():
        seen, hoped = seen + float(observed[index]), hoped + float(wanted[index])
        if hoped >= 5:
            bins.append((seen, hoped))
            seen = hoped = 0.0
    statistic = sum((seen - hoped) ** 2 / hoped for seen, hoped in bins)
    freedom = torch.tensor((len(bins) - 1) / 2)
    return float(torch.special.gammaincc(freedom, torch.tensor(statistic / 2))) if len(bins) > 1 else 1.0


@in_float32
@pytest.mark.parametrize("filters", FILTERS.values(), ids=FILTERS)
def test_every_token_gets_its_share_of_evenly_spread_numbers(filters: dict[str, Any], sample: Sampler) -> None:
    torch.manual_seed(3)
    logits = torch.randn(50) * 2
    rows = 4000
    tokens = sample(logits.expand(rows, -1), all_rows(rows, **filters), evenly_spread(rows))
    shares = tokens.bincount(minlength=50) / rows
    assert torch.allclose(shares, expected(logits, **filters), atol=1.5 / rows)


def random_rows() -> Tensor:
    torch.manual_seed(1)
    return torch.randn(ROWS, LARGE) * torch.linspace(0.1, 12, ROWS)[:, None]


def with_ties() -> Tensor:
    return (random_rows() / 4).round()


def masked() -> Tensor:
    torch.manual_seed(2)
    return random_rows().masked_fill(torch.rand(ROWS, LARGE) < 0.995, -math.inf)


ADVERSARIAL: dict[str, Callable[[], Tensor]] = {
    "random": random_rows,
    "brain floats": lambda: random_rows().bfloat16(),
    "flat": lambda: torch.zeros(ROWS, LARGE),
    "ties": with_ties,
    "signed zeros": lambda: torch.where(random_rows() > 0, 0.0, -0.0),
    "one token": lambda: torch.full((ROWS, LARGE), -math.inf).index_fill_(1, torch.tensor([LARGE - 1]), 3.0),
    "fewer tokens than the window": lambda: random_rows().index_fill_(1, torch.arange(40, LARGE), -math.inf),
    "minus infinity": masked,
    "ties at the end of the window": lambda: torch.ones(ROWS, LARGE).index_fill_(1, torch.arange(WINDOW // 2), 2.0),
    "huge": lambda: random_rows() * 1e30,
    "only the last tokens": lambda: torch.zeros(ROWS, LARGE).index_fill_(1, torch.arange(LARGE - 80, LARGE), 9.0),
}


LARGE_FILTERS = [*FILTERS.values(), {"top_k": WINDOW}, {"top_k": 900, "top_p": 0.5}, {"top_p": 0.99}]


def mixed_rows(filters: list[dict[str, Any]]) -> RowSampling:
    """Settings of rows that each have their own."""
    rows = [all_rows(1, **one) for one in filters]
    return RowSampling(*(torch.cat(column) for column in zip(*rows, strict=True)))


@pytest.mark.parametrize("make", ADVERSARIAL.values(), ids=ADVERSARIAL)
def test_window_and_full_sort_draw_the_same_tokens(make: Callable[[], Tensor]) -> None:
    logits = make()
    parameters = mixed_rows((LARGE_FILTERS * ROWS)[:ROWS])
    numbers = uniform_numbers(torch.arange(ROWS), torch.zeros(ROWS, dtype=torch.int64))
    assert torch.equal(sample_tokens(logits, parameters, numbers), sample_sorted(logits, parameters, numbers))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("make", ADVERSARIAL.values(), ids=ADVERSARIAL)
def test_counting_and_full_sort_draw_the_same_tokens(make: Callable[[], Tensor], dtype: torch.dtype) -> None:
    logits = make()[::3]  # on a CPU counting takes 10 ms a row
    logits = torch.where(logits.isfinite(), logits.clamp(-6e4, 6e4), logits).to(dtype)
    parameters = mixed_rows((LARGE_FILTERS * ROWS)[: len(logits)])
    numbers = uniform_numbers(torch.arange(len(logits)), torch.zeros(len(logits), dtype=torch.int64))
    assert torch.equal(sample_without_waiting(logits, parameters, numbers), sample_sorted(logits, parameters, numbers))


@pytest.mark.parametrize("make", ADVERSARIAL.values(), ids=ADVERSARIAL)
def test_what_is_drawn_is_as_likely_as_what_transformers_keeps(make: Callable[[], Tensor]) -> None:
    filters: dict[str, Any] = {"temperature": 0.9, "top_k": 40, "top_p": 0.6, "min_p": 0.01}
    for row in make()[::16]:
        tokens = sample_tokens(row.expand(8, -1), all_rows(8, **filters), evenly_spread(8))
        kept = row[
            expected(row, **filters) > 0
        ]  # which of equal logits top-p keeps is open: torch's sort is not stable
        assert torch.isin(row[tokens].float(), kept.float()).all()


def test_peaked_logits_need_no_full_sort() -> None:
    logits = torch.randn(64, LARGE).mul_(0.5).index_fill_(1, torch.arange(10), 20.0)
    _, is_short = sample_in_window(logits, all_rows(64, temperature=0.2, top_p=0.95), evenly_spread(64))
    assert not is_short.any()


@every_sampler
def test_temperature_zero_takes_the_first_of_the_largest(sample: Sampler, dtype: torch.dtype) -> None:
    logits = with_ties().to(dtype)
    assert torch.equal(sample(logits, all_rows(ROWS, temperature=0.0), evenly_spread(ROWS)), logits.argmax(-1))


@every_sampler
def test_rows_with_different_settings_do_not_touch_each_other(sample: Sampler, dtype: torch.dtype) -> None:
    logits = random_rows().to(dtype)
    every = [*FILTERS.values(), {"temperature": 0.0}]
    numbers = evenly_spread(len(every))
    alone = [sample(logits[i : i + 1], all_rows(1, **filters), numbers[i : i + 1]) for i, filters in enumerate(every)]
    assert torch.equal(sample(logits[: len(every)], mixed_rows(every), numbers), torch.cat(alone))


@every_sampler
def test_largest_number_below_one_draws_a_token_that_is_kept(sample: Sampler, dtype: torch.dtype) -> None:
    logits = random_rows().to(dtype)
    almost_one = torch.full((ROWS,), 1 - 2.0**-53, dtype=torch.float64)
    tokens = sample(logits, all_rows(ROWS, top_p=0.9), almost_one)
    for row, token in zip(logits[::6], tokens[::6], strict=True):
        assert row[token] >= row[expected(row, top_p=0.9) > 0].min()  # which of equal logits are kept is open


def test_rows_without_a_number_yield_no_token() -> None:
    logits = torch.full((3, LARGE), math.nan)
    tokens = sample_tokens(logits, all_rows(3, top_p=0.9, top_k=4, min_p=0.1), evenly_spread(3))
    assert (tokens == UNSOUND).all()


small_rows = st.lists(
    st.lists(st.sampled_from([-math.inf, -1.5, -1.0, -0.0, 0.0, 0.5, 1.5]), min_size=6, max_size=6),
    min_size=1,
    max_size=4,
)
some_filters = st.fixed_dictionaries(
    {
        "top_p": st.sampled_from([0.0, 0.3, 0.9, 1.0]),
        "top_k": st.integers(0, 8),
        "min_p": st.sampled_from([0.0, 0.2, 1.0]),
    }
)


@settings(max_examples=40, deadline=None)
@given(rows=small_rows, filters=some_filters)
def test_any_small_row_has_the_support_of_transformers(rows: list[list[float]], filters: dict[str, Any]) -> None:
    logits = torch.tensor(rows)
    logits[:, 0] = 1.0  # a row without any finite logit has no distribution
    for row in logits:
        tokens = sample_tokens(row.expand(400, -1), all_rows(400, **filters), evenly_spread(400))
        wanted = expected(row, **filters)
        assert Counter(row[sorted(set(tokens.tolist()))].tolist()) == Counter(row[wanted > 0].tolist())


@settings(max_examples=20, deadline=None)
@given(rows=small_rows, filters=some_filters)
def test_any_small_row_is_counted_as_it_is_sorted(rows: list[list[float]], filters: dict[str, Any]) -> None:
    logits = torch.tensor(rows, dtype=torch.bfloat16)
    logits[:, 0] = 1.0
    logits = logits.repeat_interleave(5, 0)
    numbers = evenly_spread(5).repeat(len(rows))
    parameters = all_rows(len(logits), **filters)
    assert torch.equal(sample_without_waiting(logits, parameters, numbers), sample_sorted(logits, parameters, numbers))


def test_splitmix_matches_its_published_values() -> None:
    # The generator seeded with 1234567: rosettacode.org/wiki/Pseudo-random_numbers/Splitmix64
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    numbers = uniform_numbers(torch.full((4,), 1234567), torch.arange(4))
    assert numbers.tolist() == [(value >> 11) / 2**53 for value in published]


def test_streams_are_even_and_unlike_each_other() -> None:
    keys = torch.tensor([sample_key(0, "problem", index) for index in range(200)])
    numbers = uniform_numbers(keys.repeat_interleave(500), torch.arange(500).repeat(200)).view(200, 500)
    counts = (numbers.flatten() * 50).long().bincount(minlength=50).double()
    assert chi_square_probability(counts, torch.full((50,), 2000.0).double()) > 1e-4
    correlations = torch.corrcoef(numbers).fill_diagonal_(0)
    assert correlations.abs().max() < 0.25


def test_streams_do_not_touch_the_global_generator() -> None:
    logits = random_rows()
    before = torch.get_rng_state()
    sample_tokens(logits, all_rows(ROWS), uniform_numbers(torch.arange(ROWS), torch.arange(ROWS)))
    assert torch.equal(torch.get_rng_state(), before)


def test_key_is_the_same_in_every_version() -> None:
    assert sample_key(0, "taco/1", 2) == sample_key(0, "taco/1", 2)
    assert sample_key(7, "problem", 3) == 8844377876041136613
    assert len({sample_key(seed, name, index) for seed in (0, 1) for name in ("a", "b") for index in (0, 1)}) == 8


def test_rows_that_miss_the_window_are_drawn_again_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the middle window where the first decided for some, from the widest where it decided for hardly any."""
    drawn: list[tuple[int, int]] = []

    def watched(logits: Tensor, settings: RowSampling, numbers: Tensor, window: int = WINDOW) -> tuple[Tensor, Tensor]:
        drawn.append((len(logits), window))
        return sample_in_window(logits, settings, numbers, window)

    monkeypatch.setattr("taco_stream.engine.worker.sampling.sample_in_window", watched)
    torch.manual_seed(3)
    logits = torch.randn(16, LARGE)
    for spreads in ([30.0] * 8 + [4.3] * 8, [3.2] * 16):
        sample_tokens(logits * torch.tensor(spreads)[:, None], all_rows(16, top_p=0.95), evenly_spread(16))
    assert drawn == [(16, 64), (8, 512), (16, 64), (16, 2048)]
