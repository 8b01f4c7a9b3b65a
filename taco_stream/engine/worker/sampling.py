"""Draws one token per row from logits, in one pass over all rows.

The distribution is that of transformers' `generate`, filters in its order: temperature, top-k, top-p, min-p
(`GenerationMixin._get_logits_processor`; on ties, too: top-k keeps all that equal the k-th; top-p keeps the higher ids,
as there with a stable sort). Ranked by probability, each filter keeps a prefix, so that the largest logits
decide nearly always and no row need be sorted whole. This is the way on a CPU; where the host must not wait for what a
row needs, it is `counted_sampling`.

1. `_largest` finds the `WINDOW` largest logits of each row: of the maxima of blocks first, then inside the best blocks.
2. `_draw` filters and draws inside the window; top-p needs the mass of the whole row, which is a sum without order.
3. Rows whose prefix may reach beyond the window, or into ties at its end, are drawn again from a wider window, and at
   last from a full sort. A row's token depends neither on which of them drew it nor on the other rows.

Randomness comes from a counter: SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators",
2014) at the state `key + index * gamma`. A sample's stream depends on nothing but its own names, so it can be taken up
anywhere; integer arithmetic makes it the same on every device.
"""

import hashlib
from typing import NamedTuple

import torch
from torch import Tensor

WINDOW = 64
MIDDLE_WINDOW = 512
WIDEST_WINDOW = 2048
"""For 32 rows of 152k logits on one core a full sort takes 300 ms, this window 36 ms and the first 3 ms."""
MIDDLE_SHARE = 0.9
"""If more of the rows miss the first window, most miss the middle one as well, whose cost is then lost."""
BLOCK = 128
LOGITS_AT_ONCE = 300_000
"""Logits whose copy in float32 is made at a time on a CPU, of as many rows as have so many: it stays in the caches."""


UNSOUND = -1
"""Drawn in the place of a token if there is none: a logit of the row is NaN or infinite, or all are -inf."""

ROUNDING = 1e-5
"""How far off, relatively, a sum of weights in float32 may be, with room to spare."""


class RowSampling(NamedTuple):
    """Settings of each row, tensors [rows] on the logits' device; 0, 1 and 0 switch top-k, top-p and min-p off.

    `temperature` 0 takes the largest logit, the first if several are equal. Floating point, `top_k` int64.
    """

    temperature: Tensor
    top_p: Tensor
    top_k: Tensor
    min_p: Tensor


def sample_tokens(logits: Tensor, parameters: RowSampling, uniforms: Tensor) -> Tensor:
    """Tokens [rows], int64, of floating-point `logits` [rows, vocabulary] and `uniforms` [rows] in [0, 1).

    `UNSOUND` if a row's logits are not finite. Waits for the device, to learn whether rows need a wider window.
    """
    tokens, is_short = sample_in_window(logits, parameters, uniforms)
    vocabulary = logits.shape[1]
    short = is_short.nonzero()[:, 0]
    middle = (MIDDLE_WINDOW,) if len(short) <= MIDDLE_SHARE * len(logits) else ()
    for window in (*middle, WIDEST_WINDOW, vocabulary):
        if not len(short):
            break
        for rows in torch.split(short, _rows_at_once(vocabulary) if window == vocabulary else len(short)):
            settings = RowSampling(*(setting[rows] for setting in parameters))
            tokens[rows], is_short[rows] = sample_in_window(logits[rows], settings, uniforms[rows], window)
        short = is_short.nonzero()[:, 0]
    return tokens


def sample_in_window(
    logits: Tensor, parameters: RowSampling, uniforms: Tensor, window: int = WINDOW
) -> tuple[Tensor, Tensor]:
    """Tokens [rows] drawn from the `window` largest logits, and where [rows] these were too few to know the token.

    A window of the whole vocabulary is never too short.
    """
    vocabulary = logits.shape[1]
    is_greedy = parameters.temperature <= 0
    settings = parameters._replace(temperature=torch.where(is_greedy, 1.0, parameters.temperature))
    best = _rank(_largest(logits, window)) if window < vocabulary else _sort(logits)
    drawn = _draw(best, _mass(logits, best, settings, is_greedy), settings, uniforms)
    is_largest = best.logits == best.logits[:, :1]
    first = torch.where(is_largest, best.ids, vocabulary - 1).amin(-1)
    is_first_known = ~is_largest[:, -1] | best.is_whole
    # A NaN is among the largest, wherever it was in the row, and so is an infinity; a row may be -inf here and there.
    is_sound = best.logits.amax(-1).isfinite()
    tokens = torch.where(is_sound, torch.where(is_greedy, first, drawn.tokens), UNSOUND)
    return tokens, is_sound & ~torch.where(is_greedy, is_first_known, ~drawn.is_short)


