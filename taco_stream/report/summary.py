"""The summary of a run: everything `summary.json`, the text report and the HTML report say, computed once."""

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import TypeVar

import msgspec

from taco_stream.events import (
    CoresDivided,
    DamagedEvent,
    DeviceDropped,
    PromptTooLong,
    RunFinished,
    RunGauges,
    RunResumed,
    RunStarted,
    UnknownEvent,
    WorkerRestarted,
    WrittenEvent,
)
from taco_stream.metrics import Estimate, Tally, settled_ks
from taco_stream.statistics import EngineStatistics, RunStatistics, Tail
from taco_stream.types import ComparisonMode

T = TypeVar("T")

NAMES_SHOWN = 10


class Stage(StrEnum):
    """The two stages of a run that take time."""

    GENERATING = "generating"
    JUDGING = "judging"


class Overlap(msgspec.Struct, frozen=True, kw_only=True):
    """How the stages shared the wall time of the run.

    The wall time is the sum of five parts: the start-up, in which nothing was generated or judged yet; one stage alone,
    both, or neither of them at work. `bound_by` is the stage that was busy for longer, and `efficiency` the share of
    the time after the start-up that it was: 1 if the other stage cost no time at all. A stage's idle seconds are the
    gaps between its first sample and its last. In `held_back_seconds` completions waited for room before the evaluator,
    so that generating may have paused.
    """

    startup_seconds: float
    generating_alone_seconds: float
    both_seconds: float
    judging_alone_seconds: float
    neither_seconds: float
    generating_idle_seconds: float
    judging_idle_seconds: float
    held_back_seconds: float
    bound_by: Stage
    efficiency: float


class Throughput(msgspec.Struct, frozen=True, kw_only=True):
    """Time and speed over all starts of the run; of a start that was killed, up to its last gauges.

    `generating_seconds` and `judging_seconds` are wall time with that stage busy, `overlapped_seconds` with both. The
    first token and verdict, and the tail, are those of the newest start that had any. What an older version did not
    note is None. `core_divisions` says how the newest start divided the cores, and why: its last ten decisions.
    """

    wall_seconds: float
    generating_seconds: float
    judging_seconds: float
    overlapped_seconds: float
    completions: int
    completion_tokens: int
    reused: int = 0
    occupancy: float | None
    peak_memory_bytes: int
    overlap: Overlap | None = None
    first_token_seconds: float | None = None
    first_verdict_seconds: float | None = None
    tail: Tail | None = None
    core_divisions: tuple[str, ...] = ()

    @property
    def tokens_per_second(self) -> float:
        return self.completion_tokens / self.generating_seconds if self.generating_seconds else 0.0


class LongPrompt(msgspec.Struct, frozen=True, kw_only=True):
    """A problem whose prompt leaves fewer new tokens than were asked for; with none left it was not generated."""

    problem_id: str
    prompt_tokens: int
    context_length: int
    new_tokens_left: int


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """How far the records cover the samples asked for: counts, and the first ten names of each kind of gap.

    `samples_expected` is the newest start's total, None if no start has counted it yet. A problem
    is incomplete if it has fewer samples than the one with most. `long_prompts` are all there are, not ten.
    `fenced_programs` counts chat answers that were taken for programs unchanged.
    """

    problems: int
    samples: int
    samples_expected: int | None
    incomplete_problems: int
    incomplete_names: tuple[str, ...]
    duplicated_samples: int
    unscored_samples: int
    unscored_names: tuple[str, ...]
    long_prompts: tuple[LongPrompt, ...] = ()
    fenced_programs: int = 0


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """One run under the comparison mode that counts; `other_modes` holds the overall scores of the others.

    `unknown_events` counts, by kind, the events of a newer version, which were left out; `damaged_events` are the first
    lines of `events.jsonl` that cannot be read, ten at most. `worker_restarts` counts generation workers that died or
    hung and were replaced, and `dropped_devices` has a sentence for each device that a start went on without.
    """

    mode: ComparisonMode
    pass_at_k: Mapping[int, Estimate]
    by_difficulty: Mapping[str, Mapping[int, Estimate]]
    by_skill: Mapping[str, Mapping[int, Estimate]]
    other_modes: Mapping[ComparisonMode, Mapping[int, Estimate]]
    statuses: Mapping[str, int]
    extractions: Mapping[str, int]
    finish_reasons: Mapping[str, int]
    coverage: Coverage
    throughput: Throughput
    unknown_events: Mapping[str, int] = {}
    damaged_events: tuple[int, ...] = ()
    worker_restarts: int = 0
    dropped_devices: tuple[str, ...] = ()


