"""A run directory read from Python: records, scores and a table."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taco_stream.commands.report import count_records, read_run, sum_up
from taco_stream.formats.parquet_table import records_table
from taco_stream.report.summary import Summary
from taco_stream.sample_set import SampleSet
from taco_stream.types import ComparisonMode, Completion, Record, Status

if TYPE_CHECKING:
    import pyarrow


def load_run(path: str | os.PathLike[str], *, mode: ComparisonMode | None = None) -> "LoadedRun":
    """Opens the run directory at `path`, finished or still being written.

    `mode` is the comparison mode that counts, by default the run's own. Nothing but the settings is read yet. Raises
    `StoreError` if there is no run.
    """
    return LoadedRun(Path(path), mode)


class LoadedRun:
    """A run for reading. Made by `load_run`.

    Each method reads the files again, up to the last line that is complete by then.
    A sample that the files have twice counts once, the first. Raises `StoreError` if a file is damaged.
    """

    def __init__(self, path: Path, mode: ComparisonMode | None) -> None:
        self._files, self._settings = read_run(path, mode, ())

    @property
    def path(self) -> Path:
        """The run directory."""
        return self._files.path

    @property
    def mode(self) -> ComparisonMode:
        """The comparison mode that counts."""
        return self._settings.evaluator.mode

    @property
    def settings(self) -> Mapping[str, Any]:
        """Every setting of the newest start, by the name that it has on the command line (`max_new_tokens`)."""
        return self._files.manifest.settings

    def records(self) -> Iterator[Record]:
        """The judged samples, in the order in which they were judged, one in memory at a time."""
        seen = SampleSet()
        return (record for record in self._files.records() if seen.add(record.key))

    def completions(self) -> Iterator[Completion]:
        """The generated samples, judged or not, in the order in which they were generated."""
        seen = SampleSet()
        return (completion for completion in self._files.completions() if seen.add(completion.key))

    def summary(self) -> Summary:
        """The scores, counts, gaps and speed that `taco-stream report` prints."""
        return sum_up(count_records(self._files), self._files, self._settings)

    def passed(self) -> Mapping[str, int]:
        """How many samples of each judged problem passed."""
        counts: dict[str, int] = {}
        for record in self.records():
            verdict = record.verdicts.get(self.mode)
            has_passed = verdict is not None and verdict.status is Status.PASSED
            counts[record.problem_id] = counts.get(record.problem_id, 0) + has_passed
        return counts

    def to_arrow(self) -> "pyarrow.Table":
        """The records as a table with a row per sample, the columns of `taco-stream export --format parquet`.

        `to_arrow().to_pandas()` is a DataFrame, and polars and DuckDB take the table as it is.
        """
        return records_table(self.records())
