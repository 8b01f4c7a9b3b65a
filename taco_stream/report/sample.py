"""The whole story of one sample, from its prompt to its verdict, assembled from a run and its dataset. Pure.

A run keeps completions and verdicts; the question and the tests are the dataset's. Whatever is missing leaves its
part of the story empty and a sentence among the `notes`, so that a run is readable without its dataset. The command
`show` and the page both show this story.
"""

from collections.abc import Mapping, Sequence

import msgspec

from taco_stream.evaluator.problem_tests import ProblemTests, TestsError
from taco_stream.evaluator.protocol import Limits
from taco_stream.evaluator.readable_test import ReadableTest, read_tests, readable_test
from taco_stream.evaluator.settings import EvaluatorSettings, limits_per_test
from taco_stream.extraction import cut_away
from taco_stream.types import (
    ComparisonMode,
    Completion,
    ExtractionMethod,
    FinishReason,
    Problem,
    Record,
    SampleKey,
    Status,
    Verdict,
)


class FailingTest(msgspec.Struct, frozen=True, kw_only=True):
    """The first failing test of a sample, as the mode that counts saw it.

    `test` is None if the dataset does not have it any more. `actual_head` is the beginning of a wrong answer, at most
    500 bytes, and `difference` one sentence: where the answer first differs, or the error.
    """

    index: int
    test: ReadableTest | None
    actual_head: str
    difference: str
    stderr_tail: str


class Rerun(msgspec.Struct, frozen=True, kw_only=True):
    """The verdicts on a sample's program judged once more, and whether they are those of the record."""

    verdicts: Mapping[ComparisonMode, Verdict]
    is_same: bool


