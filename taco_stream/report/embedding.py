"""Which samples a page without a server brings with it, and their stories within a limit of bytes.

A run may have more programs than a page that is mailed should weigh. Of each problem the sample that came furthest and
failed, and one that passed, come first, problems that were almost solved before others; then the rest in the same order
of problems. The dataset is read once, and adds the question and the failing test of each chosen problem, each cut to a
length. Samples without room are counted, and the page says so.
"""

import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from taco_stream.errors import DatasetError, UsageError
from taco_stream.evaluator.settings import EvaluatorSettings
from taco_stream.report.causes import find_cause, share_of_tests_passed
from taco_stream.report.page_data import Embedded, ProblemLine
from taco_stream.report.run_reader import RunReader
from taco_stream.report.sample import KnownProblem, SampleStory, tell_problem
from taco_stream.types import ComparisonMode, Problem, Record, Status

EMBEDDED_BYTES = 4_000_000
"""As much as the samples of a report weigh; the figures of 1,000 problems are another 250,000 bytes."""

SHARE_OF_RUN = 0.7
"""The part of the limit that programs and verdicts may take; the rest is for questions and tests."""

MAX_CHARACTERS = 20_000
"""Of each program, completion and output."""

MAX_REFUSED = 20
"""Samples in a row that had no room, after which no more are tried: a run has a hundred thousand."""

MAX_TEST_CHARACTERS = 2_000
MAX_QUESTION_CHARACTERS = 8_000


def embed(
    reader: RunReader,
    lines: Sequence[ProblemLine],
    *,
    problems: Callable[[], Iterable[Problem]] | None,
    settings: EvaluatorSettings,
    limit: int = EMBEDDED_BYTES,
) -> Embedded:
    """The stories of the most useful samples of a run that has been read, in at most `limit` bytes of JSON.

    `problems` are those of the run's dataset; if they cannot be read, the stories do without.
    """
    mode = settings.mode
    room = _Room(int(limit * SHARE_OF_RUN))
    samples: dict[str, dict[int, SampleStory]] = {}
    chosen: dict[str, list[Record]] = {}
    order = sorted(lines, key=_almost_solved_first)
    for is_first in (True, False):
        for line in order:
            if room.is_full:
                break
            name = line.problem_id
            wanted = list(_wanted(reader.records(name), mode, is_first))
            for record, story in zip(wanted, reader.tell(name, wanted), strict=True):
                if room.take(story := cut(story, MAX_CHARACTERS)):
                    samples.setdefault(name, {})[record.sample_index] = story
                    chosen.setdefault(name, []).append(record)
    stories = {name: tell_problem(name, records, (), None, mode=mode) for name, records in chosen.items()}
    room.widen(limit)  # by the part that was kept for questions and tests
    for problem in _known_problems(problems, set(samples)):
        known = KnownProblem(problem, settings)
        before = stories[problem.problem_id]
        told = msgspec.structs.replace(
            tell_problem(problem.problem_id, (), (), known, mode=mode),
            samples=before.samples,
            question=shortened(problem.question, MAX_QUESTION_CHARACTERS),
        )
        if room.exchange(before, told):
            stories[problem.problem_id] = told
        for index, sample in samples[problem.problem_id].items():
            with_test = _with_test(sample, known)
            if room.exchange(sample, with_test):
                samples[problem.problem_id][index] = with_test
    held = sum(map(len, samples.values()))
    return Embedded(
        problems=stories,
        samples=samples,
        left_out=reader.counts.tally.samples - held,
        command=f"taco-stream view {shlex.quote(str(reader.path))}",
    )


class _Room:
    """Counts the bytes that are left."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = self._refused = 0

    @property
    def is_full(self) -> bool:
        """Whether so much was refused in a row that looking for something smaller is not worth the reading."""
        return self._refused >= MAX_REFUSED

    def widen(self, limit: int) -> None:
        """Raises the limit."""
        self._limit = limit

    def take(self, value: msgspec.Struct) -> bool:
        """Whether there was room for the value."""
        return self._grow(_size(value))

    def exchange(self, before: msgspec.Struct, after: msgspec.Struct) -> bool:
        """Whether there was room for one value in the place of another."""
        return self._grow(_size(after) - _size(before))

    def _grow(self, size: int) -> bool:
        has_room = self._used + size <= self._limit
        self._used += size if has_room else 0
        self._refused = 0 if has_room else self._refused + 1
        return has_room


def _size(value: msgspec.Struct) -> int:
    return len(msgspec.json.encode(value))


def _almost_solved_first(line: ProblemLine) -> tuple[bool, float]:
    """Unsolved problems by how far they came, then solved ones by how rarely."""
    if not line.passed:
        return (False, -(line.closest or 0.0))
    return (True, line.passed / line.scored)


def _wanted(records: Sequence[Record], mode: ComparisonMode, is_first: bool) -> Iterator[Record]:
    """A problem's samples worth having first: the failure that came furthest, and a success; or all others.

    Among the others, one of each cause comes before the rest.
    """
    verdicts = {record.sample_index: record.verdicts[mode] for record in records if mode in record.verdicts}
    passed = [index for index, verdict in verdicts.items() if verdict.status is Status.PASSED]
    failed = {index: verdict for index, verdict in verdicts.items() if verdict.status is not Status.PASSED}
    furthest = max(failed, key=lambda index: share_of_tests_passed(failed[index]) or 0.0, default=None)
    first = {*passed[:1], furthest}
    causes: set[tuple[Status, str]] = set()
    fresh: list[Record] = []
    rest: list[Record] = []
    for record in records:
        verdict = verdicts.get(record.sample_index)
        cause = (verdict.status, find_cause(verdict)) if verdict else None
        if (record.sample_index in first) != is_first:
            continue
        (rest if cause is None or cause in causes else fresh).append(record)
        causes.update({cause} if cause else ())
    yield from fresh
    yield from rest


def _known_problems(problems: Callable[[], Iterable[Problem]] | None, names: set[str]) -> Iterator[Problem]:
    """The problems with those names, each once, as far as the dataset can be read."""
    try:
        for problem in problems() if problems and names else ():
            if problem.problem_id in names:
                names.remove(problem.problem_id)
                yield problem
            if not names:
                return
    except (DatasetError, UsageError):
        return  # a page without questions is of use, too: a run must not fail at its end for a dataset that moved


def _with_test(story: SampleStory, known: KnownProblem) -> SampleStory:
    """The story with the dataset's part."""
    failing = story.failing
    if failing is not None and (test := known.test(failing.index)) is not None:
        test = msgspec.structs.replace(
            test,
            given=shortened(test.given, MAX_TEST_CHARACTERS),
            expected=shortened(test.expected, MAX_TEST_CHARACTERS),
            arguments=None,
        )
        failing = msgspec.structs.replace(failing, test=test)
    return msgspec.structs.replace(story, failing=failing, limits=known.limits)


def cut(story: SampleStory, characters: int) -> SampleStory:
    """The story with no text longer than so many characters."""
    return msgspec.structs.replace(
        story,
        **{
            name: shortened(getattr(story, name), characters)
            for name in ("prompt", "completion", "program", "cut_before", "cut_after")
        },
    )


def shortened(text: str | None, characters: int) -> str | None:
    """The beginning of the text, and how much is missing; a shorter text is left as it is."""
    if text is None or len(text) <= characters:
        return text
    return f"{text[:characters]}\n… {len(text) - characters:,} more characters"
