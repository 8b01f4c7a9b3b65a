"""Every decoder-only architecture of the installed transformers, in a tiny form with random weights.

A configuration is shrunk by the names of its fields: what is called `hidden_size` is 64 in all of them. Fields that
must fit together in a way that their names do not say are in `FITTED`.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from random_models import SHAPES, make_tokenizer
from transformers import CONFIG_MAPPING, AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

VOCABULARY = SHAPES["tiny"].vocabulary
LAYERS = 4
LARGEST = 60_000_000
"""Parameters: a model with more has a size that no name here stands for."""

SHRUNK: dict[str, Any] = {
    **dict.fromkeys(("vocab_size", "vocab_size_per_layer_input"), VOCABULARY),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "context_length"), 512),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers"), LAYERS),
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "word_embed_proj_dim", "lru_width", "embedding_size"), 64),
    **dict.fromkeys(("attention_hidden_size",), 64),
    **dict.fromkeys(("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size", "shared_intermediate_size"), 96),
    **dict.fromkeys(("intermediate_size_mlp", "dim_ff", "dff", "decoder_ffn_dim", "d_inner"), 96),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("attention_heads", "linear_num_value_heads", "index_n_heads"), 4),
    **dict.fromkeys(("num_key_value_heads", "linear_num_key_heads"), 2),
    **dict.fromkeys(("head_dim", "global_head_dim", "swa_head_dim", "index_head_dim", "d_head", "v_head_dim"), 16),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim", "qk_nope_head_dim"), 16),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "hidden_size_per_layer_input"), 16),
    **dict.fromkeys(("qk_rope_head_dim",), 8),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size", "expert_ffn_hidden_size"), 32),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_k"), 2),
    **dict.fromkeys(("n_shared_experts", "num_shared_experts", "n_group", "topk_group"), 1),
    **dict.fromkeys(("first_k_dense_replace", "moe_layer_start_index"), 1),
    **dict.fromkeys(("sliding_window", "window_size"), 20),
    **dict.fromkeys(("attention_window_size", "attention_chunk_size", "index_topk"), 16),
    **dict.fromkeys(("state_size", "mamba_d_state", "ssm_state_size", "mamba_n_heads", "mamba_num_heads"), 8),
    **dict.fromkeys(("mamba_d_head", "mamba_head_dim", "mamba_headdim", "mamba_chunk_size"), 16),
    **dict.fromkeys(("mamba_n_groups", "mamba_ngroups"), 1),
    **dict.fromkeys(("n_mamba_heads", "expand"), 2),
    "mamba_d_ssm": 128,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}

OPTIONAL = {
    "q_lora_rank", "num_experts", "num_local_experts", "n_shared_experts", "num_shared_experts", "n_inner", "head_dim",
    "num_key_value_heads", "n_group", "topk_group", "expand", "sliding_window",
}  # fmt: skip
"""Fields that mean something else where they are None, and stay so."""

ALTERNATING = ["sliding_attention", "full_attention"] * 2
PLAIN_ROTARY = {"rope_type": "default", "rope_theta": 10000.0}
LATENT = {"num_key_value_heads": 4}

FITTED: dict[str, dict[str, Any]] = {
    "axk1": LATENT | {"head_dim": 8},
    "axk2": LATENT,
    "bailing_hybrid": LATENT | {"head_dim": 8, "n_group": 1, "topk_group": 1, "num_experts_per_token": 2},
    "bamba": {"attn_layer_indices": [1, 3]},
    "cohere_compass_text": {"rope_parameters": dict.fromkeys(ALTERNATING, PLAIN_ROTARY)},
    "dbrx": {
        "ffn_config": {"ffn_hidden_size": 32, "moe_num_experts": 4, "moe_top_k": 2},
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 8, "rope_theta": 10000.0},
    },
    "codegen": {"rotary_dim": 8},
    "deepseek_v2": LATENT | {"q_lora_rank": None, "head_dim": 8},
    "deepseek_v3": LATENT | {"n_group": 2, "head_dim": 8},
    "deepseek_v32": LATENT | {"head_dim": 8, "index_topk": 40},
    "dots1": {"num_key_value_heads": 4, "head_dim": 16, "n_shared_experts": 1},
    "falcon": {"multi_query": True, "new_decoder_architecture": False, "num_kv_heads": 1},
    "falcon_mamba": {"intermediate_size": 128},
    "gemma2": {"attn_logit_softcapping": 5.0, "final_logit_softcapping": 10.0, "query_pre_attn_scalar": 16},
    "gemma3n_text": {
        "num_kv_shared_layers": 2,
        "layer_types": ALTERNATING,
        "intermediate_size": [96] * 4,
        "activation_sparsity_pattern": [0.0] * 4,
        "altup_num_inputs": 4,
        "laurel_rank": 8,
    },
    "glm4_moe_lite": LATENT,
    "glm_moe_dsa": LATENT | {"index_topk": 40},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]]},
    "gptj": {"rotary_dim": 8},
    "granite": {"embedding_multiplier": 2.0, "logits_scaling": 3.0, "residual_multiplier": 0.5},
    "granitemoe": {"embedding_multiplier": 2.0, "logits_scaling": 3.0, "residual_multiplier": 0.5},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"] * 2},
    "hunyuan_v1_dense": {"head_dim": 16},
    "hunyuan_v1_moe": {"head_dim": 16},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "mamba_dt_rank": 8},
    "llama4_text": {
        "interleave_moe_layer_step": 1,
        "layer_types": ["chunked_attention", "full_attention"] * 2,
        "no_rope_layers": [1, 0, 1, 0],
    },
    "kimi_linear": LATENT | {"head_dim": 8, "num_experts_per_token": 2},
    "lfm2": {"layer_types": ["conv", "full_attention"] * 2},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2},
    "longcat_flash": LATENT | {"num_layers": 2, "zero_expert_num": 2, "moe_topk": 2, "head_dim": 8},
    "mamba": {"intermediate_size": 128},
    "mamba2": {"num_heads": 8, "head_dim": 16, "n_groups": 1, "chunk_size": 16},
    "minicpm3": LATENT,
    "ministral": {"head_dim": 16},
    "nemotron": {"head_dim": 16, "num_key_value_heads": 2},
    "nemotron_h": {"layers_block_type": ["mamba", "attention"] * 2},
    "recurrent_gemma": {"block_types": ["recurrent", "recurrent", "attention"], "num_hidden_layers": 3},
    "xlstm": {"qk_dim_factor": 0.5, "v_dim_factor": 1.0},
    "youtu": LATENT | {"head_dim": 8},
    "zamba": {"mamba_dt_rank": 8, "attn_layer_period": 2, "attention_hidden_size": 128, "attention_head_dim": 32},
    "zaya": {"num_experts_per_tok": 1},
    "zamba2": {
        "attention_hidden_size": 128,
        "attention_head_dim": 32,
        "layers_block_type": ["mamba", "hybrid"] * 2,
        "num_mem_blocks": 1,
        "n_mamba_heads": 8,
    },
}

WINDOWED = {"sliding_window": 40}
"""Wider than the tokens that are checked at load, and narrower than the prompts."""


def rotary(kind: str, **fields: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 10000.0} | fields}


def long_rotary(original: int) -> dict[str, Any]:
    factors = {"short_factor": [1.0] * 8, "long_factor": [4.0] * 8, "original_max_position_embeddings": original}
    return {"rope_type": "longrope", "rope_theta": 10000.0} | factors


UPPER_WINDOWS = {"use_sliding_window": True, "sliding_window": 40, "max_window_layers": 2}

VARIANTS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "apertus": [("a window that only the cache has", WINDOWED)],
    "deepseek_v3": [
        ("YaRN", rotary("yarn", factor=4.0, original_max_position_embeddings=128)),
        ("no query rank", {"q_lora_rank": None}),
    ],
    "doge": [("window 40", WINDOWED)],
    "gemma3_text": [
        (
            "LongRoPE in one kind of layers",
            WINDOWED
            | {"layer_types": ALTERNATING}
            | {
                "rope_parameters": {
                    "full_attention": long_rotary(100),
                    "sliding_attention": PLAIN_ROTARY,
                }
            },
        )
    ],
    "gpt_neo": [("window 40", {"window_size": 40})],
    "gpt_oss": [("YaRN", WINDOWED | rotary("yarn", factor=4.0, original_max_position_embeddings=128))],
    "granite": [("another scaling", {"attention_multiplier": 0.2})],
    "llama": [
        ("Llama 3's rotary", rotary(
            "llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64
        )),
        ("linear rotary", rotary("linear", factor=4.0)),
        ("dynamic rotary", rotary("dynamic", factor=4.0)),
        ("YaRN", rotary("yarn", factor=4.0, original_max_position_embeddings=128)),
        ("a window that only the cache has", WINDOWED),
    ],
    "llama4_text": [("chunks of 40", {"attention_chunk_size": 40})],
    "mixtral": [("window 40", WINDOWED)],
    "modernbert-decoder": [("local attention of 80", {"local_attention": 80})],
    "phi3": [
        ("window 40", WINDOWED),
        ("LongRoPE", {"rope_parameters": long_rotary(100), "original_max_position_embeddings": 100}),
    ],
    "phimoe": [("window 40", WINDOWED)],
    "qwen2": [
        ("windows above layer 2", UPPER_WINDOWS),
        ("YaRN", rotary("yarn", factor=4.0, original_max_position_embeddings=128)),
    ],
    "qwen2_moe": [("windows above layer 2", UPPER_WINDOWS)],
    "qwen3": [("windows above layer 2", UPPER_WINDOWS)],
    "qwen3_moe": [("windows", {"use_sliding_window": True, "sliding_window": 40})],
    "smollm3": [("windows", {"use_sliding_window": True, "sliding_window": 40, "layer_types": ALTERNATING})],
    "starcoder2": [("window 40", WINDOWED)],
}  # fmt: skip
"""Beside the form that every architecture has, and one with wider windows for those whose default has windows."""


@dataclass(frozen=True, eq=False)
class Case:
    """An architecture in one form."""

    model_type: str
    form: str
    settings: Mapping[str, Any]

    @property
    def name(self) -> tuple[str, str]:
        """What no other case has."""
        return self.model_type, self.form


def cases() -> list[Case]:
    """What is run, in the order of names."""
    found = []
    for model_type in sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES):
        if reason_to_leave_out(model_type):
            continue
        found.append(Case(model_type, "", {}))
        if getattr(CONFIG_MAPPING[model_type](), "sliding_window", None):
            found.append(Case(model_type, "window 40", WINDOWED))
        found += [Case(model_type, form, settings) for form, settings in VARIANTS.get(model_type, [])]
    return found


def reason_to_leave_out(model_type: str) -> str | None:
    """Why an architecture that transformers lists as a causal language model is not a decoder of text alone."""
    name = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[model_type]
    class_name = name if isinstance(name, str) else name[0]
    try:
        config = CONFIG_MAPPING[model_type]()
    except Exception:
        return "its default configuration cannot be made"
    if getattr(config, "is_encoder_decoder", False) or model_type in ("trocr", "prophetnet"):
        return "the decoder of an encoder-decoder model"
    parts = set(getattr(type(config), "sub_configs", {}) or {}) - {"attn_config", "ffn_config"}
    if parts or class_name.endswith("ForConditionalGeneration"):
        return "a model of more than text"
    if getattr(config, "is_decoder", True) is False and not model_type.startswith("gpt_neox"):
        return "an encoder that can be set to decode"
    if model_type in ("xlm", "xlnet"):
        return "not causal by default"
    return None


def make_config(case: Case) -> Any:
    """The architecture's configuration, shrunk."""
    config_class = CONFIG_MAPPING[case.model_type]
    default = config_class()
    names = set(vars(default))
    for parent in config_class.__mro__:
        names |= set(getattr(parent, "__annotations__", {}))
        names |= set(inspect.signature(parent.__init__).parameters)
    aliases = getattr(default, "attribute_map", {}) or {}
    fields: dict[str, Any] = {}
    for name, value in SHRUNK.items():
        if name in aliases or name not in names:
            continue
        try:
            usual = getattr(default, name, None)
        except RuntimeError:  # it differs from layer to layer
            continue
        if not isinstance(usual, (list, tuple)) and not (usual is None and name in OPTIONAL):
            fields[name] = value
    for name in ("layer_types", "mlp_layer_types", "layers_block_type"):
        usual = vars(default).get(name)
        if isinstance(usual, (list, tuple)) and len(usual) >= LAYERS:
            kinds = list(dict.fromkeys(usual))  # all that occur, in turn
            fields[name] = [kinds[layer % len(kinds)] for layer in range(LAYERS)]
    fields |= FITTED.get(case.model_type, {}) | dict(case.settings)
    return config_class(**({"tie_word_embeddings": False} | fields))


def save_model(folder: Path, case: Case) -> None:
    """Writes the model, with weights large enough that greedy decoding does not fall into a loop, and a tokenizer."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(make_config(case), dtype=torch.float32).eval()
    for name, parameter in model.named_parameters():
        if (parameter.dim() > 1 or "sink" in name) and parameter.is_floating_point():
            torch.nn.init.normal_(parameter, std=0.15)
    if (size := sum(parameter.numel() for parameter in model.parameters())) > LARGEST:
        raise RuntimeError(f"the model is not tiny: {size / 1e6:.0f}M parameters")
    model.generation_config.eos_token_id = 2
    model.save_pretrained(folder)
    make_tokenizer(SHAPES["tiny"]).save_pretrained(folder)
