"""The command `compare`: runs against the first of them, problem by problem.

The runs are read without their locks, so they may still be running. Each is read once, a record at a time.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from taco_stream.commands.report import count_records, read_run
from taco_stream.errors import UsageError
from taco_stream.metrics import Tally, settled_ks
from taco_stream.report.compared_runs import (
    LETTERS,
    ComparedRun,
    ComparedRuns,
    SettingDifference,
    compare_runs,
    find_shortfalls,
    print_comparison,
)
from taco_stream.report.summary import reported_ks, summarise
from taco_stream.run.settings import GROUPS, SETTINGS, RunSettings
from taco_stream.store.manifest import Manifest
from taco_stream.store.run_directory import RunFiles
from taco_stream.terminal import stderr_console, stdout_console, write_json
from taco_stream.types import ComparisonMode, Status


class _ReadRun(NamedTuple):
    """A run directory with its settings and its counts."""

    files: RunFiles
    settings: RunSettings
    tally: Tally


def compare_paths(
    paths: Sequence[Path],
    *,
    mode: ComparisonMode | None,
    ks: tuple[int, ...],
    difficulties: tuple[str, ...],
    as_json: bool,
    fail_under: float | None,
) -> int:
    """Prints the comparison of the runs at `paths` with the first; 1 if a candidate falls short of `fail_under`, or 0.

    `mode` defaults to that of the first run. Raises `UsageError` if there is nothing to compare.
    """
    if not 2 <= len(paths) <= len(LETTERS):
        raise UsageError(f"compare takes from 2 to {len(LETTERS)} runs, not {len(paths)}")
    if fail_under is not None and not (math.isfinite(fail_under) and abs(fail_under) <= 100):
        raise UsageError(f"--fail-under {fail_under:g} is not a difference in percentage points: give -100 to 100")
    compared = compare_directories(paths, mode=mode, ks=ks, difficulties=difficulties)
    if as_json:
        write_json(compared)
    else:
        print_comparison(compared, stdout_console())
    shortfalls = [] if fail_under is None else find_shortfalls(compared, fail_under)
    for sentence in shortfalls:
        stderr_console().print(f"taco-stream: {sentence}", soft_wrap=True)
    return 1 if shortfalls else 0


def compare_directories(
    paths: Sequence[Path],
    *,
    mode: ComparisonMode | None = None,
    ks: tuple[int, ...] = (),
    difficulties: tuple[str, ...] = (),
) -> ComparedRuns:
    """The comparison of the runs at `paths` with the first. Raises `UsageError` if they have nothing in common."""
    runs = [_read(path) for path in paths]
    return _compare(runs, mode or runs[0].settings.evaluator.mode, ks, difficulties)


def _read(path: Path) -> _ReadRun:
    files, settings = read_run(path, None, ())
    return _ReadRun(files, settings, count_records(files))


def _compare(
    runs: Sequence[_ReadRun], mode: ComparisonMode, ks: tuple[int, ...], difficulties: tuple[str, ...]
) -> ComparedRuns:
    known = {count.difficulty for run in runs for count in run.tally.problems[mode].values()}
    for difficulty in difficulties:
        if difficulty not in known:
            raise UsageError(f"--difficulty {difficulty}: the runs have {', '.join(sorted(known)) or 'none'}")
    compared = compare_runs(
        [
            ComparedRun(
                letter=letter,
                path=str(run.files.path),
                scored_by=run.settings.evaluator.mode,
                coverage=summarise(run.tally, run.files.events(), mode=mode, ks=()).coverage,
                infrastructure_errors=run.tally.statuses[mode][Status.INFRASTRUCTURE_ERROR],
            )
            for letter, run in zip(LETTERS, runs, strict=False)
        ],
        [run.tally for run in runs],
        find_differences([run.files.manifest for run in runs]),
        mode=mode,
        ks=_common_ks(runs, mode, ks),
        difficulties=difficulties,
    )
    for run, comparison in zip(compared.runs[1:], compared.comparisons, strict=True):
        if not comparison.pass_at_k:
            among = f" among {', '.join(difficulties)}" if difficulties else ""
            raise UsageError(f"{compared.runs[0].path} and {run.path} have no judged problem in common{among}")
    return compared


def _common_ks(runs: Sequence[_ReadRun], mode: ComparisonMode, asked: tuple[int, ...]) -> tuple[int, ...]:
    """The k asked for; else those by which every run is reported, or the usual ones if there are none.

    Raises `UsageError` if a k asked for is over the samples of a run.
    """
    most = min(max((each.scored for each in run.tally.problems[mode].values()), default=0) for run in runs)
    if asked or not most:
        return settled_ks(asked, most or max(asked, default=1))
    common = set.intersection(*(set(reported_ks(run.tally, mode, run.settings.samples.k)) for run in runs))
    return tuple(sorted(common)) or settled_ks((), most)


def find_differences(manifests: Sequence[Manifest]) -> list[SettingDifference]:
    """The settings, versions and machines that may change results and differ between the runs.

    A setting that did not exist when a run was made had the value that is its default now.
    """
    defaults: Mapping[str, Any] = RunSettings().results()
    components = {group: name for name, group in GROUPS.items()}
    found = []
    rows: list[tuple[str, str, list[Any]]] = [
        (components[SETTINGS[name].group], name, [{**defaults, **each.results}.get(name) for each in manifests])
        for name in SETTINGS
        if SETTINGS[name].changes_results
    ]
    rows += [
        ("dataset", "content", [each.results.get("dataset_fingerprint") for each in manifests]),
        ("evaluator", "sandbox", [each.sandbox_tier or None for each in manifests]),
        ("versions", "git commit", [each.git_commit and each.git_commit[:12] for each in manifests]),
    ]
    for component, facts in (
        ("versions", [each.versions for each in manifests]),
        ("machine", [each.hardware for each in manifests]),
    ):
        names = dict.fromkeys(name for each in facts for name in each)
        rows += [(component, name, [each.get(name) for each in facts]) for name in names]
    for component, name, values in rows:
        comparable = [msgspec.to_builtins(value) for value in values]
        if any(value != comparable[0] for value in comparable):
            found.append(SettingDifference(component=component, name=name, values=tuple(comparable)))
    order = [*GROUPS, "versions", "machine"]
    return sorted(found, key=lambda each: order.index(each.component))
