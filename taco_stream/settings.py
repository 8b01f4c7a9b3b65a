"""The settings of a run: one definition that serves flags, environment, TOML file and manifest.

A field of `RunSettings` is a flag (`max_new_tokens` is `--max-new-tokens`), an environment variable
(`TACO_STREAM_MAX_NEW_TOKENS`) and a key of the TOML file (`max_new_tokens = 512`). Flags win over the environment, the
environment over the file, the file over the defaults. Its description is the flag's help text. A field marked
`CHANGES_RESULTS` must be equal when a run is resumed; the others may differ from one start to the next.
"""

import difflib
import os
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from taco_stream.errors import UsageError
from taco_stream.types import ComparisonMode

ENVIRONMENT_PREFIX = "TACO_STREAM_"

CHANGES_RESULTS = {"changes_results": True}


def _field(description: str, *, changes_results: bool = False, **limits: Any) -> Meta:
    return Meta(description=description, extra=CHANGES_RESULTS if changes_results else None, **limits)


class Switch(StrEnum):
    """A setting that may be on, off, or left as it is."""

    ON = "on"
    OFF = "off"


class RunSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a run can be told. Defaults are TACO's own where it has one."""

    # What to generate with
    model: Annotated[str, _field("Model folder, hub id, or 'demo'.", changes_results=True)] = "demo"
    dataset: Annotated[
        str, _field("Problems: a file, a folder, - for standard input, a hub id, or 'demo'.", changes_results=True)
    ] = "demo"
    engine: Annotated[
        str, _field("local, replay (reference solutions), replay:FILE, or scripted.", changes_results=True)
    ] = "local"
    samples: Annotated[int | None, _field("Samples per problem; default: 10, or all that a replay holds.", ge=1)] = None
    prompt: Annotated[str, _field("base (TACO's own), chat, or a jinja2 template file.", changes_results=True)] = "base"
    system: Annotated[str | None, _field("System message of chat prompts.", changes_results=True)] = None
    thinking: Annotated[
        Switch | None, _field("Ask a chat template that knows it for reasoning, or for none.", changes_results=True)
    ] = None
    few_shot: Annotated[str | None, _field("File of worked examples put before each prompt.", changes_results=True)] = (
        None
    )
    join_blocks: Annotated[
        bool, _field("Join all code blocks of a chat answer instead of taking the last.", changes_results=True)
    ] = False

    # How to sample
    temperature: Annotated[float, _field("0 is greedy.", changes_results=True, ge=0)] = 0.2
    top_p: Annotated[float, _field("Nucleus sampling; 1 is off.", changes_results=True, gt=0, le=1)] = 0.95
    top_k: Annotated[int, _field("Keep the k likeliest tokens; 0 is off.", changes_results=True, ge=0)] = 0
    min_p: Annotated[
        float, _field("Drop tokens below this share of the likeliest; 0 is off.", changes_results=True, ge=0, lt=1)
    ] = 0.0
    max_new_tokens: Annotated[int, _field("Longest completion, in tokens.", changes_results=True, ge=1)] = 2048
    stop: Annotated[
        tuple[str, ...], _field("Further stop string; may be given several times.", changes_results=True)
    ] = ()
    seed: Annotated[int, _field("Same seed, same samples.", changes_results=True, ge=0)] = 0
    dtype: Annotated[str, _field("auto, float32, bfloat16 or float16.", changes_results=True)] = "auto"
    quantize: Annotated[str | None, _field("int8: weights in a quarter of the memory.", changes_results=True)] = None
    reproducible: Annotated[
        bool, _field("Bitwise the same samples for any arrival order, at some speed.", changes_results=True)
    ] = False
    ignore_generation_config: Annotated[
        tuple[str, ...],
        _field("Field of the model's generation_config.json to do without; repeatable.", changes_results=True),
    ] = ()
    devices: Annotated[str, _field("auto, cpu, or a list such as cuda:0,cuda:1.")] = "auto"
    batch_size: Annotated[int | None, _field("Rows decoded at once per device; default: what memory holds.", ge=1)] = (
        None
    )

    # Which problems
    split: Annotated[str, _field("Split of a hub dataset.", changes_results=True)] = "test"
    difficulty: Annotated[tuple[str, ...], _field("Only this difficulty; repeatable.", changes_results=True)] = ()
    skill: Annotated[tuple[str, ...], _field("Only problems with this skill; repeatable.", changes_results=True)] = ()
    tag: Annotated[tuple[str, ...], _field("Only problems with this tag; repeatable.", changes_results=True)] = ()
    source: Annotated[tuple[str, ...], _field("Only problems of this source; repeatable.", changes_results=True)] = ()
    ids: Annotated[tuple[str, ...], _field("Only this problem; repeatable.", changes_results=True)] = ()
    exclude: Annotated[
        str | None, _field("File of problem ids, or `audit --out` file, to leave out.", changes_results=True)
    ] = None
    limit: Annotated[int | None, _field("At most this many problems.", changes_results=True, ge=1)] = None
    shuffle: Annotated[int | None, _field("Shuffle the problems with this seed.", changes_results=True)] = None
    shard: Annotated[str | None, _field("i/n: the i-th of n equal parts, from 0.", changes_results=True)] = None
    special_judges: Annotated[
        str | None, _field("The published output_spj.jsonl of TACO's test problems.", changes_results=True)
    ] = None
    skip_bad_rows: Annotated[bool, _field("Name and skip rows that cannot be read.", changes_results=True)] = False
    id_field: Annotated[
        str | None, _field("Field with the problem's id, in completions of no known format.", changes_results=True)
    ] = None
    text_field: Annotated[
        str | None, _field("Field with the text, in completions of no known format.", changes_results=True)
    ] = None
    strict_ids: Annotated[bool, _field("Refuse completions whose ids do not match the problems.")] = False

    # How to judge
    mode: Annotated[ComparisonMode, _field("Comparison mode that counts; all are recorded.")] = ComparisonMode.STRICT
    workers: Annotated[int | None, _field("Evaluator processes; default: one per core.", ge=1)] = None
    time_limit_factor: Annotated[
        float | None, _field("Multiplies every problem's time limit.", changes_results=True, gt=0)
    ] = None
    memory_limit: Annotated[
        int | None, _field("Memory of a test in MiB; a problem may state more.", changes_results=True, ge=32)
    ] = None
    full_results: Annotated[bool, _field("Run every test, also after the first failure.", changes_results=True)] = False
    failures_first: Annotated[
        bool,
        _field(
            "Run first the tests that failed other programs: sooner done, but which failing test is met may vary.",
            changes_results=True,
        ),
    ] = False
    checkers_folder: Annotated[
        str | None,
        _field("Folder of PROBLEM_ID.py checkers for problems with several right answers.", changes_results=True),
    ] = None
    unsafe_no_sandbox: Annotated[bool, _field("Judge even where the sandbox is below the floor.")] = False
    verdict_cache: Annotated[str | None, _field("Folder that keeps verdicts of identical programs between runs.")] = (
        None
    )
    completions_buffer: Annotated[
        int, _field("Completions that may wait for the evaluator before generation pauses.", ge=1)
    ] = 4096

    # What to report
    k: Annotated[tuple[int, ...], _field("A k of pass@k; repeatable. Default: 1, 10, 100 up to the samples.")] = ()


