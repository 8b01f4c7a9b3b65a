"""A line of events.jsonl: every kind of every version is read, what a newer version wrote is told apart from damage."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sample_values import manifest

from taco_stream.events import (
    DamagedEvent,
    Event,
    PromptTooLong,
    RunFinished,
    RunGauges,
    SamplingRecommended,
    SlotsHalved,
    UnknownEvent,
    WeightsUnused,
)
from taco_stream.metrics import Tally
from taco_stream.report.summary import LongPrompt, Throughput, summarise
from taco_stream.report.timeline import Timeline
from taco_stream.store.event_line import KINDS, decode_event
from taco_stream.store.run_directory import RunFiles
from taco_stream.types import ComparisonMode

HERE = Path(__file__).parent
FIRST_VERSION = HERE / "version_1" / "events_of_every_kind.jsonl"
PRESENT_VERSION = HERE / "events_of_every_kind.jsonl"
THROUGHPUT = Throughput(
    wall_seconds=24.211262555999383,
    generating_seconds=24.06997040600072,
    judging_seconds=9.894308374008688,
    overlapped_seconds=9.894308374008688,
    completions=610,
    completion_tokens=23273,
    occupancy=0.8229977669060738,
    peak_memory_bytes=634159104,
)
CURVE = [  # seconds, and tokens per second since the line above
    (5.006, 1298.6),
    (10.021, 811.0),
    (14.19, 512.6),
    (19.197, 1298.6),
    (24.211, 811.0),
]


def read_lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines()


def holds(value: Any, part: Any) -> bool:
    """Whether an object has all that another one has, and perhaps more."""
    if isinstance(part, dict):
        return all(name in value and holds(value[name], each) for name, each in part.items())
    return value == part


def run_with(path: Path, events: bytes) -> RunFiles:
    path.mkdir()
    (path / "run.json").write_bytes(msgspec.json.encode(manifest()))
    (path / "events.jsonl").write_bytes(events)
    return RunFiles(path)


def kinds_in(path: Path) -> set[str]:
    return {json.loads(line)["kind"] for line in read_lines(path)}


def test_there_is_a_line_of_every_kind() -> None:
    assert kinds_in(PRESENT_VERSION) == set(KINDS)


def test_every_kind_of_the_first_version_is_known() -> None:
    later = ("server_", "node_", "run_merged", "device_dropped", "cores_divided")
    assert kinds_in(FIRST_VERSION) == {kind for kind in KINDS if not kind.startswith(later)}


@pytest.mark.parametrize("line", read_lines(PRESENT_VERSION), ids=lambda line: json.loads(line)["kind"])
def test_a_line_is_read_and_written_with_every_field_that_it_has(line: bytes) -> None:
    """No field has been renamed or lost since the line was written, and one that came later has a default.

    A new field needs no change of the lines; a line that has to be changed is one that a user's file may hold.
    """
    event = decode_event(line)
    assert type(event) is KINDS[json.loads(line)["kind"]]
    assert holds(json.loads(msgspec.json.encode(event)), json.loads(line))


@pytest.mark.parametrize("line", read_lines(FIRST_VERSION), ids=lambda line: json.loads(line)["kind"])
def test_a_line_of_the_first_version_is_read(line: bytes) -> None:
    written = json.loads(line)
    event = decode_event(line)
    assert type(event) is KINDS[written["kind"]]
    for name in ("at", "message", "problem_id"):
        assert getattr(event, name, "") == written.get(name, "")


def events_of_the_first_version() -> dict[str, Event | UnknownEvent]:
    return {json.loads(line)["kind"]: decode_event(line) for line in read_lines(FIRST_VERSION)}


def test_figures_of_the_first_version_are_fields() -> None:
    events = events_of_the_first_version()
    prompt, sampling, weights = (events[kind] for kind in ("prompt_too_long", "sampling_recommended", "weights_unused"))
    assert isinstance(prompt, PromptTooLong)
    assert (prompt.prompt_tokens, prompt.context_length, prompt.new_tokens_wanted) == (250, 256, 40)
    assert isinstance(sampling, SamplingRecommended)
    assert (sampling.temperature, sampling.top_k, sampling.top_p) == (0.7, 20, None)
    assert isinstance(weights, WeightsUnused)
    assert weights.weights == 1
    assert isinstance(events["slots_halved"], SlotsHalved)
    assert events["slots_halved"].slots is None


@pytest.mark.parametrize("kind", ["gauges", "run_finished"])
def test_every_figure_of_a_run_of_the_first_version_is_kept(kind: str) -> None:
    for line in read_lines(FIRST_VERSION):
        written, event = json.loads(line), decode_event(line)
        if written["kind"] != kind:
            continue
        assert isinstance(event, RunGauges | RunFinished)
        statistics = msgspec.to_builtins(event.statistics)
        evaluator = statistics.pop("evaluator")
        kept = {**statistics, **statistics.pop("engine"), "workers": evaluator["workers"]}
        kept["workers_busy"] = evaluator["busy"]
        assert written["figures"].items() <= kept.items()


def test_a_run_of_the_first_version_has_the_throughput_and_the_curve_that_version_gave_it() -> None:
    """What the first version's own `summarise` made of the same file, and the tokens of its gauges over time."""
    events = [decode_event(line) for line in read_lines(FIRST_VERSION)]
    summary = summarise(Tally(), events, mode=ComparisonMode.STRICT, ks=(1,))
    assert summary.throughput == THROUGHPUT
    assert summary.coverage.samples_expected == 336
    assert summary.coverage.long_prompts == (
        LongPrompt(problem_id="a", prompt_tokens=250, context_length=256, new_tokens_left=6),
    )
    timeline = Timeline()
    for event in events:
        timeline.add(event)
    assert [(each.until, each.tokens_per_second) for each in timeline.intervals()] == CURVE


def test_an_event_of_a_newer_version_is_read_as_unknown(tmp_path: Path) -> None:
    newer = b'{"kind":"moved","at":2.0,"figures":["of","another","shape"],"to":{"device":"cuda:1"}}\n'
    known = b'{"kind":"run_started","at":1.0,"field_of_a_newer_version":3}\n'
    started, moved = run_with(tmp_path / "run", known + newer).events()
    assert type(started) is KINDS["run_started"]
    assert moved == UnknownEvent("moved", 2.0)


@pytest.mark.parametrize(
    "line",
    [
        '{"kind":"prompt_too_long","at":1.0,"message":"long","problem_id":"a","prompt_tokens":250}',
        '{"kind":"prompt_too_long","at":1.0,"message":"long","problem_id":"a","figures":{"prompt_tokens":250}}',
        '{"kind":"gauges","at":1.0,"figures":{"elapsed_seconds":5}}',
        '{"kind":"run_started"}',
        '{"at":1.0}',
    ],
)
def test_a_figure_that_is_missing_makes_an_event_damaged_and_is_no_zero(tmp_path: Path, line: str) -> None:
    whole = '{"kind":"run_started","at":1.0}\n'
    _, damaged = run_with(tmp_path / "run", f"{whole}{line}\n".encode()).events()
    assert damaged == DamagedEvent(2)
