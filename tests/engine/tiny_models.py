"""Tiny random models and a tokenizer for them, made on the spot: no file of a model is kept in the repository."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedTokenizerFast

VOCABULARY = 300
COMMON = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "tie_word_embeddings": False,
}
DELTA_NET = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "layer_types": ["linear_attention", "full_attention", "linear_attention"],
}
STATE_SPACE = {"mamba_n_heads": 8, "mamba_d_head": 16, "mamba_d_state": 8, "mamba_n_groups": 1, "mamba_chunk_size": 16}
RECURRENT: dict[str, dict[str, Any]] = {
    "mamba": {"state_size": 8, "intermediate_size": 128},
    "qwen3_next": DELTA_NET
    | {
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 32,
        "shared_expert_intermediate_size": 32,
    },
    "qwen3_5_text": DELTA_NET,
    "falcon_h1": STATE_SPACE | {"mamba_d_ssm": 128},
    "granitemoehybrid": STATE_SPACE
    | {
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "shared_intermediate_size": 32,
        "layer_types": ["mamba", "attention", "mamba"],
    },
    "nemotron_h": {
        "mamba_num_heads": 8,
        "mamba_head_dim": 16,
        "ssm_state_size": 8,
        "n_groups": 1,
        "chunk_size": 16,
        "layers_block_type": ["mamba", "attention", "mamba"],
    },
}
"""Architectures with a state beside keys and values, or without any keys."""

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {},
    "qwen3": {},
    "mistral": {"sliding_window": 24},
    "gemma2": {"sliding_window": 20, "attn_logit_softcapping": 5.0, "final_logit_softcapping": 10.0},
    "gemma3_text": {"sliding_window": 20, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]},
    "phi3": {},
    "starcoder2": {"sliding_window": 32},
    "gpt_neox": {},
    "gpt2": {},
    "olmo2": {},
    "deepseek_v2": {
        "q_lora_rank": None,
        "kv_lora_rank": 16,
        "qk_nope_head_dim": 16,
        "qk_rope_head_dim": 8,
        "v_head_dim": 16,
        "num_key_value_heads": 4,
        "first_k_dense_replace": 1,
        "n_routed_experts": 4,
        "n_shared_experts": 1,
        "num_experts_per_tok": 2,
        "n_group": 1,
        "topk_group": 1,
        "moe_intermediate_size": 32,
        "head_dim": 8,
    },
    "deepseek_v3": {
        "q_lora_rank": 16,
        "kv_lora_rank": 16,
        "qk_nope_head_dim": 16,
        "qk_rope_head_dim": 8,
        "v_head_dim": 16,
        "num_key_value_heads": 4,
        "first_k_dense_replace": 1,
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "n_group": 2,
        "topk_group": 1,
        "moe_intermediate_size": 32,
        "head_dim": 8,
    },
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None},
    "gpt_oss": {
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "sliding_window": 40,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    },
    "codegen": {"rotary_dim": 8},
    "gptj": {"rotary_dim": 8},
    "gpt_neo": {"attention_types": [[["global", "local", "global"], 1]], "window_size": 40},
    "qwen3_moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32},
    "llama4_text": {
        "num_local_experts": 4,
        "num_experts_per_tok": 1,
        "interleave_moe_layer_step": 2,
        "intermediate_size_mlp": 96,
        "attention_chunk_size": 40,
        "no_rope_layers": [1, 0, 1],
    },
} | RECURRENT
"""What each architecture sets beyond `COMMON`; windows are short so that samples run out of them."""

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen2_moe with windows": (
        "qwen2_moe",
        {
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 32,
            "shared_expert_intermediate_size": 32,
            "use_sliding_window": True,
            "sliding_window": 40,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        },
    ),
    "phimoe with windows": ("phimoe", {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 40}),
    "gemma3_text with nested longrope": (
        "gemma3_text",
        {
            "sliding_window": 40,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            "rope_parameters": {
                "full_attention": {
                    "rope_type": "longrope",
                    "rope_theta": 10000.0,
                    "short_factor": [1.0] * 8,
                    "long_factor": [4.0] * 8,
                    "original_max_position_embeddings": 100,
                },
                "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
            },
        },
    ),
    "llama with a window that only generate's cache has": ("llama", {"sliding_window": 40}),
}
"""Settings that are rare among published models: the architecture's name, and what is set beyond `COMMON`."""

UNSERVED: dict[str, dict[str, Any]] = {
    "bloom": {},
    "recurrent_gemma": {"lru_width": 64, "attention_window_size": 16},
}
"""Architectures without a slot per sample, which run through `generate`."""


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer: three special tokens, the 256 bytes, and a few common pairs."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = ["<pad>", "<s>", "</s>", *alphabet]
    merges = [("i", "n"), ("Ġ", "="), ("p", "r"), ("Ċ", "Ċ"), ("in", "t"), ("pr", "int")]
    tokens += [left + right for left, right in merges]
    tokens += [f"<unused{index}>" for index in range(VOCABULARY - len(tokens))]
    model = models.BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=merges)
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", clean_up_tokenization_spaces=False
    )


def make_model(architecture: str, seed: int = 0) -> Any:
    """A model of an architecture with random weights, large enough that greedy decoding does not fall into a loop."""
    torch.manual_seed(seed)
    model_type, settings = VARIANTS.get(architecture) or (architecture, (ARCHITECTURES | UNSERVED)[architecture])
    config = CONFIG_MAPPING[model_type](**(COMMON | settings))
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1 or "sinks" in name:
            torch.nn.init.normal_(parameter, std=0.15)
    return model


def save_model(folder: Path, architecture: str = "llama") -> Path:
    """Writes a tiny model and the tokenizer into a folder."""
    make_model(architecture).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Changes the weights of a model on disk."""
    file = folder / "model.safetensors"
    weights = load_file(file)
    change(weights)
    save_file(weights, file, {"format": "pt"})
