"""Addresses and models: what is wrong with them is said before anything is asked."""

import pytest

from taco_stream.engine.server.description import (
    Description,
    ServedModel,
    choose_model,
    read_models,
    read_slot_length,
    read_token_count,
    split_urls,
)
from taco_stream.errors import UsageError

VLLM = ServedModel("coder", root="/models/coder-7b", max_model_len=4096, owned_by="vllm")


def test_an_address_without_a_path_gets_the_usual_one() -> None:
    assert split_urls("http://a:8000, http://a:8000/v1/,https://b/api/v1") == ("http://a:8000/v1", "https://b/api/v1")


@pytest.mark.parametrize("text", ["localhost:8000", "ftp://a", "http://", "http://a:x", "http://[a"])
def test_what_is_not_an_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="it is an address such as"):
        split_urls(text)


@pytest.mark.parametrize("text", ["", " , "])
def test_an_address_is_needed(text: str) -> None:
    with pytest.raises(UsageError, match="needs --server"):
        split_urls(text)


@pytest.mark.parametrize("text", ["https://me:secret@host/v1", "https://host/v1?key=secret", "https://secret@host"])
def test_a_key_in_an_address_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(UsageError, match="--api-key-env") as refusal:
        split_urls(text)
    assert "secret" not in str(refusal.value)


def test_the_only_model_need_not_be_named() -> None:
    assert choose_model("u", None, [VLLM]) == Description("coder", "/models/coder-7b", 4096)


@pytest.mark.parametrize("served", [[], [VLLM, ServedModel("other")]])
def test_of_several_models_or_none_one_has_to_be_named(served: list[ServedModel]) -> None:
    with pytest.raises(UsageError, match="--model is needed"):
        choose_model("u", None, served)


@pytest.mark.parametrize("owner", ["vllm", "sglang", "llamacpp"])
def test_a_model_that_is_not_served_is_refused(owner: str) -> None:
    """SGLang and llama.cpp answer under any name."""
    with pytest.raises(UsageError, match="u serves coder"):
        choose_model("u", "codre", [ServedModel("coder", owned_by=owner)])


def test_a_list_that_is_not_of_what_is_served_decides_nothing() -> None:
    assert choose_model("u", "./model", [ServedModel("cached", owned_by="me")]) == Description("./model", None, None)


def test_a_name_is_not_its_own_root() -> None:
    assert choose_model("u", "a", [ServedModel("a", root="a")]).root is None


def test_whatever_else_a_server_sends_is_no_list() -> None:
    assert read_models(b'{"data": [{"id": "a", "max_model_len": 5}]}') == [ServedModel("a", max_model_len=5)]
    assert read_models(b"Internal Server Error") == []
    assert read_models(b"\xff") == []


def test_the_context_of_llama_cpp_is_that_of_a_slot() -> None:
    assert read_slot_length(b'{"default_generation_settings": {"n_ctx": 8192}}') == 8192
    assert read_slot_length(b"{}") is None


def test_the_length_of_a_prompt_is_vllms() -> None:
    assert read_token_count(b'{"count": 7, "max_model_len": 512, "tokens": [1]}') == 7
    assert read_token_count(b'{"tokens": [1]}') is None  # llama.cpp's, which was sent another kind of request
