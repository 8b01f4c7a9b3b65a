"""What a server is asked for a sample: every field, a seed of its own, and no stop string that would cut too late."""

import itertools
import json

import msgspec
import pytest

from taco_stream.engine.server.body import (
    changed_by_dropping,
    sample_body,
    sample_seed,
    stop_strings_to_send,
)
from taco_stream.types import ChatMessage, ChatPrompt, Prompt, Request, SamplingParameters, TextPrompt


def request(prompt: Prompt = TextPrompt("def f("), **sampling: object) -> Request:  # noqa: B008 (immutable)
    return Request(
        problem_id="p/1",
        prompt=prompt,
        sample_indices=(0, 1),
        sampling=SamplingParameters(**sampling),  # type: ignore[arg-type]
        seed=7,
    )


def sent(*arguments: object, **keywords: object) -> dict:
    return json.loads(msgspec.json.encode(sample_body(*arguments, **keywords)))  # type: ignore[arg-type]


def test_every_sampling_field_is_sent_even_if_it_is_off() -> None:
    """A server fills what is left out from defaults of its own: llama.cpp's top_k is 40, vLLM's are the model's."""
    body = sent("m", request(temperature=0.5, top_p=1.0, max_new_tokens=9), 1)
    assert body == {
        "model": "m",
        "prompt": "def f(",
        "max_tokens": 9,
        "temperature": 0.5,
        "top_p": 1.0,
        "top_k": -1,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "n": 1,
        "seed": sample_seed(7, "p/1", 1),
    }


def test_a_conversation_is_sent_as_messages_with_thinking_for_its_template() -> None:
    body = sent("m", request(ChatPrompt((ChatMessage("user", "hello"),), thinking=False)), 0)
    assert body["messages"] == [{"role": "user", "content": "hello"}]
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert "prompt" not in body


def test_a_conversation_leaves_the_templates_default_of_thinking() -> None:
    assert "chat_template_kwargs" not in sent("m", request(ChatPrompt((ChatMessage("user", "hello"),))), 0)


def test_dropped_fields_are_not_sent() -> None:
    body = sent("m", request(stop=("x",)), 0, frozenset({"top_k", "min_p", "n", "seed", "stop"}))
    assert not {"top_k", "min_p", "n", "seed", "stop"} & set(body)


def test_without_max_tokens_the_newer_name_is_sent() -> None:
    body = sent("m", request(max_new_tokens=5), 0, frozenset({"max_tokens"}))
    assert body["max_completion_tokens"] == 5
    assert "max_tokens" not in body


@pytest.mark.parametrize("dropped", [frozenset(), frozenset({"max_tokens"})])
def test_fewer_tokens_can_be_asked_for(dropped: frozenset[str]) -> None:
    body = json.loads(msgspec.json.encode(sample_body("m", request(), 0, dropped).with_max_tokens(3)))
    assert {body.get("max_tokens"), body.get("max_completion_tokens")} == {3, None}


def test_seeds_are_31_bits_and_differ_between_seeds_problems_and_samples() -> None:
    seeds = [
        sample_seed(seed, f"p/{problem}", index) for seed in range(4) for problem in range(8) for index in range(64)
    ]
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert len(set(seeds)) == len(seeds)


def test_seeds_of_neighbouring_samples_are_not_neighbours() -> None:
    """vLLM's own children of one request have seed + i."""
    seeds = [sample_seed(0, "p", index) for index in range(100)]
    assert all(abs(one - other) > 100 for one, other in itertools.pairwise(seeds))


def test_a_seed_stays_what_it_is() -> None:
    """Resumed runs and later versions draw the same samples."""
    assert sample_seed(0, "demo/1", 0) == 1555887104
    assert sample_seed(1, "ü\ud800", 2) != sample_seed(1, "ü", 2)


def test_at_most_four_stop_strings_are_sent_and_special_tokens_are_the_first_left_out() -> None:
    assert stop_strings_to_send(("<|endoftext|>", "1", "2", "3", "4", "1", "")) == ("1", "2", "3", "4")
    assert stop_strings_to_send(("\nQUESTION", "\n---", "\nANSWER", "<|endoftext|>")) == (
        "\nQUESTION",
        "\n---",
        "\nANSWER",
        "<|endoftext|>",
    )


@pytest.mark.parametrize(("inner", "outer"), [("b", "abc"), ("c", "abc")])
def test_a_stop_string_that_would_end_the_text_inside_another_is_not_sent(inner: str, outer: str) -> None:
    assert stop_strings_to_send((inner, outer)) == (outer,)


def test_a_stop_string_that_another_begins_with_is_sent() -> None:
    assert stop_strings_to_send(("a", "abc")) == ("a", "abc")


def test_dropping_a_field_that_is_off_changes_nothing() -> None:
    off = request(temperature=1.0, top_p=1.0)
    assert changed_by_dropping(off, ("temperature", "top_p", "top_k", "min_p", "n", "seed", "stop")) == frozenset()


def test_dropping_a_field_that_was_asked_for_changes_the_samples() -> None:
    asked = request(temperature=0.5, top_p=0.9, top_k=5, min_p=0.1)
    assert changed_by_dropping(asked, ("temperature", "top_p", "top_k", "min_p")) == {
        "temperature",
        "top_p",
        "top_k",
        "min_p",
    }
    thinking = request(ChatPrompt((), thinking=True))
    assert changed_by_dropping(thinking, ("chat_template_kwargs",)) == {"chat_template_kwargs"}


def test_greedy_samples_do_not_depend_on_what_the_distribution_is_cut_to() -> None:
    assert changed_by_dropping(request(temperature=0.0, top_k=5, min_p=0.1), ("top_p", "top_k", "min_p")) == frozenset()
