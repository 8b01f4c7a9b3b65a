"""What a model's `generation_config.json` asks for: what is followed, what a run's settings decide, what is refused.

* Followed: `eos_token_id`, one token or a list.
* Decided by the run: `temperature`, `top_p`, `top_k`, `min_p`, `do_sample`, `max_length` and `max_new_tokens`. The
  model's values are only a recommendation, noted in the run's events: scores compare where settings are equal, and a
  run's manifest is written before a model is loaded.
* Refused: whatever else would make `generate` choose other tokens, unless the field is named to be ignored. Leaving a
  repetition penalty out silently would score another model than the one that its authors describe.

Fields of beams' ranking, of speed (caches, drafts, assistants) and of output's form change no token and are not looked
at; only a cache that rounds its content does, and is refused. Knows no torch.
"""

from collections.abc import Mapping
from typing import Any

from taco_stream.errors import ModelError, UsageError
from taco_stream.events import SamplingRecommended

EXACT_CACHES = (
    "dynamic",
    "offloaded",
    "static",
    "offloaded_static",
    "paged",
    "sliding_window",
    "hybrid",
    "hybrid_chunked",
    "offloaded_hybrid",
    "offloaded_hybrid_chunked",
)
"""The values of `cache_implementation` that keep keys and values as they are."""

REFUSED: Mapping[str, float | tuple[str, ...] | None] = {
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "encoder_repetition_penalty": 1.0,
    "encoder_no_repeat_ngram_size": 0,
    "bad_words_ids": None,
    "sequence_bias": None,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "exponential_decay_length_penalty": None,
    "min_length": 0,
    "min_new_tokens": 0,
    "stop_strings": None,
    "max_time": None,
    "typical_p": 1.0,
    "top_h": None,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "num_beams": 1,
    "penalty_alpha": None,
    "guidance_scale": 1.0,
    "watermarking_config": None,
    "dola_layers": None,
    "token_healing": False,
    "constraints": None,
    "force_words_ids": None,
    "cache_implementation": EXACT_CACHES,
}
"""The fields that this engine does not support, and the value (or values) that switch each off, as None and empty
collections do."""

RECOMMENDED = {"temperature": float, "top_p": float, "top_k": int, "min_p": float}


def settle(config: Any, place: str, ignored: tuple[str, ...]) -> None:
    """Takes the `ignored` fields out of a generation configuration of transformers, read from `place`.

    Raises `ModelError` if it asks for something else that is not done here, `UsageError` if an ignored field is
    not one that would be refused.
    """
    if unknown := sorted(set(ignored) - set(REFUSED)):
        raise UsageError(
            f"--ignore-generation-config cannot be {unknown[0]!r}: it is one of {', '.join(sorted(REFUSED))}"
        )
    for name in ignored:
        setattr(config, name, None)
    asked = {}
    for name, off in REFUSED.items():
        value = getattr(config, name, None)
        is_empty = value is None or (isinstance(value, list | tuple | dict) and not value)
        if not is_empty and not (value in off if isinstance(off, tuple) else value == off):
            asked[name] = value
    if asked:
        fields = " and ".join(f"{name} {value!r}" for name, value in asked.items())
        flags = " ".join(f"--ignore-generation-config {name}" for name in asked)
        raise ModelError(f"{place} asks for {fields}, which this engine does not do: give {flags} to generate without")


def recommendation(config: Any, place: str) -> SamplingRecommended | None:
    """Says how the model's authors would sample, None if they do not say. A run samples as its settings say."""
    values = {
        name: kind(value) for name, kind in RECOMMENDED.items() if (value := getattr(config, name, None)) is not None
    }
    if not values:
        return None
    wanted = ", ".join(f"{name} {value}" for name, value in values.items())
    message = f"{place} recommends {wanted}; this run samples as its own settings say"
    return SamplingRecommended(message=message, **values)
