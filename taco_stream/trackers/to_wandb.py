"""Weights & Biases (seen: 0.31). `WANDB_MODE=offline` keeps everything in `./wandb`, for `wandb sync` later."""

from collections.abc import Mapping

import wandb

from taco_stream.trackers.tracker import TrackedRun


class WandbTracker:
    """A run of wandb's."""

    def __init__(self, run: "wandb.Run") -> None:
        self._run = run

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        """A step that is not past the last one is ignored by wandb, so that sending twice changes nothing."""
        self._run.log(dict(numbers), step=step)

    def finish(self) -> None:
        """Blocks until the server has everything."""
        self._run.finish()


def start(run: TrackedRun) -> WandbTracker:
    """Creates the run, or continues it."""
    # Our terminal is no part of the run, and its own messages would mix with our results.
    settings = wandb.Settings(console="off", silent=True)
    opened = wandb.init(
        project=run.project,
        id=run.run_id,
        name=run.name,
        config=dict(run.config),
        resume="allow",
        settings=settings,
    )
    return WandbTracker(opened)
