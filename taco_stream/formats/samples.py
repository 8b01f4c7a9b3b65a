"""Samples by problem: numbered when they are read, matched with the problems asked for, grouped to be written."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from taco_stream.errors import StoreError, UsageError
from taco_stream.store.run_directory import RecordIndex
from taco_stream.types import Completion, FinishReason, Record, SampleKey

NAMES_SHOWN = 10


class SampleText(NamedTuple):
    """One sample as a file has it; most formats have no sample index."""

    problem_id: str
    text: str
    sample_index: int | None = None


def number_samples(samples: Iterable[SampleText], engine: str) -> Iterator[Completion]:
    """Makes a completion of each sample; `engine` says in each where it comes from.

    Samples without an index count from 0 in the order in which the file has their problem's samples.
    """
    seen: Counter[str] = Counter()
    for sample in samples:
        index = sample.sample_index
        if index is None:
            index = seen[sample.problem_id]
            seen[sample.problem_id] += 1
        yield Completion(
            problem_id=sample.problem_id,
            sample_index=index,
            text=sample.text,
            finish_reason=FinishReason.STOP,
            engine=engine,
        )


def match_ids(held: Mapping[str, int], asked: Iterable[str], repeated: Sequence[SampleKey] = ()) -> tuple[str, ...]:
    """The gaps between the completions read and the problems asked for: a sentence for each kind, with ten names.

    `held` counts the samples of each problem in the file, `asked` are the ids of the dataset, `repeated` names the
    samples that the file has again. A problem has too few samples if it has fewer than the one with most. Raises
    `UsageError` if no completion is of a problem asked for.
    """
    problems = dict.fromkeys(asked)
    if held.keys().isdisjoint(problems):
        raise UsageError(
            f"none of the completions is of a problem asked for: they are of {_first_names(held)}, "
            f"the dataset has {_first_names(problems)} (--dataset names another)"
        )
    most = max((count for name, count in held.items() if name in problems), default=0)
    too_few = {name: count for name, count in held.items() if name in problems and count < most}
    gaps = {
        "problems of the completions were not asked for": [name for name in held if name not in problems],
        "problems have no completion": [name for name in problems if not held.get(name)],
        f"problems have fewer than {most} samples": [f"{name} ({count})" for name, count in too_few.items()],
    }
    sentences = [f"{len(names)} {what}: {', '.join(names[:NAMES_SHOWN])}" for what, names in gaps.items() if names]
    if repeated:
        names = ", ".join(f"{problem_id} (sample {index})" for problem_id, index in repeated[:NAMES_SHOWN])
        sentences.append(f"{len(repeated)} completions repeat a sample, and the first of each counts: {names}")
    return tuple(sentences)


def _first_names(names: Iterable[str], shown: int = 3) -> str:
    """The first few names, and how many problems there are if there are more."""
    every = list(names)
    return ", ".join(every[:shown]) + (f" … ({len(every)} problems)" if len(every) > shown else "")


Prompts = Callable[[], Iterable[tuple[str, str]]]
"""Yields the problems of the run's dataset in order, each with its prompt's text; may be called several times."""


class ProblemRecords(NamedTuple):
    """One problem and its records by sample index; `records` is empty if none of its samples was judged."""

    problem_id: str
    prompt: str
    records: list[Record]


def group_records(index: RecordIndex, prompts: Prompts) -> Iterator[ProblemRecords]:
    """Every problem in dataset order, one in memory at a time.

    Raises `StoreError` after the last if the run has records of problems that the dataset does not have: an export
    without them would silently be another run.
    """
    # In the order in which they were judged, unlike a set, so that the message is the same each time.
    strangers = dict.fromkeys(index.problem_ids)
    for problem_id, prompt in prompts():
        strangers.pop(problem_id, None)
        yield ProblemRecords(problem_id, prompt, index.records(problem_id))
    if strangers:
        names = ", ".join(list(strangers)[:NAMES_SHOWN])
        raise StoreError(
            f"{len(strangers)} problems of the run are not in its dataset, so nothing was exported: {names}"
        )