def reported_ks(tally: Tally, mode: ComparisonMode, asked: Sequence[int]) -> tuple[int, ...]:
    """The k that a run is reported by: those it was started with or the usual ones, as far as there are samples."""
    most = max((count.scored for count in tally.problems[mode].values()), default=0)
    return tuple(k for k in settled_ks(asked, max(most, *asked, 1)) if k <= most)


def summarise(tally: Tally, events: Iterable[WrittenEvent], *, mode: ComparisonMode, ks: Sequence[int]) -> Summary:
    """Sums up the counts, and the run's time from its events.

    A problem with fewer scored samples than the largest k stays out of that k and is named as incomplete.
    """
    totals = EventTotals()
    for event in events:
        totals.add(event)
    return sum_up_totals(tally, totals, mode=mode, ks=ks)


def sum_up_totals(tally: Tally, totals: "EventTotals", *, mode: ComparisonMode, ks: Sequence[int]) -> Summary:
    """The same from totals of the events, for callers that read events as they come."""
    scores = tally.scores(mode, ks)
    return Summary(
        mode=mode,
        pass_at_k=scores.overall,
        by_difficulty=scores.by_difficulty,
        by_skill=scores.by_skill,
        other_modes={other: tally.scores(other, ks).overall for other in ComparisonMode if other is not mode},
        statuses=dict(tally.statuses[mode].most_common()),
        extractions=dict(tally.extractions.most_common()),
        finish_reasons=dict(tally.finish_reasons.most_common()),
        coverage=_coverage(tally, mode, totals),
        throughput=totals.throughput(),
        unknown_events=dict(totals.unknown),
        damaged_events=tuple(totals.damaged),
        worker_restarts=totals.worker_restarts,
        dropped_devices=tuple(totals.dropped_devices),
    )


def _coverage(tally: Tally, mode: ComparisonMode, totals: "EventTotals") -> Coverage:
    counts = tally.problems[mode]
    most = max((count.samples for count in counts.values()), default=0)
    incomplete = [name for name, count in counts.items() if count.samples < most]
    unscored = [name for name, count in counts.items() if count.unscored]
    return Coverage(
        problems=len(counts),
        samples=tally.samples,
        samples_expected=totals.samples_expected,
        incomplete_problems=len(incomplete),
        incomplete_names=tuple(incomplete[:NAMES_SHOWN]),
        duplicated_samples=tally.duplicates,
        unscored_samples=sum(count.unscored for count in counts.values()),
        unscored_names=tuple(unscored[:NAMES_SHOWN]),
        long_prompts=tuple(totals.long_prompts.values()),
        fenced_programs=tally.fenced_programs,
    )


