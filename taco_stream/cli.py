"""The command line: the words that a person types become settings, and a command does its work.

A command's flags are made from groups of settings (`taco_stream.settings`), each the configuration of one component.
Nothing heavy is imported before a command needs it: `taco-stream --help` answers in a fraction of a second. Results go
to standard output, talk to standard error. Exit codes: 0 complete, 1 failed, 2 usage, 3 finished with infrastructure
errors, 130 interrupted and resumable.
"""

import errno
import functools
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Container, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import typer

from taco_stream import __version__
from taco_stream.datasets.settings import DatasetSettings
from taco_stream.engine.settings import ModelSettings, ServerSettings
from taco_stream.errors import TacoStreamError, UsageError
from taco_stream.evaluator.settings import EvaluatorSettings
from taco_stream.prompting import PromptSettings
from taco_stream.run.settings import SETTINGS, ClusterSettings, RunSettings, SampleSettings
from taco_stream.settings import ENVIRONMENT_PREFIX, Group, Setting, collect_settings, parse_value
from taco_stream.terminal import printable
from taco_stream.trackers.tracker import TrackerKind
from taco_stream.types import ComparisonMode, ExportFormat, SamplingParameters

PANELS: dict[Group, str] = {
    ModelSettings: "Model",
    DatasetSettings: "Problems",
    SampleSettings: "Samples",
    SamplingParameters: "Sampling",
    PromptSettings: "Prompt",
    EvaluatorSettings: "Judging",
    ServerSettings: "Server",
    ClusterSettings: "Cluster",
}
"""The groups of settings as `--help` shows them, in the order in which they are most used."""

