"""The command line: what a person types, turned into settings and a session.

A command's flags are generated from `settings.RunSettings`, so there is one definition of each setting. Nothing heavy
is imported before a command needs it: `taco-stream --help` answers in a fraction of a second. Results go to standard
output, talk to standard error. Exit codes: 0 complete, 1 failed, 2 usage, 3 finished with infrastructure errors, 130
interrupted and resumable.
"""

import functools
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import typer

from taco_stream import __version__
from taco_stream.errors import TacoStreamError, UsageError
from taco_stream.settings import RunSettings, descriptions, kind_of, resolve
from taco_stream.terminal import printable
from taco_stream.types import ComparisonMode

SELECTING = (
    "split", "difficulty", "skill", "tag", "source", "ids", "exclude", "limit", "shuffle", "shard", "special_judges",
    "skip_bad_rows",
)  # fmt: skip
"""The settings that choose problems."""

PROMPTING = ("prompt", "system", "thinking", "few_shot")
"""The settings that shape a prompt."""

JUDGING = (
    "dataset", *SELECTING, "strict_ids", "id_field", "text_field", "prompt", "join_blocks", "mode", "workers",
    "time_limit_factor", "memory_limit", "full_results", "failures_first", "checkers_folder", "unsafe_no_sandbox",
    "verdict_cache", "k",
)  # fmt: skip
"""The settings that `evaluate` knows: those of `run` that do not concern generation."""

AUDITING = (
    *(name for name in SELECTING if name != "skip_bad_rows"), "mode", "workers", "time_limit_factor", "memory_limit",
    "full_results", "checkers_folder", "unsafe_no_sandbox",
)  # fmt: skip
"""The settings that `audit` knows: which problems, and how they are judged."""

ONLY_JUDGING = (
    "id_field", "text_field", "strict_ids", "mode", "workers", "time_limit_factor", "memory_limit",
    "full_results", "failures_first", "checkers_folder", "unsafe_no_sandbox", "verdict_cache", "completions_buffer",
    "k",
)  # fmt: skip
"""The settings that `generate` does not know."""

GENERATING = tuple(name for name in RunSettings.__struct_fields__ if name not in ONLY_JUDGING)
"""The settings that `generate` knows: those of `run` without those that only judging needs."""

app = typer.Typer(
    name="taco-stream",
    help="Evaluate code language models on TACO: generate and judge at once, crash-safe, on one workstation.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Flags = Mapping[str, Any]
RunDirectoryArgument = Annotated[Path | None, typer.Argument(help="Default: a new folder under runs/.")]
ExistingRun = Annotated[Path, typer.Argument(help="A run directory.")]
ConfigOption = Annotated[Path | None, typer.Option("--config", help="TOML file of settings.")]
ModeOption = Annotated[ComparisonMode | None, typer.Option(help="Comparison mode that counts; default: the run's.")]
KOption = Annotated[list[int] | None, typer.Option(help="A k of pass@k; repeatable. Default: the run's.")]
ExportTarget = Annotated[Path | None, typer.Option("--to", help="Folder to write to; default: the run directory.")]
ExportFormatOption = Annotated[
    str, typer.Option("--format", help="taco, evalplus, livecodebench, parquet or inspect (an extra).")
]
HtmlOption = Annotated[Path | None, typer.Option("--html", help="Write the report to this file as well.")]
JsonOption = Annotated[bool, typer.Option("--json", help="The summary as JSON.")]


def main() -> None:
    """Runs the command line and exits with its code; our errors are one sentence, a traceback only with `--debug`."""
    debug = "--debug" in sys.argv
    try:
        app(args=[argument for argument in sys.argv[1:] if argument != "--debug"], prog_name="taco-stream")
    except TacoStreamError as error:
        text = traceback.format_exc().rstrip() if debug else f"taco-stream: {error}"
        print(printable(text), file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


def settings_flags(names: Sequence[str]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command, in place of its parameter `flags`, one option for each named setting.

    The command receives `flags`, a mapping from setting to value with None where the flag was not given.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [value for name, value in inspect.signature(command).parameters.items() if name != "flags"]
        options = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_option(name))
            for name in names
        ]

        @functools.wraps(command)
        def called(**values: Any) -> None:
            flags = {name: values.pop(name) for name in names}
            command(flags=flags, **values)

        parameters = [value.replace(kind=inspect.Parameter.KEYWORD_ONLY) for value in own] + options
        called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        called.__annotations__ = {value.name: value.annotation for value in parameters}
        return called

    return decorate


def _option(name: str) -> Any:
    """The typer option of one setting. Ranges are checked by `resolve`, once for flags, environment and file."""
    kind = kind_of(name)
    if get_origin(kind) is tuple:
        kind = list[get_args(kind)[0]]  # type: ignore[misc]
    default = RunSettings.__struct_defaults__[RunSettings.__struct_fields__.index(name)]
    shown = "" if default in (None, (), False) else f" [default: {default}]"
    flag = name.replace("_", "-")
    declared = f"--{flag}/--no-{flag}" if kind is bool else f"--{flag}"
    return Annotated[kind | None, typer.Option(declared, help=descriptions()[name] + shown, show_default=False)]


def _version(asked: bool) -> None:
    if asked:
        print(f"taco-stream {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="The version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="A traceback where something fails.")] = False,
) -> None:
    """Evaluate code language models on TACO: generate and judge at once, crash-safe, on one workstation."""


