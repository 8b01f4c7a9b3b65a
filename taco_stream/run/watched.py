"""A run of another process, from its files alone: what its own view would show.

Every sample is on disk the moment that it is generated or judged, so counts and score are those of the journals. What
only the run itself knows (its batch, its workers, how many samples there are to be) is in the gauges, at most five
seconds old. Nothing is locked and nothing is written: the run does not notice.
"""

from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec

from taco_stream.events import Event, RunFinished, RunGauges, RunResumed, RunStarted, UnknownEvent
from taco_stream.metrics import Tally
from taco_stream.run.pace import Pace, count_done, count_total
from taco_stream.run.view import SILENT_SECONDS, Snapshot
from taco_stream.sample_set import MAX_SAMPLES, SampleSet
from taco_stream.statistics import RunStatistics
from taco_stream.store.journal_tail import JournalTail
from taco_stream.store.record_line import RecordLine, line_to_record
from taco_stream.store.run_directory import COMPLETIONS, EVENTS, RESULTS, decode_if_whole
from taco_stream.types import ComparisonMode, SampleKey


class _Generated(msgspec.Struct):
    """The part of a completion's line that is counted."""

    problem_id: str
    sample_index: Annotated[int, msgspec.Meta(ge=0, lt=MAX_SAMPLES)]
    completion_tokens: int = 0


class _Gauge(NamedTuple):
    """The newest gauge of the present start: when it was taken, and the tokens on disk when it was read."""

    at: float
    statistics: RunStatistics
    tokens: int


class WatchedRun:
    """Call `refresh` every second or so, and `snapshot` whenever there is somebody to look."""

    def __init__(self, path: Path, mode: ComparisonMode) -> None:
        self.path = path
        self._mode = mode
        self._pace = Pace()
        self._begin()

    def _begin(self) -> None:
        self.tally = Tally()
        self._completions = JournalTail(self.path / COMPLETIONS, msgspec.json.Decoder(_Generated).decode)
        self._records = JournalTail(self.path / RESULTS, msgspec.json.Decoder(RecordLine).decode)
        self._events = JournalTail(self.path / EVENTS, decode_if_whole)
        self._generated = SampleSet()
        self._tokens = 0
        self._gauge: _Gauge | None = None
        self._has_read = False

    def refresh(self, now: float) -> None:
        """Counts what was appended, at a time in seconds since the epoch. Raises `StoreError` at a broken line."""
        if any(tail.was_replaced() for tail in (self._completions, self._records, self._events)):
            self._begin()  # a start of the run took lines out
        for completion in self._completions.new_lines():
            self._generated.add(SampleKey(completion.value.problem_id, completion.value.sample_index))
            self._tokens += completion.value.completion_tokens
        for line in self._records.new_lines():
            record = line_to_record(line.value)
            self.tally.add(record)
            self._generated.add(record.key)
        for event in self._events.new_lines():
            self._take(event.value)
        self._has_read = True
        if self._gauge is not None:
            statistics = self._statistics(self._gauge, now)
            # Time not observed does not count: a silent run is taken for suspended.
            if now - self._gauge.at < SILENT_SECONDS:
                self._pace.observe(count_done(statistics), now, is_working=not statistics.loading)

    def snapshot(self, now: float) -> Snapshot | None:
        """The run as it was at the last refresh; None before the first gauge of its present start."""
        if self._gauge is None:
            return None
        statistics, silent_seconds = self._statistics(self._gauge, now), now - self._gauge.at
        seconds_left = self._pace.seconds_left(count_total(statistics)) if silent_seconds < SILENT_SECONDS else None
        return Snapshot(
            statistics=statistics,
            pass_at_1=self.tally.pass_at_1(self._mode),
            taken_at=now,
            seconds_left=seconds_left,
            is_watched=True,
            silent_seconds=silent_seconds,
        )

    def _take(self, event: Event | UnknownEvent | None) -> None:
        match event:
            case RunStarted() | RunResumed():
                self._gauge = None
            case RunFinished() if not self._has_read:
                self._gauge = None  # of an earlier start: the present one has not begun yet
            case RunGauges(statistics=statistics) | RunFinished(statistics=statistics):
                self._gauge = _Gauge(event.at, statistics, self._tokens)

    def _statistics(self, gauge: _Gauge, now: float) -> RunStatistics:
        """The gauge's, with what has come to the disk since."""
        then = gauge.statistics
        generated = len(self._generated) - then.samples_resumed - then.samples_left_over
        engine = then.engine
        if engine is not None:
            tokens = engine.completion_tokens + self._tokens - gauge.tokens
            engine = msgspec.structs.replace(engine, completion_tokens=tokens)
        return msgspec.structs.replace(
            then,
            elapsed_seconds=then.elapsed_seconds + max(0.0, now - gauge.at),
            generated=max(then.generated, generated),
            judged=max(then.judged, self.tally.samples - then.samples_resumed),
            engine=engine,
        )
