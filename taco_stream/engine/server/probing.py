"""What the first requests to a server show: which fields it rejects, whether it samples, and whether seeds hold.

A server may take every field and still do as it likes: transformers' answers greedily at any temperature, SGLang's
ignores seeds unless it was started to respect them. So besides the fields, a few samples of one prompt are asked for,
one after the other, with seeds of their own until two differ, and then the first again. The prompt is one that a model
can continue in many ways.
"""

import itertools
import re
from collections.abc import Iterable, Sequence

from taco_stream.types import ChatMessage, ChatPrompt, Prompt, Request, SamplingParameters, TextPrompt

PROBE_TOKENS = 48
"""Long enough that the opening of a model that reasons, which hardly varies, is not all of it."""

PROBE_SEEDS = range(4)
SAMPLING_TEMPERATURES = (1.0, 2.0)
"""A model may be sure of 48 tokens at a temperature of 1; if 2 changes nothing either, it is not sampled from."""

NOTABLE_CHARACTERS = 16
"""Some five tokens: two texts seldom agree in so many more by chance."""

_TASK = "Write twenty words that were chosen at random."


def probe_request(prompt: Prompt, sampling: SamplingParameters, *, seed: int = 0) -> Request:
    """Asks for one short sample, with the fields that requests with this kind of prompt and this sampling have."""
    asked: Prompt = TextPrompt(f"{_TASK}\n\n1.")
    if isinstance(prompt, ChatPrompt):
        asked = ChatPrompt((ChatMessage("user", _TASK),), thinking=prompt.thinking)
    return Request(problem_id="probe", prompt=asked, sample_indices=(0,), sampling=sampling, seed=seed)


def rejected_fields(content: bytes, sent: Iterable[str]) -> frozenset[str]:
    """The fields that were sent and that an error names."""
    text = content.decode("utf-8", "replace")
    return frozenset(name for name in sent if re.search(_mention(name), text))


def _mention(name: str) -> str:
    word = re.escape(name)
    return rf"(?<!\w){word}(?!\w)" if len(name) > 1 else rf"""['"`]{word}['"`]"""  # a lone n is in many a sentence


def has_sampled(texts: Sequence[str]) -> bool:
    """Whether samples with different seeds differ."""
    return len(set(texts)) > 1


def have_seeds_held(texts: Sequence[str], repeated: str) -> bool:
    """Whether the sample that was asked for twice came out the same, given samples that differ.

    Computed in another batch, logits differ in their last bits, and so may a token late in a text. Then the two still
    have much more of their beginnings in common than any two with different seeds.
    """
    if repeated == texts[0]:
        return True
    by_chance = max(_common_length(one, other) for one, other in itertools.combinations(texts, 2))
    return _common_length(texts[0], repeated) >= 2 * by_chance + NOTABLE_CHARACTERS


def _common_length(one: str, other: str) -> int:
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