def sample_sorted(logits: Tensor, parameters: RowSampling, uniforms: Tensor) -> Tensor:
    """What `sample_tokens` returns, by a full sort of every row. Never waits for the device."""
    tokens, _ = sample_in_window(logits, parameters, uniforms, logits.shape[1])
    return tokens


def sample_key(seed: int, problem_id: str, sample_index: int) -> int:
    """The 64 bits, signed, that name a sample's stream of random numbers; the same in every process and version."""
    # NUL separates the parts, so that no two samples have one name. Python's `hash` differs from process to process.
    name = f"{seed}\0{problem_id}\0{sample_index}".encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "little", signed=True)


def uniform_numbers(keys: Tensor, token_indices: Tensor) -> Tensor:
    """Numbers in [0, 1), float64 [rows], of streams `keys` at `token_indices`, both int64 [rows].

    Bitwise the same on every device. Never waits for the device.
    """
    state = keys + (token_indices + 1) * _to_signed(0x9E3779B97F4A7C15)
    state = (state ^ _shift_right(state, 30)) * _to_signed(0xBF58476D1CE4E5B9)
    state = (state ^ _shift_right(state, 27)) * _to_signed(0x94D049BB133111EB)
    state = state ^ _shift_right(state, 31)
    return _shift_right(state, 11).double() * 2.0**-53  # the 53 bits that a float64 holds exactly


class _Blocks(NamedTuple):
    """What else is known when the largest logits were chosen by blocks.

    `candidates` [rows, …] are the logits of the blocks chosen and of the tail that is in no block, `others` [rows,
    blocks] the maxima of the blocks that were not chosen, and -inf.
    """

    candidates: Tensor
    others: Tensor


