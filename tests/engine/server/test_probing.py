"""What the first requests to a server show."""

import pytest

from taco_stream.engine.server.body import DROPPABLE
from taco_stream.engine.server.probing import has_sampled, have_seeds_held, probe_request, rejected_fields
from taco_stream.types import ChatPrompt, SamplingParameters, TextPrompt


@pytest.mark.parametrize(
    ("content", "fields"),
    [
        (b"{\"detail\": \"Unexpected fields in the request: {'top_k', 'min_p'}\"}", {"top_k", "min_p"}),
        (b'{"error": {"message": "Unrecognized request argument supplied: min_p", "param": null}}', {"min_p"}),
        (b'{"error": {"message": "Unsupported parameter", "param": "temperature"}}', {"temperature"}),
        (b'{"detail": [{"loc": ["body", "n"], "msg": "extra fields not permitted"}]}', {"n"}),
        (b"{\"error\": \"Use 'max_completion_tokens' instead of 'max_tokens'.\"}", {"max_tokens"}),
        (b'{"error": "not in a mood: stopped, seeded, n-gram"}', set()),
    ],
)
def test_the_fields_that_an_error_names(content: bytes, fields: set[str]) -> None:
    assert rejected_fields(content, DROPPABLE) == fields


def test_a_greedy_server_has_not_sampled() -> None:
    assert not has_sampled(["a", "a", "a", "a"])
    assert has_sampled(["a", "a", "a", "b"])


@pytest.mark.parametrize(
    ("repeated", "held"),
    [
        ("one two three four five six", True),
        ("one two three four five sea", True),
        ("one two trees", False),
        ("or not", False),
    ],
)
def test_seeds_have_held_if_the_repeated_sample_agrees_longer_than_chance(repeated: str, held: bool) -> None:
    assert have_seeds_held(["one two three four five six", "on second thoughts", "another"], repeated) is held


def test_the_probe_asks_as_the_run_will() -> None:
    sampling = SamplingParameters(temperature=0.3, stop=("x",))
    assert probe_request(TextPrompt("long"), sampling).sampling == sampling
    chat = probe_request(ChatPrompt((), thinking=True), sampling)
    assert isinstance(chat.prompt, ChatPrompt)
    assert chat.prompt.thinking
