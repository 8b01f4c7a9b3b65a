"""All settings of a run: the groups of its components, and the run's own."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

import msgspec

from taco_stream.datasets.settings import DatasetSettings
from taco_stream.engine.settings import ModelSettings, ServerSettings
from taco_stream.evaluator.settings import EvaluatorSettings
from taco_stream.prompting import PromptSettings
from taco_stream.sample_set import MAX_SAMPLES
from taco_stream.settings import Group, collect_settings, resolve, setting
from taco_stream.types import SamplingParameters

PositiveInt = Annotated[int, msgspec.Meta(ge=1)]


class SampleSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How many samples, who answers, how programs are found in the answers, and which k to report."""

    samples: Annotated[
        int | None, setting("Samples per problem; default: 10, or all that a replay has.", ge=1, le=MAX_SAMPLES)
    ] = None
    engine: Annotated[
        str,
        setting(
            "local, server, replay (reference solutions), replay:FILE, scripted[:FILE], or a plug-in.",
            changes_results=True,
        ),
    ] = "local"
    seed: Annotated[int, setting("Seed of the samples: same seed, same samples.", changes_results=True, ge=0)] = 0
    k: Annotated[
        tuple[PositiveInt, ...], setting("A k of pass@k; repeatable. Default: 1, 10, 100 up to the samples.")
    ] = ()
    join_blocks: Annotated[
        bool, setting("Join all code blocks of a chat answer instead of taking the last.", changes_results=True)
    ] = False
    id_field: Annotated[
        str | None, setting("Field with the problem's id, in completions of an unknown format.", changes_results=True)
    ] = None
    text_field: Annotated[
        str | None, setting("Field with the text, in completions of an unknown format.", changes_results=True)
    ] = None
    reuse: Annotated[
        str | None,
        setting("Run whose samples of the same model, prompts, sampling and seed are taken over.", min_length=1),
    ] = None
    strict_ids: Annotated[bool, setting("Refuse completions whose ids do not match the problems.")] = False
    completions_buffer: Annotated[
        int, setting("Completions that may wait for the evaluator before generation pauses.", ge=1)
    ] = 4096
    metrics_port: Annotated[
        int | None, setting("Serve the figures of the run to Prometheus at this port of 127.0.0.1.", ge=1, le=65535)
    ] = None


class ClusterSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The machines that generate and judge, if not this one."""

    ray: Annotated[
        str | None,
        setting("Use a Ray cluster: auto (this machine's), HOST:PORT, or local (started here).", min_length=1),
    ] = None


class RunSettings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings of a run, by component. Defaults are TACO's own if it has one."""

    model: ModelSettings = ModelSettings()
    server: ServerSettings = ServerSettings()
    dataset: DatasetSettings = DatasetSettings()
    samples: SampleSettings = SampleSettings()
    sampling: SamplingParameters = SamplingParameters()
    prompt: PromptSettings = PromptSettings()
    evaluator: EvaluatorSettings = EvaluatorSettings()
    cluster: ClusterSettings = ClusterSettings()

    @classmethod
    def from_values(cls, **given: Any) -> Self:
        """The settings with those that are given by their own names, whichever group they belong to."""
        groups: dict[Group, dict[str, Any]] = {group: {} for group in GROUPS.values()}
        for name, value in given.items():
            groups[SETTINGS[name].group][name] = value
        made: dict[str, Any] = {name: group(**groups[group]) for name, group in GROUPS.items()}
        return cls(**made)

    @classmethod
    def resolve(
        cls, flags: Mapping[str, Any], file: Path | None = None, environ: Mapping[str, str] = os.environ
    ) -> Self:
        """Settles every setting as `taco_stream.settings.resolve` does, and raises the same errors."""
        return cls.from_values(**resolve(SETTINGS, flags, file, environ))

    @classmethod
    def resolve_like(cls, run: Mapping[str, Any], flags: Mapping[str, Any], file: Path | None = None) -> Self:
        """The same for completions of a run with the settings `run`.

        Unless they are given, the problems and how programs are found in answers are as they were there.
        """
        given = resolve(SETTINGS, flags, file, os.environ)
        names = ["prompt", "join_blocks", *(() if "dataset" in given else DatasetSettings.__struct_fields__)]
        written = {name: run[name] for name in names if run.get(name) is not None}
        return cls.from_values(**{**resolve(SETTINGS, written, environ={}), **given})

    def values(self) -> dict[str, Any]:
        """Every setting by its name, as a JSON value, for the manifest."""
        groups: dict[str, dict[str, Any]] = msgspec.to_builtins(self)
        return {name: value for group in groups.values() for name, value in group.items() if name in SETTINGS}

    def results(self) -> dict[str, Any]:
        """The settings that must not differ when a run is resumed, as JSON values."""
        return {name: value for name, value in self.values().items() if SETTINGS[name].changes_results}


GROUPS: dict[str, Group] = {field.name: field.type for field in msgspec.structs.fields(RunSettings)}
SETTINGS = collect_settings(list(GROUPS.values()))
