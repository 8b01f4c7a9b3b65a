"""A record as a line of `results.jsonl`: the execution once, a status per mode, and how their verdicts differ.

The comparison modes look at the same execution of nearly every program, so their verdicts differ in the status or not
at all. A line of version 2 holds the observations of the first mode once, under `observed`. `differing` names for
another mode those fields that it saw differently, with its own values, and is left out if there are none; so are all
fields that have their default. Seconds have six decimals, a microsecond.

Lines of version 1 hold a whole verdict for each mode, under `verdicts`. They are read and never rewritten, so the file
of a run that was begun by an older version may have both.
"""

from collections.abc import Mapping
from operator import attrgetter
from typing import Any

import msgspec

from taco_stream.errors import StoreError
from taco_stream.sample_set import SampleIndex
from taco_stream.types import (
    ComparisonMode,
    ExtractionMethod,
    FinishReason,
    Observations,
    Record,
    SampleKey,
    Status,
    Verdict,
)

RECORD_VERSION = 2
"""Raised whenever a reader of the old lines would misread the new ones."""


class _Outcome(msgspec.Struct, frozen=True):
    """The part of a verdict that says how it came out."""

    status: Status


class RecordLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line of either version; of `observed` and `verdicts` it has one."""

    problem_id: str
    sample_index: int
    statuses: Mapping[ComparisonMode, Status] = {}
    program: str | None
    extraction: ExtractionMethod
    finish_reason: FinishReason
    observed: Observations = Observations()
    differing: Mapping[ComparisonMode, Mapping[str, Any]] = {}
    verdicts: Mapping[ComparisonMode, Verdict] | None = None
    difficulty: str = "UNKNOWN"
    skills: tuple[str, ...] = ()
    prompt_tokens: int = 0
    completion_tokens: int = 0
    generate_seconds: float = 0.0
    judge_seconds: float = 0.0
    engine: str = ""
    cut_before: int = 0
    cut_after: int = 0
    version: int = 1


class JudgedLine(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The part of a line of either version that scores are made of; the rest is skipped, which takes half the time."""

    problem_id: str
    sample_index: SampleIndex
    statuses: Mapping[ComparisonMode, Status] = {}
    program: str | None
    extraction: ExtractionMethod
    finish_reason: FinishReason
    difficulty: str = "UNKNOWN"
    skills: tuple[str, ...] = ()
    completion_tokens: int = 0
    verdicts: Mapping[ComparisonMode, _Outcome] = {}
    version: int = 1

    @property
    def key(self) -> SampleKey:
        """Names the sample."""
        return SampleKey(self.problem_id, self.sample_index)

    @property
    def has_failed(self) -> bool:
        """Whether the evaluator failed, so that the sample has not been judged."""
        return Status.INFRASTRUCTURE_ERROR in self.statuses.values()


class _Fields:
    """The fields of a struct that a line has as well, read together; those that are floats are seconds."""

    def __init__(self, kind: type[msgspec.Struct], *, but: str = "") -> None:
        fields = [field for field in msgspec.structs.fields(kind) if field.name != but]
        self.names = tuple(field.name for field in fields)
        self.values = attrgetter(*self.names)
        self._seconds = tuple(field.name for field in fields if field.type is float)

    def on_disk(self, value: msgspec.Struct) -> dict[str, Any]:
        """The fields as a line has them: rounded, and without the seconds that are zero, left to their defaults."""
        fields = dict(zip(self.names, self.values(value), strict=True))
        for name in self._seconds:
            # `omit_defaults` leaves out a default that is the very object, which a zero out of a sum is not.
            if seconds := round(fields.pop(name), 6):
                fields[name] = seconds
        return fields


_SAME = _Fields(Record, but="verdicts")
_OBSERVED = _Fields(Observations)
_NO_VERDICT = Verdict(status=Status.INFRASTRUCTURE_ERROR)


def record_to_line(record: Record) -> RecordLine:
    """The record as a line of the newest version."""
    first, *others = record.verdicts.values() or (_NO_VERDICT,)
    seen = _OBSERVED.values(first)
    # Nearly always the modes saw the same, so no verdict but the first is taken apart.
    is_one = all(_OBSERVED.values(other) == seen for other in others)
    observed = _observations(first)
    return RecordLine(
        **_SAME.on_disk(record),
        statuses=record.statuses,
        observed=observed,
        differing={} if is_one else _differing(observed, record.verdicts),
        version=RECORD_VERSION,
    )


def line_to_record(line: RecordLine) -> Record:
    """The record in a line. Raises `StoreError` if a newer version wrote it, or it contradicts itself."""
    check_version(line)
    verdicts = line.verdicts
    if verdicts is None:
        verdicts = {mode: _verdict(line, mode, status) for mode, status in line.statuses.items()}
    return Record(**{name: getattr(line, name) for name in _SAME.names}, verdicts=verdicts)


def read_judged(line: JudgedLine) -> JudgedLine:
    """The line with its statuses in the place of the newest version. Raises what `line_to_record` does."""
    if line.version == 1:
        return msgspec.structs.replace(line, statuses={mode: each.status for mode, each in line.verdicts.items()})
    check_version(line)
    return line


def check_version(line: RecordLine | JudgedLine) -> None:
    """Raises `StoreError` if a newer version wrote the line."""
    if line.version > RECORD_VERSION:
        raise StoreError(
            f"the record of sample {line.sample_index} of {line.problem_id} is of version {line.version}: "
            "read it with the taco-stream that wrote it, or a newer one"
        )


def _observations(verdict: Verdict) -> Observations:
    return Observations(**_OBSERVED.on_disk(verdict))


def _differing(
    first: Observations, verdicts: Mapping[ComparisonMode, Verdict]
) -> dict[ComparisonMode, Mapping[str, Any]]:
    """For each mode that saw something else than the first, its own values of those fields."""
    differing: dict[ComparisonMode, Mapping[str, Any]] = {}
    for mode, verdict in verdicts.items():
        own = _observations(verdict)
        if fields := {name: value for name in _OBSERVED.names if (value := getattr(own, name)) != getattr(first, name)}:
            differing[mode] = fields
    return differing


def _verdict(line: RecordLine, mode: ComparisonMode, status: Status) -> Verdict:
    values = {name: getattr(line.observed, name) for name in _OBSERVED.names}
    if not (differing := line.differing.get(mode)):
        return Verdict(status=status, **values)
    try:
        return msgspec.convert({**values, **differing, "status": status}, Verdict)
    except msgspec.ValidationError as error:
        raise StoreError(
            f"the record of sample {line.sample_index} of {line.problem_id} is broken under {mode}: {error}"
        ) from error