def descriptions() -> Mapping[str, str]:
    """The help text of every setting."""
    return {name: _meta(annotation).description or "" for name, annotation in _annotations().items()}


def changes_results(settings: RunSettings) -> Mapping[str, Any]:
    """The settings that must not differ when a run is resumed, as JSON values."""
    return {name: value for name, value in as_json(settings).items() if _meta(_annotations()[name]).extra}


def as_json(settings: RunSettings) -> dict[str, Any]:
    """All settings as JSON values, for the manifest."""
    values: dict[str, Any] = msgspec.to_builtins(settings)
    return values


def resolve(
    flags: Mapping[str, Any], file: Path | None = None, environ: Mapping[str, str] | None = None
) -> RunSettings:
    """Settles every setting: `flags` (None means not given) over the environment over `file` over the defaults.

    Raises `UsageError` that names the flag, variable or key which is unknown or out of its range.
    """
    layers = [
        _from_file(file) if file else {},
        _from_environment(os.environ if environ is None else environ),
        {name: (value, f"--{name.replace('_', '-')}") for name, value in flags.items() if value not in (None, [])},
    ]
    chosen: dict[str, tuple[Any, str]] = {}
    for layer in layers:
        chosen.update(layer)
    return RunSettings(**{name: _parse(name, value, origin) for name, (value, origin) in chosen.items()})


def kind_of(name: str) -> Any:
    """The type of a setting when it is given: without the None of those that need not be."""
    kind = get_type_hints(RunSettings)[name]
    if isinstance(kind, UnionType):
        return next(each for each in get_args(kind) if each is not NoneType)
    return kind


def _annotations() -> dict[str, Any]:
    return get_type_hints(RunSettings, include_extras=True)


def _meta(annotation: Any) -> Meta:
    meta: Meta = annotation.__metadata__[0]
    return meta


def _parse(name: str, value: Any, origin: str) -> Any:
    meta = _meta(_annotations()[name])
    try:
        return msgspec.convert(value, Annotated[kind_of(name), meta], strict=False)
    except msgspec.ValidationError as error:
        shown = repr(value) if isinstance(value, str) else value
        raise UsageError(f"{origin} cannot be {shown}: {str(error)[0].lower()}{str(error)[1:]}") from error


def _from_environment(environ: Mapping[str, str]) -> dict[str, tuple[Any, str]]:
    found = {}
    for variable, text in environ.items():
        if not variable.startswith(ENVIRONMENT_PREFIX):
            continue
        name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        _check_known(name, variable)
        found[name] = (text.split(",") if get_origin(kind_of(name)) is tuple else text, variable)
    return found


def _from_file(path: Path) -> dict[str, tuple[Any, str]]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"the settings file {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"the settings file {path} is not TOML: {error}") from error
    for name in values:
        _check_known(name, f"the key {name!r} of {path}")
    return {name: (value, f"the key {name!r} of {path}") for name, value in values.items()}


def _check_known(name: str, origin: str) -> None:
    if name in RunSettings.__struct_fields__:
        return
    close = difflib.get_close_matches(name, RunSettings.__struct_fields__, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise UsageError(f"{origin} is not a setting{hint}")