app = typer.Typer(
    name="taco-stream",
    help="Evaluate code language models on TACO: generate and judge at once, crash-safe, on one workstation.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Flags = Mapping[str, Any]
RunDirectoryArgument = Annotated[Path | None, typer.Argument(help="Default: a new folder under runs/.")]
ExistingRun = Annotated[Path, typer.Argument(help="A run directory.")]
ConfigOption = Annotated[Path | None, typer.Option("--config", help="TOML file of settings.")]

ExportTarget = Annotated[Path | None, typer.Option("--to", help="Folder to write to; default: the run directory.")]
HtmlOption = Annotated[Path | None, typer.Option("--html", help="Also write the report to this file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print only the report and errors: no progress, no notices.")
]
METAVARS = {str: "TEXT", int: "N", float: "X", bool: " "}


def parsed_option(flag: str, kind: type, help: str) -> Any:
    """An option that is not a setting, parsed like one: typer reports errors in the words of a library below it."""

    def parse(text: str) -> Any:
        return parse_value(kind, text, flag)

    return typer.Option(flag, help=help, metavar=METAVARS.get(kind, "NAME"), parser=parse)


ModeOption = Annotated[
    ComparisonMode | None,
    parsed_option("--mode", ComparisonMode, f"Score by {', '.join(ComparisonMode)}; default: the run's mode."),
]
KOption = Annotated[list[int] | None, parsed_option("--k", int, "A k of pass@k; repeatable. Default: the run's.")]
ExportFormatOption = Annotated[
    str,
    typer.Option(
        "--format", help=f"{', '.join(ExportFormat)}, which needs the extra of that name, or a plug-in.", metavar="NAME"
    ),
]


def main() -> None:
    """Runs the command line and exits with its code. Our errors print as a sentence; `--debug` adds the traceback."""
    # Looked for by hand, so that it may be given before or after the command.
    debug = "--debug" in sys.argv
    try:
        app(args=[argument for argument in sys.argv[1:] if argument != "--debug"], prog_name="taco-stream")
    except TacoStreamError as error:
        text = traceback.format_exc().rstrip() if debug else f"taco-stream: {error}"
        print(printable(text), file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        # A command's output is its result, so it fails if the output cannot be written, but for a closed pipe.
        if error.filename is not None and not debug:
            print(printable(f"taco-stream: {error.filename}: {error.strerror}"), file=sys.stderr)
            sys.exit(1)
        if error.filename is not None or error.errno not in (errno.EPIPE, errno.ENOSPC, errno.EIO):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno != errno.EPIPE:
            print(f"taco-stream: standard output cannot be written: {error.strerror}", file=sys.stderr)
        sys.exit(1)


def with_settings(
    *groups: Group, only: Container[str] = SETTINGS, but: Container[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command, in place of its parameter `flags`, an option for each setting of the groups.

    `only` and `but` narrow them down by name. The command receives `flags`, a mapping from setting to value with None
    for a flag that was not given.
    """
    wanted = {
        name: each
        for group in PANELS
        if group in groups
        for name, each in collect_settings([group]).items()
        if name in only and name not in but
    }

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def called(**values: Any) -> None:
            flags = {name: values.pop(name) for name in wanted}
            for name in wanted:
                if values.pop(f"no_{name}", False):
                    flags[name] = False
            command(flags=flags, **values)

        # Typer makes options of a function's parameters, so the settings have to look like parameters.
        keyword = inspect.Parameter.KEYWORD_ONLY
        own = [value for name, value in inspect.signature(command).parameters.items() if name != "flags"]
        parameters = [value.replace(kind=keyword) for value in own]
        for each in wanted.values():
            parameters.append(inspect.Parameter(each.name, keyword, default=None, annotation=_option(each)))
            if each.kind is bool:
                off = Annotated[bool, typer.Option(f"--no-{each.flag[2:]}", hidden=True)]
                parameters.append(inspect.Parameter(f"no_{each.name}", keyword, default=False, annotation=off))
        called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        called.__annotations__ = {value.name: value.annotation for value in parameters}
        return called

    return decorate


def _option(setting: Setting) -> Any:
    """The typer option of one setting."""
    is_repeatable = get_origin(setting.kind) is tuple
    element = get_args(setting.kind)[0] if is_repeatable else setting.kind
    element = getattr(element, "__origin__", element)
    # Text, not the setting's type: `resolve` parses values, in the same words for flags, environment and file.
    kind: Any = list[str] if is_repeatable else bool if element is bool else str
    help = setting.description
    if setting.default not in (None, (), False):
        help = f"{help.removesuffix('.')} (default: {setting.default})."
    option = typer.Option(
        setting.flag,
        help=help,
        show_default=False,
        metavar=METAVARS.get(element, "NAME"),
        rich_help_panel=PANELS[setting.group],
    )
    return Annotated[kind | None, option]


def _version(asked: bool) -> None:
    if asked:
        print(f"taco-stream {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback on errors.")] = False,
) -> None:
    """Evaluate code language models on TACO: generate and judge at once, crash-safe, on one workstation."""


@app.command()
@with_settings(*PANELS)
def run(
    run_directory: RunDirectoryArgument = None, config: ConfigOption = None, quiet: QuietOption = False, *, flags: Flags
) -> None:
    """Generate and judge. Without arguments, the embedded demo. Repeating the command resumes a run that stopped."""
    from taco_stream.commands.run import start

    raise typer.Exit(start(_resolve_run(flags, config), run_directory, is_quiet=quiet))


@app.command()
@with_settings(
    *(group for group in PANELS if group is not EvaluatorSettings),
    but=("id_field", "text_field", "strict_ids", "completions_buffer", "k"),
)
def generate(
    run_directory: RunDirectoryArgument = None, config: ConfigOption = None, quiet: QuietOption = False, *, flags: Flags
) -> None:
    """Generate without judging, and measure throughput. `run` with the same flags, or `evaluate`, judges later."""
    from taco_stream.commands.run import start

    raise typer.Exit(start(_resolve_run(flags, config), run_directory, is_judged=False, is_quiet=quiet))


def _resolve_run(flags: Flags, config: Path | None) -> RunSettings:
    """The settings of a run; the embedded demo's if no model, dataset or engine is named."""
    from taco_stream.commands.run import DEMO_PRESET

    names = ("model", "dataset", "engine")
    names_source = any(flags[name] is not None or f"{ENVIRONMENT_PREFIX}{name.upper()}" in os.environ for name in names)
    return RunSettings.resolve(flags, config or (None if names_source else DEMO_PRESET))


@app.command()
@with_settings(
    DatasetSettings,
    EvaluatorSettings,
    PromptSettings,
    SampleSettings,
    ClusterSettings,
    but=("system", "thinking", "few_shot", "samples", "engine", "seed", "reuse", "completions_buffer"),
)
def evaluate(
    completions: Annotated[
        Path, typer.Argument(help="Completions to judge: a run, completions.jsonl, generations.json, …")
    ],
    run_directory: RunDirectoryArgument = None,
    config: ConfigOption = None,
    quiet: QuietOption = False,
    *,
    flags: Flags,
) -> None:
    """Judge existing completions, with the same progress view, resumption and report as a run.

    Completions of a run are judged on its problems, and read as its prompt asked for them, unless flags say otherwise.
    """
    from taco_stream.commands.run import find_settings, start

    flags = {**flags, "engine": f"replay:{completions}"}
    settings = RunSettings.resolve_like(find_settings(completions), flags, config)
    raise typer.Exit(start(settings, run_directory, is_quiet=quiet))


@app.command()
@with_settings(
    *(group for group in PANELS if group not in (ServerSettings, ClusterSettings)),
    but=("engine", "id_field", "text_field", "strict_ids", "reuse", "completions_buffer", "metrics_port"),
)
def tune(
    file: Annotated[Path, typer.Argument(help="Settings file to write.")] = Path("tuned.toml"),
    config: ConfigOption = None,
    seconds: Annotated[float, typer.Option(min=1, help="How long to look at each choice.")] = 6,
    *,
    flags: Flags,
) -> None:
    """Measure a model on this machine for about a minute, and write the settings that run it fastest."""
    from taco_stream.commands.tune import start

    raise typer.Exit(start(_resolve_run({"engine": None, **flags}, config), file, seconds=seconds))


@app.command()
def report(
    run_directory: ExistingRun,
    json: JsonOption = False,
    html: HtmlOption = None,
    mode: ModeOption = None,
    k: KOption = None,
) -> None:
    """Print the summary of a run, finished or still running."""
    from taco_stream.commands.report import print_summary

    print_summary(run_directory, mode=mode, ks=tuple(k or ()), as_json=json, html=html)


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run directories: the baseline, then runs to compare with it.")],
    mode: Annotated[
        ComparisonMode | None,
        parsed_option(
            "--mode", ComparisonMode, f"Score by {', '.join(ComparisonMode)}; default: the first run's mode."
        ),
    ] = None,
    k: Annotated[
        list[int] | None,
        parsed_option("--k", int, "A k of pass@k; repeatable. Default: those that all runs report."),
    ] = None,
    *,
    difficulty: Annotated[list[str] | None, parsed_option("--difficulty", str, "Only this; repeatable.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")] = False,
    fail_under: Annotated[
        float | None,
        parsed_option(
            "--fail-under",
            float,
            "Exit with 1 if a later run is not complete, or its pass@k less the first run's is under X percentage "
            "points, for any k: 0 allows no loss, -2 a loss of two points, 1 asks for a gain.",
        ),
    ] = None,
) -> None:
    """Compare runs with the first, problem by problem: differences with intervals, a test, flipped problems."""
    from taco_stream.commands.compare import compare_paths

    code = compare_paths(
        runs, mode=mode, ks=tuple(k or ()), difficulties=tuple(difficulty or ()), as_json=json, fail_under=fail_under
    )
    raise typer.Exit(code)


@app.command()
def merge(
    runs: Annotated[list[Path], typer.Argument(help="Run directories: shards, or runs with other samples.")],
    out: Annotated[Path, typer.Option("--out", help="The run directory to make.")],
) -> None:
    """Make one run of several: shards of one experiment, or other samples of the same problems, finished or not."""
    from taco_stream.commands.merge import merge

    raise typer.Exit(merge(runs, out))


@app.command()
def show(
    run_directory: ExistingRun,
    problem: Annotated[str, typer.Argument(help="A problem's id.")],
    sample: Annotated[int | None, typer.Argument(min=0, help="A sample's index; default: a table of them.")] = None,
    *,
    rerun: Annotated[
        bool, typer.Option("--rerun", help="Judge the program again, in the sandbox, and compare the verdicts.")
    ] = False,
    save: Annotated[
        Path | None, typer.Option("--save", help="Folder for the program, the test that it fails, and a script.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON, nothing cut.")] = False,
    mode: ModeOption = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="Where the run's problems are now; default: where they were.")
    ] = None,
) -> None:
    """Show one sample of a run: completion, program, failing test, verdicts; or a problem and all its samples."""
    from taco_stream.commands.show import show_problem, show_sample

    if sample is not None:
        show_sample(run_directory, problem, sample, dataset=dataset, mode=mode, as_json=json, rerun=rerun, save=save)
    elif rerun or save is not None:
        raise UsageError("--rerun and --save need the index of a sample")
    else:
        show_problem(run_directory, problem, dataset=dataset, mode=mode, as_json=json)


@app.command()
def runs(
    folder: Annotated[Path, typer.Argument(help="Folder of run directories.")] = Path("runs"),
    json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """List runs with their state, progress and score, the one written last first."""
    from taco_stream.commands.runs import list_runs

    list_runs(folder, as_json=json)


@app.command()
def view(
    folder: Annotated[Path, typer.Argument(help="Folder of run directories, or one of them.")] = Path("runs"),
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port of 127.0.0.1; a free one if it is taken.")
    ] = 8765,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Serve a page of runs on this machine, live while they are written: scores, charts, every sample (an extra)."""
    from taco_stream.commands.view_page import serve

    serve(folder, port=port, opens_browser=open_browser)


@app.command()
@with_settings(DatasetSettings, EvaluatorSettings, but=("dataset", "shuffle", "shard"))
def serve(
    config: ConfigOption = None,
    *,
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", metavar="TEXT", help="Problems that requests may name by their ids; default: none."),
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen at; others than this machine's need --token-env.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen at; 0 takes a free one.")
    ] = 8321,
    token_env: Annotated[
        str | None, typer.Option("--token-env", metavar="NAME", help="Variable with a token that every request needs.")
    ] = None,
    queue: Annotated[
        int, typer.Option("--queue", min=1, help="Programs that may wait, and that one request may have.")
    ] = 10_000,
    max_wait: Annotated[
        float, typer.Option("--max-wait", min=0, metavar="SECONDS", help="Refuse programs that would wait for longer.")
    ] = 60.0,
    max_body: Annotated[
        int, typer.Option("--max-body", min=1, max=1024, metavar="MIB", help="Largest body of a request.")
    ] = 64,
    flags: Flags,
) -> None:
    """Judge programs over HTTP, for trainers and other tools, until Ctrl-C or SIGTERM (an extra)."""
    from taco_stream.commands.serve import Serving, serve

    serving = Serving(host, port, token_env, queue, max_wait, max_body << 20)
    raise typer.Exit(serve({**flags, "dataset": dataset}, config, serving))


@app.command()
def watch(run_directory: ExistingRun) -> None:
    """Show the live view of a run that another terminal started. Ends with the run's report and its exit code."""
    from taco_stream.commands.watch import watch

    raise typer.Exit(watch(run_directory))


@app.command()
def export(
    run_directory: ExistingRun,
    to: ExportTarget = None,
    format: ExportFormatOption = ExportFormat.TACO,
    mode: ModeOption = None,
    k: KOption = None,
) -> None:
    """Write a run in another tool's format; by default the three files that TACO's own scripts write."""
    from taco_stream.commands.export import export_run

    for path in export_run(run_directory, to or run_directory, format, mode=mode, ks=tuple(k or ())):
        print(path)


@app.command()
def log(
    run_directory: ExistingRun,
    to: Annotated[
        TrackerKind,
        parsed_option("--to", TrackerKind, f"{', '.join(TrackerKind)}; each needs the extra of that name."),
    ],
    project: Annotated[str, typer.Option("--project", help="The tracker's project or experiment.")] = "taco-stream",
    follow: Annotated[bool, typer.Option("--follow", help="Send what is new until the run ends.")] = False,
) -> None:
    """Send a run's settings, scores and counts to an experiment tracker, from its files alone."""
    from taco_stream.commands.log import log_run

    log_run(run_directory, to, project=project, follow=follow)


@app.command()
def push(
    run_directory: ExistingRun,
    repository: Annotated[str, typer.Argument(help="A dataset repository of the hub, OWNER/NAME; made if need be.")],
    private: Annotated[bool, typer.Option("--private", help="Make the repository private, if it is made.")] = False,
    with_programs: Annotated[bool, typer.Option("--with-programs", help="Publish the programs as well.")] = False,
    model: Annotated[
        str | None, typer.Option("--model", help="A model of the hub to propose the score to, as a pull request.")
    ] = None,
) -> None:
    """Publish a run's scores, settings and table of samples as a dataset of the Hugging Face hub."""
    from taco_stream.commands.push import push_run

    print(push_run(run_directory, repository, private=private, with_programs=with_programs, model=model))


@app.command()
@with_settings(DatasetSettings, but=("dataset",))
def dataset(
    spec: Annotated[str, typer.Argument(help="A file, a folder, a hub name such as BAAI/TACO, or 'demo'.")],
    config: ConfigOption = None,
    *,
    flags: Flags,
) -> None:
    """Describe a dataset: counts, kinds, sizes, missing fields, a sample."""
    from taco_stream.commands.dataset import print_dataset

    print_dataset(RunSettings.resolve({**flags, "dataset": spec}, config))


@app.command()
@with_settings(DatasetSettings, EvaluatorSettings, but=("dataset", "skip_bad_rows", "failures_first", "verdict_cache"))
def audit(
    spec: Annotated[str, typer.Argument(help="A file, a folder, a hub name such as BAAI/TACO, or 'demo'.")],
    config: ConfigOption = None,
    solutions: Annotated[int, typer.Option(min=1, help="Reference solutions to judge per problem, evenly spaced.")] = 5,
    out: Annotated[Path | None, typer.Option("--out", help="Write one line of JSON per problem; resumable.")] = None,
    *,
    flags: Flags,
) -> None:
    """Judge a dataset's reference solutions to find broken, flaky and slow problems, and those that need a checker."""
    from taco_stream.commands.audit import start

    raise typer.Exit(start(RunSettings.resolve({**flags, "dataset": spec}, config), solutions=solutions, out=out))


@app.command()
@with_settings(
    DatasetSettings,
    ModelSettings,
    PromptSettings,
    only=("dataset", "split", "skip_bad_rows", "model", "prompt", "system", "thinking", "few_shot"),
)
def prompt(
    problem: Annotated[str, typer.Argument(help="A problem's id.")],
    config: ConfigOption = None,
    *,
    flags: Flags,
) -> None:
    """Print a problem's prompt as a run with the same flags would send it; --model renders its chat template."""
    from taco_stream.commands.prompt import print_prompt

    print_prompt(problem, RunSettings.resolve(flags, config))


@app.command()
def doctor(
    run_directory: Annotated[Path, typer.Argument(help="Folder that runs would be written to.")] = Path("runs"),
    json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check this machine, from the sandbox to the disk, and suggest fixes."""
    from taco_stream.commands.doctor import examine

    raise typer.Exit(examine(run_directory, as_json=json))


if __name__ == "__main__":
    main()
