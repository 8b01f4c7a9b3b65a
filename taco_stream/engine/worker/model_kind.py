"""Which checkpoints can continue a text, judged by their config, before weights are read that may be many gigabytes."""

from typing import Any

from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

from taco_stream.errors import ModelError

JUDGES = ("Classification", "QuestionAnswering", "MultipleChoice", "RewardModel", "NextSentencePrediction")
"""Parts of the names of architectures that end in a judgement of a text, with weights in the head's place that
transformers would replace by random ones."""


def refuse_what_does_not_generate(place: str, config: Any) -> None:
    """Raises `ModelError`, in a sentence, for checkpoints of other kinds than decoder-only language models."""
    is_known = type(config) in MODEL_FOR_CAUSAL_LM_MAPPING
    classes = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)] if is_known else ()
    generating = [entry.__name__ for entry in (classes if isinstance(classes, tuple | list) else (classes,))]
    name = next(iter(getattr(config, "architectures", None) or ()), type(config).__name__)
    if name in generating:
        return
    if name.endswith("ForMaskedLM"):
        raise ModelError(f"the model {place} is a {name}: it fills gaps in texts and does not continue them")
    if any(judge in name for judge in JUDGES):
        raise ModelError(f"the model {place} is a {name}: it judges texts and does not generate any")
    if getattr(config, "is_encoder_decoder", False):
        raise ModelError(f"the model {place} is an encoder-decoder ({name}): only decoder-only models can be served")
    # A base model, say, which transformers gives an output layer; that its files have no weights for it shows later.
    if is_known:
        return
    if any(getattr(config, part, None) for part in ("vision_config", "audio_config", "vq_config")):
        raise ModelError(f"the model {place} is multimodal ({name}): only models of text alone can be served")
    raise ModelError(f"the model {place} is a {name}, which transformers cannot load as a causal language model")
