"""Serves the demo model with llama.cpp's server, in an environment that has `xllamacpp`, `gguf` and `safetensors`.

    python llama_cpp.py MODEL_FOLDER FILE.gguf --port PORT [--parallel SLOTS]

The file is made if it is not there: the model in float32, whose tokenizer is a byte-level BPE that splits digits.
"""

import argparse
import json
import threading
from pathlib import Path

import gguf
import numpy
import xllamacpp
from safetensors.numpy import load_file

CONTEXT = 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("--port", type=int)
    parser.add_argument("--parallel", type=int, default=4)
    options = parser.parse_args()
    if not options.file.exists():
        convert(options.model, options.file)
    serve(options.file, options.port, options.parallel)


def serve(file: Path, port: int, slots: int) -> None:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(file)
    parameters.model_alias = {"demo"}
    parameters.hostnames, parameters.port = ["127.0.0.1"], port
    parameters.n_parallel, parameters.n_ctx = slots, CONTEXT * slots
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    parameters.warmup = False
    server = xllamacpp.Server(parameters)  # serves until it is collected
    print(server.listening_address, flush=True)
    threading.Event().wait()


def convert(folder: Path, file: Path) -> None:
    """Writes a Llama of transformers as GGUF."""
    config = json.loads((folder / "config.json").read_text())
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    heads, key_heads, size = config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]
    partial = file.with_suffix(".partial")
    writer = gguf.GGUFWriter(partial, "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(key_heads)
    writer.add_key_length(size)
    writer.add_value_length(size)
    writer.add_rope_dimension_count(size)
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    special = {token["id"] for token in tokenizer["added_tokens"]}
    tokens = sorted(tokenizer["model"]["vocab"].items(), key=lambda item: item[1])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("starcoder")  # GPT-2's pattern, after each digit is a word of its own
    writer.add_token_list([token for token, _ in tokens])
    kinds = [gguf.TokenType.CONTROL if number in special else gguf.TokenType.NORMAL for _, number in tokens]
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_add_bos_token(False)
    writer.add_chat_template("{% for m in messages %}{{m.content}}{% endfor %}")
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    for name, tensor in load_file(folder / "model.safetensors").items():
        count = {"q_proj": heads, "k_proj": key_heads}.get(name.split(".")[-2])
        if count is not None:  # transformers keeps the halves of a rotated pair apart, llama.cpp side by side
            halves = tensor.reshape(count, 2, size // 2, tensor.shape[1])
            tensor = halves.swapaxes(1, 2).reshape(tensor.shape)  # noqa: PLW2901
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), numpy.ascontiguousarray(tensor))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    partial.rename(file)


if __name__ == "__main__":
    main()
