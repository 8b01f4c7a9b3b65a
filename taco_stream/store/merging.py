"""Runs of one experiment made into one run directory: shards, and runs with other samples of the same problems.

Runs can be merged if they agree in everything that changes results, but for the problems that they selected and the
seed. Samples are then told apart by their keys, as within a run. Of those that several runs have, the first run's
completion counts. So does its verdict; if it has none, or an error of the evaluator, another run's does, provided that
its completion has the same text. Runs with another seed drew other samples, which follow those of the seeds before:
their indices are raised by as many as those have, or are to have.

A merged run is written under a hidden name beside its own and renamed when all of it is on the disk, so whatever is
there under its name is whole. A merge that was killed leaves that folder, which the next one to the same name removes.
Memory holds a bit per sample, and an offset for each of those that are compared because two runs have them.
"""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from taco_stream.errors import RunMismatchError, StoreError
from taco_stream.events import PromptTooLong, RunMerged
from taco_stream.sample_set import SampleSet
from taco_stream.store.atomic import sync_folder
from taco_stream.store.lock import is_held
from taco_stream.store.manifest import Manifest, compare_results
from taco_stream.store.run_directory import CompletionIndex, RunDirectory, RunFiles, open_run
from taco_stream.types import Completion, Record, SampleKey, Status

LINES_PER_WRITE = 500

_S = TypeVar("_S", Completion, Record)


class Source(NamedTuple):
    """A run to merge, and by how much its sample indices are raised."""

    files: RunFiles
    offset: int


@dataclass
class RepeatedSamples:
    """The samples of a run that an earlier one has too: how many, and how many of them have another text or status."""

    samples: int = 0
    differing: int = 0


@dataclass
class Merged:
    """The outcome of a merge: the samples with a completion, those with a verdict, and the overlaps by run."""

    generated: SampleSet = field(default_factory=SampleSet)
    judged: SampleSet = field(default_factory=SampleSet)
    overlaps: dict[Path, RepeatedSamples] = field(default_factory=dict)


def check_mergeable(runs: Sequence[RunFiles], defaults: Mapping[str, Any], free: Container[str]) -> None:
    """Raises `RunMismatchError` that names the first run that differs from the first of all, and in which settings.

    `free` names the settings that may differ; `defaults` are the values that a run of an earlier version may lack.
    """
    first = runs[0]
    for run in runs[1:]:
        differing = compare_results(first.manifest, run.manifest, defaults)
        named = [f"{name} {one!r} and {other!r}" for name, (one, other) in differing.items() if name not in free]
        if named:
            raise RunMismatchError(f"{first.path} and {run.path} cannot be merged: they have {'; '.join(named)}")


def number_samples(runs: Sequence[RunFiles], defaults: Mapping[str, Any]) -> list[Source]:
    """The runs with the offsets of their samples: runs with one seed share theirs."""
    ends: dict[Any, int] = {}
    for run in runs:
        seed = run.manifest.results.get("seed", defaults.get("seed"))
        indices = (key.sample_index for keys in (run.generated(), run.judged()) for key in keys)
        asked = run.manifest.settings.get("samples") or 0  # a run that still goes on has fewer
        ends[seed] = max(ends.get(seed, 0), asked, max(indices, default=-1) + 1)
    offsets, total = {}, 0
    for seed, end in ends.items():
        offsets[seed], total = total, total + end
    return [Source(run, offsets[run.manifest.results.get("seed", defaults.get("seed"))]) for run in runs]


