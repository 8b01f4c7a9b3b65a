"""A run directory: its writer, the order of writing, and the state that a later start finds.

```
RUN/lock               held by the one process that writes
RUN/run.json           the manifest; rewritten atomically at each start
RUN/completions.jsonl  a line the moment a sample is generated
RUN/results.jsonl      a line the moment a sample is judged
RUN/events.jsonl       start, resume, restarts, gauges, end
RUN/summary.json       rewritten atomically at the end
RUN/report.html        the same for people
```

One task of one process appends, batch by batch: completions first, then records, so a kill between the two leaves a
completion without a verdict, never the reverse. A batch is never cancelled half way. It reaches the operating system at
once and the disk itself with the first batch that comes a second or more after the last sync; gauges come every few
seconds. A start repairs torn last lines, then reads the keys of both files in one pass each; memory holds a bit per
sample and, for completions without a verdict, an offset, never texts. Records whose verdict is an error of the
evaluator are taken out at a start, so that their samples are judged again.

Of records with the same key (no run writes them; two files were joined) the first counts.
"""

import os
import time
from array import array
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Self, TypeVar

import anyio
import msgspec
from anyio import to_thread

from taco_stream.errors import NOT_DECODED, StoreError
from taco_stream.events import DamagedEvent, Event, UnknownEvent, WrittenEvent
from taco_stream.metrics import Tally
from taco_stream.sample_set import SampleIndex, SampleSet
from taco_stream.store.atomic import remove_leftovers, sync_folder, write_atomically
from taco_stream.store.event_line import decode_event
from taco_stream.store.journal import (
    Journal,
    decoded_lines,
    last_lines,
    read_at,
    read_lines,
    read_values,
    repair,
    withdraw,
)
from taco_stream.store.lock import exclusive, is_held
from taco_stream.store.manifest import NO_GROWTH, Growth, Manifest, check_agreement, read_manifest
from taco_stream.store.record_line import JudgedLine, RecordLine, line_to_record, read_judged, record_to_line
from taco_stream.types import Completion, Record, SampleKey

_L = TypeVar("_L")
_S = TypeVar("_S", Completion, Record)

SYNC_SECONDS = 1.0

MANIFEST = "run.json"
COMPLETIONS = "completions.jsonl"
RESULTS = "results.jsonl"
EVENTS = "events.jsonl"
SUMMARY = "summary.json"
REPORT = "report.html"


class _Key(msgspec.Struct, gc=False):
    """The part of a line that names its sample; the rest of the line is skipped."""

    problem_id: str
    sample_index: SampleIndex

    @property
    def key(self) -> SampleKey:
        return SampleKey(self.problem_id, self.sample_index)


class RunFiles:
    """A run directory for reading, also while a run writes it. Raises `StoreError` if the folder holds no run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest = read_manifest(path / MANIFEST)

    def completions(self) -> Iterator[Completion]:
        """Every completion on disk, in the order generated."""
        return read_values(self.path / COMPLETIONS, Completion)

    def records(self) -> Iterator[Record]:
        """Every record on disk, in the order judged."""
        return map(line_to_record, read_values(self.path / RESULTS, RecordLine))

    def generated(self) -> Iterator[SampleKey]:
        """The sample of every completion on disk."""
        return (line.value.key for line in read_lines(self.path / COMPLETIONS, _Key))

    def judged(self) -> Iterator[SampleKey]:
        """The sample of every record on disk."""
        return (line.value.key for line in read_lines(self.path / RESULTS, _Key))

    def judged_samples(self) -> Iterator[JudgedLine]:
        """The parts of all records on disk that scores are made of, which take half as long to read."""
        return map(read_judged, read_values(self.path / RESULTS, JudgedLine))

    def events(self) -> Iterator[WrittenEvent]:
        """Every event on disk, in the order sent. No score depends on one, so a damaged line is not an error."""
        for number, line in enumerate(decoded_lines(self.path / EVENTS, decode_if_whole), start=1):
            yield line.value or DamagedEvent(number)

    def newest_events(self) -> Iterator[Event | UnknownEvent]:
        """The last events on disk, newest first: some two hundred, read without the rest. Damaged ones are left out."""
        for line in last_lines(self.path / EVENTS):
            if event := decode_if_whole(line):
                yield event

    @property
    def is_running(self) -> bool:
        """Whether a process writes the run now."""
        return is_held(self.path)

    @property
    def summary_is_current(self) -> bool:
        """Whether `summary.json` was written after the last record."""
        try:
            return (self.path / SUMMARY).stat().st_mtime_ns >= (self.path / RESULTS).stat().st_mtime_ns
        except FileNotFoundError:
            return False

    @property
    def written_at(self) -> float:
        """When anything was last written, in seconds since the epoch."""
        paths = [self.path / name for name in (MANIFEST, COMPLETIONS, RESULTS, EVENTS, SUMMARY)]
        return max(path.stat().st_mtime for path in paths if path.exists())


def run_name(path: Path) -> str:
    """The name of a run: that of its folder, also if the path to it is `.`."""
    return Path(os.path.abspath(path)).name  # not `resolve`, which follows a link to another name


def decode_if_whole(line: bytes) -> Event | UnknownEvent | None:
    """The event in a line, None if the line is damaged."""
    try:
        return decode_event(line)
    except NOT_DECODED:
        return None


class _LineIndex:
    """The lines of a file by problem, an offset each in memory: `add` takes them one by one, `read` all of them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offsets: dict[str, array[int]] = {}

    def add(self, problem_id: str, offset: int) -> None:
        """Takes the line that begins at the offset."""
        self._offsets.setdefault(problem_id, array("Q")).append(offset)

    def read(self) -> Self:
        """Takes every line of the file. Raises `StoreError` at a broken one."""
        for line in read_lines(self._path, _Key):
            self.add(line.value.problem_id, line.offset)
        return self

    @property
    def problem_ids(self) -> tuple[str, ...]:
        """The problems with a line, in the order of their first."""
        return tuple(self._offsets)

    @property
    def count(self) -> int:
        """How many lines there are."""
        return sum(map(len, self._offsets.values()))

    def _read(self, problem_id: str, kind: type[_L]) -> Iterator[_L]:
        if offsets := self._offsets.get(problem_id):
            with self._path.open("rb") as file:
                for offset in offsets:
                    yield read_at(file, offset, kind)


