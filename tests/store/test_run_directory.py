"""The run directory: one writer, what a later start finds, and what it refuses."""

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import anyio
import msgspec
import pytest
from sample_values import completion, gauges, manifest, record

from taco_stream.errors import RunInUseError, RunMismatchError, StoreError
from taco_stream.events import DamagedEvent, Event, RunStarted
from taco_stream.metrics import Tally
from taco_stream.store.journal import Journal
from taco_stream.store.manifest import Manifest
from taco_stream.store.run_directory import RecordIndex, RunDirectory, RunFiles, open_run
from taco_stream.types import ComparisonMode, Completion, Record, SampleKey, Status, Verdict

pytestmark = pytest.mark.anyio

Entry = Completion | Record | Event


async def write(path: Path, entries: Iterable[Entry], wanted: Manifest | None = None) -> None:
    async with open_run(path, wanted or manifest()) as run:
        await run.append(list(entries))


def keys(values: Iterable[Completion | Record]) -> list[SampleKey]:
    return [value.key for value in values]


async def test_entries_read_back_by_kind(tmp_path: Path) -> None:
    entries: list[Entry] = [completion("a"), record("a"), gauges(judged=1)]
    await write(tmp_path / "run", entries)
    files = RunFiles(tmp_path / "run")
    assert [*files.completions(), *files.records(), *files.events()] == entries


@pytest.mark.both_loops
async def test_a_batch_puts_completions_on_disk_before_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    append = Journal.append

    async def noted(journal: Journal, values: list[Entry]) -> None:
        order.append(journal.path.name)
        await append(journal, values)

    monkeypatch.setattr(Journal, "append", noted)
    await write(tmp_path / "run", [record("a"), completion("a"), RunStarted()])
    assert order == ["completions.jsonl", "results.jsonl", "events.jsonl"]


async def test_a_later_start_knows_what_is_generated_and_what_lacks_a_verdict(tmp_path: Path) -> None:
    await write(tmp_path / "run", [completion("a", 0), completion("a", 1), completion("b", 7), record("a", 0)])
    async with open_run(tmp_path / "run", manifest()) as run:
        assert run.is_resumed
        known = {key for key in (SampleKey(p, i) for p in "abc" for i in range(9)) if run.is_generated(key)}
        assert known == {("a", 0), ("a", 1), ("b", 7)}
        assert list(run.unjudged("a")) == [completion("a", 1)]
        assert list(run.unjudged("b")) == [completion("b", 7)]
        assert list(run.unjudged("stranger")) == []


async def test_a_record_without_its_completion_needs_no_generation(tmp_path: Path) -> None:
    await write(tmp_path / "run", [record("a", 3)])
    async with open_run(tmp_path / "run", manifest()) as run:
        assert run.is_generated(SampleKey("a", 3))
        assert list(run.unjudged("a")) == []


async def test_what_is_appended_counts_as_generated_at_once(tmp_path: Path) -> None:
    async with open_run(tmp_path / "run", manifest()) as run:
        await run.append([completion("a")])
        assert run.is_generated(SampleKey("a", 0))
        assert run.safe.startswith("1 completions and 0 results are safe in")


@pytest.mark.parametrize("name", ["completions.jsonl", "results.jsonl"])
async def test_cut_at_any_byte_a_run_opens_and_loses_only_the_torn_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / "run"
    await write(path, [each for index in range(3) for each in (completion("a", index), record("a", index))])
    content = (path / name).read_bytes()
    last_two = content.rstrip(b"\n").rfind(b"\n", 0, content.rstrip(b"\n").rfind(b"\n"))
    for size in range(last_two, len(content) + 1):
        (path / name).write_bytes(content[:size])
        async with open_run(path, manifest()) as run:
            assert len(run.repairs) == (not content[:size].endswith(b"\n"))
            found = keys(run.completions() if name == "completions.jsonl" else run.records())
            assert found == [("a", index) for index in range(content[:size].count(b"\n"))]


async def test_a_repeated_line_counts_once_and_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "run"
    await write(path, [completion("a"), record("a")])
    for name in ("completions.jsonl", "results.jsonl"):
        (path / name).write_bytes(2 * (path / name).read_bytes())
    async with open_run(path, manifest()) as run:
        assert run.repeated_samples == 2
        assert run.safe.startswith("1 completions and 1 results")


async def test_a_repeated_completion_without_verdict_is_judged_once(tmp_path: Path) -> None:
    path = tmp_path / "run"
    await write(path, [completion("a")])
    (path / "completions.jsonl").write_bytes(2 * (path / "completions.jsonl").read_bytes())
    async with open_run(path, manifest()) as run:
        assert len(list(run.unjudged("a"))) == 1


