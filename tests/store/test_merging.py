"""Samples of several runs in one run directory: each once, those that count, and nothing half made."""

from collections.abc import Sequence
from pathlib import Path

import anyio
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_values import completion, manifest, record

from taco_stream.errors import RunMismatchError, StoreError
from taco_stream.events import Event, PromptTooLong, RunMerged, RunStarted
from taco_stream.store.merging import (
    Merged,
    RepeatedSamples,
    check_mergeable,
    copy_samples,
    merged_run,
    number_samples,
)
from taco_stream.store.run_directory import RunFiles, open_run
from taco_stream.types import ComparisonMode, Completion, Record, SampleKey, Status

SETTINGS = {"model": "demo", "seed": 0}

Entries = Sequence[Completion | Record | Event]


def write_run(path: Path, entries: Entries, **results: object) -> RunFiles:
    async def write() -> None:
        async with open_run(path, manifest(**(SETTINGS | results))) as directory:
            await directory.append(entries)

    path.mkdir(parents=True)  # a run that makes its folder, and puts nothing in, removes it
    anyio.run(write)
    return RunFiles(path)


def merge(runs: Sequence[RunFiles], out: Path) -> Merged:
    async def copy() -> Merged:
        async with merged_run(out, runs[0].manifest, runs) as directory:
            return await copy_samples(number_samples(runs, {}), directory)

    return anyio.run(copy)


def statuses(run: RunFiles) -> dict[SampleKey, Status]:
    return {each.key: each.verdicts[ComparisonMode.STRICT].status for each in run.records()}


def texts(run: RunFiles) -> dict[SampleKey, str]:
    return {each.key: each.text for each in run.completions()}


def sampled(problem_id: str, index: int, text: str = "t", status: Status = Status.PASSED) -> Entries:
    return [completion(problem_id, index, text), record(problem_id, index, status)]


Holdings = st.sets(st.tuples(st.sampled_from("abc"), st.integers(0, 4)), max_size=15)


@settings(max_examples=30)
@given(parts=st.lists(st.tuples(Holdings, Holdings), min_size=2, max_size=4))
def test_every_sample_is_there_once_however_runs_overlap(
    tmp_path_factory: pytest.TempPathFactory, parts: list[tuple[set[tuple[str, int]], set[tuple[str, int]]]]
) -> None:
    """Of each run some samples are generated, and some of those are judged: a killed run has gaps of both kinds."""
    folder = tmp_path_factory.mktemp("merge")
    runs = []
    for number, (generated, judged) in enumerate(parts):
        entries: list[Completion | Record] = [completion(name, index) for name, index in sorted(generated)]
        entries += [record(name, index) for name, index in sorted(judged & generated)]
        runs.append(write_run(folder / str(number), entries))
    if not any(generated for generated, _ in parts):
        with pytest.raises(StoreError, match="there is nothing to merge"):
            merge(runs, folder / "out")
        return
    merged = merge(runs, folder / "out")
    out = RunFiles(folder / "out")
    assert sorted(out.generated()) == sorted(set().union(*(generated for generated, _ in parts)))
    assert sorted(out.judged()) == sorted(set().union(*(generated & judged for generated, judged in parts)))
    repeated = sum(len(generated) for generated, _ in parts) - len(merged.generated)
    assert sum(each.samples for each in merged.overlaps.values()) == repeated
    assert all(each.differing == 0 for each in merged.overlaps.values())


def test_the_first_runs_sample_counts_and_others_that_differ_are_counted(tmp_path: Path) -> None:
    one = write_run(tmp_path / "one", [*sampled("a", 0, "one"), *sampled("b", 0, "same")])
    entries = [*sampled("a", 0, "two", Status.WRONG_ANSWER), *sampled("b", 0, "same"), *sampled("c", 0, "new")]
    two = write_run(tmp_path / "two", entries)
    merged = merge([one, two], tmp_path / "out")
    out = RunFiles(tmp_path / "out")
    assert texts(out) == {("a", 0): "one", ("b", 0): "same", ("c", 0): "new"}
    assert statuses(out) == dict.fromkeys(texts(out), Status.PASSED)
    assert merged.overlaps == {tmp_path / "two": RepeatedSamples(samples=2, differing=1)}


def test_a_real_verdict_counts_before_an_error_of_the_evaluator(tmp_path: Path) -> None:
    failed = Status.INFRASTRUCTURE_ERROR
    one = write_run(tmp_path / "one", [*sampled("a", 0, status=failed), *sampled("b", 0, status=failed)])
    two = write_run(tmp_path / "two", sampled("a", 0))
    merge([one, two], tmp_path / "out")
    assert statuses(RunFiles(tmp_path / "out")) == {("a", 0): Status.PASSED, ("b", 0): failed}


