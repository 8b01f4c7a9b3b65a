"""Which samples a report brings with it."""

from collections.abc import Iterator
from pathlib import Path

import anyio
import msgspec
import pytest
from sample_values import completion, manifest, record

from taco_stream.errors import DatasetError
from taco_stream.evaluator.settings import EvaluatorSettings
from taco_stream.report.embedding import MAX_REFUSED, MAX_TEST_CHARACTERS, SHARE_OF_RUN, embed, shortened
from taco_stream.report.page_data import Embedded
from taco_stream.report.run_reader import RunReader
from taco_stream.store.run_directory import open_run
from taco_stream.types import ComparisonMode, Problem, Record, Status, Verdict

SETTINGS = EvaluatorSettings()


def failed(name: str, index: int, *, test: int = 0, detail: str = "line 1: printed 1, expected 2") -> Record:
    verdict = Verdict(
        status=Status.WRONG_ANSWER, failed_test=test, tests_run=test + 1, tests_total=10, detail=detail, output_head="1"
    )
    return record(name, index, verdicts=dict.fromkeys(ComparisonMode, verdict))


RECORDS = [
    *(record("solved", index) for index in range(3)),
    *(failed("almost", index, test=8 + index % 2) for index in range(3)),
    *(failed("far", index) for index in range(3)),
]


def open_reader(path: Path, records: list[Record]) -> RunReader:
    async def write() -> None:
        async with open_run(path, manifest()) as run:
            await run.append([*(completion(each.problem_id, each.sample_index) for each in records), *records])

    anyio.run(write)
    reader = RunReader(path, mode=ComparisonMode.STRICT)
    reader.refresh()
    return reader


def embedded(
    path: Path, records: list[Record] = RECORDS, *, problems: list[Problem] | None = None, limit: int = 10**6
) -> Embedded:
    reader = open_reader(path / "run", records)
    source = None if problems is None else lambda: iter(problems)
    return embed(reader, reader.page("run").problems, problems=source, settings=SETTINGS, limit=limit)


def indices(found: Embedded) -> dict[str, list[int]]:
    return {name: list(samples) for name, samples in found.samples.items()}


def test_a_small_run_is_there_as_a_whole(tmp_path: Path) -> None:
    found = embedded(tmp_path)
    assert {name: sorted(each) for name, each in indices(found).items()} == {
        name: [0, 1, 2] for name in ("solved", "almost", "far")
    }
    assert found.left_out == 0
    assert [row.sample_index for row in found.problems["far"].samples] == [0, 1, 2]


def test_under_a_limit_what_almost_passed_comes_first(tmp_path: Path) -> None:
    """Of each problem the furthest failure or a success, the problem that was almost solved before the others."""
    everything = embedded(tmp_path / "all").samples
    size = {name: len(msgspec.json.encode(everything[name][index])) for name, index in FIRST.items()}
    assert indices(embedded(tmp_path / "one", limit=room(size["almost"]))) == {"almost": [1]}
    three = embedded(tmp_path / "three", limit=room(sum(size.values())))
    assert indices(three) == {name: [index] for name, index in FIRST.items()}
    assert three.left_out == 6
    assert "view" in three.command


FIRST = {"almost": 1, "far": 0, "solved": 0}


def room(size: int) -> int:
    """A limit that leaves room for programs and verdicts of so many bytes."""
    return int(size / SHARE_OF_RUN) + 2


@pytest.mark.parametrize("limit", [0, 1000, 3000, 10_000])
def test_the_limit_holds(tmp_path: Path, limit: int) -> None:
    problem = Problem(
        problem_id="far", position=0, question="?" * 5000, tests='{"inputs": ["1\\n"], "outputs": ["2\\n"]}'
    )
    found = embedded(tmp_path, problems=[problem], limit=limit)
    told = [story for samples in found.samples.values() for story in samples.values()]
    questions = [story for story in found.problems.values() if story.question]
    assert sum(len(msgspec.json.encode(each)) for each in (*told, *questions)) <= limit


def test_a_run_of_any_size_is_read_no_further_than_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = open_reader(tmp_path / "run", [record(f"p{number}") for number in range(3 * MAX_REFUSED)])
    read: list[str] = []

    class Counting(RunReader):
        def records(self, problem_id: str) -> list[Record]:
            read.append(problem_id)
            return super().records(problem_id)

    monkeypatch.setattr(reader, "__class__", Counting)
    assert (
        embed(reader, reader.page("run").problems, problems=None, settings=SETTINGS, limit=0).left_out
        == 3 * MAX_REFUSED
    )
    assert len(read) == MAX_REFUSED


def test_the_dataset_adds_the_question_and_the_failing_test_cut_to_a_length(tmp_path: Path) -> None:
    given = "1 " * MAX_TEST_CHARACTERS
    tests = msgspec.json.encode({"inputs": [given], "outputs": ["2\n"]}).decode()
    found = embedded(tmp_path, problems=[Problem(problem_id="far", position=0, question="How far?", tests=tests)])
    assert found.problems["far"].question == "How far?"
    failing = found.samples["far"][0].failing
    assert failing is not None
    assert failing.test is not None
    assert failing.test.expected == "2\n"
    assert len(failing.test.given) < MAX_TEST_CHARACTERS + 100
    almost = found.samples["almost"][0].failing
    assert almost is not None
    assert almost.test is None


def test_a_dataset_that_is_gone_leaves_the_rest_as_it_is(tmp_path: Path) -> None:
    def gone() -> Iterator[Problem]:
        raise DatasetError("gone")

    reader = open_reader(tmp_path / "run", RECORDS)
    found = embed(reader, reader.page("run").problems, problems=gone, settings=SETTINGS)
    assert found.left_out == 0


def test_a_text_is_cut_with_a_word_on_what_is_missing() -> None:
    assert shortened("abc", 3) == "abc"
    assert shortened("abcde", 3) == "abc\n… 2 more characters"
    assert shortened(None, 3) is None
