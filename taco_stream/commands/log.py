"""The command `log`: sends a run to an experiment tracker, from its files alone, once or until the run ends."""

import hashlib
import time
from pathlib import Path

import msgspec

from taco_stream.commands.report import read_run
from taco_stream.report.flat_metrics import flatten
from taco_stream.report.run_reader import RunReader
from taco_stream.report.summary import reported_ks, sum_up_totals
from taco_stream.store.manifest import Manifest
from taco_stream.store.run_directory import RunFiles, run_name
from taco_stream.terminal import stderr_console
from taco_stream.trackers.tracker import TrackedRun, Tracker, TrackerKind, open_tracker

FOLLOW_SECONDS = 15.0
"""Between two readings of a run that is followed: trackers draw a run of an hour from some hundred points."""


def log_run(path: Path, kind: TrackerKind, *, project: str, follow: bool) -> None:
    """Sends the run at `path`; with `follow` again and again until nothing writes it any more.

    Raises `StoreError` if there is no run, `UsageError` if the tracker's package is missing and `TrackerError` if the
    tracker fails.
    """
    files, settings = read_run(path, None, ())
    reader = RunReader(path, mode=settings.evaluator.mode, ks=settings.samples.k)
    manifest = files.manifest
    tracked = TrackedRun(
        project=project,
        name=run_name(path),
        run_id=identify(manifest),
        config={**manifest.results, **{f"version_{name}": value for name, value in manifest.versions.items()}},
    )
    with open_tracker(kind, tracked) as tracker:
        while True:
            is_running = follow and files.is_running  # asked before: lines written meanwhile are sent once more
            samples = send(reader, tracker, settings.samples.k)
            if not is_running:
                break
            _wait(files)
    stderr_console().print(f"sent {samples:,} samples of {path} to {kind}, project {project}", soft_wrap=True)


def identify(manifest: Manifest) -> str:
    """A name that no other run has and the run keeps when it grows, of letters that every tracker allows."""
    described = msgspec.json.encode((manifest.created_at, manifest.answered_by))
    return hashlib.sha256(described).hexdigest()[:16]


def send(reader: RunReader, tracker: Tracker, ks: tuple[int, ...]) -> int:
    """Sends the numbers of what is on disk now; of how many samples."""
    reader.refresh()
    counts = reader.counts
    asked = reported_ks(counts.tally, counts.mode, ks)
    summary = sum_up_totals(counts.tally, counts.totals, mode=counts.mode, ks=asked)
    tracker.log(flatten(summary), summary.coverage.samples)
    return summary.coverage.samples


def _wait(files: RunFiles) -> None:
    """Until it is time to read again, or the run has ended."""
    ends_at = time.monotonic() + FOLLOW_SECONDS
    while time.monotonic() < ends_at and files.is_running:
        time.sleep(0.5)
