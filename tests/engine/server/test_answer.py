"""The meaning of a server's answer: a sample is whole or it is not there."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from taco_stream.engine.server.answer import (
    Answered,
    Failed,
    Outcome,
    Overloaded,
    PromptRefused,
    SampleRefused,
    ServerUnusable,
    Unreachable,
    error_message,
    read_answer,
    retry_after_seconds,
)
from taco_stream.types import FinishReason

STOPS = ("\nQUESTION", "\n---")


def completion(text: str | None = "x = 1", finish_reason: str | None = "stop", **choice: object) -> bytes:
    choices = [{"index": 0, "text": text, "finish_reason": finish_reason, **choice}]
    usage = {"prompt_tokens": 3, "completion_tokens": 5}
    return json.dumps({"choices": choices, "usage": usage, "system_fingerprint": "v-1"}).encode()


def chat(finish_reason: str = "stop", usage: object = None, **message: object) -> bytes:
    choices = [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish_reason}]
    return json.dumps({"choices": choices, "usage": usage}).encode()


def read(content: bytes, status: int = 200, **headers: str) -> Outcome:
    return read_answer(status, headers, content, STOPS)


def whole(content: bytes) -> Answered:
    answered = read(content)
    assert isinstance(answered, Answered), answered
    return answered


def test_a_whole_sample_has_its_text_counts_and_fingerprint() -> None:
    assert whole(completion()) == Answered("x = 1", FinishReason.STOP, 3, 5, "", None, "v-1")


def test_a_sample_that_is_too_long_is_whole() -> None:
    assert whole(completion(finish_reason="length")).finish_reason is FinishReason.LENGTH


@pytest.mark.parametrize("finish_reason", [None, "abort", "error", "tool_calls", ""])
def test_any_other_finish_reason_is_no_sample(finish_reason: str | None) -> None:
    assert isinstance(read(completion(finish_reason=finish_reason)), Failed)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        completion()[:-9],
        b"<html>502</html>",
        b"[]",
        b'{"choices": []}',
        b'{"error": {"message": "EngineCore died"}}',
        b'data: {"choices":[{"index":0,"text":"x","finish_reason":null}]}\n\ndata: {"error":{"message":"dead"}}\n\ndata: [DONE]\n\n',
        completion(text=None),
        b'{"choices": [{"text": "a", "finish_reason": "stop"}, {"text": "b", "finish_reason": "stop"}]}',
        b'{"choices": [{"text": "\xff", "finish_reason": "stop"}]}',
    ],
)
def test_status_200_alone_is_no_sample(content: bytes) -> None:
    assert isinstance(read(content), Failed)


def test_a_text_is_cut_at_the_earliest_of_all_stop_strings() -> None:
    answered = whole(completion("a\n---b\nQUESTION", finish_reason="length"))
    assert (answered.text, answered.finish_reason) == ("a", FinishReason.STOP_STRING)


@pytest.mark.parametrize("mark", [{"stop_reason": "\n---"}, {"matched_stop": "\n---"}])
def test_a_text_that_the_server_cut_says_so(mark: dict[str, str]) -> None:
    assert whole(completion(**mark)).finish_reason is FinishReason.STOP_STRING


@pytest.mark.parametrize("mark", [{"stop_reason": None}, {"stop_reason": 2}, {"matched_stop": 151645}])
def test_a_stop_token_is_not_a_stop_string(mark: dict[str, object]) -> None:
    assert whole(completion(**mark)).finish_reason is FinishReason.STOP


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_reasoning_is_kept_apart_from_the_answer(field: str) -> None:
    usage = {"prompt_tokens": 2, "completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 6}}
    answered = whole(chat(content="print(1)", usage=usage, **{field: "hm \n--- hm"}))
    assert (answered.text, answered.reasoning) == ("print(1)", "hm \n--- hm")
    assert (answered.completion_tokens, answered.reasoning_tokens) == (9, 6)


@pytest.mark.parametrize("content", [None, ""])
def test_a_model_that_reasoned_until_the_end_has_an_empty_answer(content: str | None) -> None:
    answered = whole(chat(finish_reason="length", content=content, reasoning="hm"))
    assert (answered.text, answered.finish_reason, answered.reasoning) == ("", FinishReason.LENGTH, "hm")


@pytest.mark.parametrize("status", [429, 503, 529])
def test_a_refusal_for_load_is_not_a_failure(status: int) -> None:
    assert read(b"", status) == Overloaded(f"status {status}: nothing", None)


@pytest.mark.parametrize("status", [408, 409, 425, 500, 501, 520])
def test_a_failure_may_be_tried_again(status: int) -> None:
    assert isinstance(read(b'{"error": {"message": "EngineCore encountered an issue"}}', status), Failed)


@pytest.mark.parametrize("status", [502, 504])
def test_a_proxy_without_a_server_is_no_answer(status: int) -> None:
    assert isinstance(read(b"", status), Unreachable)


@pytest.mark.parametrize("status", [301, 307, 401, 402, 403, 404, 405])
def test_a_wrong_key_model_or_address_is_the_runs_trouble(status: int) -> None:
    assert isinstance(read(b"", status, location="https://elsewhere"), ServerUnusable)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_bad_request_is_not_tried_again(status: int) -> None:
    assert isinstance(read(b'{"error": {"message": "no"}}', status), SampleRefused)


def test_a_filtered_sample_is_not_tried_again() -> None:
    assert isinstance(read(completion(finish_reason="content_filter")), SampleRefused)


@pytest.mark.parametrize(
    ("content", "prompt_tokens", "context_length"),
    [
        (
            (
                b'{"error":{"message":"This model\'s maximum context length is 512 tokens. However, you requested 16 output tokens '
                b'and your prompt contains at least 497 input tokens, for a total of at least 513 tokens.","param":"input_tokens"}}'
            ),
            497,
            512,
        ),
        (
            (
                b'{"error":{"message":"This model\'s maximum context length is 8192 tokens. However, you requested 9000 tokens '
                b'(8000 in the messages, 1000 in the completion)."}}'
            ),
            8000,
            8192,
        ),
        (
            (
                b'{"error":{"code":400,"message":"the request exceeds the available context size","type":'
                b'"exceed_context_size_error","n_prompt_tokens":1200,"n_ctx":1024}}'
            ),
            1200,
            1024,
        ),
        (
            (
                b'{"object":"error","message":"Requested token count exceeds the model\'s maximum context length of 1024 tokens. '
                b"You requested a total of 1100 tokens: 1000 tokens from the input messages and 100 tokens for the completion. "
                b'Please reduce the number of tokens in the input messages or the completion to fit within the limit."}'
            ),
            1000,
            1024,
        ),
        (
            b'{"object":"error","message":"The input (1030 tokens) is longer than the model\'s context length (1024 tokens)."}',
            1030,
            1024,
        ),
        (
            b'{"error":{"message":"max_tokens=2048 cannot be greater than max_model_len=max_total_tokens=512","param":"max_tokens"}}',
            None,
            512,
        ),
        (
            (
                b'{"error":{"message":"This model\'s maximum context length is 512 tokens. However, your prompt contains 13000 '
                b'characters (more than 12000 characters, which is the upper bound for 512 input tokens).","param":"input_text"}}'
            ),
            None,
            512,
        ),
    ],
)
def test_a_prompt_that_does_not_fit_is_told_with_its_counts(
    content: bytes, prompt_tokens: int | None, context_length: int
) -> None:
    refused = read(content, 400)
    assert isinstance(refused, PromptRefused)
    assert (refused.prompt_tokens, refused.context_length) == (prompt_tokens, context_length)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "1e9"}, 60.0),
        ({"retry-after": "-1"}, 0.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after-ms": "250", "retry-after": "3"}, 0.25),
    ],
)
def test_how_long_a_server_wants_to_be_left_alone(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_seconds(headers) == seconds


def test_it_may_name_a_date() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    assert retry_after_seconds({"retry-after": date}) == pytest.approx(20, abs=5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"error": {"message": "no\\nroom"}}', "no room"),
        (b'{"error": "no room"}', "no room"),
        (b'{"object": "error", "message": "no room"}', "no room"),
        (b'{"detail": "no room"}', "no room"),
        (b"<html>\nno room", "<html> no room"),
        (b"\xff", "\N{REPLACEMENT CHARACTER}"),
        (b"", "nothing"),
        (b"{}", "{}"),
    ],
)
def test_an_error_is_shown_in_its_own_words(content: bytes, message: str) -> None:
    assert error_message(content) == message


def test_a_long_error_is_shortened() -> None:
    assert len(error_message(b"x" * 10_000)) == 300
