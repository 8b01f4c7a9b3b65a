"""A model is loaded whole, as it was saved, or refused in a sentence: never with random numbers in a weight's place."""

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from engine.bench import GREEDY, Bench, reference, requests, texts
from engine.tiny_models import COMMON, change_weights, make_model, make_tokenizer, save_model
from safetensors.torch import load_file, save_file
from transformers import (
    CONFIG_MAPPING,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
)

from taco_stream.engine.protocol import Load
from taco_stream.engine.worker.checkpoint import open_checkpoint
from taco_stream.errors import ModelError, UsageError

ModelFolder = Callable[[str], Path]


@pytest.fixture
def folder(model_folder: ModelFolder, tmp_path: Path) -> Path:
    """A copy of a model's folder, to be damaged."""
    return shutil.copytree(model_folder("llama"), tmp_path / "model")


def change_config(folder: Path, **fields: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def refusal(folder: Path, **settings: Any) -> str:
    with pytest.raises(ModelError) as raised:
        open_checkpoint(Load(model=str(folder), device="cpu", **settings))
    return str(raised.value)


def quantize_names(weights: dict[str, torch.Tensor]) -> None:
    """The tensors' names as GPTQ and AWQ have them."""
    for name in [name for name in weights if name.endswith("proj.weight")]:
        rows, columns = weights.pop(name).shape
        stem = name.removesuffix("weight")
        weights[f"{stem}qweight"] = torch.zeros(columns // 8, rows, dtype=torch.int32)
        weights[f"{stem}qzeros"] = torch.zeros(1, rows // 8, dtype=torch.int32)
        weights[f"{stem}scales"] = torch.ones(1, rows, dtype=torch.float16)


@pytest.mark.parametrize(
    ("method", "packages"),
    [
        ("gptq", "optimum gptqmodel"),
        ("awq", "accelerate gptqmodel"),
        ("bitsandbytes", "accelerate bitsandbytes"),
        ("compressed-tensors", "compressed-tensors"),
        ("fp8", "accelerate"),
        ("mxfp4", "accelerate"),
    ],
)
def test_a_checkpoints_own_quantisation_is_never_left_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch, method: str, packages: str
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    change_weights(folder, quantize_names)
    bits = {"load_in_4bit": True} if method == "bitsandbytes" else {"bits": 4, "group_size": -1}
    change_config(folder, quantization_config={"quant_method": method} | bits)
    assert refusal(folder).endswith(f"is quantised ({method}), which needs more: pip install {packages}")


def test_weights_that_are_not_what_their_quantisation_says_are_refused(folder: Path) -> None:
    """Whatever is installed here: plain weights are no FP8 weights, and GPTQ's are none of a plain model."""
    change_weights(folder, quantize_names)
    assert "is not whole: its files do not hold model.layers.0.mlp.down_proj.weight" in refusal(folder)


def test_a_quantisation_that_nobody_knows_is_not_left_out(folder: Path) -> None:
    change_config(folder, quantization_config={"quant_method": "shake", "bits": 1})
    assert "is quantised by 'shake', which this transformers does not know" in refusal(folder)


def test_what_is_quantised_is_not_quantised_again(folder: Path) -> None:
    change_config(folder, quantization_config={"quant_method": "gptq", "bits": 4, "group_size": -1})
    with pytest.raises(UsageError, match=r"is quantised already \(gptq\): leave --quantize int8 out"):
        open_checkpoint(Load(model=str(folder), device="cpu", quantize="int8"))


def test_one_missing_tensor_is_named(folder: Path) -> None:
    change_weights(folder, lambda weights: weights.pop("model.layers.1.mlp.up_proj.weight"))
    assert "is not whole: its files do not hold model.layers.1.mlp.up_proj.weight" in refusal(folder)


def test_weights_under_a_foreign_prefix_are_not_the_models(folder: Path) -> None:
    def rename(weights: dict[str, torch.Tensor]) -> None:
        for name in list(weights):
            weights[f"student.{name}"] = weights.pop(name)

    change_weights(folder, rename)
    assert "lm_head.weight, model.embed_tokens.weight" in refusal(folder)
    assert "and 27 more" in refusal(folder)


def test_a_wrong_shape_is_named(folder: Path) -> None:
    change_config(folder, intermediate_size=80)
    sentence = refusal(folder)
    assert "model.layers.0.mlp.down_proj.weight is [64, 96] in the files and [64, 80] in the model" in sentence


def test_weights_that_the_model_does_not_have_are_noted(folder: Path) -> None:
    change_weights(folder, lambda weights: weights.update({"extra.weight": torch.ones(2)}))
    bench = Bench(folder)
    assert bench.notes == ["weights_unused"]
    assert "extra.weight" in bench.events[0].message


def save(model: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


def test_a_base_model_has_no_output_layer(tmp_path: Path) -> None:
    save(AutoModel.from_config(CONFIG_MAPPING["llama"](**COMMON)), tmp_path)
    assert "has no output layer (lm_head.weight is missing): it is a base model" in refusal(tmp_path)


def test_a_base_model_whose_output_layer_is_its_embedding_serves(tmp_path: Path) -> None:
    save(AutoModel.from_config(CONFIG_MAPPING["llama"](**COMMON | {"tie_word_embeddings": True})), tmp_path)
    bench = Bench(tmp_path)
    asked = requests(GREEDY, samples=1, count=2)
    assert texts(bench.generate(asked)) == reference(bench.checkpoint, asked, tmp_path)


@pytest.mark.parametrize(
    ("kind", "architecture", "fields", "sentence"),
    [
        (AutoModelForSequenceClassification, "llama", {}, "LlamaForSequenceClassification: it judges texts"),
        (AutoModelForMaskedLM, "bert", {}, "BertForMaskedLM: it fills gaps"),
        (AutoModelForSeq2SeqLM, "t5", {"d_model": 64, "d_kv": 16, "d_ff": 96, "num_heads": 4}, "an encoder-decoder (T5"),
        (AutoModelForSeq2SeqLM, "bart", {"d_model": 64, "encoder_layers": 1, "decoder_layers": 1}, "an encoder-decoder (Ba"),
    ],
)  # fmt: skip
def test_models_that_do_not_continue_texts_are_named(
    tmp_path: Path, kind: Any, architecture: str, fields: dict[str, Any], sentence: str
) -> None:
    config = CONFIG_MAPPING[architecture](**COMMON | {"num_hidden_layers": 1, "num_layers": 1} | fields)
    save(kind.from_config(config), tmp_path)
    assert sentence in refusal(tmp_path)


def test_a_multimodal_model_is_named(tmp_path: Path) -> None:
    config = {"model_type": "qwen2_5_vl", "architectures": ["Qwen2_5_VLForConditionalGeneration"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert "is multimodal (Qwen2_5_VLForConditionalGeneration)" in refusal(tmp_path)


def test_an_adapter_without_peft_says_what_helps(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where a whole model lies beside it, which would be served as if there were no adapter."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": "x"}))
    assert "which needs peft: pip install 'taco-stream[adapters]', or merge it" in refusal(folder)
    (folder / "config.json").unlink()
    assert "which needs peft" in refusal(folder)


def save_adapter(base: Path, folder: Path) -> Any:
    """Writes a LoRA adapter that changes what the model says; returns the model with it, unmerged."""
    peft = pytest.importorskip("peft", reason="needs peft: pip install 'taco-stream[adapters]'")
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    changed = peft.get_peft_model(model, peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"]))
    torch.manual_seed(7)
    for name, parameter in changed.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    changed.save_pretrained(folder)
    return changed.eval()


@pytest.mark.filterwarnings("ignore::FutureWarning")  # peft's own way with transformers
@pytest.mark.parametrize("has_its_base_beside_it", [False, True])
def test_an_adapter_is_served_with_its_base_model(
    model_folder: ModelFolder, tmp_path: Path, has_its_base_beside_it: bool
) -> None:
    base = model_folder("llama")
    changed = save_adapter(base, tmp_path)
    if has_its_base_beside_it:
        shutil.copytree(base, tmp_path, dirs_exist_ok=True)
    asked = requests(GREEDY, samples=1, count=3)
    bench = Bench(tmp_path)
    completions = texts(bench.generate(asked))
    for request in asked:
        prompt = bench.checkpoint.tokenizer(request.prompt.text, return_tensors="pt")["input_ids"]  # type: ignore[union-attr]
        generated = changed.generate(input_ids=prompt, max_new_tokens=40, do_sample=False, pad_token_id=0)
        expected = bench.checkpoint.tokenizer.decode(generated[0, prompt.shape[1] :], skip_special_tokens=True)
        (text,) = (text for key, text in completions.items() if key.problem_id == request.problem_id)
        assert text == expected
    assert completions != texts(Bench(base).generate(asked))


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_an_adapter_that_lacks_weights_is_refused(model_folder: ModelFolder, tmp_path: Path) -> None:
    save_adapter(model_folder("llama"), tmp_path)
    file = tmp_path / "adapter_model.safetensors"
    weights = load_file(file)
    weights.pop(sorted(weights)[0])
    save_file(weights, file, {"format": "pt"})
    assert "does not fit its base model: 1 weights are missing on either side" in refusal(tmp_path)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_an_adapter_without_its_base_model_is_refused(model_folder: ModelFolder, tmp_path: Path) -> None:
    save_adapter(model_folder("llama"), tmp_path)
    config = tmp_path / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"base_model_name_or_path": "/no/such/folder"}))
    assert "is an adapter, and its base model is missing: there is no model folder /no/such/folder" in refusal(tmp_path)


def test_a_folder_without_a_tokenizer_is_named(tmp_path: Path) -> None:
    make_model("llama").save_pretrained(tmp_path)
    assert "has no tokenizer: none of tokenizer_config.json" in refusal(tmp_path)


def test_code_of_a_models_own_is_not_run(folder: Path) -> None:
    change_config(
        folder, model_type="mine", auto_map={"AutoConfig": "mine.Config", "AutoModelForCausalLM": "mine.Model"}
    )
    assert "it needs code of its own (auto_map in its config.json), and no code from models is run" in refusal(folder)


def test_the_hub_is_blamed_only_for_what_is_on_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    change_config(folder, model_type="no such type")
    assert "HF_HUB_OFFLINE" not in refusal(folder)
    assert "HF_HUB_OFFLINE" in refusal(Path("nobody-at-all/nothing"))


def test_damaged_weights_are_named_in_one_sentence(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert refusal(folder).startswith(f"the model {folder} cannot be loaded: ")


def test_saving_and_loading_changes_nothing(tmp_path: Path) -> None:
    """The strictness above must not refuse what is sound: tied and untied, with and without biases."""
    for architecture in ("gpt2", "gemma2", "qwen2", "deepseek_v3"):
        assert not open_checkpoint(Load(model=str(save_model(tmp_path / architecture, architecture)))).unused_weights
