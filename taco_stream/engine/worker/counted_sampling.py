"""Draws one token per row without waiting for the device: what a step needs that is captured in a CUDA graph.

The distribution is that of `sampling`, and nothing is left open: no window of the largest logits has to be wide enough,
so no row is drawn twice, and none makes the others wait. Logits of 16 bits have 65,536 values at most, which are few
enough to be counted:

1. The bits of a logit become its *rank*, 0 for the largest value there is; equal logits have the same.
2. How many logits of a row have each rank is counted. Integers, so that it comes out the same in any order.
3. The weight of a rank's logits is that of one times their number. What top-k, top-p and min-p keep is a prefix of the
   ranks, the last of which top-p may keep in part; the random number falls on a rank, and a place among its equals.
4. The token is the one at that place among those that have the rank. Of equal logits the higher id comes first, as for
   transformers with a stable sort.

Logits of 32 bits are sorted whole, which costs several times as much.
"""

import torch
from torch import Tensor

from taco_stream.engine.worker.sampling import UNSOUND, RowSampling, sample_sorted

RANKS = 1 << 16
LAST_ORDERED = (1 << 15) - 1
"""The ordered bits of rank 0: the largest that 16 bits with a sign hold."""

BYTES_PER_ROW = 64 * RANKS
"""What counts, weights, masses and the like take of a row while it is drawn, at the same time."""

COUNTED_AT_ONCE = 1 << 15
"""Logits of a row whose ranks stand in memory at a time, for counting wants them in 64 bits."""


def sample_without_waiting(logits: Tensor, parameters: RowSampling, uniforms: Tensor) -> Tensor:
    """Tokens [rows], int64, of floating-point `logits` [rows, vocabulary] and `uniforms` [rows] in [0, 1).

    `UNSOUND` if a row's logits are not finite. Never waits for the device, and can be captured in a CUDA graph.
    """
    if logits.dtype.itemsize != 2:
        return sample_sorted(logits, parameters, uniforms)
    ordered = _order_bits((logits + 0.0).view(torch.int16))  # adding makes -0.0 the 0.0 that it equals
    largest = logits.amax(-1).float()
    counts = _count_ranks(ordered)
    rank, place = _draw(counts, _weigh_ranks(logits.dtype, largest, parameters), parameters, uniforms)
    # The higher id first: from the other end, the ids of a rank are in their order.
    wanted = counts.gather(1, rank[:, None])[:, 0] - place
    has_rank = ordered == (LAST_ORDERED - rank[:, None]).short()
    tokens = (has_rank.cumsum(-1, dtype=torch.int32) < wanted[:, None]).sum(-1)
    # The largest of logits with a NaN among them is a NaN; only of finite numbers is the difference 0.
    return tokens.masked_fill(largest - largest != 0, UNSOUND)


def _order_bits(bits: Tensor) -> Tensor:
    """The bits of floating-point numbers as integers in the order of the numbers, and back again."""
    return bits ^ ((bits >> 15) & LAST_ORDERED)


def _count_ranks(ordered: Tensor) -> Tensor:
    """How many logits of each row have each rank: int32 [rows, RANKS]."""
    counts = torch.zeros(len(ordered), RANKS, dtype=torch.int32, device=ordered.device)
    one = torch.ones((), dtype=torch.int32, device=ordered.device)
    for part in torch.split(ordered, COUNTED_AT_ONCE, dim=1):
        counts.scatter_add_(1, LAST_ORDERED - part.long(), one.expand_as(part))
    return counts


def _weigh_ranks(dtype: torch.dtype, largest: Tensor, parameters: RowSampling) -> Tensor:
    """The weight of a logit of each rank relative to the largest one's: float64 [rows, RANKS]; 0 if it is no number."""
    ordered = (LAST_ORDERED - torch.arange(RANKS, device=largest.device)).short()
    values = _order_bits(ordered).view(dtype).float().nan_to_num(-torch.inf, -torch.inf, -torch.inf)
    temperature = parameters.temperature.masked_fill(parameters.temperature <= 0, 1.0)
    # No row has a logit above its largest: infinity times none of them would be no number.
    return ((values - largest[:, None]).clamp_max(0) / temperature[:, None]).exp().double()


def _draw(counts: Tensor, weights: Tensor, parameters: RowSampling, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """The rank drawn in each row [rows], and the place of the token among those that have it [rows]."""
    above = counts.cumsum(-1) - counts
    is_first = (above == 0) & (counts > 0)
    top_k = parameters.top_k.masked_fill(parameters.top_k <= 0, torch.iinfo(torch.int64).max)
    kept = counts.masked_fill(above >= top_k[:, None], 0)

    mass = kept * weights
    cumulative = mass.cumsum(-1)
    limit = (parameters.top_p * cumulative[:, -1]).masked_fill(parameters.top_p >= 1, torch.inf)
    # As many of the equals as begin below the limit. Of weight 0, all do or none; 0 / 0 is neither.
    beginning = ((limit[:, None] - (cumulative - mass)) / weights).ceil().nan_to_num(nan=0.0)
    kept = torch.minimum(kept, beginning.clamp(0, torch.iinfo(torch.int32).max)).int()
    kept *= weights >= parameters.min_p[:, None]
    # transformers, too, keeps one token at least (`min_tokens_to_keep`).
    kept = kept.maximum(is_first)

    mass = kept * weights
    cumulative = mass.cumsum(-1)
    target = uniforms * cumulative[:, -1]
    first = is_first.int().argmax(-1)
    # Rounding may take the largest number below 1 to the end of the mass.
    last = (RANKS - 1) - (kept > 0).flip(-1).int().argmax(-1)
    rank = torch.minimum((cumulative <= target[:, None]).sum(-1), last)
    is_greedy = parameters.temperature <= 0
    rank = torch.where(is_greedy, first, rank)

    def at_rank(values: Tensor) -> Tensor:
        return values.gather(1, rank[:, None])[:, 0]

    passed = (target - (at_rank(cumulative) - at_rank(mass))) / at_rank(weights)
    place = torch.minimum(passed.nan_to_num().clamp_min(0).long(), at_rank(kept) - 1)
    return rank, torch.where(is_greedy, at_rank(counts) - 1, place)  # greedy: the first id of the largest