async def copy_samples(sources: Sequence[Source], directory: RunDirectory) -> Merged:
    """Copies every sample of the sources that counts into the directory."""
    merged = Merged()
    texts = [Texts(source) for source in sources]
    taken = [SampleSet() for _ in sources]
    """The samples of each source whose completion counts."""

    # Before the records: a run that is still going on writes samples in this order, and some meanwhile.
    running = [source.files.is_running for source in sources]
    for position, source in enumerate(sources):
        repeated = RepeatedSamples()
        for batch in batches(raised(source.files.completions(), source.offset)):
            counted = []
            for completion in batch:
                if merged.generated.add(completion.key):
                    taken[position].add(completion.key)
                    counted.append(completion)
                else:
                    repeated.samples += 1
                    repeated.differing += completion.text not in [
                        each.find(completion.key) for each in texts[:position]
                    ]
            await directory.append(counted)
        if repeated.samples:
            merged.overlaps[source.files.path] = repeated

    def counts(record: Record, position: int) -> bool:
        """Whether the record is one of the completion that counts, or of one with the same text."""
        if record.key in taken[position]:
            return True
        if record.key not in merged.generated:
            return not running[position]  # its completion came after those above were read
        owner = next(number for number, samples in enumerate(taken) if record.key in samples)
        return texts[owner].find(record.key) == texts[position].find(record.key)

    # Real verdicts first, of whichever run, and errors of the evaluator for the rest.
    for failed in (False, True):
        for position, source in enumerate(sources):
            for records in batches(raised(source.files.records(), source.offset)):
                await directory.append(
                    [
                        record
                        for record in records
                        if has_failed(record) is failed and counts(record, position) and merged.judged.add(record.key)
                    ]
                )
    return merged


class Texts:
    """The texts of a source, found by sample; its file is read when the first is asked for."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._index: CompletionIndex | None = None
        self._problem_id = ""
        self._texts: dict[int, str] = {}

    def find(self, key: SampleKey) -> str | None:
        """The text of a sample, None if the source has none."""
        if self._index is None:
            self._index = CompletionIndex(self._source.files.path).read()
        if key.problem_id != self._problem_id:  # overlapping samples of one problem mostly follow one another
            self._problem_id = key.problem_id
            found = raised(self._index.completions(key.problem_id), self._source.offset)
            self._texts = {each.sample_index: each.text for each in found}
        return self._texts.get(key.sample_index)


def has_failed(record: Record) -> bool:
    """Whether the verdict is an error of the evaluator."""
    return any(verdict.status is Status.INFRASTRUCTURE_ERROR for verdict in record.verdicts.values())


def raised(samples: Iterable[_S], offset: int) -> Iterator[_S]:
    """The samples with their indices raised."""
    for sample in samples:
        yield msgspec.structs.replace(sample, sample_index=sample.sample_index + offset) if offset else sample


def batches(samples: Iterator[_S]) -> Iterator[list[_S]]:
    """The samples, a few hundred at a time."""
    while batch := list(islice(samples, LINES_PER_WRITE)):
        yield batch


@asynccontextmanager
async def merged_run(path: Path, manifest: Manifest, runs: Sequence[RunFiles]) -> AsyncIterator[RunDirectory]:
    """A run directory to fill, which is at `path` when the block ends, and nowhere if it raises.

    Raises `StoreError` if something is at `path` already, or nothing was put in.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise StoreError(f"{path} exists: name a new directory for the merged run")
    prefix = f".{path.name}.merging-"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f"{prefix}*"):
            if not is_held(left / "run"):
                shutil.rmtree(left)
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=path.parent))
    except OSError as error:
        raise StoreError(f"the run directory {path} cannot be written: {error.strerror}") from error
    try:
        async with open_run(folder / "run", manifest) as directory:
            names = tuple(str(run.path) for run in runs)
            about_problems = {
                event.problem_id: event for run in runs for event in run.events() if isinstance(event, PromptTooLong)
            }
            merged = RunMerged(message=f"merged from {', '.join(names)}", runs=names)
            await directory.append([merged, *about_problems.values()])
            yield directory
        if not (folder / "run").exists():
            raise StoreError("there is nothing to merge: none of the runs has a sample")
        try:
            os.replace(folder / "run", path)
            sync_folder(path.parent)
        except OSError as error:
            raise StoreError(f"the merged run cannot be moved to {path}: {error.strerror}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