def test_a_verdict_on_another_text_is_not_the_samples(tmp_path: Path) -> None:
    """The first run was killed before its verdict, or failed to give one: the sample is judged by the next start."""
    failed = sampled("b", 0, "mine", Status.INFRASTRUCTURE_ERROR)
    one = write_run(tmp_path / "one", [completion("a", 0, "mine"), completion("c", 0, "same"), *failed])
    two = write_run(tmp_path / "two", [*sampled("a", 0, "other"), *sampled("b", 0, "other"), *sampled("c", 0, "same")])
    merge([one, two], tmp_path / "out")
    out = RunFiles(tmp_path / "out")
    assert texts(out) == {("a", 0): "mine", ("b", 0): "mine", ("c", 0): "same"}
    assert statuses(out) == {("b", 0): Status.INFRASTRUCTURE_ERROR, ("c", 0): Status.PASSED}


def test_a_record_whose_completion_came_meanwhile_is_left_to_the_next_merge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = write_run(tmp_path / "done", [*sampled("a", 0), record("b", 0)])
    going = write_run(tmp_path / "going", [*sampled("c", 0), record("d", 0)])
    monkeypatch.setattr(RunFiles, "is_running", property(lambda run: run.path.name == "going"))
    merge([done, going], tmp_path / "out")
    assert set(statuses(RunFiles(tmp_path / "out"))) == {("a", 0), ("b", 0), ("c", 0)}


def test_samples_of_another_seed_have_room_for_those_that_a_run_does_not_have_yet(tmp_path: Path) -> None:
    zero = write_run(tmp_path / "zero", sampled("a", 0))
    five = msgspec.structs.replace(zero.manifest, settings={"samples": 5})
    zero.manifest = five
    one = write_run(tmp_path / "one", sampled("a", 0), seed=1)
    assert [source.offset for source in number_samples([zero, one], {})] == [0, 5]


def test_what_was_said_of_prompts_stays_said(tmp_path: Path) -> None:
    short = PromptTooLong(
        message="short",
        problem_id="a",
        prompt_tokens=9,
        context_length=10,
        new_tokens_wanted=5,
        new_tokens_left=1,
    )
    runs = [write_run(tmp_path / name, [*sampled(name, 0), short, RunStarted()]) for name in ("one", "two")]
    merge(runs, tmp_path / "out")
    assert [type(event) for event in RunFiles(tmp_path / "out").events()] == [RunMerged, PromptTooLong]


def test_samples_of_another_seed_follow_those_before(tmp_path: Path) -> None:
    zero = write_run(tmp_path / "zero", [*sampled("a", 0, "0"), *sampled("a", 1, "1")])
    also_zero = write_run(tmp_path / "also zero", [*sampled("b", 2, "2")])
    seven = write_run(tmp_path / "seven", [*sampled("a", 0, "7"), *sampled("b", 1, "8")], seed=7)
    merged = merge([zero, also_zero, seven], tmp_path / "out")
    out = RunFiles(tmp_path / "out")
    assert texts(out) == {("a", 0): "0", ("a", 1): "1", ("b", 2): "2", ("a", 3): "7", ("b", 4): "8"}
    assert set(statuses(out)) == set(texts(out))
    assert merged.overlaps == {}


def test_a_merged_run_says_what_it_is_made_of(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name, sampled(name, 0)) for name in ("one", "two")]
    merge(runs, tmp_path / "out")
    (event,) = RunFiles(tmp_path / "out").events()
    assert isinstance(event, RunMerged)
    assert event.runs == (str(tmp_path / "one"), str(tmp_path / "two"))


def test_runs_that_differ_in_what_changes_results_are_refused(tmp_path: Path) -> None:
    one = write_run(tmp_path / "one", [], temperature=0.2, limit=3)
    two = write_run(tmp_path / "two", [], temperature=0.8, limit=4)
    with pytest.raises(RunMismatchError, match=r"one and .*two cannot be merged: they have temperature 0\.2 and 0\.8$"):
        check_mergeable([one, two], {}, ("limit", "seed"))


def test_nothing_is_there_under_the_name_before_all_of_it_is(tmp_path: Path) -> None:
    run = write_run(tmp_path / "one", sampled("a", 0))

    async def fail() -> None:
        async with merged_run(tmp_path / "out", run.manifest, [run]):
            assert not (tmp_path / "out").exists()
            raise KeyError("a bug, or a kill")

    with pytest.raises(KeyError):
        anyio.run(fail)
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_what_a_killed_merge_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name, sampled(name, 0)) for name in ("one", "two")]
    left = tmp_path / ".out.merging-killed"
    (left / "run").mkdir(parents=True)
    merge(runs, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "out", "two"]


def test_what_is_there_already_is_left_alone(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name, sampled(name, 0)) for name in ("one", "two")]
    with pytest.raises(StoreError, match="two exists: name a new directory"):
        merge(runs, tmp_path / "two")
    assert texts(RunFiles(tmp_path / "two")) == {("two", 0): "t"}
