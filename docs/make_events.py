"""Writes `docs/events.md`, the reference of `events.jsonl`, from the docstrings of the events and their fields.

    python docs/make_events.py

`tests/test_events.py` fails while the page on disk differs from what this makes.
"""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import get_args, get_origin

import msgspec

from taco_stream import EngineStatistics, EvaluatorStatistics, RunStatistics, events
from taco_stream.statistics import DeviceStatistics, Tail

PAGE = Path(__file__).parent / "events.md"

INTRODUCTION = """\
# Events

<!-- Made by `python docs/make_events.py` from the docstrings of `taco_stream.events`: change those. -->

What happens to a run that is neither a completion nor a record is a line of `RUN/events.jsonl`, in the order in which
it was reported. A line is a JSON object with `kind`, the time `at` in seconds since the epoch, mostly `message`, a
sentence for a person, and the fields listed below. From Python each kind is a class (`from taco_stream import
WorkerRestarted`); `LocalEngine(…, events=…)` and `Evaluator(…, events=…)` send theirs into a stream.

In lines of the first version every number stood under `figures`, those of `gauges` and `run_finished` in one flat
object; such files are read as they always were. A kind that a newer version added is left out of a report, which says
so and counts it.
"""

SECTIONS = {
    "The run": (
        events.RunStarted,
        events.RunResumed,
        events.RunMerged,
        events.RunGauges,
        events.RunFinished,
        events.CoresDivided,
    ),
    "Generation": get_args(events.EngineEvent),
    "Judging": get_args(events.EvaluatorEvent),
    "Cluster": get_args(events.ClusterEvent),
}

STATISTICS = (RunStatistics, EngineStatistics, EvaluatorStatistics, Tail, DeviceStatistics)


def reference() -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    for section, kinds in SECTIONS.items():
        parts.append(f"## {section}\n")
        parts += [_entry(f"`{kind.__struct_config__.tag}`", kind) for kind in kinds]
    parts.append("## Statistics\n")
    parts += [_entry(kind.__name__, kind) for kind in STATISTICS]
    return "\n".join(parts)


def _entry(title: str, kind: type[msgspec.Struct]) -> str:
    own = [field for field in msgspec.structs.fields(kind) if field.name not in ("at", "message")]
    fields = ", ".join(f"`{field.name}` ({_type_name(field.type)})" for field in own)
    name = "" if kind in STATISTICS else f" (`{kind.__name__}`)"
    lines = [f"### {title}{name}", "", inspect.cleandoc(kind.__doc__ or "")]
    return "\n".join([*lines, *(["", f"Fields: {fields}."] if fields else []), ""])


def _type_name(kind: object) -> str:
    """A type in the words of JSON."""
    names = {int: "integer", float: "number", str: "text", bool: "boolean", type(None): "null"}
    if get_origin(kind) is tuple:
        return f"list of {_type_name(get_args(kind)[0])}"
    if get_origin(kind) is Mapping:
        return "object"
    if arguments := get_args(kind):
        return " or ".join(_type_name(each) for each in arguments)
    return names.get(kind) or f"[{kind.__name__}](#{kind.__name__.lower()})"  # type: ignore[call-overload,attr-defined,no-any-return]


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