class EventTotals:
    """The totals of a run's events, added one at a time.

    Each start counts from zero in its gauges; its last ones count for it, even if it was killed after them.
    """

    def __init__(self) -> None:
        self.samples_expected: int | None = None
        self.long_prompts: dict[str, LongPrompt] = {}
        self.unknown: Counter[str] = Counter()
        self.damaged: list[int] = []
        self.worker_restarts = 0
        self.dropped_devices: list[str] = []
        self._core_divisions: deque[str] = deque(maxlen=NAMES_SHOWN)
        self._ended: list[RunStatistics] = []
        self._current: RunStatistics | None = None
        self._peak_memory_bytes = 0

    def add(self, event: WrittenEvent) -> None:
        """Takes the next event."""
        match event:
            case RunStarted() | RunResumed():
                self._ended = self._starts()
                self._current = None
                self._core_divisions.clear()
            case CoresDivided(message=message):
                self._core_divisions.append(message)
            case RunGauges(statistics=statistics) | RunFinished(statistics=statistics):
                self._current = statistics
                # Counted while the run goes on, so not known at first; until then an earlier start's number holds.
                self.samples_expected = statistics.samples_expected or self.samples_expected
                # Each start measures a peak of its own.
                self._peak_memory_bytes = max(self._peak_memory_bytes, statistics.peak_memory_bytes)
            case PromptTooLong():
                self.long_prompts[event.problem_id] = LongPrompt(
                    problem_id=event.problem_id,
                    prompt_tokens=event.prompt_tokens,
                    context_length=event.context_length,
                    new_tokens_left=event.new_tokens_left,
                )
            case WorkerRestarted():
                self.worker_restarts += 1
            case DeviceDropped(message=message) if len(self.dropped_devices) < NAMES_SHOWN:
                self.dropped_devices.append(message)
            case UnknownEvent(kind=kind):
                self.unknown[kind] += 1
            case DamagedEvent(line=line) if len(self.damaged) < NAMES_SHOWN:
                self.damaged.append(line)

    def throughput(self) -> Throughput:
        """The sums over all starts."""
        starts = self._starts()
        engines = [each.engine or EngineStatistics() for each in starts]
        available = sum(engine.row_seconds_available for engine in engines)
        return Throughput(
            wall_seconds=sum(each.elapsed_seconds for each in starts),
            generating_seconds=sum(each.generating_seconds for each in starts),
            judging_seconds=sum(each.judging_seconds for each in starts),
            overlapped_seconds=sum(each.overlapped_seconds for each in starts),
            completions=sum(each.generated for each in starts),
            completion_tokens=sum(engine.completion_tokens for engine in engines),
            reused=sum(each.reused for each in starts),
            occupancy=sum(engine.row_seconds for engine in engines) / available if available else None,
            peak_memory_bytes=self._peak_memory_bytes,
            overlap=_overlap([each for each in starts if each.startup_seconds is not None]),
            first_token_seconds=_newest(each.first_token_seconds for each in starts),
            first_verdict_seconds=_newest(each.first_verdict_seconds for each in starts),
            tail=_newest(each.tail for each in starts),
            core_divisions=tuple(self._core_divisions),
        )

    def _starts(self) -> list[RunStatistics]:
        return self._ended if self._current is None else [*self._ended, self._current]


def _overlap(starts: Sequence[RunStatistics]) -> Overlap | None:
    """How the stages shared the time of starts that did something; None without one."""
    wall = sum(each.elapsed_seconds for each in starts)
    startup = sum(each.startup_seconds or 0.0 for each in starts)
    generating = sum(each.generating_seconds for each in starts)
    judging = sum(each.judging_seconds for each in starts)
    both = sum(each.overlapped_seconds for each in starts)
    if wall <= startup:
        return None
    return Overlap(
        startup_seconds=startup,
        generating_alone_seconds=generating - both,
        both_seconds=both,
        judging_alone_seconds=judging - both,
        neither_seconds=wall - startup - (generating + judging - both),
        generating_idle_seconds=sum(each.generating_idle_seconds for each in starts),
        judging_idle_seconds=sum(each.judging_idle_seconds for each in starts),
        held_back_seconds=sum(each.held_back_seconds for each in starts),
        bound_by=Stage.GENERATING if generating >= judging else Stage.JUDGING,
        efficiency=max(generating, judging) / (wall - startup),
    )


def _newest(values: Iterable[T | None]) -> T | None:
    """The last value that is there."""
    return next((value for value in reversed(list(values)) if value is not None), None)
