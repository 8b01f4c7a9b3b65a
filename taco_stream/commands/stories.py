"""A run joined with its dataset, the source of the stories that `show` and the page present.

The run is read without its lock, so it may still be being written; the samples seen are those that were there
when one was first asked for.
The dataset may be gone, elsewhere or changed. That never fails a story: it has a note instead.
"""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import msgspec

from taco_stream.commands.report import read_run
from taco_stream.datasets.open import dataset_fingerprint, open_dataset
from taco_stream.datasets.rows import BadRow
from taco_stream.datasets.selection import Selection, nearest_ids
from taco_stream.datasets.settings import DatasetSettings
from taco_stream.datasets.sources import STANDARD_INPUT
from taco_stream.errors import DatasetError, UsageError
from taco_stream.prompting import build_prompting, shown_text
from taco_stream.report.sample import KnownProblem, ProblemStory, SampleStory, tell_problem, tell_sample
from taco_stream.store.run_directory import CompletionIndex, RecordIndex
from taco_stream.types import ComparisonMode, Problem


class RunStories:
    """The stories of the problems and samples of one run."""

    def __init__(self, path: Path, *, dataset: str | None = None, mode: ComparisonMode | None = None) -> None:
        """Opens the run at `path`; `dataset` names where its problems are now if not where the run had them.

        Raises `StoreError` if there is no run.
        """
        self.files, self.settings = read_run(path, mode, ())
        self.mode = self.settings.evaluator.mode
        self._is_moved = dataset is not None
        if dataset is not None:
            moved = msgspec.structs.replace(self.settings.dataset, dataset=dataset)
            self.settings = msgspec.structs.replace(self.settings, dataset=moved)
        self._latest: tuple[str, KnownProblem | None, list[str]] | None = None
        self._fingerprint_note: list[str] | None = None

    @cached_property
    def _records(self) -> RecordIndex:
        return RecordIndex(self.files.path).read()

    @cached_property
    def _completions(self) -> CompletionIndex:
        return CompletionIndex(self.files.path).read()

    @property
    def problem_ids(self) -> list[str]:
        """The problems with a sample, in the order in which they were generated."""
        return list(dict.fromkeys([*self._completions.problem_ids, *self._records.problem_ids]))

    def problem(self, problem_id: str) -> ProblemStory:
        """The story of one problem. Raises `UsageError` if neither the run nor its dataset has it."""
        known, notes = self.known(problem_id)
        records = self._records.records(problem_id)
        judged = {record.sample_index for record in records}
        unjudged = [each for each in self._completions.completions(problem_id) if each.sample_index not in judged]
        if not records and not unjudged:
            if known is None:
                raise self._unknown(problem_id)
            notes = [*notes, "the run has no sample of this problem"]
        return tell_problem(problem_id, records, unjudged, known, mode=self.mode, notes=notes)

    def sample(self, problem_id: str, sample_index: int) -> SampleStory:
        """The story of one sample. Raises `UsageError` if the run does not have it."""
        records = {each.sample_index: each for each in self._records.records(problem_id)}
        completions = {each.sample_index: each for each in self._completions.completions(problem_id)}
        record, completion = records.get(sample_index), completions.get(sample_index)
        if record is None and completion is None:
            indices = sorted(records.keys() | completions.keys())
            if not indices and self.known(problem_id)[0] is None:
                raise self._unknown(problem_id)
            has = f"it has {_ranges(indices)}" if indices else "it has none"
            raise UsageError(f"{self.files.path} has no sample {sample_index} of {problem_id}: {has}")
        known, notes = self.known(problem_id)
        prompt, about_prompt = self.prompt(known)
        return tell_sample(record, completion, known, mode=self.mode, prompt=prompt, notes=[*notes, *about_prompt])

    def known(self, problem_id: str) -> tuple[KnownProblem | None, list[str]]:
        """The dataset's problem, None if the dataset does not have it (any more); and notes on it."""
        latest = self._latest  # any thread may replace it meanwhile
        if latest is None or latest[0] != problem_id:
            latest = self._latest = (problem_id, *self._look_up(problem_id))  # one is kept: tests may be megabytes
        return latest[1:]

    def _look_up(self, problem_id: str) -> tuple[KnownProblem | None, list[str]]:
        spec = self.settings.dataset.dataset
        elsewhere = "--dataset FILE says where it is now"
        if spec == STANDARD_INPUT and not self._is_moved:
            return None, [f"the problems came on standard input, so question and tests are unknown: {elsewhere}"]
        try:
            problems = every_problem(self.settings.dataset)
            problem = next((each for each in problems if each.problem_id == problem_id), None)
            if problem is None:
                return None, [f"{spec} does not have the problem {problem_id}: {elsewhere}"]
            return KnownProblem(problem, self.settings.evaluator), self._has_changed()
        except (DatasetError, UsageError) as error:
            return None, [f"the dataset cannot be read, so question and tests are unknown: {error}; {elsewhere}"]

    def _has_changed(self) -> list[str]:
        """A note if the dataset is no longer the one of the run, as far as that can be known."""
        if self._fingerprint_note is None:
            before = self.files.manifest.results.get("dataset_fingerprint")
            settings = self.settings.dataset
            is_same = self._is_moved or dataset_fingerprint(settings.dataset, split=settings.split) == before
            changed = f"{settings.dataset} has changed since the run: its questions and tests may be others"
            self._fingerprint_note = [] if is_same or before is None else [changed]
        return self._fingerprint_note

    def prompt(self, known: KnownProblem | None) -> tuple[str | None, list[str]]:
        """The prompt of a problem's samples, None if it is unknown; and notes on it."""
        engine = self.settings.samples.engine
        if known is None or engine.startswith("replay"):
            return None, []  # no model was asked, or its prompt is unknown
        try:
            return shown_text(build_prompting(self.settings.prompt).build(known.problem)), []
        except UsageError as error:
            return None, [f"the prompt cannot be made again: {error}"]

    def _unknown(self, problem_id: str) -> UsageError:
        ids = dict.fromkeys(self.problem_ids)
        if not (close := nearest_ids(problem_id, ids)):
            try:
                ids |= dict.fromkeys(each.problem_id for each in every_problem(self.settings.dataset))
                close = nearest_ids(problem_id, ids)
            except (DatasetError, UsageError):
                pass
        hint = f"did you mean {' or '.join(close)}?" if close else f"it has {', '.join([*ids][:3]) or 'none yet'}, …"
        return UsageError(f"{self.files.path} has no problem {problem_id}: {hint}")


def every_problem(settings: DatasetSettings) -> Iterator[Problem]:
    """All problems of a run's dataset, whatever the run selected; rows that cannot be read are left out."""

    def leave_out(_: BadRow) -> None:
        pass

    return open_dataset(
        settings.dataset,
        selection=Selection(split=settings.split),
        special_judges=Path(settings.special_judges) if settings.special_judges else None,
        on_bad_row=leave_out,
    )


def _ranges(indices: list[int]) -> str:
    """Indices in words: `0 to 3, 7`."""
    ranges: list[list[int]] = []
    for index in indices:
        if ranges and index == ranges[-1][-1] + 1:
            ranges[-1][1:] = [index]
        else:
            ranges.append([index])
    return ", ".join(" to ".join(map(str, each)) for each in ranges)
