"""Events: one struct for each kind, nothing undocumented, and the reference says what the docstrings say."""

import io
import runpy
from pathlib import Path
from typing import get_args

import msgspec
import pytest

import taco_stream
from taco_stream.engine.protocol import EventFrame, FromWorker
from taco_stream.events import EngineEvent, Event
from taco_stream.workers.frames import FrameDecoder, encode_frame

ROOT = Path(__file__).parents[1]
EVENTS = get_args(Event)


def test_the_reference_is_what_the_docstrings_say() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "make_events.py"))["reference"]()
    assert (ROOT / "docs" / "events.md").read_text(encoding="utf-8") == made, "stale: run python docs/make_events.py"


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_an_event_says_when_it_is_sent_and_is_public(kind: type[msgspec.Struct]) -> None:
    assert (kind.__doc__ or "").startswith("Sent ")
    assert kind.__name__ in taco_stream.__all__
    assert f"### `{kind.__struct_config__.tag}`" in (ROOT / "docs" / "events.md").read_text(encoding="utf-8")


def engine_events() -> list[EngineEvent]:
    lines = (ROOT / "tests" / "store" / "events_of_every_kind.jsonl").read_bytes().splitlines()
    return [
        event for event in (msgspec.json.decode(line, type=Event) for line in lines) if isinstance(event, EngineEvent)
    ]


@pytest.mark.parametrize("event", engine_events(), ids=lambda event: type(event).__name__)
def test_an_event_arrives_from_a_worker_as_it_was_sent(event: EngineEvent) -> None:
    decoder: FrameDecoder[FromWorker] = FrameDecoder(FromWorker)
    assert decoder.read(io.BytesIO(encode_frame(EventFrame(event)))) == EventFrame(event)


def test_every_kind_of_event_is_in_the_union() -> None:
    """One that is not could be sent, and could not be read."""
    defined = {
        value
        for value in vars(taco_stream.events).values()
        if isinstance(value, type) and issubclass(value, msgspec.Struct) and value.__name__[0] != "_"
    }
    defined -= {taco_stream.events.UnknownEvent, taco_stream.events.DamagedEvent, taco_stream.events.RunStatistics}
    assert defined == set(EVENTS)
