"""The contents of the page, as values that become JSON documents. Pure.

`RunPage` is the document of one run, and the docstrings of the structs below describe its shape; the page's script,
`page/page.js`, draws it and computes nothing that is not about drawing. A report embeds the document, and `taco-stream
view` serves it again and again while the run is written. `RunCounts` takes records as they come, so that a run that
grows is counted once; memory holds counters per problem, never texts.
"""

import re
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from taco_stream.events import (
    DamagedEvent,
    PromptTooLong,
    RunFinished,
    RunGauges,
    RunResumed,
    RunStarted,
    UnknownEvent,
    WrittenEvent,
)
from taco_stream.metrics import Estimate, ProblemCount, Tally, mean_estimate, pass_at_k
from taco_stream.report.causes import find_cause, share_of_tests_passed
from taco_stream.report.run_list import LastStart, RunState, find_state
from taco_stream.report.sample import ProblemStory, SampleStory
from taco_stream.report.summary import EventTotals, Summary, sum_up_totals
from taco_stream.report.text import describe_speed, notes_on
from taco_stream.report.timeline import Interval, Timeline
from taco_stream.statistics import RunStatistics
from taco_stream.store.manifest import Manifest
from taco_stream.types import ComparisonMode, Record, SampleKey, Status

PAGE_VERSION = 1

CURVE_POINTS = 24
"""Points of the curve of pass@k, each of which costs some 5 ms for 1,000 problems."""

LENGTH_BINS = 24
MAX_CAUSES = 20
MAX_HARD_TESTS = 10
MAX_INCIDENTS = 200
LATEST_SAMPLES = 24


class CurvePoint(msgspec.Struct, frozen=True, kw_only=True):
    """pass@k and its 95 % interval, from 0 to 1."""

    k: int
    value: float
    low: float
    high: float


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """pass@k over k up to `samples`, over the `problems` that have at least so many scored samples."""

    samples: int
    problems: int
    points: list[CurvePoint]


class ProblemLine(msgspec.Struct, frozen=True, kw_only=True):
    """One problem. `closest` is the largest share of its tests that one of its samples passed, None if none is known.

    `scores` has pass@k for each of the page's `ks`, None for a k above the scored samples.
    """

    problem_id: str
    difficulty: str
    skills: tuple[str, ...]
    samples: int
    scored: int
    passed: int
    closest: float | None
    statuses: Mapping[str, int]
    scores: list[float | None]


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """Failures of one kind: `cause` says which within the status, and may be empty.

    `first_test` counts those that failed the problem's first test already. `problem_id` and `sample_index` name one.
    """

    status: Status
    cause: str
    samples: int
    problems: int
    first_test: int
    problem_id: str
    sample_index: int


class HardTest(msgspec.Struct, frozen=True, kw_only=True):
    """A test, by its index, that `failed` of a problem's `scored` samples failed first."""

    problem_id: str
    test: int
    failed: int
    scored: int


class Lengths(msgspec.Struct, frozen=True, kw_only=True):
    """Completion tokens by status: how many samples are in each bin of `width` tokens, from 0 up, and the medians."""

    width: int
    counts: Mapping[str, list[int]]
    medians: Mapping[str, int]


class LatestSample(msgspec.Struct, frozen=True, kw_only=True):
    """A sample that was judged lately; `detail` is its verdict's."""

    problem_id: str
    sample_index: int
    status: Status
    detail: str
    completion_tokens: int


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """An event for people: its kind, when (seconds since the epoch), and its sentence, which may be empty.

    If the event is of one problem, the sentence begins with its id.
    """

    at: float
    kind: str
    message: str


class Embedded(msgspec.Struct, frozen=True, kw_only=True):
    """The problems and samples in a page without a server; `samples` are keyed by problem and index.

    `left_out` counts the samples that had no room; `command` shows them all.
    """

    problems: Mapping[str, ProblemStory]
    samples: Mapping[str, Mapping[int, SampleStory]]
    left_out: int
    command: str


