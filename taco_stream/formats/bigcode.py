"""Generations of bigcode-evaluation-harness: `[[program, …], …]`, the i-th list those of the dataset's i-th row.

The format has no ids. A list is matched with the problem at its position in the dataset, whatever is selected of it, so
`--dataset` must name the rows that the harness had, in its order: for APPS by difficulty, a file of that difficulty.
The harness writes whole programs, those of HumanEval with their prompt. Only read.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from taco_stream.formats.json_files import LIST, Entry
from taco_stream.formats.samples import SampleText


def recognise(first: Mapping[str, Any]) -> bool:
    """Whether a file that starts with this entry is one: a list of lists."""
    return first.keys() == {LIST}


def read(entries: Iterable[Entry], positions: Mapping[int, str]) -> Iterator[SampleText]:
    """A sample for each text of each list. `positions` names problems; one that is not among them is `row 7`."""
    for position, entry in enumerate(entries):
        for text in entry.read_texts(LIST):
            yield SampleText(positions.get(position, f"row {position}"), text)
