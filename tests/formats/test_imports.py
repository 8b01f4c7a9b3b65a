"""Reading completions of other programs: every format, found by looking, and what is wrong named by file and line."""

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sample_values import completion

from taco_stream.errors import UsageError
from taco_stream.formats import FieldNames, json_files, match_ids, read_completions
from taco_stream.types import Completion, FinishReason, SampleKey

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes JSON lines, or one JSON value under a name that ends in `.json`."""

    def write(*lines: Any, name: str = "file.jsonl") -> Path:
        path = tmp_path / name
        path.write_text(
            json.dumps(lines[0]) if name.endswith(".json") else "".join(json.dumps(e) + "\n" for e in lines)
        )
        return path

    return write


def samples(path: Path, **options: Any) -> list[tuple[str, int, str]]:
    return [(each.problem_id, each.sample_index, each.text) for each in read_completions(path, **options)]


def test_our_own_completions_keep_every_field(tmp_path: Path) -> None:
    value = Completion(
        problem_id="7", sample_index=3, text="x", finish_reason=FinishReason.LENGTH, completion_tokens=9, engine="e"
    )
    (tmp_path / "completions.jsonl").write_bytes(msgspec.json.encode(value) + b"\n")
    assert list(read_completions(tmp_path / "completions.jsonl")) == [value]


def test_generations_of_the_original_mix_integers_and_text_as_ids(write: Write) -> None:
    path = write(
        [{"task_id": 0, "prompt": "q", "output": ["a", "b"]}, {"task_id": "1", "output": ["c"]}], name="g.json"
    )
    assert samples(path) == [("0", 0, "a"), ("0", 1, "b"), ("1", 0, "c")]


def test_a_task_that_comes_again_goes_on_counting(write: Write) -> None:
    path = write([{"task_id": 0, "output": ["a"]}, {"task_id": "0", "output": ["b"]}], name="g.json")
    assert samples(path) == [("0", 0, "a"), ("0", 1, "b")]


def test_evalplus_solutions(write: Write) -> None:
    path = write({"task_id": "HumanEval/0", "solution": "a"}, {"task_id": "HumanEval/0", "solution": "b"})
    assert samples(path) == [("HumanEval/0", 0, "a"), ("HumanEval/0", 1, "b")]


def test_humaneval_completions_stand_behind_their_prompt(write: Write) -> None:
    path = write({"task_id": "HumanEval/0", "completion": "    return 1\n"})
    prompts = {"HumanEval/0": "def f():\n"}
    assert samples(path, prompts=prompts) == [("HumanEval/0", 0, "def f():\n    return 1\n")]
    assert samples(path) == [("HumanEval/0", 0, "    return 1\n")]


def test_livecodebench_code_lists(write: Write) -> None:
    path = write([{"question_id": "abc301_a", "code_list": ["a", "b"], "pass@1": 0.5}], name="l.json")
    assert samples(path) == [("abc301_a", 0, "a"), ("abc301_a", 1, "b")]


def lm_eval_line(**others: Any) -> dict[str, Any]:
    return {"doc_id": 4, "doc": {"task_id": "HumanEval/4", "prompt": "p"}, "target": "", "arguments": {}} | others


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


def test_plain_lines_with_the_usual_names(write: Write) -> None:
    assert samples(write({"id": 3, "response": "a"}, {"id": "3", "response": "b"})) == [("3", 0, "a"), ("3", 1, "b")]


def test_plain_lines_may_hold_the_sample_index(write: Write) -> None:
    path = write({"problem_id": "p", "sample_index": 5, "text": "a"})
    assert samples(path) == [("p", 5, "a")]


def test_plain_lines_with_names_that_the_user_gives(write: Write) -> None:
    path = write({"key": "p", "answers": ["a", "b"], "task_id": "other", "output": "no"})
    assert samples(path, names=FieldNames(problem_id="key", text="answers")) == [("p", 0, "a"), ("p", 1, "b")]


@pytest.mark.parametrize("indent", [None, 4])
def test_arrays_are_read_however_they_are_spaced(tmp_path: Path, indent: int | None) -> None:
    path = tmp_path / "g.json"
    path.write_text("\n\n " + json.dumps([{"task_id": n, "output": ["x" * n]} for n in range(5)], indent=indent) + "\n")
    assert samples(path) == [(str(n), 0, "x" * n) for n in range(5)]


@pytest.mark.parametrize("chunk", [1, 7, 64, 10_000])
def test_arrays_are_read_whatever_the_chunk(write: Write, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    path = write([{"task_id": n, "output": ["[{" * n, "é"]} for n in range(20)], name="g.json")
    expected = samples(path)
    monkeypatch.setattr(json_files, "CHUNK_CHARACTERS", chunk)
    assert samples(path) == expected
    assert len(expected) == 40


def test_gzipped_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"task_id": "a", "solution": "b"}\n'))
    assert samples(path) == [("a", 0, "b")]


def test_blank_lines_and_a_byte_order_mark_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"task_id": "a", "solution": "b"}\n\n\n{"task_id": "c", "solution": "d"}')
    assert samples(path) == [("a", 0, "b"), ("c", 0, "d")]


def test_a_lone_surrogate_becomes_a_character_that_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_text('{"task_id": "a", "solution": "x\\ud800y"}\n')
    assert samples(path) == [("a", 0, "x?y")]


def refused(path: Path, *named: str, **options: Any) -> None:
    with pytest.raises(UsageError) as caught:
        samples(path, **options)
    for each in (path.name, *named):
        assert each in str(caught.value)


def test_no_such_file_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "none.jsonl", "No such file")


def test_an_empty_file_is_refused(write: Write) -> None:
    refused(write(), "no completions")
    refused(write([], name="empty.json"), "no completions")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    refused(tmp_path / "picture.png", "not UTF-8")


def test_a_broken_gzip_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f.gz").write_bytes(gzip.compress(b'{"task_id": "a", "solution": "b"}\n' * 99)[:-9])
    refused(tmp_path / "f.gz", "cannot be read")


def test_unknown_fields_are_refused_by_name_when_opened_not_when_read(write: Write) -> None:
    path = write({"label": 1, "sentence": "x"})
    with pytest.raises(UsageError, match="line 1 has the fields label, sentence, which no known format"):
        read_completions(path)


def test_a_name_the_file_does_not_have_is_refused(write: Write) -> None:
    refused(write({"id": "a", "text": "b"}), "line 1", names=FieldNames(text="answer"))


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "f.jsonl").write_text('{"task_id": "a", "solution": "b"}\n{broken\n')
    refused(tmp_path / "f.jsonl", "line 2 is not JSON")


def test_a_line_of_another_kind_is_named(write: Write) -> None:
    refused(write({"task_id": "a", "solution": "b"}, ["no", "object"]), "line 2 is list, not an object")


@pytest.mark.parametrize("wrong", [{"task_id": "a"}, {"task_id": "a", "solution": 7}, {"solution": "b"}])
def test_a_line_that_lacks_what_it_must_have_is_named(write: Write, wrong: dict[str, Any]) -> None:
    refused(write({"task_id": "a", "solution": "b"}, wrong), "line 2")


def test_an_array_that_is_cut_short_is_named_by_its_entry(tmp_path: Path) -> None:
    (tmp_path / "g.json").write_text('[{"task_id": 0, "output": ["a"]}, {"task_id": 1, "out')
    refused(tmp_path / "g.json", "entry 2")


@pytest.mark.parametrize("index", [-1, 1.5, "3", True, 10**12])
def test_an_index_that_cannot_be_is_refused(write: Write, index: Any) -> None:
    refused(write({"problem_id": "p", "sample_index": index, "text": "a"}), "line 1", "sample_index")


@pytest.mark.parametrize("problem_id", [1.5, True, None, ["a"]])
def test_an_id_that_is_neither_text_nor_integer_is_refused(write: Write, problem_id: Any) -> None:
    refused(write({"id": problem_id, "text": "a"}), "line 1", "id")


def test_our_own_completion_with_a_field_of_another_type_is_refused(write: Write) -> None:
    value = msgspec.to_builtins(completion()) | {"finish_reason": "boredom"}
    refused(write(value), "line 1", "boredom")


def test_completions_come_from_standard_input() -> None:
    code = (
        "from pathlib import Path; from taco_stream.formats import read_completions;"
        "print(*((each.problem_id, each.text) for each in read_completions(Path('-'))))"
    )
    lines = b'\n{"task_id": 1, "solution": "a"}\n{"task_id": 2, "solution": "b"}\n'
    for content in (lines, gzip.compress(lines), b'[{"task_id": 1, "solution": "a"}, {"task_id": 2, "solution": "b"}]'):
        done = subprocess.run([sys.executable, "-c", code], input=content, capture_output=True, check=True)
        assert done.stdout == b"('1', 'a') ('2', 'b')\n"


def test_lines_are_counted_from_the_first_also_where_it_is_blank(tmp_path: Path) -> None:
    path = tmp_path / "file.jsonl"
    path.write_text('\n \n{"id": 1, "text": "a"}\nno\n')
    refused(path, "line 4")


def test_a_field_that_was_named_and_is_not_there_is_named(write: Write) -> None:
    path = write({"problem": 1, "answer": "a"})
    with pytest.raises(UsageError, match="id: problem, text: not named, and none of the usual"):
        samples(path, names=FieldNames(problem_id="problem"))


def test_a_line_without_solution_and_completion_names_both(write: Write) -> None:
    refused(write({"task_id": 1, "solution": "a"}, {"task_id": 2}), "line 2", "solution and completion")


def test_completions_of_another_dataset_altogether_are_refused() -> None:
    with pytest.raises(UsageError, match=r"they are of a, b, c … \(4 problems\), the dataset has x, y \(--dataset"):
        match_ids(dict.fromkeys("abcd", 1), ["x", "y"])


def test_matching_ids_say_nothing_where_all_fits() -> None:
    assert match_ids({"a": 2, "b": 2}, ["a", "b"]) == ()


def test_gaps_are_told_with_counts_and_the_first_ten_names() -> None:
    held = {f"s{number}": 1 for number in range(12)} | {"a": 3, "b": 1}
    strangers, missing, short, repeated = match_ids(
        held, ["a", "b", "c"], repeated=[SampleKey("a", 0), SampleKey("a", 2)]
    )
    assert strangers == "12 problems of the completions are none of those asked for: " + ", ".join(
        f"s{number}" for number in range(10)
    )
    assert missing == "1 problems have no completion: c"
    assert short == "1 problems have fewer than 3 samples: b (1)"
    assert repeated == "2 completions repeat a sample, and the first of each counts: a (sample 0), a (sample 2)"