class RunPage(msgspec.Struct, frozen=True, kw_only=True):
    """The page of one run, everything under the comparison mode that counts.

    `name` identifies the run among those that are served, `path` is its folder. Times are seconds since the epoch;
    `updated_at` is that of the newest event or sample, None before the first. `generated` counts completions over all
    starts, `seconds_left` is an estimate from the last minute, None if there is none. `timeline` is in seconds of
    running, at which the `starts` after the first began. `tokens_per_solved` are the completion tokens of all samples
    for each problem that one of them solved, None if none did or tokens were not counted. `incidents` and `latest` have
    the newest last.
    """

    name: str
    path: str
    title: str
    state: RunState
    created_at: float
    updated_at: float | None
    mode: ComparisonMode
    ks: list[int]
    sandbox_tier: str
    generated: int
    seconds_left: float | None
    is_loading: bool
    summary: Summary
    notes: list[str]
    speed: list[str]
    curve: Curve | None
    problems: list[ProblemLine]
    causes: list[Cause]
    hard_tests: list[HardTest]
    lengths: Lengths | None
    tokens_per_solved: float | None
    timeline: list[Interval]
    starts: list[float]
    incidents: list[Incident]
    latest: list[LatestSample]
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    hardware: Mapping[str, str]
    git_commit: str | None
    embedded: Embedded | None = None
    version: int = PAGE_VERSION


class ListedRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run in the list. `state`, times and figures are those of `RunLine`; of a folder without a run only `error`."""

    name: str
    title: str = ""
    state: RunState | None = None
    samples: int = 0
    samples_expected: int | None = None
    k: int | None = None
    score: Estimate | None = None
    created_at: float = 0.0
    written_at: float = 0.0
    error: str = ""


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """The runs of a folder, the one written last first."""

    folder: str
    runs: list[ListedRun]


class _CauseCount:
    """Counts the samples of one cause, and the problems that they are of."""

    def __init__(self, example: SampleKey) -> None:
        self.samples = self.first_test = 0
        self.problems: set[str] = set()
        self.example = example


class RunCounts:
    """Counts the records and the events of a run, in order, as they come; a sample that comes twice counts once."""

    def __init__(self, mode: ComparisonMode) -> None:
        self.mode = mode
        self.tally = Tally()
        self.totals = EventTotals()
        self.timeline = Timeline()
        self.latest: deque[LatestSample] = deque(maxlen=LATEST_SAMPLES)
        self.incidents: deque[Incident] = deque(maxlen=MAX_INCIDENTS)
        self.statuses: dict[str, Counter[str]] = {}
        self.closest: dict[str, float] = {}
        self.causes: dict[tuple[Status, str], _CauseCount] = {}
        self.failed_tests: dict[str, Counter[int]] = {}
        self.lengths: dict[Status, Counter[int]] = {}
        self.has_ended = self.is_loading = False
        self.updated_at: float | None = None
        self._statistics: RunStatistics | None = None
        self._paces: deque[tuple[float, int, int | None]] = deque(maxlen=13)  # a minute of gauges

    def add(self, record: Record) -> None:
        """Counts the next record."""
        repeated = self.tally.duplicates
        self.tally.add(record)
        verdict = record.verdicts.get(self.mode)
        # The tally tells a duplicate by its count alone.
        if self.tally.duplicates > repeated or verdict is None:
            return
        name, status = record.problem_id, verdict.status
        self.statuses.setdefault(name, Counter())[status] += 1
        self.lengths.setdefault(status, Counter())[record.completion_tokens] += 1
        self.latest.append(
            LatestSample(
                problem_id=name,
                sample_index=record.sample_index,
                status=status,
                detail=verdict.detail,
                completion_tokens=record.completion_tokens,
            )
        )
        if not status.is_scored:
            return
        share = 1.0 if status is Status.PASSED else share_of_tests_passed(verdict)
        if share is not None:
            self.closest[name] = max(share, self.closest.get(name, 0.0))
        if status is Status.PASSED:
            return
        cause = self.causes.setdefault((status, find_cause(verdict)), _CauseCount(record.key))
        cause.samples += 1
        cause.first_test += verdict.failed_test == 0
        cause.problems.add(name)
        if verdict.failed_test is not None:
            self.failed_tests.setdefault(name, Counter())[verdict.failed_test] += 1

    def add_event(self, event: WrittenEvent) -> None:
        """Counts the next event."""
        self.totals.add(event)
        self.timeline.add(event)
        if isinstance(event, DamagedEvent):
            return
        self.updated_at = max(event.at, self.updated_at or 0.0)  # the machine's clock may be set back
        match event:
            case RunStarted() | RunResumed():
                self.has_ended = self.is_loading = False
                self._paces.clear()  # the figures of every start begin at zero
            case RunGauges(statistics=statistics):
                self._statistics = statistics
                self.is_loading = statistics.loading
                self._paces.append((statistics.elapsed_seconds, statistics.judged, statistics.samples_expected))
            case RunFinished(statistics=statistics):
                self._statistics = statistics
                self.has_ended = True
        # Every problem may have a long prompt, and a note of the page counts them.
        if not isinstance(event, RunGauges | PromptTooLong | UnknownEvent):
            kind = event.__struct_config__.tag
            parts = (getattr(event, "problem_id", ""), getattr(event, "message", ""))
            self.incidents.append(Incident(at=event.at, kind=str(kind), message=": ".join(filter(None, parts))))

    def state(self, *, is_running: bool) -> RunState:
        """The state of the run; `is_running` says whether a process has it open."""
        expected = self.totals.samples_expected
        return find_state(
            LastStart(samples_expected=expected, has_ended=self.has_ended, statistics=self._statistics),
            samples=self.tally.samples,
            samples_expected=expected,
            infrastructure_errors=self.tally.statuses[self.mode][Status.INFRASTRUCTURE_ERROR],
            is_running=is_running and not self.has_ended,  # its report is written after its end, by the same process
        )

    def seconds_left(self) -> float | None:
        """How long the rest takes if samples are judged as fast as in the last minute, from the newest gauges."""
        if len(self._paces) < 2:
            return None
        (since, before, _), (until, judged, expected) = self._paces[0], self._paces[-1]
        if expected is None or judged <= before:
            return None
        return max(0, expected - self.tally.samples) * (until - since) / (judged - before)


def describe_run(
    counts: RunCounts, manifest: Manifest, *, name: str, path: str, ks: Sequence[int], is_running: bool
) -> RunPage:
    """The page of a run, from everything that has been counted; `is_running` says whether a process has it open."""
    summary = sum_up_totals(counts.tally, counts.totals, mode=counts.mode, ks=ks)
    state = counts.state(is_running=is_running)
    return RunPage(
        name=name,
        path=path,
        title=run_title(manifest),
        state=state,
        created_at=manifest.created_at,
        updated_at=counts.updated_at,
        mode=counts.mode,
        ks=list(summary.pass_at_k),
        sandbox_tier=manifest.sandbox_tier,
        generated=summary.throughput.completions,
        seconds_left=counts.seconds_left() if state is RunState.RUNNING else None,
        is_loading=counts.is_loading and state is RunState.RUNNING,
        summary=summary,
        notes=notes_on(summary),
        speed=describe_speed(summary.throughput),
        curve=_curve(list(counts.tally.problems[counts.mode].values())),
        problems=_problem_lines(counts, list(summary.pass_at_k)),
        causes=_causes(counts.causes),
        hard_tests=_hard_tests(counts),
        lengths=_lengths(counts.lengths),
        tokens_per_solved=_tokens_per_solved(counts),
        timeline=counts.timeline.intervals(),
        starts=counts.timeline.starts,
        incidents=list(counts.incidents),
        latest=list(counts.latest),
        settings=manifest.settings,
        versions=manifest.versions,
        hardware=manifest.hardware,
        git_commit=manifest.git_commit,
    )


def run_title(manifest: Manifest) -> str:
    """The model and the dataset."""
    return f"{manifest.answered_by} on {manifest.settings.get('dataset', 'unknown problems')}"


def curve_ks(samples: int) -> list[int]:
    """The k to draw pass@k at: every one as long as they are few, then further and further apart."""
    if samples <= CURVE_POINTS:
        return list(range(1, samples + 1))
    return sorted({round(samples ** (point / (CURVE_POINTS - 1))) for point in range(CURVE_POINTS)})


def _curve(counts: Sequence[ProblemCount]) -> Curve | None:
    """The curve over one and the same set of problems: those with as many samples as at least half of all have."""
    scored = sorted(count.scored for count in counts if count.scored)
    samples = scored[len(scored) // 2] if scored else 0
    if samples < 2:
        return None
    counts = [count for count in counts if count.scored >= samples]
    points = []
    for k in curve_ks(samples):
        estimate = mean_estimate([pass_at_k(count.scored, count.passed, k) for count in counts])
        points.append(CurvePoint(k=k, value=estimate.value, low=estimate.low, high=estimate.high))
    return Curve(samples=samples, problems=len(counts), points=points)


def _problem_lines(counts: RunCounts, ks: Sequence[int]) -> list[ProblemLine]:
    return [
        ProblemLine(
            problem_id=name,
            difficulty=count.difficulty,
            skills=count.skills,
            samples=count.samples,
            scored=count.scored,
            passed=count.passed,
            closest=counts.closest.get(name),
            statuses=dict(counts.statuses[name].most_common()),
            scores=[pass_at_k(count.scored, count.passed, k) if count.scored >= k else None for k in ks],
        )
        for name, count in sorted(counts.tally.problems[counts.mode].items(), key=lambda item: by_number(item[0]))
    ]


def by_number(name: str) -> list[tuple[int, str]]:
    """Sorts `p2` before `p10`: runs of digits by their value, what is between them as text."""
    return [(int(part) if part.isdecimal() else -1, part) for part in re.split(r"([0-9]+)", name)]


def _causes(causes: Mapping[tuple[Status, str], _CauseCount]) -> list[Cause]:
    most = sorted(causes.items(), key=lambda item: (-item[1].samples, item[0]))[:MAX_CAUSES]
    return [
        Cause(
            status=status,
            cause=cause,
            samples=count.samples,
            problems=len(count.problems),
            first_test=count.first_test,
            problem_id=count.example.problem_id,
            sample_index=count.example.sample_index,
        )
        for (status, cause), count in most
    ]


def _hard_tests(counts: RunCounts) -> list[HardTest]:
    """The tests that most samples failed, of those that more than one failed."""
    problems = counts.tally.problems[counts.mode]
    tests = [
        HardTest(problem_id=name, test=test, failed=failed, scored=problems[name].scored)
        for name, failures in counts.failed_tests.items()
        for test, failed in failures.items()
        if failed > 1
    ]
    return sorted(tests, key=lambda each: (-each.failed, by_number(each.problem_id), each.test))[:MAX_HARD_TESTS]


def _lengths(lengths: Mapping[Status, Counter[int]]) -> Lengths | None:
    """None if no completion says how long it is."""
    longest = max((tokens for counts in lengths.values() for tokens in counts), default=0)
    if not longest:
        return None
    width = longest // LENGTH_BINS + 1  # whole tokens: with a fraction some bins would hold a length more than others
    bins: dict[str, list[int]] = {}
    for status, counts in lengths.items():
        bins[status] = [0] * (longest // width + 1)
        for tokens, samples in counts.items():
            bins[status][tokens // width] += samples
    most_first = sorted(bins, key=lambda status: (-sum(bins[status]), status))
    return Lengths(
        width=width,
        counts={status: bins[status] for status in most_first},
        medians={status: _median(lengths[Status(status)]) for status in most_first},
    )


def _tokens_per_solved(counts: RunCounts) -> float | None:
    solved = sum(count.passed > 0 for count in counts.tally.problems[counts.mode].values())
    tokens = counts.tally.completion_tokens
    return tokens / solved if solved and tokens else None


def _median(counts: Counter[int]) -> int:
    """The lower median of numbers, given how often each occurs."""
    half = (counts.total() + 1) // 2
    for number in sorted(counts):
        half -= counts[number]
        if half <= 0:
            return number
    raise ValueError("no numbers have no median")
