"""A run directory that is read while it is written."""

from collections.abc import Sequence
from pathlib import Path

import anyio
import msgspec
import pytest
from sample_values import completion, finished, gauges, manifest, record

from taco_stream.errors import StoreError
from taco_stream.events import Event, RunStarted
from taco_stream.report.run_reader import RunReader
from taco_stream.store.manifest import Manifest
from taco_stream.store.run_directory import EVENTS, MANIFEST, RESULTS, open_run
from taco_stream.types import ComparisonMode, Completion, Record, Status

STRICT = ComparisonMode.STRICT


def write(path: Path, entries: Sequence[Completion | Record | Event]) -> None:
    async def append() -> None:
        async with open_run(path, manifest()) as run:
            await run.append(entries)

    anyio.run(append)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write(tmp_path / "run", [completion("a", 0), record("a", 0), RunStarted()])
    return tmp_path / "run"


def open_reader(path: Path) -> RunReader:
    reader = RunReader(path, mode=STRICT)
    reader.refresh()
    return reader


def test_what_was_appended_is_counted_by_the_next_refresh(path: Path) -> None:
    reader = open_reader(path)
    assert reader.page("run").summary.coverage.samples == 1
    write(
        path,
        [
            completion("b", 0),
            record("b", 0, Status.WRONG_ANSWER),
            gauges(samples_expected=2),
            finished(samples_expected=2),
        ],
    )
    assert reader.page("run").summary.coverage.samples == 1
    reader.refresh()
    page = reader.page("run")
    assert (page.summary.coverage.samples, page.summary.pass_at_k[1].value, page.state) == (2, 0.5, "complete")


def test_the_settings_are_those_of_the_newest_start(path: Path) -> None:
    reader = open_reader(path)
    started = msgspec.json.decode((path / MANIFEST).read_bytes(), type=Manifest)
    later = msgspec.structs.replace(started, settings={**started.settings, "samples": 50})
    (path / MANIFEST).write_bytes(msgspec.json.encode(later))
    assert reader.page("run").settings["samples"] == 50


def test_counting_bit_by_bit_comes_to_the_same_as_counting_at_once(path: Path) -> None:
    reader = open_reader(path)
    for index in range(1, 6):
        write(path, [completion("a", index), record("a", index, Status.TIME_LIMIT), gauges(elapsed_seconds=index)])
        reader.refresh()
    assert reader.page("run") == open_reader(path).page("run")


def test_everything_is_counted_again_when_lines_were_taken_out(path: Path) -> None:
    """The next start takes out what the evaluator failed at (`open_run`), and writes the file anew."""
    write(path, [completion("b", 0), record("b", 0, Status.INFRASTRUCTURE_ERROR)])
    reader = open_reader(path)
    assert reader.page("run").summary.coverage.samples == 2
    write(path, [])
    reader.refresh()
    assert reader.page("run").summary.coverage.samples == 1
    assert reader.sample("a", 0) is not None


def test_a_sample_has_its_program_its_completion_and_its_verdict(path: Path) -> None:
    story = open_reader(path).sample("a", 0)
    assert story is not None
    assert (story.program, story.completion, story.verdict and story.verdict.status) == (
        "print(1)\n",
        "print(1)\n",
        "passed",
    )


def test_a_completion_without_a_verdict_is_a_sample_as_well(path: Path) -> None:
    reader = open_reader(path)
    write(path, [completion("a", 1)])
    reader.refresh()
    problem = reader.problem("a")
    assert problem is not None
    assert [(row.sample_index, row.status) for row in problem.samples] == [(0, Status.PASSED), (1, None)]
    assert reader.sample("a", 1) is not None


@pytest.mark.parametrize("name", ["nope", "../a", "<script>", ""])
def test_what_the_run_does_not_have_is_none(path: Path, name: str) -> None:
    reader = open_reader(path)
    assert reader.problem(name) is None
    assert reader.sample(name, 0) is None
    assert reader.sample("a", 7) is None


def test_a_damaged_event_is_a_note_and_a_broken_record_an_error(path: Path) -> None:
    reader = open_reader(path)
    with (path / EVENTS).open("a") as file:
        file.write("nonsense\n")
    reader.refresh()
    assert any("events.jsonl is damaged (line 2)" in note for note in reader.page("run").notes)
    with (path / RESULTS).open("a") as file:
        file.write("nonsense\n")
    with pytest.raises(StoreError, match=r"results\.jsonl, the line at byte \d+ is broken"):
        reader.refresh()


def test_a_folder_that_holds_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not a run directory"):
        RunReader(tmp_path, mode=STRICT)
