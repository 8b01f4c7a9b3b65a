"""Statistics of a dataset, for `taco-stream dataset`."""

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from taco_stream.datasets.taco import parse_outline
from taco_stream.types import Problem, SpecialJudge


class Spread(msgspec.Struct, frozen=True):
    """The smallest, middle and largest of some numbers, and their sum."""

    smallest: int
    median: float
    largest: int
    total: int


class DatasetStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Counts over the problems of a dataset; the mappings run from the most frequent name to the rarest.

    A problem counts once for each of its skills. `missing` says how many problems lack a field, fields that all have
    left out. `sample` is the first problem.
    """

    problems: int
    standard_input: int
    call_based: int
    difficulties: Mapping[str, int]
    skills: Mapping[str, int]
    tags: Mapping[str, int]
    sources: Mapping[str, int]
    special_judges: Mapping[str, int]
    missing: Mapping[str, int]
    tests: Spread
    test_bytes: Spread
    sample: Problem


def dataset_statistics(problems: Iterable[Problem]) -> DatasetStatistics:
    """Counts in one pass that keeps no problem but the first. There must be at least one, as `open_dataset` sees to."""
    counters: dict[str, Counter[str]] = {
        name: Counter() for name in ("difficulties", "skills", "tags", "sources", "special_judges", "missing")
    }
    tests: list[int] = []
    test_bytes: list[int] = []
    call_based = 0
    sample: Problem | None = None
    for problem in problems:
        sample = sample or problem
        call_based += problem.fn_name is not None
        # Only the outline: decoding the tests of a training split would take gigabytes and minutes.
        tests.append(len(parse_outline(problem.tests).inputs))
        test_bytes.append(len(problem.tests.encode("utf-8", "surrogatepass")))
        for name, values in _countable_names(problem).items():
            counters[name].update(values)
    if sample is None:
        raise ValueError("there are no problems to count")
    return DatasetStatistics(
        problems=len(tests),
        standard_input=len(tests) - call_based,
        call_based=call_based,
        tests=_spread(tests),
        test_bytes=_spread(test_bytes),
        sample=sample,
        **{name: dict(counter.most_common()) for name, counter in counters.items()},
    )


def statistics_text(found: DatasetStatistics, longest_list: int = 12) -> str:
    """The statistics as lines of text; of each count by name the `longest_list` most frequent."""
    lines = [
        f"problems       {found.problems:,} ({found.standard_input:,} standard input, {found.call_based:,} call-based)",
        f"tests          {_format_spread(found.tests)} per problem, {found.tests.total:,} in all",
        f"test bytes     {_format_spread(found.test_bytes)} per problem, {found.test_bytes.total:,} in all",
    ]
    counts = {
        "difficulty": found.difficulties,
        "skill": found.skills,
        "tag": found.tags,
        "source": found.sources,
        "special judge": found.special_judges,
        "missing": found.missing,
    }
    for title, names in counts.items():
        shown = [f"{name or 'none'} {count:,}" for name, count in list(names.items())[:longest_list]]
        more = [f"and {len(names) - longest_list} more"] if len(names) > longest_list else []
        lines += [f"{title:<15}{', '.join(shown + more)}"] if names else []
    shown = [found.sample.question.strip(), found.sample.starter_code.rstrip()]
    return "\n\n".join(["\n".join(lines), f"for instance {found.sample.problem_id}:", *filter(None, shown)])


def _countable_names(problem: Problem) -> dict[str, Sequence[str]]:
    fields = {
        "question": problem.question.strip(),
        "difficulty": problem.difficulty != "UNKNOWN",
        "skills": problem.skills,
        "tags": problem.tags,
        "source": problem.source,
        "time limit": problem.time_limit_seconds,
        "memory limit": problem.memory_limit_bytes,
        "solutions": problem.solutions not in ("", "[]"),
    }
    special = problem.special_judge is not SpecialJudge.NONE
    return {
        "difficulties": (problem.difficulty,),
        "skills": problem.skills,
        "tags": problem.tags,
        "sources": (problem.source,),
        "special_judges": (problem.special_judge.value,) if special else (),
        "missing": [name for name, value in fields.items() if not value],
    }


def _spread(numbers: Sequence[int]) -> Spread:
    return Spread(min(numbers), statistics.median(numbers), max(numbers), sum(numbers))


def _format_spread(spread: Spread) -> str:
    return f"{spread.smallest:,} to {spread.largest:,}, median {spread.median:,.0f}"
