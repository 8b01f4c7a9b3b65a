"""The command `runs`: the run directories of a folder, each in a line.

A run whose summary is newer than its last record is read from its summary and the end of its events; of another, every
record is counted. Nothing is locked, so runs that are being written do not notice.
"""

import time
from pathlib import Path
from typing import NamedTuple

import msgspec

from taco_stream.commands.report import count_records, read_run
from taco_stream.errors import NOT_DECODED, TacoStreamError, UsageError
from taco_stream.metrics import Estimate
from taco_stream.report.run_list import RunLine, RunList, UnreadableFolder, find_state, print_runs, read_last_start
from taco_stream.report.summary import Summary, reported_ks
from taco_stream.run.settings import RunSettings
from taco_stream.store.run_directory import MANIFEST, SUMMARY, RunFiles, run_name
from taco_stream.terminal import stdout_console, write_json
from taco_stream.types import Status


def list_runs(folder: Path, *, as_json: bool) -> None:
    """Prints the runs in the folder; a run directory is a list of one. Raises `UsageError` if it is not a folder."""
    listed = read_runs(folder)
    if as_json:
        write_json(listed)
        return
    print_runs(listed, stdout_console(), time.time())
    if not listed.runs:
        stdout_console().print(f"{folder} holds no runs", soft_wrap=True)


def read_runs(folder: Path) -> RunList:
    """The runs of a folder, the one written last first."""
    try:
        paths = [folder] if (folder / MANIFEST).exists() else [each for each in folder.iterdir() if each.is_dir()]
    except OSError as error:
        raise UsageError(f"{folder} cannot be read: {error.strerror}: name a folder of run directories") from error
    runs, unreadable = [], []
    for path in sorted(paths):
        try:
            runs.append(_read_line(path))
        except TacoStreamError as error:
            unreadable.append(UnreadableFolder(path=str(path), reason=str(error).removeprefix(f"{path} is ")))
        except OSError as error:
            unreadable.append(UnreadableFolder(path=str(path), reason=f"cannot be read: {error.strerror}"))
    runs.sort(key=lambda run: run.written_at, reverse=True)
    return RunList(runs=tuple(runs), unreadable=tuple(unreadable))


def _read_line(path: Path) -> RunLine:
    files, settings = read_run(path, None, ())
    is_running = files.is_running
    last = read_last_start(files.newest_events())
    counted = _read_summary(files) or _count(files, settings)
    expected = counted.samples_expected if last.samples_expected is None else last.samples_expected
    return RunLine(
        name=run_name(path),
        path=str(path),
        state=find_state(
            last,
            samples=counted.samples,
            samples_expected=expected,
            infrastructure_errors=counted.infrastructure_errors,
            is_running=is_running,
        ),
        model=files.manifest.answered_by,
        dataset=settings.dataset.dataset,
        samples=counted.samples,
        samples_expected=expected,
        infrastructure_errors=counted.infrastructure_errors,
        k=counted.k,
        score=counted.score,
        created_at=files.manifest.created_at,
        written_at=files.written_at,
    )


class _Counted(NamedTuple):
    """The totals of a run's records; the score is that of its smallest k."""

    samples: int
    samples_expected: int | None
    infrastructure_errors: int
    k: int | None
    score: Estimate | None


def _read_summary(files: RunFiles) -> _Counted | None:
    """From `summary.json`; None if it is missing, older than the last record, or not readable."""
    if not files.summary_is_current:
        return None
    try:
        summary = msgspec.json.decode((files.path / SUMMARY).read_bytes(), type=Summary)
    except (OSError, *NOT_DECODED):
        return None
    k = min(summary.pass_at_k, default=None)
    return _Counted(
        summary.coverage.samples,
        summary.coverage.samples_expected,
        summary.statuses.get(Status.INFRASTRUCTURE_ERROR, 0),
        k,
        None if k is None else summary.pass_at_k[k],
    )


def _count(files: RunFiles, settings: RunSettings) -> _Counted:
    tally, mode = count_records(files), settings.evaluator.mode
    k = min(reported_ks(tally, mode, settings.samples.k), default=None)
    score = None if k is None else tally.scores(mode, [k]).overall.get(k)
    return _Counted(tally.samples, None, tally.statuses[mode][Status.INFRASTRUCTURE_ERROR], k, score)