@pytest.mark.parametrize("index", [-1, 10**12])
async def test_a_sample_index_that_cannot_be_is_named_by_file_and_line(tmp_path: Path, index: int) -> None:
    path = tmp_path / "run"
    await write(path, [completion("a")])
    line = json.dumps({"problem_id": "a", "sample_index": index, "text": "", "finish_reason": "stop"})
    with (path / "completions.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(StoreError, match="completions.jsonl, line 2"):
        await write(path, [])


async def test_a_start_with_the_same_settings_agrees(tmp_path: Path) -> None:
    """Tuples of settings come back from JSON as lists; they are equal all the same."""
    wanted = manifest(stop=("\nif",), k=(1, 10))
    await write(tmp_path / "run", [completion("a")], wanted)
    await write(tmp_path / "run", [completion("b")], wanted)
    assert keys(RunFiles(tmp_path / "run").completions()) == [("a", 0), ("b", 0)]


async def test_a_start_with_other_settings_is_refused_and_says_what_differs(tmp_path: Path) -> None:
    await write(tmp_path / "run", [completion("a")], manifest(model="m", temperature=0.2, seed=1))
    with pytest.raises(RunMismatchError, match=r"seed 1, this start has 2; with temperature 0.2, this start has 0.8"):
        await write(tmp_path / "run", [], manifest(model="m", temperature=0.8, seed=2))


async def test_a_setting_that_a_run_is_older_than_had_its_default(tmp_path: Path) -> None:
    await write(tmp_path / "run", [completion("a")], manifest(seed=1))
    newer = manifest(seed=1, new=False)
    async with open_run(tmp_path / "run", newer, {"new": False}) as run:
        assert run.is_resumed
    with pytest.raises(RunMismatchError, match="new False, this start has True"):
        async with open_run(tmp_path / "run", manifest(seed=1, new=True), {"new": False}):
            pass


async def test_a_refused_start_changes_nothing(tmp_path: Path) -> None:
    await write(tmp_path / "run", [completion("a")], manifest(seed=1))
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with pytest.raises(RunMismatchError):
        await write(tmp_path / "run", [], manifest(seed=2))
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


async def test_the_manifest_keeps_the_time_of_the_first_start(tmp_path: Path) -> None:
    await write(tmp_path / "run", [completion("a")])
    later = manifest()
    async with open_run(tmp_path / "run", Manifest(**{**_fields(later), "created_at": 99.0})) as run:
        assert run.manifest.created_at == 1.0


def _fields(value: Manifest) -> dict[str, object]:
    return {name: getattr(value, name) for name in value.__struct_fields__}


HOLDER = """
import sys, anyio, pathlib
sys.path.insert(0, {tests!r})
from sample_values import manifest
from taco_stream.store.run_directory import open_run

async def main():
    async with open_run(pathlib.Path({path!r}), manifest()):
        print("open", flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that has the run `tmp_path / "run"` open."""
    code = HOLDER.format(tests=str(Path(__file__).parents[1]), path=str(tmp_path / "run"))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        yield process
        process.kill()


async def test_a_run_that_another_process_writes_is_refused_by_its_id(
    tmp_path: Path, holder: subprocess.Popen[bytes]
) -> None:
    with pytest.raises(RunInUseError, match=rf"is being written by process {holder.pid}:"):
        await write(tmp_path / "run", [])


async def test_the_lock_goes_with_a_holder_that_is_killed(tmp_path: Path, holder: subprocess.Popen[bytes]) -> None:
    holder.kill()
    holder.wait()
    await write(tmp_path / "run", [completion("a")])


@pytest.mark.both_loops
async def test_a_run_can_be_read_while_it_is_written(tmp_path: Path) -> None:
    async with open_run(tmp_path / "run", manifest()) as run:
        await run.append([completion("a")])
        assert keys(RunFiles(tmp_path / "run").completions()) == [("a", 0)]


async def test_a_new_directory_that_nothing_was_written_to_is_removed(tmp_path: Path) -> None:
    async with open_run(tmp_path / "run", manifest()) as run:
        await run.append([RunStarted()])
    assert not (tmp_path / "run").exists()


async def test_a_directory_that_was_there_before_stays(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    await write(tmp_path / "run", [])
    assert (tmp_path / "run").exists()


async def test_a_folder_of_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(StoreError, match="holds other files and no run.json"):
        await write(tmp_path, [])


async def test_a_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(StoreError, match="cannot be written: File exists"):
        await write(tmp_path / "run", [])


async def test_a_place_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(StoreError, match="the run directory /proc/run cannot be written"):
        await write(Path("/proc/run"), [])


async def test_reading_a_folder_that_is_no_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not a run directory"):
        RunFiles(tmp_path)


async def test_a_manifest_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("[]")
    with pytest.raises(StoreError, match=r"run.json is not a manifest of taco-stream"):
        RunFiles(tmp_path)


async def test_a_full_disk_says_how_much_is_safe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_run(tmp_path / "run", manifest()) as run:
        await run.append([completion("a", 0), completion("a", 1), record("a", 0)])

        async def full(journal: Journal, values: object) -> None:
            raise StoreError(f"{journal.path} cannot be written: No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(Journal, "append", full)
            with pytest.raises(StoreError, match="2 completions and 1 results are safe"):
                await run.append([completion("a", 2)])
        assert not run.is_generated(SampleKey("a", 2))


@pytest.mark.both_loops
async def test_a_cancelled_append_is_finished(tmp_path: Path) -> None:
    """A write that stopped half way would leave a torn line in the middle of the file."""
    async with open_run(tmp_path / "run", manifest()) as run:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await run.append([completion("a"), record("a")])
        await run.append([completion("b")])
    assert keys(RunFiles(tmp_path / "run").completions()) == [("a", 0), ("b", 0)]
    assert keys(RunFiles(tmp_path / "run").records()) == [("a", 0)]


async def test_a_run_is_synced_at_most_every_second_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    sync = RunDirectory._sync

    async def noted(run: RunDirectory) -> None:
        synced.append(run.path.name)
        await sync(run)

    monkeypatch.setattr(RunDirectory, "_sync", noted)
    now = [100.0]
    monkeypatch.setattr("taco_stream.store.run_directory.time.monotonic", lambda: now[0])
    counts = []
    async with open_run(tmp_path / "run", manifest()) as run:
        for index in range(6):
            await run.append([completion("a", index)])
            counts.append(len(synced))
            now[0] += 0.4
    assert counts == [1, 1, 1, 2, 2, 2]
    assert len(synced) == 3


@pytest.mark.both_loops
async def test_the_summary_is_replaced_whole(tmp_path: Path) -> None:
    async with open_run(tmp_path / "run", manifest()) as run:
        await run.append([completion("a")])
        run.write_summary(Verdict(status=Status.PASSED))
        run.write_summary(Verdict(status=Status.WRONG_ANSWER))
    assert json.loads((tmp_path / "run" / "summary.json").read_text()) == {"status": "wrong_answer"}
    assert not [path for path in (tmp_path / "run").iterdir() if path.name.endswith(".new")]


async def test_records_are_found_by_problem_in_the_order_of_samples(tmp_path: Path) -> None:
    entries = [record("b", 1), record("a", 2), record("b", 0), record("a", 0)]
    await write(tmp_path / "run", entries)
    index = RecordIndex(tmp_path / "run").read()
    assert index.problem_ids == ("b", "a")
    assert keys(index.records("a")) == [("a", 0), ("a", 2)]
    assert keys(index.records("b")) == [("b", 0), ("b", 1)]
    assert index.records("stranger") == []


async def test_of_a_record_that_stands_twice_the_first_is_found(tmp_path: Path) -> None:
    await write(tmp_path / "run", [record("a", 0, Status.PASSED), record("a", 0, Status.WRONG_ANSWER)])
    (found,) = RecordIndex(tmp_path / "run").read().records("a")
    assert found == record("a", 0, Status.PASSED)


async def test_what_the_evaluator_failed_on_is_judged_again_at_the_next_start(tmp_path: Path) -> None:
    failed = Verdict(status=Status.INFRASTRUCTURE_ERROR)
    broken = msgspec.structs.replace(record("a", 1), verdicts=dict.fromkeys(ComparisonMode, failed))
    await write(tmp_path / "run", [completion("a", 0), completion("a", 1), record("a", 0), broken])
    async with open_run(tmp_path / "run", manifest()) as run:
        assert list(run.unjudged("a")) == [completion("a", 1)]
        assert "judged again" in run.repairs[0]
        await run.append([record("a", 1)])
    assert list(RunFiles(tmp_path / "run").records()) == [record("a", 0), record("a", 1)]


@pytest.mark.parametrize(
    "damaged", [b"{}", b"\0\0", b"[1]", b'{"kind": "gauges", "at": 1}', b"\xff\xfe", b'{"kind": "\xff"}', 9999 * b"["]
)
async def test_a_damaged_event_is_read_as_such_and_the_others_as_they_are(tmp_path: Path, damaged: bytes) -> None:
    path = tmp_path / "run"
    await write(path, [completion("a"), RunStarted(at=1.0), gauges(judged=1)])
    first, second = (path / "events.jsonl").read_bytes().splitlines()
    (path / "events.jsonl").write_bytes(b"\n".join((first, damaged, second, b"")))
    assert list(RunFiles(path).events()) == [RunStarted(at=1.0), DamagedEvent(2), gauges(judged=1)]
    async with open_run(path, manifest()) as run:
        assert run.repairs == ()


async def test_a_start_that_was_killed_while_it_wrote_its_manifest_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "lock").write_text("1\n")
    (tmp_path / "run" / ".run.json.1-0a0b.new").write_text("{")
    async with open_run(tmp_path / "run", manifest()) as run:
        assert not run.is_resumed
    assert not list(tmp_path.glob("run/.*.new"))


async def test_opening_counts_the_records_that_are_there(tmp_path: Path) -> None:
    """As reading all of each of them does, but for those that the evaluator failed on, which are taken out."""
    async with open_run(tmp_path / "run", manifest()) as run:
        await run.append(
            [
                record("a", 0, Status.PASSED),
                record("a", 1, Status.WRONG_ANSWER),
                record("b", 0, Status.INFRASTRUCTURE_ERROR),
            ]
        )
    async with open_run(tmp_path / "run", manifest()) as run:
        tally = Tally()
        for each in run.records():
            tally.add(each)
        assert run.tally.statuses == tally.statuses
        assert run.tally.problems == tally.problems
        assert run.tally.samples == 2