class RecordIndex(_LineIndex):
    """The records of the run at a path by problem, one problem's at a time."""

    def __init__(self, run: Path) -> None:
        super().__init__(run / RESULTS)

    def records(self, problem_id: str) -> list[Record]:
        """A problem's records by sample index; the first of duplicates; empty if it has none."""
        return _first_of_each(map(line_to_record, self._read(problem_id, RecordLine)))


class CompletionIndex(_LineIndex):
    """The completions of the run at a path by problem, one problem's at a time."""

    def __init__(self, run: Path) -> None:
        super().__init__(run / COMPLETIONS)

    def completions(self, problem_id: str) -> list[Completion]:
        """A problem's completions by sample index; the first of duplicates; empty if it has none."""
        return _first_of_each(self._read(problem_id, Completion))


def _first_of_each(samples: Iterable[_S]) -> list[_S]:
    first: dict[int, _S] = {}
    for sample in samples:
        first.setdefault(sample.sample_index, sample)
    return [first[index] for index in sorted(first)]


class RunDirectory(RunFiles):
    """A run directory for writing; made by `open_run`, which holds the lock.

    `repairs` are sentences about lines that were cut off or taken out, `repeated_samples` counts lines whose sample
    is further up already, and `tally` counted the records that were on disk when it was opened.
    """

    def __init__(self, path: Path, *, is_resumed: bool, repairs: tuple[str, ...]) -> None:
        super().__init__(path)
        self.is_resumed = is_resumed
        self.repairs = repairs
        self.repeated_samples = 0
        self._completions = Journal(path / COMPLETIONS)
        self._results = Journal(path / RESULTS)
        self._events = Journal(path / EVENTS)
        self._judged = SampleSet()
        self._generated = SampleSet()
        self._unjudged: dict[str, array[int]] = {}
        self._synced_at = 0.0
        self.tally = Tally()
        # Results first: a completion is unjudged only if there is no record of it.
        withdrawn = set()
        for line in read_lines(path / RESULTS, JudgedLine):
            judged = read_judged(line.value)
            if judged.has_failed:
                withdrawn.add(line.offset)
                continue
            self.repeated_samples += not self._judged.add(judged.key)
            self.tally.add(judged)
        if withdrawn:
            withdraw(path / RESULTS, withdrawn)
            sentence = f"{len(withdrawn):,} results were errors of the evaluator: these samples are judged again"
            self.repairs = (*self.repairs, sentence)
        for completed in read_lines(path / COMPLETIONS, _Key):
            key = completed.value.key
            if not self._generated.add(key):
                self.repeated_samples += 1
            elif key not in self._judged:
                # An offset each, not a text: a backlog may be the whole run.
                self._unjudged.setdefault(key.problem_id, array("Q")).append(completed.offset)

    @property
    def safe(self) -> str:
        """How much is on disk, in words."""
        return f"{len(self._generated):,} completions and {len(self._judged):,} results are safe in {self.path}"

    @property
    def is_empty(self) -> bool:
        """Whether nothing has been generated or judged."""
        return not len(self._generated) and not len(self._judged)

    @property
    def max_samples(self) -> int:
        """The number of samples of the problem with most, judged or not."""
        return max(self._generated.max_samples, self._judged.max_samples)

    def is_generated(self, key: SampleKey) -> bool:
        """Whether a sample needs no generation: its completion, or at least its record, is on disk."""
        return key in self._generated or key in self._judged

    def unjudged(self, problem_id: str) -> Iterator[Completion]:
        """The completions of a problem that had no record when the run was opened, read from disk one by one."""
        if offsets := self._unjudged.get(problem_id):
            with (self.path / COMPLETIONS).open("rb") as file:
                for offset in offsets:
                    yield read_at(file, offset, Completion)

    async def append(self, entries: Sequence[Completion | Record | Event]) -> None:
        """Writes the entries: completions, then records, then events, each kind in order.

        Finishes what it started also when cancelled. Raises `StoreError` that names the data that is safe; nothing of
        the kind that failed is left half written.
        """
        completions = [entry for entry in entries if isinstance(entry, Completion)]
        records = [entry for entry in entries if isinstance(entry, Record)]
        events = [entry for entry in entries if not isinstance(entry, Completion | Record)]
        try:
            # A write that was cancelled half way would leave a torn line in the middle of the file.
            with anyio.CancelScope(shield=True):
                # Completions first: a kill in between leaves one without a verdict, never a verdict without one.
                if completions:
                    await self._completions.append(completions)
                    for completion in completions:
                        self._generated.add(completion.key)
                if records:
                    await self._results.append([record_to_line(record) for record in records])
                    for record in records:
                        self._judged.add(record.key)
                if events:
                    await self._events.append(events)
                if time.monotonic() - self._synced_at >= SYNC_SECONDS:
                    await self._sync()
        except StoreError as error:
            raise StoreError(f"{error}; {self.safe}: make room and start the same command again") from error

    def write_summary(self, summary: msgspec.Struct) -> None:
        write_atomically(self.path / SUMMARY, _pretty(summary))

    async def open(self) -> None:
        for journal in self._journals:
            await journal.open()
        # The journals may just have been made, and a file's own sync does not cover its name.
        sync_folder(self.path)

    async def close(self) -> None:
        """Brings everything to the disk itself and closes the files."""
        with anyio.CancelScope(shield=True):
            async with AsyncExitStack() as closing:
                for journal in self._journals:
                    closing.push_async_callback(journal.close)
                await self._sync()

    async def _sync(self) -> None:
        for journal in self._journals:
            await journal.sync()
        self._synced_at = time.monotonic()

    @property
    def _journals(self) -> tuple[Journal, ...]:
        return (self._completions, self._results, self._events)


