"""What the tests of formats share: runs, records as hypothesis makes them, and files read back."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from sample_values import manifest, record

from taco_stream.errors import UsageError
from taco_stream.formats import ExportFormat, export, read_completions
from taco_stream.formats.samples import ProblemRecords
from taco_stream.store.run_directory import RunFiles, open_run
from taco_stream.types import ComparisonMode, ExtractionMethod, FinishReason, Record, Status, Verdict

Write = Callable[..., Path]

STRICT, OFFICIAL = ComparisonMode.STRICT, ComparisonMode.OFFICIAL
WRONG = Status.WRONG_ANSWER

PROMPTS = (("0", "q0"), ("1", "q1 é"), ("HumanEval/2", "q2"))

RECORDS = [
    record("1", 1, program="b1"),
    record("HumanEval/2", 0, WRONG, program="c0", difficulty="HARD", skills=("Sorting",)),
    record("0", 0, program="a0 # é\n"),
    record("1", 0, WRONG, program=None),
    record("0", 1, program='a1 "quoted"'),
    record("HumanEval/2", 1, program="c1"),
]

EXPECTED_SAMPLES = sorted((each.problem_id, each.sample_index, each.program or "") for each in RECORDS)


async def write_run(path: Path, records: Iterable[Record]) -> RunFiles:
    path.mkdir()  # so that a run without records stays
    async with open_run(path, manifest()) as run:
        await run.append(list(records))
    return RunFiles(path)


def written(run: RunFiles, kind: ExportFormat, mode: ComparisonMode = STRICT, ks: tuple[int, ...] = (1,)) -> list[Path]:
    return list(export(run, kind, run.path / "out", prompts=lambda: PROMPTS, mode=mode, ks=ks))


def samples(path: Path, **options: Any) -> list[tuple[str, int, str]]:
    """The samples of a file in its order: problem, index, text."""
    return [(each.problem_id, each.sample_index, each.text) for each in read_completions(path, **options)]


def refused(path: Path, *named: str, **options: Any) -> None:
    with pytest.raises(UsageError) as caught:
        samples(path, **options)
    for each in (path.name, *named):
        assert each in str(caught.value)


few_examples = settings(deadline=None, max_examples=40, phases=set(Phase) - {Phase.shrink})
"""Each example writes a file and waits for the disk: shrinking a failure would outlast the time-out of the test."""

ids = st.integers(0, 30).map(str) | st.sampled_from(["017", "-1", "²", "HumanEval/2", ""]) | st.text(max_size=6)
texts = st.text(max_size=40) | st.sampled_from(["]", "[{", "}\n", '"\\', "\ufeff", "\u2028", "\x85"])
counts = st.integers(0, 1 << 40)
seconds = st.floats(0, 1e9)

verdicts = st.builds(
    Verdict,
    status=st.sampled_from(Status),
    failed_test=st.none() | counts,
    tests_run=counts,
    tests_total=counts,
    cpu_seconds=seconds,
    wall_seconds=seconds,
    peak_memory_bytes=counts,
    detail=texts,
    output_head=texts,
)


def records(problem_id: str, indices: st.SearchStrategy[int]) -> st.SearchStrategy[list[Record]]:
    """Records of one problem by index, as `RecordIndex` hands them over."""
    one = st.builds(
        Record,
        problem_id=st.just(problem_id),
        sample_index=indices,
        program=st.none() | texts,
        extraction=st.sampled_from(ExtractionMethod),
        finish_reason=st.sampled_from(FinishReason),
        verdicts=st.fixed_dictionaries(dict.fromkeys(ComparisonMode, verdicts)),
        difficulty=texts,
        skills=st.lists(texts, max_size=3).map(tuple),
        prompt_tokens=counts,
        completion_tokens=counts,
        generate_seconds=seconds,
        judge_seconds=seconds,
        engine=texts,
        cut_before=counts,
        cut_after=counts,
    )
    by_index = st.lists(one, max_size=4, unique_by=lambda each: each.sample_index)
    return by_index.map(lambda listed: sorted(listed, key=lambda each: each.sample_index))


def problem_records(names: st.SearchStrategy[str] = ids) -> st.SearchStrategy[list[ProblemRecords]]:
    """The problems of a dataset in its order, with gaps: without records, and between sample indices."""
    one = names.flatmap(
        lambda name: st.builds(ProblemRecords, st.just(name), texts, records(name, st.integers(0, 1000)))
    )
    return st.lists(one, min_size=1, max_size=4, unique_by=lambda each: each.problem_id)


def texts_in_order(problems: Iterable[ProblemRecords]) -> list[tuple[str, int, str]]:
    """What a format without indices holds: the samples counted anew, and no program the same as an empty one."""
    return [
        (problem.problem_id, index, record.program or "")
        for problem in problems
        for index, record in enumerate(problem.records)
    ]
