"""Models with random weights in the shapes of real ones, and a tokenizer for them; nothing is downloaded.

The output layer is scaled so that logits spread like a trained model's (standard deviation `LOGIT_SPREAD`): with the
usual initial 0.02 they would be nearly flat, and sampling would have to rank thousands of tokens at every step. It is
never tied to the embedding, or the model would repeat its last token; a step reads as many bytes either way.
"""

import math
from pathlib import Path
from typing import Any, NamedTuple

LOGIT_SPREAD = 2.5


class Shape(NamedTuple):
    """The sizes of a model, in its class of transformers."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_value_heads: int
    vocabulary: int
    head_size: int
    model_type: str = "qwen2"

    @property
    def key_value_numbers(self) -> int:
        """Numbers that the cache keeps per token."""
        return 2 * self.layers * self.key_value_heads * self.head_size


SHAPES = {
    "tiny": Shape(64, 128, 2, 4, 2, 512, 16),
    "31M": Shape(512, 1408, 8, 8, 2, 8192, 64),
    "0.5B": Shape(896, 4864, 24, 14, 2, 151936, 64),  # the following: config.json of Qwen/Qwen2.5-0.5B, -1.5B and -7B
    "1.5B": Shape(1536, 8960, 28, 12, 2, 151936, 128),
    "7B": Shape(3584, 18944, 28, 28, 4, 152064, 128),
    "0.6B": Shape(1024, 3072, 28, 16, 8, 151936, 128, "qwen3"),  # Qwen/Qwen3-0.6B, which nano-vllm measures with
}


def make_model(shape: Shape, *, dtype: str, device: str = "cpu", seed: int = 0) -> Any:
    """A model of a shape, made on the device it is for; without an end token."""
    import torch
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    config = CONFIG_MAPPING[shape.model_type](
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        head_dim=shape.head_size,
        max_position_embeddings=32768,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=0,
    )
    torch.manual_seed(seed)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype)).eval()
        torch.nn.init.normal_(model.lm_head.weight, std=LOGIT_SPREAD / math.sqrt(shape.hidden))
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0
    return model


def make_tokenizer(shape: Shape) -> Any:
    """A byte-level tokenizer in the form that Qwen2's loads: the bytes, then a word for every other token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = [f"Ġ{token_word(token)}" for token in range(256, shape.vocabulary)]
    vocabulary = {token: rank for rank, token in enumerate([*byte_alphabet(), *words])}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False)


def byte_alphabet() -> list[str]:
    from tokenizers import pre_tokenizers

    return sorted(pre_tokenizers.ByteLevel.alphabet())


def token_word(token: int) -> str:
    """Five letters that no other token has."""
    return "".join(chr(ord("a") + token // 26**place % 26) for place in range(5))


def tokens_text(tokens: tuple[int, ...]) -> str:
    """The text that the tokenizer turns into these tokens, which are letters."""
    alphabet = byte_alphabet()
    return "".join(alphabet[token] for token in tokens)


def letters() -> list[int]:
    """The tokens that prompts are made of."""
    return [byte_alphabet().index(letter) for letter in "abcdefghijklmnopqrstuvwxyz"]


def save_model(folder: Path, shape: Shape, *, dtype: str) -> None:
    """Writes a model and its tokenizer into a folder."""
    make_model(shape, dtype=dtype).save_pretrained(folder)
    make_tokenizer(shape).save_pretrained(folder)
