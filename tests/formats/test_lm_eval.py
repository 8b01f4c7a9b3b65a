"""Samples of lm-evaluation-harness, which we only read."""

from typing import Any

from foreign_files import Write, few_examples, refused, samples, texts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


def lm_eval_line(**others: Any) -> dict[str, Any]:
    return {"doc_id": 4, "doc": {"task_id": "HumanEval/4", "prompt": "p"}, "target": "", "arguments": {}} | others


@given(
    st.lists(st.recursive(st.lists(texts, max_size=3), lambda each: st.lists(each, max_size=3)), min_size=1, max_size=4)
)
@settings(few_examples, suppress_health_check=[HealthCheck.function_scoped_fixture])  # each example replaces the file
def test_answers_are_read_in_order_however_deep_they_stand(write: Write, answers: list[Any]) -> None:
    def flat(value: Any) -> list[str]:
        return [value] if isinstance(value, str) else [text for each in value for text in flat(each)]

    path = write(*(lm_eval_line(doc={"task_id": number}, resps=each) for number, each in enumerate(answers)))
    assert samples(path) == [
        (str(number), index, text) for number, each in enumerate(answers) for index, text in enumerate(flat(each))
    ]


def test_lm_eval_takes_the_filtered_answers(write: Write) -> None:
    path = write(lm_eval_line(resps=[["raw", "raw"]], filtered_resps=[["whole 1", "whole 2"]]))
    assert samples(path) == [("HumanEval/4", 0, "whole 1"), ("HumanEval/4", 1, "whole 2")]


def test_lm_eval_takes_raw_answers_where_there_are_no_others(write: Write) -> None:
    assert samples(write(lm_eval_line(resps=[["raw"]]))) == [("HumanEval/4", 0, "raw")]


def test_lm_eval_counts_one_filter_of_several(write: Write) -> None:
    lines = [lm_eval_line(filter=name, filtered_resps=[name]) for name in ("create_test", "strict", "flexible")]
    assert samples(write(*lines)) == [("HumanEval/4", 0, "create_test")]


def test_lm_eval_documents_without_an_id_are_named_by_their_position(write: Write) -> None:
    assert samples(write(lm_eval_line(doc={"question": "q"}, filtered_resps=["a"]))) == [("4", 0, "a")]


def test_a_line_without_a_document_is_named(write: Write) -> None:
    refused(write(lm_eval_line(resps=["a"]), {"doc_id": 5, "resps": ["b"]}), "line 2", "doc is not an object")
