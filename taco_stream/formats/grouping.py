"""A run by problem, in the order of its dataset: what every export walks over."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from taco_stream.errors import StoreError
from taco_stream.store.run import RecordIndex
from taco_stream.types import Record

NAMES_SHOWN = 10

Prompts = Callable[[], Iterable[tuple[str, str]]]
"""Tells the problems of the run's dataset in order, each with its prompt's text; may be called several times."""


class Group(NamedTuple):
    """One problem and its records by sample index, none where nothing was judged."""

    problem_id: str
    prompt: str
    records: list[Record]


def grouped(index: RecordIndex, prompts: Prompts) -> Iterator[Group]:
    """Every problem in dataset order, one in memory at a time.

    Raises `StoreError` after the last where the run has records of problems that the dataset does not: an export
    without them would silently be another run.
    """
    strangers = dict.fromkeys(index.problem_ids)
    for problem_id, prompt in prompts():
        strangers.pop(problem_id, None)
        yield Group(problem_id, prompt, index.of(problem_id))
    if strangers:
        names = ", ".join(list(strangers)[:NAMES_SHOWN])
        raise StoreError(
            f"{len(strangers)} problems of the run are not in its dataset, so nothing was exported: {names}"
        )
