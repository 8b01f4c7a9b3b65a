"""Tokenizers in their variety, fast and slow: what the model is given, and what comes out, equals transformers' own."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from engine.bench import GREEDY, Bench, reference, requests, texts
from engine.tiny_models import VOCABULARY, make_model, make_tokenizer
from tokenizers import Tokenizer, decoders, models
from tokenizers.processors import TemplateProcessing
from transformers import ByT5Tokenizer, PreTrainedTokenizerFast

from taco_stream.engine.worker.rendering import prompt_tokens
from taco_stream.errors import ModelError
from taco_stream.types import ChatMessage, ChatPrompt, FinishReason, Request, SamplingParameters, TextPrompt

CONVERSATION = ChatPrompt((ChatMessage("system", "be brief"), ChatMessage("user", "hello")))
TURNS = "{% for message in messages %}[{{ message.role }}]{{ message.content }}{% endfor %}[assistant]"
TEMPLATES = {"without a begin token": TURNS, "with a begin token": "{{ bos_token }}" + TURNS}


def without_pad() -> Any:
    """Byte-level BPE, with begin and end tokens that it never adds by itself."""
    return make_tokenizer()


def adding_begin() -> Any:
    """The same, with a begin token before every text, as Llama's."""
    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


def byte_fallback() -> Any:
    """SentencePiece's form: ▁ for a space, a token for every byte, and a begin token before every text."""
    pieces = ["<pad>", "<s>", "</s>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *"abcdefgh=int"]
    tokenizer = Tokenizer(models.BPE({p: n for n, p in enumerate(pieces)}, [], byte_fallback=True, unk_token="<unk>"))
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence(steps)
    tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def slow() -> Any:
    """Pure Python; without a begin token, and with an end token behind every text."""
    return ByT5Tokenizer(extra_ids=VOCABULARY - 259)  # it cannot decode what it does not know


class _SlowWithBegin(ByT5Tokenizer):  # type: ignore[misc]
    """As tokenizers of the first Llama models are: Python code puts the begin token before a text."""

    def build_inputs_with_special_tokens(self, first: list[int], second: list[int] | None = None) -> list[int]:
        return [self.bos_token_id, *first]


def slow_adding_begin() -> Any:
    """Pure Python, with a begin token before every text."""
    return _SlowWithBegin(extra_ids=0, bos_token="<s>")


SAVED = (without_pad, adding_begin, byte_fallback, slow)


@pytest.fixture(params=SAVED, ids=lambda make: make.__name__)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A tiny model with each tokenizer."""
    make_model("llama").save_pretrained(tmp_path)
    request.param().save_pretrained(tmp_path)
    return tmp_path


def test_greedy_samples_equal_generate(folder: Path) -> None:
    asked = requests(GREEDY, samples=2, count=4)
    bench = Bench(folder)
    assert texts(bench.generate(asked)) == reference(bench.checkpoint, asked, folder)


def test_a_stop_string_is_cut_off(folder: Path) -> None:
    bench = Bench(folder)
    whole = texts(bench.generate(requests(GREEDY, samples=1, count=4)))
    key, text = max(whole.items(), key=lambda item: len(item[1]))
    stop = text[-3:]
    stopping = SamplingParameters(max_new_tokens=40, temperature=0, stop=(stop,))
    completion = bench.generate(requests(stopping, samples=1, count=4))[key]
    assert completion.text == text[: text.index(stop)]
    assert completion.finish_reason is FinishReason.STOP_STRING


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
@pytest.mark.parametrize("make", [adding_begin, byte_fallback, slow_adding_begin], ids=lambda make: make.__name__)
def test_a_conversation_has_the_tokens_that_apply_chat_template_gives_it(
    make: Callable[[], Any], template: str
) -> None:
    tokenizer = make()
    tokenizer.chat_template = template
    messages = [{"role": message.role, "content": message.content} for message in CONVERSATION.messages]
    expected = tokenizer.apply_chat_template(messages, tokenize=True, add_generation_prompt=True, return_dict=False)
    assert list(prompt_tokens(tokenizer, CONVERSATION)) == expected
    assert expected.count(tokenizer.bos_token_id) == ("bos_token" in template)


@pytest.mark.parametrize("make", [adding_begin, slow_adding_begin], ids=lambda make: make.__name__)
def test_a_template_that_writes_the_begin_token_twice_is_cut_down_to_one(make: Callable[[], Any]) -> None:
    tokenizer = make()
    tokenizer.chat_template = "{{ bos_token }}{{ bos_token }}" + TURNS
    tokens = prompt_tokens(tokenizer, CONVERSATION)
    assert tokens.count(tokenizer.bos_token_id) == 1
    assert tokens[0] == tokenizer.bos_token_id


@pytest.mark.parametrize("make", [adding_begin, byte_fallback, slow_adding_begin], ids=lambda make: make.__name__)
def test_a_text_has_the_begin_token_that_its_tokenizer_adds_once(make: Callable[[], Any]) -> None:
    tokenizer = make()
    assert prompt_tokens(tokenizer, TextPrompt("a")).count(tokenizer.bos_token_id) == 1


def test_a_conversation_that_the_template_refuses_is_an_error_that_says_so(tmp_path: Path) -> None:
    """As Gemma's refuses a system message; the worker goes on with the next request."""
    make_model("llama").save_pretrained(tmp_path)
    tokenizer = make_tokenizer()
    refusal = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role here') }}{% endif %}"
    tokenizer.chat_template = refusal + TURNS
    with pytest.raises(ModelError, match="refuses the conversation: no system role here"):
        prompt_tokens(tokenizer, CONVERSATION)
    tokenizer.save_pretrained(tmp_path)
    bench = Bench(tmp_path)
    asked = Request(problem_id="p", prompt=CONVERSATION, sample_indices=(0,), sampling=GREEDY)
    bench.core.add(0, asked, time.monotonic())
    (refused,) = bench.finish()
    assert refused.finish_reason is FinishReason.ERROR
    assert "no system role here" in (refused.error or "")
    assert len(bench.generate(requests(GREEDY, samples=1, count=1))) == 1
