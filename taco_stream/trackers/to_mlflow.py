"""MLflow (seen: 3.17). `MLFLOW_TRACKING_URI` names the server, or a local database; a project is an experiment."""

from collections.abc import Mapping

import mlflow

from taco_stream.trackers.tracker import TrackedRun

TAG = "taco_stream.run_id"
"""By which a run is found again: MLflow chooses the ids itself."""

MAX_PARAMETER_LENGTH = 500
"""Servers of MLflow 1 refuse longer ones."""


class MlflowTracker:
    """A run of MLflow's."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        """MLflow allows no @ in a name."""
        named = {name.replace("@", "_at_"): value for name, value in numbers.items()}
        mlflow.log_metrics(named, step=step, run_id=self._run_id)

    def finish(self) -> None:
        """Nothing waits: every number was sent when it was logged."""
        mlflow.MlflowClient().set_terminated(self._run_id)


def start(run: TrackedRun) -> MlflowTracker:
    """Creates the run, or continues it."""
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name(run.project)
    experiment_id = experiment.experiment_id if experiment else client.create_experiment(run.project)
    found = client.search_runs([experiment_id], f"tags.`{TAG}` = '{run.run_id}'", max_results=1)
    if found:
        client.update_run(found[0].info.run_id, status="RUNNING")
        return MlflowTracker(found[0].info.run_id)
    run_id = client.create_run(experiment_id, tags={TAG: run.run_id}, run_name=run.name).info.run_id
    for name, value in run.config.items():  # parameters cannot be changed, so they are written once
        client.log_param(run_id, name, str(value)[:MAX_PARAMETER_LENGTH])
    return MlflowTracker(run_id)
