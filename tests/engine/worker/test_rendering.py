"""Prompts as tokenizers write them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from engine.tiny_models import make_tokenizer

from taco_stream.engine.worker.rendering import prompt_tokens, render_prompt
from taco_stream.errors import ModelError, UsageError
from taco_stream.types import ChatMessage, ChatPrompt, TextPrompt

ModelFolder = Callable[[str], Path]

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}[{{ message.role }}]{{ message.content }}{% endfor %}"
    "{% if enable_thinking is defined and not enable_thinking %}[quiet]{% endif %}[assistant]"
)
HELLO = ChatPrompt((ChatMessage("system", "be brief"), ChatMessage("user", "hello")))


def beginning_tokenizer() -> Any:
    """A tokenizer that puts a begin token before every text, as Llama's does."""
    from tokenizers.processors import TemplateProcessing

    tokenizer = make_tokenizer()
    tokenizer._tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


def test_a_begin_token_that_template_and_tokenizer_both_write_stands_once() -> None:
    tokenizer = beginning_tokenizer()
    tokenizer.chat_template = TEMPLATE
    tokens = prompt_tokens(tokenizer, HELLO)
    assert tokens.count(1) == 1
    assert tokenizer.decode(tokens) == "<s>[system]be brief[user]hello[assistant]"


def test_a_template_is_told_about_thinking_only_where_it_was_asked_for() -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = TEMPLATE
    quiet = ChatPrompt(HELLO.messages, thinking=False)
    assert "[quiet]" in tokenizer.decode(prompt_tokens(tokenizer, quiet))
    assert "[quiet]" not in tokenizer.decode(prompt_tokens(tokenizer, HELLO))


def test_a_tokenizer_without_a_template_refuses_a_conversation() -> None:
    with pytest.raises(ModelError, match="has no chat template"):
        prompt_tokens(make_tokenizer(), HELLO)


def test_a_text_prompt_is_tokenised_as_it_stands() -> None:
    assert prompt_tokens(beginning_tokenizer(), TextPrompt("in"))[0] == 1
    assert len(prompt_tokens(make_tokenizer(), TextPrompt("in"))) == 1


def test_a_conversation_is_rendered_without_loading_the_model(tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(tmp_path)
    found = render_prompt(str(tmp_path), HELLO)
    assert found.text == "<s>[system]be brief[user]hello[assistant]"
    assert found.tokens == len(prompt_tokens(tokenizer, HELLO))


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no model folder .*nowhere"):
        render_prompt(str(tmp_path / "nowhere"), HELLO)