@asynccontextmanager
async def open_run(
    path: Path,
    manifest: Manifest,
    defaults: Mapping[str, Any] | None = None,
    growth: Growth = NO_GROWTH,
) -> AsyncIterator[RunDirectory]:
    """Opens the run directory at `path` for writing, or makes it.

    `defaults` are the values of settings that a run of an earlier version may lack; `growth` has those that may differ.

    Raises `RunInUseError` if another process writes it, `RunMismatchError` if it belongs to a run with other
    settings, `StoreError` if it cannot be written. A directory made here that nothing was written to is removed.
    """
    with ExitStack() as held:
        directory: RunDirectory | None = None
        is_made = False
        try:
            try:
                is_new = not path.exists()
                path.mkdir(parents=True, exist_ok=True)
                held.enter_context(exclusive(path))
                is_made = is_new
                directory = await to_thread.run_sync(_prepare, path, manifest, defaults or {}, growth)
                await directory.open()
            except OSError as error:
                raise StoreError(f"the run directory {path} cannot be written: {error.strerror}") from error
            yield directory
        finally:
            if directory is not None:
                await directory.close()
            if is_made and (directory is None or directory.is_empty):
                _remove(path)


def _prepare(path: Path, manifest: Manifest, defaults: Mapping[str, Any], growth: Growth) -> RunDirectory:
    """Checks and repairs the files, and writes the manifest of this start."""
    written = path / MANIFEST
    for name in (MANIFEST, SUMMARY):  # not the report, which another process may be writing
        remove_leftovers(path / name)
    is_resumed = written.exists()
    if is_resumed:
        before = read_manifest(written)
        check_agreement(path, before, manifest, defaults, growth)
        manifest = msgspec.structs.replace(manifest, created_at=before.created_at)
    # A folder with other files, named by mistake, is not to be filled with a run.
    elif any(entry.name != "lock" for entry in path.iterdir()):
        raise StoreError(f"{path} holds other files and no {MANIFEST}: name an empty or a new directory")
    repairs = [repair(path / name) for name in (COMPLETIONS, RESULTS, EVENTS)]
    write_atomically(written, _pretty(manifest))
    return RunDirectory(path, is_resumed=is_resumed, repairs=tuple(each for each in repairs if each))


def _pretty(value: msgspec.Struct) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def _remove(path: Path) -> None:
    """Removes a run directory that holds only the files of its opening; a folder with anything else in it stays."""
    for name in (MANIFEST, COMPLETIONS, RESULTS, EVENTS, SUMMARY, REPORT, "lock"):
        (path / name).unlink(missing_ok=True)
    with suppress(OSError):
        path.rmdir()
