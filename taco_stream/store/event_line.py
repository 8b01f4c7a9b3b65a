"""A line of `events.jsonl`: an event as it is, and the form of the first version.

A line is the JSON of an event: its `kind`, then its fields. The first version had no fields but `at`, `problem_id` and
`message`; whatever numbers belonged to an event stood under `figures`, those of a run in one flat list. An event of a
kind that is not known here was written by a newer version. It is read as an `UnknownEvent`, for readers to count:
no event changes a sample's score.
"""

from typing import Any, get_args

import msgspec

from taco_stream.events import Event, RunFinished, RunGauges, UnknownEvent
from taco_stream.statistics import EngineStatistics, EvaluatorStatistics, RunStatistics

KINDS: dict[Any, type[Event]] = {each.__struct_config__.tag: each for each in get_args(Event)}
"""The type of each kind of event."""


class _Head(msgspec.Struct):
    """The fields that decide how the rest of a line is read."""

    kind: str
    at: float
    figures: Any = None


class _Figures(msgspec.Struct, kw_only=True):
    """The figures of a run in the first version, with zeros for an engine or an evaluator that the run did without.

    `samples_expected` was 0 until it was counted. The row seconds came with the last event of a start alone.
    """

    elapsed_seconds: float
    generated: int
    judged: int
    completions_waiting: int
    generating_seconds: float
    judging_seconds: float
    overlapped_seconds: float
    rows_busy: int
    rows_total: int
    samples_waiting: int
    prompt_tokens: int
    completion_tokens: int
    workers_busy: int
    workers: int
    samples_expected: int = 0
    peak_memory_bytes: int = 0
    row_seconds: float = 0.0
    row_seconds_available: float = 0.0

    def statistics(self) -> RunStatistics:
        """The same in the present form; figures that the first version did not write are zero."""
        return RunStatistics(
            elapsed_seconds=self.elapsed_seconds,
            samples_expected=self.samples_expected or None,
            samples_resumed=0,
            samples_left_over=0,
            generated=self.generated,
            judged=self.judged,
            infrastructure_errors=0,
            completions_waiting=self.completions_waiting,
            draining=False,
            loading=False,
            generating_seconds=self.generating_seconds,
            judging_seconds=self.judging_seconds,
            overlapped_seconds=self.overlapped_seconds,
            peak_memory_bytes=self.peak_memory_bytes,
            engine=EngineStatistics(
                rows_busy=self.rows_busy,
                rows_total=self.rows_total,
                samples_waiting=self.samples_waiting,
                prompt_tokens=self.prompt_tokens,
                completion_tokens=self.completion_tokens,
                row_seconds=self.row_seconds,
                row_seconds_available=self.row_seconds_available,
            ),
            evaluator=EvaluatorStatistics(workers=self.workers, busy=self.workers_busy),
        )


_HEAD = msgspec.json.Decoder(_Head)
_EVENT: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


def decode_event(line: bytes) -> Event | UnknownEvent:
    """The event that a line holds. Raises `msgspec.MsgspecError` if the line is broken."""
    head = _HEAD.decode(line)
    kind = KINDS.get(head.kind)
    if kind is None:
        return UnknownEvent(head.kind, head.at)
    if head.figures is None:
        return _EVENT.decode(line)
    fields = msgspec.json.decode(line, type=dict[str, Any])
    figures = msgspec.convert(fields.pop("figures"), dict[str, float])
    # Whole numbers had become floats on their way from a worker.
    numbers = {name: int(figure) if figure.is_integer() else figure for name, figure in figures.items()}
    if kind in (RunGauges, RunFinished):
        fields["statistics"] = msgspec.to_builtins(msgspec.convert(numbers, _Figures).statistics())
    else:
        fields |= numbers
    return msgspec.convert(fields, kind)