@app.command()
@settings_flags(RunSettings.__struct_fields__)
def run(run_directory: RunDirectoryArgument = None, config: ConfigOption = None, *, flags: Flags) -> None:
    """Generate and judge. Without arguments: the embedded demo. The same command again goes on where a run stopped."""
    from taco_stream.session import start

    raise typer.Exit(start(_resolved(flags, config), run_directory))


@app.command()
@settings_flags(GENERATING)
def generate(run_directory: RunDirectoryArgument = None, config: ConfigOption = None, *, flags: Flags) -> None:
    """Only generate, with throughput. The same flags to `run`, or `evaluate` of what was written, judge it later."""
    from taco_stream.session import start

    raise typer.Exit(start(_resolved(flags, config), run_directory, is_judged=False))


def _resolved(flags: Flags, config: Path | None) -> RunSettings:
    """The settings of a run; those of the embedded demo where none names a model, a dataset or an engine."""
    from taco_stream.sources import DEMO_PRESET

    names_no_source = flags["model"] is None and flags["dataset"] is None and flags["engine"] is None
    return resolve(flags, config or (DEMO_PRESET if names_no_source else None))


@app.command()
@settings_flags(JUDGING)
def evaluate(
    completions: Annotated[
        Path, typer.Argument(help="Completions to judge: a run, completions.jsonl, generations.json, …")
    ],
    run_directory: RunDirectoryArgument = None,
    config: ConfigOption = None,
    *,
    flags: Flags,
) -> None:
    """Judge completions that exist already, with the same progress, resume and report as a run."""
    from taco_stream.session import start

    raise typer.Exit(start(resolve({**flags, "engine": f"replay:{completions}"}, config), run_directory))


@app.command()
def report(
    run_directory: ExistingRun,
    json: JsonOption = False,
    html: HtmlOption = None,
    mode: ModeOption = None,
    k: KOption = None,
) -> None:
    """Print the summary of a run, also while it is running."""
    from taco_stream.review import print_summary

    print_summary(run_directory, mode=mode, ks=tuple(k or ()), as_json=json, html=html)


@app.command()
def export(
    run_directory: ExistingRun,
    to: ExportTarget = None,
    format: ExportFormatOption = "taco",
    mode: ModeOption = None,
    k: KOption = None,
) -> None:
    """Write a run in another tool's format; by default generations.json and taco_metrics.json of TACO's own scripts."""
    from taco_stream.review import export_run
    from taco_stream.store.exports import ExportFormat

    if format not in list(ExportFormat):
        raise UsageError(f"--format cannot be {format!r}: it is {', '.join(ExportFormat)}")
    for path in export_run(run_directory, to or run_directory, ExportFormat(format), mode=mode, ks=tuple(k or ())):
        print(path)


@app.command()
@settings_flags(SELECTING)
def dataset(
    spec: Annotated[str, typer.Argument(help="A file, a folder, a hub name such as BAAI/TACO, or 'demo'.")],
    config: ConfigOption = None,
    *,
    flags: Flags,
) -> None:
    """Say what problems a dataset holds: counts, kinds, sizes, missing fields, a sample."""
    from taco_stream.review import print_dataset

    print_dataset(resolve({**flags, "dataset": spec}, config))


@app.command()
@settings_flags(AUDITING)
def audit(
    spec: Annotated[str, typer.Argument(help="A file, a folder, a hub name such as BAAI/TACO, or 'demo'.")],
    config: ConfigOption = None,
    solutions: Annotated[int, typer.Option(min=1, help="Reference solutions judged per problem, evenly picked.")] = 5,
    out: Annotated[Path | None, typer.Option("--out", help="Write a line of JSON per problem; resumable.")] = None,
    *,
    flags: Flags,
) -> None:
    """Judge a dataset's reference solutions: which problems are broken, flaky, too slow or need a special judge."""
    from taco_stream.audit.examination import start

    raise typer.Exit(start(resolve({**flags, "dataset": spec}, config), solutions=solutions, out=out))


@app.command()
@settings_flags(("dataset", "split", "skip_bad_rows", "model", *PROMPTING))
def prompt(
    problem: Annotated[str, typer.Argument(help="A problem's id.")],
    config: ConfigOption = None,
    *,
    flags: Flags,
) -> None:
    """Print a problem's prompt as a run with the same flags would send it; --model renders its chat template."""
    from taco_stream.review import print_prompt

    print_prompt(problem, resolve(flags, config))


@app.command()
def doctor(
    run_directory: Annotated[Path, typer.Argument(help="Where a run would be written.")] = Path("runs"),
    json: Annotated[bool, typer.Option("--json", help="The findings as JSON.")] = False,
) -> None:
    """Say what this machine offers a run, from the sandbox to the disk, and what to do about what is missing."""
    from taco_stream.doctor.examination import examine

    raise typer.Exit(examine(run_directory, as_json=json))


if __name__ == "__main__":
    main()