class _Largest(NamedTuple):
    """The largest logits of each row [rows, window] in float32 and the tokens `ids`; in no order unless stated."""

    logits: Tensor
    ids: Tensor
    vocabulary: int
    blocks: _Blocks | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it is the whole vocabulary."""
        return self.logits.shape[1] == self.vocabulary


class _Drawn(NamedTuple):
    """Tokens [rows], and where [rows] they may depend on logits that are not in the window."""

    tokens: Tensor
    is_short: Tensor


def _draw(best: _Largest, mass: Tensor, settings: RowSampling, uniforms: Tensor) -> _Drawn:
    """Filters ranked logits and draws. A window knows nothing of the tokens that equal its last value."""
    logits, vocabulary = best.logits, best.vocabulary
    window = logits.shape[1]
    weights = ((logits - logits[:, :1]) / settings.temperature[:, None].to(logits.dtype)).double().exp()
    is_sure = torch.ones_like(logits, dtype=torch.bool) if best.is_whole else logits > logits[:, -1:]
    sure = is_sure.sum(-1)

    has_top_k = (settings.top_k > 0) & (settings.top_k < vocabulary)
    last_ranked = torch.where(has_top_k, settings.top_k, vocabulary).clamp_max(window)[:, None] - 1
    kept = logits >= logits.gather(1, last_ranked)
    ranked = kept.sum(-1)
    is_ranking_known = ~has_top_k | ((settings.top_k <= window) & (ranked <= sure))

    cumulative = (weights * kept).cumsum(-1)
    # top-p's share is of what top-k left; without top-k, of the whole row, most of which is not in the window.
    mass = torch.where(has_top_k, cumulative[:, -1], mass.double())
    has_top_p = settings.top_p < 1
    limit = torch.where(has_top_p, settings.top_p.double() * mass, torch.inf)
    kept &= cumulative - weights < limit[:, None]
    # Weights are relative to the largest one, as min-p is.
    kept &= weights >= settings.min_p[:, None]
    kept[:, 0] = True  # transformers, too, keeps one token at least (`min_tokens_to_keep`)
    length = kept.sum(-1)

    is_unfiltered = ~has_top_k & ~has_top_p & (settings.min_p <= 0)
    total = torch.where(is_unfiltered, mass, cumulative.gather(1, length[:, None] - 1)[:, 0])
    place = (cumulative <= (uniforms * total)[:, None]).sum(-1)
    is_known = (length <= sure) & (is_ranking_known | ~has_top_p)
    is_known = torch.where(is_unfiltered, place < sure, is_known)
    tokens = best.ids.gather(1, torch.minimum(place, length - 1)[:, None])[:, 0]
    return _Drawn(tokens, ~is_known)


def _sort(logits: Tensor) -> _Largest:
    """All logits of each row, ranked; of equal ones the higher id first."""
    values, ids = logits.float().sort(dim=-1, stable=True)
    return _Largest(values.flip(-1), ids.flip(-1), logits.shape[1])


def _rank(largest: _Largest) -> _Largest:
    """Ranked as by `_sort`."""
    values = largest.logits + 0.0  # makes -0.0 the 0.0 that it equals
    bits = values.view(torch.int32)
    bits = bits ^ ((bits >> 31) & 0x7FFFFFFF)  # integers in the order of the numbers
    order = ((bits.long() << 32) | largest.ids).argsort(dim=-1, descending=True)
    return largest._replace(logits=values.gather(1, order), ids=largest.ids.gather(1, order))


def _largest(logits: Tensor, window: int) -> _Largest:
    """The `window` largest logits of each row, in any order. Which of those that equal the last are taken is open."""
    vocabulary = logits.shape[1]
    count = vocabulary // BLOCK
    # With few blocks, choosing among them saves nothing.
    if count < 2 * window:
        values, ids = logits.topk(window, sorted=False)
        return _Largest(values.float(), ids, vocabulary)
    # A block is every `count`-th logit, so that neighbouring logits belong to neighbouring blocks: that vectorises.
    blocks = torch.unflatten(logits[:, : count * BLOCK], 1, (BLOCK, count))
    # The largest logits are in the blocks with the largest maxima: one pass instead of a selection over all.
    maxima = blocks.amax(1)
    chosen = maxima.topk(window, sorted=False).indices
    inside = blocks.gather(2, chosen[:, None, :].expand(-1, BLOCK, -1)).flatten(1)
    candidates = torch.cat([inside, logits[:, count * BLOCK :]], 1)
    values, places = candidates.topk(window, sorted=False)
    ids_inside = places // window * count + chosen.gather(1, places % window)
    ids_of_tail = places - BLOCK * window + BLOCK * count
    ids = torch.where(places < BLOCK * window, ids_inside, ids_of_tail)
    others = maxima.scatter(1, chosen, -torch.inf)
    return _Largest(values.float(), ids, vocabulary, _Blocks(candidates, others))


def _mass(logits: Tensor, best: _Largest, settings: RowSampling, is_greedy: Tensor) -> Tensor:
    """A mass for each row [rows], relative to the largest weight, that draws as the sum of all its weights does."""
    largest, temperature = best.logits[:, :1], settings.temperature[:, None]
    if best.is_whole:
        return _weights(best.logits, largest, temperature).sum(-1)
    # Adding up the candidates and bounding the rest by the maxima of its blocks mostly shows where top-p cuts. Only
    # rows for which it does not are added up whole.
    mass = logits.new_zeros(len(logits), dtype=torch.float32)
    rest = torch.full_like(mass, torch.inf)
    if best.blocks is not None:
        mass = _weights(best.blocks.candidates, largest, temperature).sum(-1)
        rest = BLOCK * _weights(best.blocks.others, largest, temperature).sum(-1)
    weights = _weights(best.logits, largest, temperature).double()
    before = weights.cumsum(-1) - weights
    certain, possible = (
        before < (settings.top_p * bound)[:, None] for bound in (mass * (1 - ROUNDING), (mass + rest) * (1 + ROUNDING))
    )
    is_open = (certain != possible).any(-1) & (settings.top_p < 1)
    # Unfiltered rows are drawn from the whole mass; greedy ones and those with top-k never look at it.
    is_needed = is_open | ((settings.top_p >= 1) & (settings.min_p <= 0))
    is_needed &= ~is_greedy & ((settings.top_k <= 0) | (settings.top_k >= best.vocabulary))
    for rows in torch.split(is_needed.nonzero()[:, 0], _rows_at_once(best.vocabulary)):
        mass[rows] = _weights(logits[rows], largest[rows], temperature[rows]).sum(-1)
    return mass


def _rows_at_once(vocabulary: int) -> int:
    return max(1, LOGITS_AT_ONCE // vocabulary)


def _weights(logits: Tensor, largest: Tensor, temperature: Tensor) -> Tensor:
    return torch.sub(logits, largest).div_(temperature).exp_()


def _to_signed(value: int) -> int:
    """A 64-bit pattern as the integer that torch stores it as; products wrap around."""
    return value - (1 << 64)


def _shift_right(value: Tensor, bits: int) -> Tensor:
    """A logical shift to the right; torch's own repeats the sign."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)
