"""A run directory read for the page, again and again: only lines that were appended since are read.

Nothing is locked and nothing is written, so a run that is being written does not notice. Memory holds counters per
problem and an offset per sample; texts are read from the files when one problem or one sample is asked for. If a start
of the run took lines out, everything is counted again from the beginning.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from taco_stream.events import DamagedEvent, WrittenEvent
from taco_stream.report.page_data import RunCounts, RunPage, describe_run
from taco_stream.report.sample import KnownProblem, ProblemStory, SampleStory, tell_problem, tell_sample
from taco_stream.report.summary import reported_ks
from taco_stream.store.journal_tail import JournalTail
from taco_stream.store.record_line import RecordLine, line_to_record
from taco_stream.store.run_directory import (
    COMPLETIONS,
    EVENTS,
    RESULTS,
    CompletionIndex,
    RecordIndex,
    RunFiles,
    decode_if_whole,
)
from taco_stream.types import ComparisonMode, Completion, Record


class RunDataset(Protocol):
    """The dataset of the run; a part that is no longer there is `None`, and a note may say so."""

    def known(self, problem_id: str) -> tuple[KnownProblem | None, list[str]]:
        """A problem, and notes on the dataset."""
        ...

    def prompt(self, known: KnownProblem | None) -> tuple[str | None, list[str]]:
        """The text that a problem's samples were asked with."""
        ...


class _ProblemId(msgspec.Struct):
    """The part of a completion's line that says which problem it belongs to."""

    problem_id: str


class RunReader:
    """One run. Raises `StoreError` if the folder holds none; `dataset` adds its part to the stories.

    Not safe for use from several threads at once.
    """

    def __init__(
        self,
        path: Path,
        *,
        mode: ComparisonMode,
        ks: Sequence[int] = (),
        dataset: RunDataset | None = None,
    ) -> None:
        self.path = path
        self._mode = mode
        self._ks = ks
        self._dataset = dataset
        RunFiles(path)  # raises if there is no run
        self._begin()

    def _begin(self) -> None:
        self.counts = RunCounts(self._mode)
        self._event_lines = 0
        self._records = JournalTail(self.path / RESULTS, msgspec.json.Decoder(RecordLine).decode)
        self._events = JournalTail(self.path / EVENTS, self._decode_event)
        self._completions = JournalTail(self.path / COMPLETIONS, msgspec.json.Decoder(_ProblemId).decode)
        self._record_index = RecordIndex(self.path)
        self._completion_index = CompletionIndex(self.path)

    def refresh(self) -> None:
        """Counts the appended lines. Raises `StoreError` at a broken record."""
        # A later start cuts off torn lines and takes out the evaluator's errors, after which no offset holds.
        if any(tail.was_replaced() for tail in (self._records, self._events, self._completions)):
            self._begin()
        for line in self._records.new_lines():
            record = line_to_record(line.value)
            self.counts.add(record)
            self._record_index.add(record.problem_id, line.offset)
        for event in self._events.new_lines():
            self.counts.add_event(event.value)

    def _decode_event(self, line: bytes) -> WrittenEvent:
        self._event_lines += 1  # which is all that a damaged event can be named by
        return decode_if_whole(line) or DamagedEvent(self._event_lines)

    def page(self, name: str) -> RunPage:
        """The page for the lines counted so far; `name` identifies the run to its server."""
        ks = reported_ks(self.counts.tally, self._mode, self._ks)
        files = RunFiles(self.path)  # a later start writes another manifest
        return describe_run(
            self.counts, files.manifest, name=name, path=str(self.path), ks=ks, is_running=files.is_running
        )

    def problem(self, problem_id: str) -> ProblemStory | None:
        """One problem and its samples, None if the run has none of it."""
        records, unjudged = self.records(problem_id), self._unjudged(problem_id)
        if not records and not unjudged:
            return None
        known, notes = self._known(problem_id)
        return tell_problem(problem_id, records, unjudged, known, mode=self._mode, notes=notes)

    def sample(self, problem_id: str, sample_index: int) -> SampleStory | None:
        """One sample, None if the run does not have it."""
        judged = [each for each in self.records(problem_id) if each.sample_index == sample_index]
        unjudged = [each for each in self._unjudged(problem_id) if each.sample_index == sample_index]
        return next(self.tell(problem_id, judged or unjudged), None)

    def tell(self, problem_id: str, samples: Sequence[Record | Completion]) -> Iterator[SampleStory]:
        """The stories of samples of one problem, of which their record or, without one, their completion is given."""
        if not samples:
            return
        completions = {each.sample_index: each for each in self._read_completions(problem_id)}
        known, notes = self._known(problem_id)
        prompt, about_prompt = self._dataset.prompt(known) if self._dataset else (None, [])
        for each in samples:
            record = each if isinstance(each, Record) else None
            completion = completions.get(each.sample_index)
            yield tell_sample(record, completion, known, mode=self._mode, prompt=prompt, notes=[*notes, *about_prompt])

    def records(self, problem_id: str) -> list[Record]:
        """The records of a problem by sample index; the first of duplicates."""
        return self._record_index.records(problem_id)

    def _unjudged(self, problem_id: str) -> list[Completion]:
        judged = {record.sample_index for record in self.records(problem_id)}
        return [each for each in self._read_completions(problem_id) if each.sample_index not in judged]

    def _read_completions(self, problem_id: str) -> list[Completion]:
        for line in self._completions.new_lines():
            self._completion_index.add(line.value.problem_id, line.offset)
        return self._completion_index.completions(problem_id)

    def _known(self, problem_id: str) -> tuple[KnownProblem | None, list[str]]:
        return self._dataset.known(problem_id) if self._dataset else (None, [])
