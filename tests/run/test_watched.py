"""A watched run shows what is in its files: counts from the journals, the rest from the newest gauge of this start."""

from pathlib import Path

import anyio
import msgspec
import pytest
from sample_values import completion, manifest, record, statistics

from taco_stream.events import RunFinished, RunGauges, RunResumed, RunStarted
from taco_stream.run.watched import WatchedRun
from taco_stream.statistics import EngineStatistics, EvaluatorStatistics
from taco_stream.store.run_directory import RunDirectory, open_run
from taco_stream.types import ComparisonMode, Status

JUDGING = {
    "engine": EngineStatistics(rows_busy=1, rows_total=4, completion_tokens=100),
    "evaluator": EvaluatorStatistics(workers=2, busy=1),
    "samples_expected": 10,
}


def gauge(at: float, **known: object) -> RunGauges:
    return RunGauges(at=at, statistics=statistics(**JUDGING | known))


def watched(path: Path) -> WatchedRun:
    return WatchedRun(path, ComparisonMode.STRICT)


async def write(run: RunDirectory, *entries: object) -> None:
    await run.append(entries)  # type: ignore[arg-type]


@pytest.mark.anyio
async def test_counts_follow_the_journals_between_gauges(tmp_path: Path) -> None:
    async with open_run(tmp_path / "run", manifest()) as run:
        await write(run, RunStarted(at=100.0), gauge(101.0, elapsed_seconds=1.0))
        seen = watched(run.path)
        seen.refresh(102.0)
        await write(
            run, *(completion("p", index) for index in range(3)), record("p", 0, Status.WRONG_ANSWER), record("p", 1)
        )
        for now in (103.0, 104.0):
            seen.refresh(now)
    shown = seen.snapshot(104.0)
    assert shown is not None
    assert (shown.statistics.generated, shown.statistics.judged, shown.pass_at_1) == (3, 2, 0.5)
    assert (shown.statistics.elapsed_seconds, shown.silent_seconds, shown.is_watched) == (4.0, 3.0, True)
    assert shown.statistics.evaluator == JUDGING["evaluator"]
    assert shown.seconds_left == pytest.approx(4.0 * 2)  # two in two seconds, eight to go


@pytest.mark.anyio
async def test_tokens_on_disk_are_added_to_those_of_the_gauge(tmp_path: Path) -> None:
    async with open_run(tmp_path / "run", manifest()) as run:
        first = msgspec.structs.replace(completion("p", 0), completion_tokens=60)
        await write(run, first, RunStarted(at=100.0), gauge(101.0))
        seen = watched(run.path)
        seen.refresh(102.0)
        await write(run, msgspec.structs.replace(completion("p", 1), completion_tokens=7))
        seen.refresh(103.0)
    shown = seen.snapshot(103.0)
    assert shown is not None
    assert shown.statistics.engine is not None
    assert shown.statistics.engine.completion_tokens == 107


@pytest.mark.anyio
async def test_samples_of_earlier_starts_are_not_of_this_one(tmp_path: Path) -> None:
    """Two were complete and one without a verdict; a record may stand without its completion."""
    async with open_run(tmp_path / "run", manifest()) as run:
        await write(run, completion("p", 0), record("p", 0), record("p", 1), completion("p", 2))
        await write(run, gauge(90.0, generated=4), RunResumed(at=100.0))
        seen = watched(run.path)
        seen.refresh(100.5)
        assert seen.snapshot(100.5) is None
        await write(run, gauge(101.0, samples_resumed=2, samples_left_over=1), completion("p", 3), record("p", 2))
        seen.refresh(102.0)
    shown = seen.snapshot(102.0)
    assert shown is not None
    assert (shown.statistics.generated, shown.statistics.judged) == (1, 1)


@pytest.mark.anyio
async def test_a_start_that_has_not_begun_is_not_the_one_before(tmp_path: Path) -> None:
    async with open_run(tmp_path / "run", manifest()) as run:
        ended = RunFinished(at=90.0, statistics=statistics(**JUDGING | {"judged": 1}))
        await write(run, record("p", 0), gauge(89.0), ended)
        seen = watched(run.path)
        seen.refresh(100.0)
        assert seen.snapshot(100.0) is None
        await write(run, RunResumed(at=101.0), gauge(102.0, samples_resumed=1), ended)
        seen.refresh(103.0)
        assert seen.snapshot(103.0) is not None


@pytest.mark.anyio
async def test_the_time_left_waits_for_a_suspended_run(tmp_path: Path) -> None:
    async with open_run(tmp_path / "run", manifest()) as run:
        seen = watched(run.path)
        for second in range(5):
            await write(run, record("p", second), gauge(100.0 + second, judged=second + 1))
            seen.refresh(100.0 + second)
        before = seen.snapshot(104.0)
        for second in range(5, 60):
            seen.refresh(100.0 + second)
        shown = seen.snapshot(160.0)
        assert before is not None
        assert shown is not None
        assert before.seconds_left == pytest.approx(5.0)
        assert (shown.silent_seconds, shown.seconds_left) == (56.0, None)
        await write(run, record("p", 5), gauge(160.0, judged=6))
        for second in (60, 61, 62):
            await write(run, record("p", second), gauge(100.0 + second, judged=second - 53))
            seen.refresh(100.0 + second)
        after = seen.snapshot(162.0)
        assert after is not None
        assert after.seconds_left is not None
        assert after.seconds_left < 4.0  # one is to go; with the sixty seconds it would be eight


@pytest.mark.anyio
async def test_lines_that_were_taken_out_are_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "run"
    async with open_run(path, manifest()) as run:
        await write(run, record("p", 0), record("p", 1, Status.INFRASTRUCTURE_ERROR), gauge(100.0))
        seen = watched(path)
        seen.refresh(101.0)
    assert seen.tally.samples == 2
    async with open_run(path, manifest()) as run:
        await write(run, RunResumed(at=102.0))
        seen.refresh(103.0)
    assert seen.tally.samples == 1


def test_damaged_events_do_no_harm(tmp_path: Path) -> None:
    async def make() -> None:
        async with open_run(tmp_path / "run", manifest()) as run:
            await write(run, record("p", 0), gauge(100.0))

    anyio.run(make)
    with (tmp_path / "run" / "events.jsonl").open("ab") as file:
        file.write(b"\xff\n")
    seen = watched(tmp_path / "run")
    seen.refresh(101.0)
    assert seen.snapshot(101.0) is not None
