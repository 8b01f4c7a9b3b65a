"""The command `merge`: several runs of one experiment made into one (`store.merging`), and what it still lacks."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import msgspec
from rich.console import Console

from taco_stream.commands.report import count_records, read_again, sum_up
from taco_stream.datasets.selection import parse_shard
from taco_stream.datasets.settings import SELECTING, DatasetSettings
from taco_stream.errors import DatasetError, UsageError
from taco_stream.metrics import Tally
from taco_stream.report.html import write_html
from taco_stream.report.text import print_report
from taco_stream.run.problems import selected_ids
from taco_stream.run.settings import SETTINGS, RunSettings
from taco_stream.store.manifest import Manifest
from taco_stream.store.merging import Merged, check_mergeable, copy_samples, merged_run, number_samples
from taco_stream.store.run_directory import REPORT, RunFiles
from taco_stream.terminal import stderr_console, stdout_console
from taco_stream.types import Status

MAY_DIFFER = (*SELECTING, "seed")
"""Settings that change results and that the runs of one experiment may have their own values of."""

NAMES_SHOWN = 5


def merge(paths: Sequence[Path], out: Path) -> int:
    """Merges the runs into a new run directory and reports it: 0 if it is complete, 3 if something is missing.

    Raises `RunMismatchError` if they are not of one experiment, `StoreError` if `out` exists.
    """
    if len(paths) < 2:
        raise UsageError("merge needs two runs at least")
    if len({path.resolve() for path in paths}) < len(paths):
        raise UsageError("merge was given one run twice")
    return anyio.run(partial(merge_runs, paths, out), backend_options={"use_uvloop": True})


async def merge_runs(paths: Sequence[Path], out: Path) -> int:
    """The same within an event loop."""
    console = stderr_console()
    runs = [RunFiles(path) for path in paths]
    defaults = RunSettings().results()
    check_mergeable(runs, defaults, MAY_DIFFER)
    manifest = merge_manifests(runs)
    settings = RunSettings.resolve(known(manifest.settings), environ={})
    wanted = find_wanted(settings.dataset, console)
    sources = number_samples(runs, defaults)
    async with merged_run(out, manifest, runs) as directory:
        merged = await copy_samples(sources, directory)
        tally = count_records(directory)
        summary = sum_up(tally, directory, settings)
        directory.write_summary(summary)
    again = partial(read_again, settings.dataset)
    write_html(out, out / REPORT, settings.evaluator, settings.samples.k, problems=again)
    print_report(summary, stdout_console(lenient=True))
    for path, overlap in merged.overlaps.items():
        differing = f", {overlap.differing:,} of which with another text" if overlap.differing else ""
        text = f"{overlap.samples:,} samples of {path} are in a run before it{differing}: the first counts"
        console.print(text, style="yellow", soft_wrap=True)
    gaps = [*find_missing_shards(runs), *find_gaps(merged, tally, settings, wanted)]
    gaps += [f"{run.path} is still running" for run in runs if run.is_running]
    for gap in gaps:
        console.print(gap, style="yellow", soft_wrap=True)
    kept = f"{len(merged.generated):,} completions and {len(merged.judged):,} results are in {out}"
    if not gaps:
        console.print(f"complete: {kept}", soft_wrap=True)
        return 0
    console.print(f"incomplete: {kept}; `taco-stream run {out}` with the runs' flags does the rest", soft_wrap=True)
    return 3


def merge_manifests(runs: Sequence[RunFiles]) -> Manifest:
    """The first run's manifest with the selection and the number of samples of all together.

    Shards of one selection make the whole of it, also if some are missing. Other selections make a list of ids.
    """
    first = runs[0].manifest
    selections = [RunSettings.resolve(known(run.manifest.settings), environ={}).dataset for run in runs]
    selection = selections[0]
    if any(each != selection for each in selections):
        whole = [msgspec.structs.replace(each, shard=None) for each in selections]
        selection = whole[0]
        if any(each != selection for each in whole):
            ids = tuple(dict.fromkeys(name for each in selections for name in selected_ids(each)))
            none = {name: getattr(DatasetSettings(), name) for name in SELECTING}
            selection = msgspec.structs.replace(selection, **(none | {"ids": ids}))
    chosen = {name: getattr(selection, name) for name in SELECTING}
    by_seed: dict[Any, int | None] = {}
    for run in runs:
        seed, samples = run.manifest.results.get("seed"), run.manifest.settings.get("samples")
        by_seed[seed] = None if samples is None else max(samples, by_seed.get(seed) or 0)
    counts = [count for count in by_seed.values() if count is not None]
    return msgspec.structs.replace(
        first,
        results={**first.results, **chosen},
        settings={**first.settings, **chosen, "samples": sum(counts) if len(counts) == len(by_seed) else None},
        sandbox_tier=" or ".join(dict.fromkeys(run.manifest.sandbox_tier for run in runs)),
    )


def known(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a manifest that this version has."""
    return {name: value for name, value in settings.items() if name in SETTINGS}


def find_wanted(settings: DatasetSettings, console: Console) -> list[str] | None:
    """The problems that the merged run is to have; None, with a notice, if the dataset cannot be read here."""
    try:
        return selected_ids(settings)
    except DatasetError as error:
        console.print(f"problems that no run has begun are not noticed: {error}", style="yellow", soft_wrap=True)
        return None


def find_missing_shards(runs: Sequence[RunFiles]) -> list[str]:
    """The shards that none of the runs is, in words."""
    shards = {parse_shard(shard) for run in runs if (shard := run.manifest.settings.get("shard"))}
    counts = {shard.count for shard in shards}
    if len(shards) < 2 or len(counts) > 1:
        return []
    count = counts.pop()
    missing = sorted(set(range(count)) - {shard.index for shard in shards})
    names = [f"{index}/{count}" for index in missing]
    return [f"{describe_count(len(names), 'shard')} missing: {shorten(names)}"] if missing else []


def find_gaps(merged: Merged, tally: Tally, settings: RunSettings, wanted: list[str] | None) -> list[str]:
    """What a run over all of the problems still has to do, in words."""
    gaps = []
    begun = merged.generated.problem_ids
    if absent := [name for name in wanted or () if not merged.generated.count(name)]:
        gaps.append(f"{describe_count(len(absent), 'problem')} without any sample: {shorten(absent)}")
    samples = settings.samples.samples or merged.generated.max_samples
    if short := [f"{name} ({count})" for name in begun if (count := merged.generated.count(name)) < samples]:
        gaps.append(f"{describe_count(len(short), 'problem')} with fewer than {samples:,} samples: {shorten(short)}")
    if unjudged := len(merged.generated) - len(merged.judged):
        gaps.append(f"{describe_count(unjudged, 'completion')} without a verdict")
    if failed := tally.statuses[settings.evaluator.mode][Status.INFRASTRUCTURE_ERROR]:
        gaps.append(f"{describe_count(failed, 'sample')} on which the evaluator failed")
    return gaps


def describe_count(count: int, noun: str) -> str:
    """A count with its noun."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def shorten(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - NAMES_SHOWN:,} more" if len(names) > NAMES_SHOWN else ""
    return f"{', '.join(names[:NAMES_SHOWN])}{more}"
