"""Experiment trackers: where a run's settings and numbers are sent, one module for each kind, imported when it is used.

A run knows nothing of trackers. `taco-stream log` reads its files and sends their figures, so a tracker that is slow or
down holds up that command alone. Whatever a tracker's library raises is one error, `TrackerError`.
"""

import enum
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Protocol

import msgspec

from taco_stream.errors import TrackerError, UsageError


class TrackerKind(enum.StrEnum):
    """The trackers that a run can be sent to; the extra of that name installs what each needs."""

    WANDB = "wandb"
    MLFLOW = "mlflow"
    TRACKIO = "trackio"


class TrackedRun(msgspec.Struct, frozen=True, kw_only=True):
    """How a run appears in a tracker.

    `run_id` is the same each time that a run is sent, so that the second time continues the first. `config` are the
    settings that change results, and versions.
    """

    project: str
    name: str
    run_id: str
    config: Mapping[str, Any]


class Tracker(Protocol):
    """A run that is open in a tracker."""

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        """Sends numbers; `step` is how many samples they are of."""
        ...

    def finish(self) -> None:
        """Waits until everything is sent."""
        ...


@contextmanager
def open_tracker(kind: TrackerKind, run: TrackedRun) -> Iterator[Tracker]:
    """The run, open in a tracker until the context ends, upon which everything has been sent.

    Raises `UsageError` if the tracker's package is missing, and `TrackerError` if the tracker fails.
    """
    try:
        module = import_module(f"taco_stream.trackers.to_{kind}")
    except ImportError as error:
        raise UsageError(f"{kind} is not installed ({error}): pip install 'taco-stream[{kind}]'") from error
    with _translated(kind):
        tracker: Tracker = _Translating(kind, module.start(run))
    try:
        yield tracker
    finally:
        tracker.finish()


class _Translating:
    """A tracker whose every failure is a `TrackerError`."""

    def __init__(self, kind: TrackerKind, tracker: Tracker) -> None:
        self._kind = kind
        self._tracker = tracker

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        with _translated(self._kind):
            self._tracker.log(numbers, step)

    def finish(self) -> None:
        with _translated(self._kind):
            self._tracker.finish()


@contextmanager
def _translated(kind: TrackerKind) -> Iterator[None]:
    try:
        yield
    # Broad: each library raises errors of its own and those of the HTTP client that it happens to use.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise TrackerError(
            f"{kind} failed: {reason}; the run is not affected, and the same command sends it again"
        ) from error