class SampleStory(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is known about one sample.

    `verdicts` is empty until the sample is judged; `mode` names the verdict that counts. `completion` is the answer as
    it was generated, `cut_before` and `cut_after` its parts around the program, and `reasoning_characters` counts what
    was removed as reasoning. `limits` are those of one test. `notes` are sentences on missing parts, with the reasons.
    """

    problem_id: str
    sample_index: int
    mode: ComparisonMode
    verdicts: Mapping[ComparisonMode, Verdict]
    failing: FailingTest | None
    prompt: str | None
    completion: str | None
    program: str | None
    extraction: ExtractionMethod
    finish_reason: FinishReason
    cut_before: str = ""
    cut_after: str = ""
    reasoning_characters: int = 0
    limits: Limits | None = None
    difficulty: str = "UNKNOWN"
    skills: tuple[str, ...] = ()
    prompt_tokens: int = 0
    completion_tokens: int = 0
    generate_seconds: float = 0.0
    judge_seconds: float = 0.0
    seed: int | None = None
    engine: str = ""
    error: str | None = None
    notes: tuple[str, ...] = ()
    rerun: Rerun | None = None

    @property
    def key(self) -> SampleKey:
        """Names the sample."""
        return SampleKey(self.problem_id, self.sample_index)

    @property
    def verdict(self) -> Verdict | None:
        """The verdict that counts, None until the sample is judged."""
        return self.verdicts.get(self.mode)


class SampleRow(msgspec.Struct, frozen=True, kw_only=True):
    """One sample in the table of a problem; `status` is None until it is judged."""

    sample_index: int
    status: Status | None
    finish_reason: FinishReason
    completion_tokens: int
    failed_test: int | None = None
    detail: str = ""


class ProblemStory(msgspec.Struct, frozen=True, kw_only=True):
    """One problem of a run and its samples, by index; `question`, `limits` and `tests` are None without the dataset."""

    problem_id: str
    mode: ComparisonMode
    samples: tuple[SampleRow, ...]
    question: str | None = None
    fn_name: str | None = None
    difficulty: str = "UNKNOWN"
    skills: tuple[str, ...] = ()
    source: str = ""
    limits: Limits | None = None
    tests: int | None = None
    notes: tuple[str, ...] = ()


class KnownProblem:
    """A problem as its samples' stories need it: its tests are read once. `error` says why if they cannot be."""

    def __init__(self, problem: Problem, settings: EvaluatorSettings) -> None:
        self.problem = problem
        self.limits = limits_per_test(problem, settings)
        self.tests: ProblemTests | None = None
        self.error = ""
        try:
            self.tests = read_tests(problem, settings)
        except TestsError as error:
            self.error = str(error)

    def test(self, index: int) -> ReadableTest | None:
        """One test in words; None if the problem does not have it."""
        if self.tests is None or index >= len(self.tests.tests):
            return None
        return readable_test(self.problem, self.tests, index)


def tell_sample(
    record: Record | None,
    completion: Completion | None,
    known: KnownProblem | None,
    *,
    mode: ComparisonMode,
    prompt: str | None = None,
    notes: Sequence[str] = (),
) -> SampleStory:
    """The story of one sample, of which there is a record or a completion or both.

    `prompt` is its text if the caller knows it, and `notes` are the caller's own, put first.
    """
    source = record or completion
    if source is None:
        raise ValueError("a sample without a record and a completion has no story")
    told = [*notes, *_gaps(record, completion, known, mode)]
    program, extraction = (record.program, record.extraction) if record else (None, ExtractionMethod.NONE)
    cut = None
    if record is not None and completion is not None:
        cut = cut_away(completion.text, extraction, record.cut_before, record.cut_after)
    return SampleStory(
        problem_id=source.problem_id,
        sample_index=source.sample_index,
        mode=mode,
        verdicts=record.verdicts if record else {},
        failing=_failing_test(record, known, mode),
        prompt=prompt,
        completion=completion.text if completion else None,
        program=program,
        extraction=extraction,
        finish_reason=source.finish_reason,
        cut_before=cut.before if cut else "",
        cut_after=cut.after if cut else "",
        reasoning_characters=cut.reasoning if cut else 0,
        limits=known.limits if known else None,
        difficulty=record.difficulty if record else known.problem.difficulty if known else "UNKNOWN",
        skills=record.skills if record else known.problem.skills if known else (),
        prompt_tokens=source.prompt_tokens,
        completion_tokens=source.completion_tokens,
        generate_seconds=source.generate_seconds,
        judge_seconds=record.judge_seconds if record else 0.0,
        seed=completion.seed if completion else None,
        engine=source.engine,
        error=completion.error if completion else None,
        notes=tuple(told),
    )


def tell_rerun(story: SampleStory, fresh: Mapping[ComparisonMode, Verdict]) -> SampleStory:
    """The story with fresh verdicts beside the recorded; they are the same if each mode's status and test are."""
    before = {mode: (verdict.status, verdict.failed_test) for mode, verdict in story.verdicts.items()}
    now = {mode: (verdict.status, verdict.failed_test) for mode, verdict in fresh.items()}
    is_same = all(now.get(mode) == outcome for mode, outcome in before.items())
    return msgspec.structs.replace(story, rerun=Rerun(verdicts=fresh, is_same=is_same))


def tell_problem(
    problem_id: str,
    records: Sequence[Record],
    unjudged: Sequence[Completion],
    known: KnownProblem | None,
    *,
    mode: ComparisonMode,
    notes: Sequence[str] = (),
) -> ProblemStory:
    """The story of one problem, from its records and its completions without one."""
    problem = known.problem if known else None
    rows = [*(_judged_row(each, mode) for each in records), *map(_unjudged_row, unjudged)]
    return ProblemStory(
        problem_id=problem_id,
        mode=mode,
        samples=tuple(sorted(rows, key=lambda row: row.sample_index)),
        question=problem.question if problem else None,
        fn_name=problem.fn_name if problem else None,
        difficulty=problem.difficulty if problem else records[0].difficulty if records else "UNKNOWN",
        skills=problem.skills if problem else records[0].skills if records else (),
        source=problem.source if problem else "",
        limits=known.limits if known else None,
        tests=len(known.tests.tests) if known and known.tests else None,
        notes=(*notes, *([known.error] if known and known.error else [])),
    )


def _judged_row(record: Record, mode: ComparisonMode) -> SampleRow:
    verdict = record.verdicts.get(mode)
    return SampleRow(
        sample_index=record.sample_index,
        status=verdict.status if verdict else None,
        finish_reason=record.finish_reason,
        completion_tokens=record.completion_tokens,
        failed_test=verdict.failed_test if verdict else None,
        detail=verdict.detail if verdict else "",
    )


def _unjudged_row(completion: Completion) -> SampleRow:
    return SampleRow(
        sample_index=completion.sample_index,
        status=None,
        finish_reason=completion.finish_reason,
        completion_tokens=completion.completion_tokens,
    )


def _failing_test(record: Record | None, known: KnownProblem | None, mode: ComparisonMode) -> FailingTest | None:
    verdict = record.verdicts.get(mode) if record else None
    if verdict is None or verdict.failed_test is None:
        return None
    return FailingTest(
        index=verdict.failed_test,
        test=known.test(verdict.failed_test) if known else None,
        actual_head=verdict.output_head,
        difference=verdict.detail,
        stderr_tail=verdict.stderr_tail,
    )


def _gaps(
    record: Record | None, completion: Completion | None, known: KnownProblem | None, mode: ComparisonMode
) -> list[str]:
    """The missing parts, in sentences."""
    gaps = []
    if record is None:
        gaps.append("this sample has not been judged yet")
    if completion is None:
        gaps.append("the completion is not in completions.jsonl: the program is the record's")
    if known and known.error:
        gaps.append(known.error)
    verdict = record.verdicts.get(mode) if record else None
    if verdict and known and known.tests and verdict.tests_total not in (0, len(known.tests.tests)):
        gaps.append(
            f"the dataset has changed: the record is of {verdict.tests_total} tests, "
            f"and the problem has {len(known.tests.tests)} now"
        )
    return gaps
