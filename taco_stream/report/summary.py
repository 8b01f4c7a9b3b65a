"""The summary of a run: everything `summary.json`, the text report and the HTML report say, computed once."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from taco_stream.metrics import Estimate, Tally
from taco_stream.types import ComparisonMode, Event

NAMES_SHOWN = 10

STARTS = ("run_started", "run_resumed")
"""The kinds of event that begin a start."""

GAUGES = ("gauges", "run_finished")
"""The kinds of event whose figures say how far a start has come."""


LONG_PROMPT = "prompt_too_long"
"""The kind of event that names a problem whose prompt leaves fewer new tokens than were asked for."""


class Throughput(msgspec.Struct, frozen=True, kw_only=True):
    """Time and speed over all starts of the run; of a start that was killed, up to its last gauges.

    `generating_seconds` and `judging_seconds` are wall time with that stage busy, `overlapped_seconds` with both.
    """

    wall_seconds: float
    generating_seconds: float
    judging_seconds: float
    overlapped_seconds: float
    completions: int
    completion_tokens: int
    occupancy: float | None
    peak_memory_bytes: int

    @property
    def tokens_per_second(self) -> float:
        """Generated tokens per second of generating."""
        return self.completion_tokens / self.generating_seconds if self.generating_seconds else 0.0


class LongPrompt(msgspec.Struct, frozen=True, kw_only=True):
    """A problem whose prompt leaves fewer new tokens than were asked for; with none left it was not generated."""

    problem_id: str
    prompt_tokens: int
    context_length: int
    new_tokens_left: int


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """How far the records cover what was asked: counts, and the first ten names of each kind of gap.

    `samples_expected` is what the newest start meant to have in the end, None if none has counted it yet. A problem
    is incomplete if it has fewer samples than the one with most. `long_prompts` are all there are, not ten.
    `fenced_programs` counts chat answers that were taken for programs as they stand.
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
    """One run under the comparison mode that counts; `other_modes` holds the overall scores of the others."""

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


def summarise(tally: Tally, events: Iterable[Event], *, mode: ComparisonMode, ks: Sequence[int]) -> Summary:
    """Sums up the counts, and the run's time from its events.

    A problem with fewer scored samples than the largest k stays out of that k and is named as incomplete.
    """
    scores = tally.scores(mode, ks)
    totals = _EventTotals()
    for event in events:
        totals.add(event)
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
    )


def _coverage(tally: Tally, mode: ComparisonMode, totals: "_EventTotals") -> Coverage:
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


class _EventTotals:
    """The totals of a run's events, added one at a time.

    Each start counts from zero in its gauges; its last ones stand for it, also if it was killed after them.
    """

    def __init__(self) -> None:
        self.samples_expected: int | None = None
        self.long_prompts: dict[str, LongPrompt] = {}
        self._ended: Counter[str] = Counter()
        self._current: Mapping[str, float] = {}
        self._peak_memory_bytes = 0.0

    def add(self, event: Event) -> None:
        """Takes the next event."""
        if event.kind in STARTS:
            self._ended.update(self._current)
            self._current = {}
        elif event.kind in GAUGES:
            self._current = event.figures
            self.samples_expected = int(event.figures.get("samples_expected", 0)) or self.samples_expected
            self._peak_memory_bytes = max(self._peak_memory_bytes, event.figures.get("peak_memory_bytes", 0.0))
        elif event.kind == LONG_PROMPT:
            self.long_prompts[event.problem_id] = LongPrompt(
                problem_id=event.problem_id,
                prompt_tokens=int(event.figures["prompt_tokens"]),
                context_length=int(event.figures["context_length"]),
                new_tokens_left=int(event.figures["new_tokens_left"]),
            )

    def throughput(self) -> Throughput:
        """The sums over all starts."""
        totals = self._ended + Counter(self._current)
        available = totals["row_seconds_available"]
        return Throughput(
            wall_seconds=totals["elapsed_seconds"],
            generating_seconds=totals["generating_seconds"],
            judging_seconds=totals["judging_seconds"],
            overlapped_seconds=totals["overlapped_seconds"],
            completions=int(totals["generated"]),
            completion_tokens=int(totals["completion_tokens"]),
            occupancy=totals["row_seconds"] / available if available else None,
            peak_memory_bytes=int(self._peak_memory_bytes),
        )
