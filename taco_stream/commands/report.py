"""The command `report`, and the summary of a run directory, finished or running, for other commands."""

from collections.abc import Iterator
from pathlib import Path

from taco_stream.datasets.settings import DatasetSettings
from taco_stream.datasets.sources import STANDARD_INPUT
from taco_stream.errors import DatasetError
from taco_stream.metrics import Tally, settled_ks
from taco_stream.report.html import write_html
from taco_stream.report.summary import Summary, reported_ks, summarise
from taco_stream.report.text import print_report
from taco_stream.run.problems import problem_source
from taco_stream.run.settings import SETTINGS, RunSettings
from taco_stream.store.run_directory import RunFiles
from taco_stream.terminal import stderr_console, stdout_console, write_json
from taco_stream.types import ComparisonMode, Problem


def print_summary(
    path: Path, *, mode: ComparisonMode | None, ks: tuple[int, ...], as_json: bool, html: Path | None
) -> None:
    """Prints the summary of the run at `path` to standard output; `mode` and `ks` default to the run's own.

    If `html` names a file, the report is written there as well.
    """
    files, settings = read_run(path, mode, ks)
    tally = count_records(files)
    if ks:
        settled_ks(ks, max((each.scored for each in tally.problems[settings.evaluator.mode].values()), default=0))
    summary = sum_up(tally, files, settings)
    if html is not None:
        write_html(path, html, settings.evaluator, settings.samples.k, problems=lambda: read_again(settings.dataset))
    if as_json:
        write_json(summary)
    else:
        print_report(summary, stdout_console())


def read_again(settings: DatasetSettings) -> Iterator[Problem]:
    """The problems of a run that is over. Raises `DatasetError` if they are not there any more."""
    if settings.dataset == STANDARD_INPUT:
        raise DatasetError("the problems came on standard input")
    return problem_source(settings, stderr_console())()


def count_records(files: RunFiles) -> Tally:
    """Counts everything that has been judged."""
    tally = Tally()
    for judged in files.judged_samples():
        tally.add(judged)
    return tally


def sum_up(tally: Tally, files: RunFiles, settings: RunSettings) -> Summary:
    """The summary of everything in the run directory."""
    mode = settings.evaluator.mode
    return summarise(tally, files.events(), mode=mode, ks=reported_ks(tally, mode, settings.samples.k))


def read_run(path: Path, mode: ComparisonMode | None, ks: tuple[int, ...]) -> tuple[RunFiles, RunSettings]:
    """The run at `path` and its settings, with another mode or other ks if these are given."""
    files = RunFiles(path)
    chosen = {name: value for name, value in (("mode", mode), ("k", ks)) if value}
    written = {name: value for name, value in files.manifest.settings.items() if name in SETTINGS}
    return files, RunSettings.resolve({**written, **chosen}, environ={})
