"""Trackio (seen: 0.43): a local database in `TRACKIO_DIR`, which `trackio show` displays.

A failed write is a warning there, from the writing thread, and the value is lost; here it is an error.
"""

import warnings
from collections.abc import Mapping
from contextlib import ExitStack

import trackio

from taco_stream.trackers.tracker import TrackedRun


class TrackioTracker:
    """A run of Trackio's."""

    def __init__(self, run: TrackedRun) -> None:
        with ExitStack() as opened:
            self._warned = opened.enter_context(warnings.catch_warnings(record=True))
            # Trackio knows runs by name alone.
            name = f"{run.name}-{run.run_id}"
            self._run = trackio.init(
                project=run.project, name=name, config=dict(run.config), resume="allow", embed=False
            )
            self._opened = opened.pop_all()

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        self._run.log(dict(numbers), step=step)

    def finish(self) -> None:
        """Blocks until the database has everything."""
        with self._opened:
            trackio.finish()
        if failures := [str(each.message) for each in self._warned if "failed to" in str(each.message)]:
            raise OSError(failures[0])


def start(run: TrackedRun) -> TrackioTracker:
    """Creates the run, or continues it."""
    return TrackioTracker(run)
