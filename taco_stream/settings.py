"""Settings: one definition of each, from the flag to the component that it configures.

A *group* is the configuration of one component: a `msgspec.Struct` defined beside it, such as `EvaluatorSettings`.
Each field annotated with `setting(…)` is a flag (`time_limit_factor` is `--time-limit-factor`), an environment variable
(`TACO_STREAM_TIME_LIMIT_FACTOR`) and a key of the TOML file (`time_limit_factor = 2.0`); its description is the flag's
help text. Other fields can be set from Python alone. Flags win over the environment, the environment over the file, the
file over the defaults. Names are unique over all groups, so flags, files and manifests are flat.

A setting with `changes_results` must be equal when a run is resumed; the others may differ from one start to the next.
"""

import difflib
import math
import os
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from taco_stream.errors import UsageError
from taco_stream.readable_file import read_small_file

ENVIRONMENT_PREFIX = "TACO_STREAM_"

NOT_SETTINGS = frozenset({"TACO_STREAM_SANDBOX", "TACO_STREAM_CGROUP", "TACO_STREAM_HOSTILE"})
"""Variables with the prefix that the sandbox and its tests read."""

Group = type[msgspec.Struct]
"""The type of a group."""

Layer = dict[str, tuple[Any, str]]
"""Values by setting, each with where it comes from, in words."""


class Setting(NamedTuple):
    """One setting. `kind` is the type of a given value: without the None of an optional one."""

    name: str
    group: Group
    kind: Any
    meta: Meta
    default: Any

    @property
    def flag(self) -> str:
        """The flag on the command line."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def description(self) -> str:
        """The help text."""
        return self.meta.description or ""

    @property
    def changes_results(self) -> bool:
        """Whether a run must be resumed with the same value."""
        return bool(self.meta.extra)

    def parse(self, value: Any, origin: str) -> Any:
        """The value that was given, as the setting's type. Raises `UsageError` that names `origin` if it is not one."""
        if get_origin(self.kind) is tuple and isinstance(value, list):
            return tuple(parse_value(get_args(self.kind)[0], each, origin) for each in value)
        return parse_value(Annotated[self.kind, self.meta], value, origin)


LARGEST_INTEGER = 2**63 - 1
"""The largest that every reader of a manifest, and every counter behind a setting, can hold."""

KINDS_IN_WORDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text"}


def parse_value(kind: Any, value: Any, origin: str) -> Any:
    """The value as `kind`, which may be annotated with its limits. Raises `UsageError` that says which are allowed."""
    try:
        parsed = msgspec.convert(value, kind, strict=False)
        if isinstance(parsed, float) and not math.isfinite(parsed):
            raise msgspec.ValidationError("Expected a finite number")
        if isinstance(parsed, int) and abs(parsed) > LARGEST_INTEGER:
            raise msgspec.ValidationError(f"Expected a whole number of at most {LARGEST_INTEGER}")
        return parsed
    except msgspec.ValidationError as error:
        plain = getattr(kind, "__origin__", kind)
        if isinstance(plain, type) and issubclass(plain, StrEnum):
            choices = [str(each) for each in plain]
            expected = f"{', '.join(choices[:-1])} or {choices[-1]}{_suggestion(str(value), choices)}"
        else:
            # msgspec names types as Python does ("Expected `float` >= 0.0"), and then the type that it found.
            expected = str(error).partition(", got ")[0].removeprefix("Expected ")
            for name, words in KINDS_IN_WORDS.items():
                expected = expected.replace(f"`{name}`", words)
        shown = repr(value) if isinstance(value, str) else value
        raise UsageError(f"{origin} cannot be {shown}: it is {expected}") from error


def setting(description: str, *, changes_results: bool = False, **limits: Any) -> Meta:
    """Makes a field of a group a setting; `limits` are msgspec's (`ge`, `lt`, …)."""
    return Meta(description=description, extra={"changes_results": True} if changes_results else None, **limits)


def collect_settings(groups: Sequence[Group]) -> dict[str, Setting]:
    """The settings of the groups, by name, in the order of their definition."""
    found: dict[str, Setting] = {}
    for group in groups:
        annotations = get_type_hints(group, include_extras=True)
        for field in msgspec.structs.fields(group):
            annotation = annotations[field.name]
            meta = next((each for each in getattr(annotation, "__metadata__", ()) if isinstance(each, Meta)), None)
            if meta is not None and meta.description:
                if field.name in found:
                    raise TypeError(f"two groups define the setting {field.name}")
                kind = get_args(annotation)[0]
                if isinstance(kind, UnionType):
                    kind = next(each for each in get_args(kind) if each is not NoneType)
                found[field.name] = Setting(field.name, group, kind, meta, field.default)
    return found


def resolve(
    known: Mapping[str, Setting],
    flags: Mapping[str, Any],
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The settings that are given, by name: `flags` (None means not given) over the environment over `file`.

    Raises `UsageError` that names the flag, variable or key which is unknown or out of its range.
    """
    layers: list[Layer] = [
        _from_file(known, file) if file else {},
        _from_environment(known, os.environ if environ is None else environ),
        {name: (value, known[name].flag) for name, value in flags.items() if value not in (None, [])},
    ]
    chosen: Layer = {}
    for layer in layers:
        chosen.update(layer)
    return {name: known[name].parse(value, origin) for name, (value, origin) in chosen.items()}


def _from_environment(known: Mapping[str, Setting], environ: Mapping[str, str]) -> Layer:
    found: Layer = {}
    for variable, text in environ.items():
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable in NOT_SETTINGS:
            continue
        name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        _check_known(known, name, variable)
        found[name] = (text.split(",") if get_origin(known[name].kind) is tuple else text, variable)
    return found


def _from_file(known: Mapping[str, Setting], path: Path) -> Layer:
    try:
        values = tomllib.loads(read_small_file(path).decode("utf-8-sig"))  # editors on Windows write a byte order mark
    except OSError as error:
        raise UsageError(f"the settings file {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"the settings file {path} is not TOML: {error}") from error
    for name in values:
        _check_known(known, name, f"the key {name!r} of {path}")
    return {name: (value, f"the key {name!r} of {path}") for name, value in values.items()}


def _check_known(known: Mapping[str, Setting], name: str, origin: str) -> None:
    if name in known:
        return
    raise UsageError(f"{origin} is not a setting{_suggestion(name, known)}")


def _suggestion(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, [*known], n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
