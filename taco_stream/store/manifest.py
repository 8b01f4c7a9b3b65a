"""The manifest of a run, `run.json`: its settings, versions and machine.

`results` holds the settings that change results; a later start must agree with it to the letter, except that it
may choose more problems (`Growth`). `settings` holds everything, as the newest start resolved it. The rest is for
readers of the figures. The number of samples need not agree: more of them reuse those that exist, and fewer leave the
others on disk, where every report still counts them.
"""

import importlib.metadata
import platform
import subprocess
from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from taco_stream import __version__
from taco_stream.errors import NOT_DECODED, NoRunError, RunMismatchError, StoreError

MANIFEST_VERSION = 2

DEFAULTS_OF_VERSION_1 = {"time_limit_factor": 2.0, "memory_limit": 4096}
"""The meaning of None in manifests of version 1; now a manifest holds the values themselves."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """One run, described. `created_at` is seconds since the epoch."""

    results: Mapping[str, Any]
    settings: Mapping[str, Any]
    sandbox_tier: str
    versions: Mapping[str, str]
    hardware: Mapping[str, str]
    git_commit: str | None
    created_at: float
    version: int = MANIFEST_VERSION

    @property
    def answered_by(self) -> str:
        """The model, or the engine if that asks none (`replay`, `scripted:FILE`)."""
        engine = str(self.settings.get("engine", "local"))
        return str(self.settings.get("model", engine)) if engine in ("local", "server") else engine


class Growth(NamedTuple):
    """The settings in which a start may differ from its run if it takes every problem that the run took.

    `left_out` is given the run's `results` and returns the problems that the run took and this start does not.
    """

    settings: Container[str]
    left_out: Callable[[Mapping[str, Any]], Sequence[str]]


NO_GROWTH = Growth((), lambda _: ())

NAMES_SHOWN = 10


def check_agreement(
    path: Path, written: Manifest, wanted: Manifest, defaults: Mapping[str, Any], growth: Growth = NO_GROWTH
) -> None:
    """Raises `RunMismatchError` that names every setting in which a run and this start differ, with both values."""
    differing = {
        name: f"{name} {before!r}, this start has {now!r}"
        for name, (before, now) in compare_results(written, wanted, defaults).items()
    }
    if not differing:
        return
    problem = f"{path} was made with {'; with '.join(differing.values())}"
    if any(name not in growth.settings for name in differing):
        raise RunMismatchError(f"{problem}: use the old value, or another run directory")
    if left_out := growth.left_out(written.results):
        more = f" and {len(left_out) - NAMES_SHOWN:,} more" if len(left_out) > NAMES_SHOWN else ""
        raise RunMismatchError(
            f"{problem}, which leaves out {', '.join(left_out[:NAMES_SHOWN])}{more}: "
            "a run may only take more problems; use the old value, a wider one, or another run directory"
        )


def compare_results(one: Manifest, other: Manifest, defaults: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Both values of each setting that changes results and differs, by name.

    A setting that did not exist when a run was made had the value that is its default now.
    """
    one, other = (
        _as_read(msgspec.structs.replace(each, results={**defaults, **each.results})) for each in (one, other)
    )
    return {
        name: (its, others)
        for name in sorted({*one.results, *other.results})
        if (its := one.results.get(name)) != (others := other.results.get(name))
    }


def _as_read(manifest: Manifest) -> Manifest:
    """The manifest as it will be read back: JSON has lists where settings have tuples."""
    return msgspec.json.decode(msgspec.json.encode(manifest), type=Manifest)


def read_manifest(path: Path) -> Manifest:
    """The manifest at `path`. Raises `StoreError` if the file is not one."""
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except OSError as error:
        raise NoRunError(
            f"{path.parent} is not a run directory: {path.name} cannot be read ({error.strerror})"
        ) from error
    except NOT_DECODED as error:
        raise StoreError(f"{path} is not a manifest of taco-stream: {error}") from error
    if manifest.version > 1:
        return manifest
    meant = {name: value for name, value in DEFAULTS_OF_VERSION_1.items() if manifest.results.get(name) is None}
    return msgspec.structs.replace(manifest, results={**manifest.results, **meant})


def versions() -> dict[str, str]:
    """The versions that matter, read from package metadata: nothing heavy is imported."""
    found = {"taco-stream": __version__, "python": platform.python_version()}
    for name in ("torch", "transformers", "tokenizers", "numpy", "msgspec", "anyio"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def git_commit() -> str | None:
    """The commit of the source tree that runs, None outside a checkout."""
    try:
        done = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"],
            check=False,
            capture_output=True,
            text=True,
            timeout=5,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
