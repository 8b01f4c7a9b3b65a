"""Samples that another run has generated already, for a run that would generate the same (`--reuse`).

A sample is determined by the model and how it is computed with, the sampling, the seed, the prompt and its index. So
the other run must agree in every setting of these, and in the dataset's fingerprint, from which together with the
prompt's settings the prompts follow: as much is trusted as when a run is resumed. Which problems it selected, how many
samples it has and how it judged them does not matter.

Memory holds an offset per sample of the other run, never texts; its directory is only read, and may be written at the
same time. A sample that is taken over is written like one that was generated, so a later start does not need the other
run.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from taco_stream.engine.settings import ModelSettings
from taco_stream.errors import RunMismatchError, UsageError
from taco_stream.prompting import PromptSettings
from taco_stream.run.settings import SETTINGS, RunSettings
from taco_stream.store.manifest import read_manifest
from taco_stream.store.run_directory import MANIFEST, CompletionIndex
from taco_stream.types import Completion, FinishReason, SamplingParameters

DETERMINE_SAMPLES = (
    *(
        name
        for name, each in SETTINGS.items()
        if each.group in (ModelSettings, SamplingParameters, PromptSettings) and each.changes_results
    ),
    "engine",
    "seed",
    "split",
    "dataset_fingerprint",
)
"""What two runs must agree in to have the same samples."""


class ReusableSamples:
    """The samples of the run at a path, for a run with the results `results`.

    Raises `NoRunError` if there is no run, and `RunMismatchError` that names every setting in which it differs.
    """

    def __init__(self, path: Path, results: Mapping[str, Any]) -> None:
        self.path = path
        # A setting that did not exist when the run was made had the value that is its default now.
        theirs = _as_read({**RunSettings().results(), **read_manifest(path / MANIFEST).results})
        ours = _as_read(results)
        differing = [
            f"{name} {theirs.get(name)!r}, this start has {ours.get(name)!r}"
            for name in DETERMINE_SAMPLES
            if theirs.get(name) != ours.get(name)
        ]
        if differing:
            raise RunMismatchError(
                f"the samples of {path} cannot be reused: it was made with {'; with '.join(differing)}"
            )
        if str(ours["engine"]).startswith("replay"):
            raise UsageError("--reuse needs an engine that generates: completions that exist are read as they are")
        self._index = CompletionIndex(path).read()

    @property
    def count(self) -> int:
        """How many samples the run has."""
        return self._index.count

    def find(self, problem_id: str, indices: Sequence[int]) -> list[Completion]:
        """Those of the samples that the run has generated without an error.

        The times are not those of this start, so they are not counted among it (`finished_at` is 0).
        """
        wanted = set(indices)
        return [
            msgspec.structs.replace(completion, finished_at=0.0, reused_from=completion.reused_from or str(self.path))
            for completion in self._index.completions(problem_id)
            if completion.sample_index in wanted and completion.finish_reason is not FinishReason.ERROR
        ]


def _as_read(results: Mapping[str, Any]) -> dict[str, Any]:
    """The results as a manifest has them: lists in place of tuples."""
    return msgspec.json.decode(msgspec.json.encode(results), type=dict[str, Any])
