"""The commands `run`, `generate` and `evaluate`: one start of a run.

It builds the components that the settings name, runs the pipeline and sums up. Those that can fail soonest and at the
least cost come first: settings, dataset, completions that exist, evaluator, run directory, and only then the engine,
which may take minutes to load a model; its process is started before the evaluator, to import its libraries meanwhile.
A start that fails before anything was generated leaves no run directory behind that was not there before.

A start that judges nothing is the same start without an evaluator: no sandbox is needed, nothing is summed up, and a
later start that judges finds completions without a verdict.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import msgspec
from anyio.abc import ObjectSendStream
from rich.console import Console

from taco_stream.cluster.engine import ClusterEngine
from taco_stream.cluster.evaluator import ClusterEvaluator
from taco_stream.cluster.protocol import EngineBlueprint, ModelBlueprint, ScriptBlueprint
from taco_stream.cluster.ray_cluster import connected
from taco_stream.commands.report import sum_up
from taco_stream.datasets.open import dataset_fingerprint
from taco_stream.datasets.selection import parse_shard
from taco_stream.datasets.settings import SELECTING, DatasetSettings
from taco_stream.engine.base import Engine
from taco_stream.engine.libraries import check_libraries, missing_libraries
from taco_stream.engine.local.engine import LocalEngine
from taco_stream.engine.scripted import Script, ScriptedEngine, read_script
from taco_stream.engine.server.description import split_urls
from taco_stream.engine.server.engine import ServerEngine, find_served_model
from taco_stream.engine.settings import ModelSettings, ServerSettings
from taco_stream.errors import StoreError, TacoStreamError, UsageError
from taco_stream.evaluator.pool import Evaluator
from taco_stream.evaluator.settings import EvaluatorSettings
from taco_stream.events import EngineEvent, RunFinished, RunResumed, RunStarted
from taco_stream.extraction import Extraction, extract_base, extract_chat
from taco_stream.formats import FieldNames, match_ids, read_completions
from taco_stream.machine import generating_cores, hardware
from taco_stream.metrics import Tally, settled_ks
from taco_stream.plug_ins import PlugIn, PlugInKind, find_plug_in
from taco_stream.prompting import Prompting, build_prompting
from taco_stream.report.html import write_html
from taco_stream.report.summary import Summary
from taco_stream.report.text import describe_generation_speed, notes_on_prompts, print_report
from taco_stream.run.existing import CompletionSpool, Existing, reference_solutions
from taco_stream.run.pace import Pace, count_total
from taco_stream.run.pipeline import Pipeline, entry_stream
from taco_stream.run.problems import problem_source, selected_ids, with_readable_dataset
from taco_stream.run.prometheus import serve_metrics
from taco_stream.run.reuse import ReusableSamples
from taco_stream.run.settings import RunSettings, SampleSettings
from taco_stream.run.task import Task
from taco_stream.run.view import Snapshot, panel, plain_line, show
from taco_stream.run.watching import interruptible, keep_pace, under_signals
from taco_stream.store.manifest import Growth, Manifest, git_commit, read_manifest, versions
from taco_stream.store.run_directory import COMPLETIONS, MANIFEST, REPORT, RunDirectory, open_run
from taco_stream.terminal import stderr_console, stdout_console
from taco_stream.types import Completion, Problem, Status

DEMO = Path(__file__).parents[1] / "demo"
DEMO_PRESET = DEMO / "run.toml"
DEFAULT_SAMPLES = 10
DEFAULT_MODEL = ModelSettings().model

UNBEGUN = "interrupted before anything was generated or judged; the same command begins again"

Problems = Callable[[], Iterator[Problem]]


def start(settings: RunSettings, path: Path | None, *, is_judged: bool = True, is_quiet: bool = False) -> int:
    """Runs until the run is complete or interrupted; the exit code. Raises the `TacoStreamError` it failed with.

    If it is not to be judged, completions are written and left without a verdict. If it is to be quiet, nothing goes to
    standard error.
    """
    console = stderr_console(is_quiet=is_quiet)
    settings = name_shard(name_served_model(settings, console))
    directory = path or Path("runs") / default_name(settings)
    try:
        with interruptible() as was_interrupted:
            work = partial(run, settings, directory, is_judged, console, was_interrupted)
            return anyio.run(work, backend_options={"use_uvloop": True})
    except KeyboardInterrupt:
        console.print(UNBEGUN)
        return 130


def default_name(settings: RunSettings) -> str:
    """Names a run by the settings that change its results, so that the same command finds it again."""
    # Sorted, so that the name does not depend on the order in which settings are defined.
    digest = hashlib.sha256(msgspec.json.encode(settings.results(), order="deterministic")).hexdigest()
    answers = settings.samples.engine
    made_by = settings.model.model if answers in ("local", "server") else answers
    words = [word.strip("./").replace("/", "-").replace(":", "-") for word in (made_by, settings.dataset.dataset)]
    return "-".join([*dict.fromkeys(words), digest[:8]])


async def run(
    settings: RunSettings, path: Path, is_judged: bool, console: Console, was_interrupted: Callable[[], bool]
) -> int:
    """Runs the settings in `path`; 0 complete, 3 complete with infrastructure errors, 130 interrupted.

    Raises `KeyboardInterrupt` if it was interrupted before there was anything to finish.
    """
    started_at = time.monotonic()
    source = parse_engine(settings.samples.engine)
    address = settings.cluster.ray
    if source.kind == "local" and not address and not (path / COMPLETIONS).exists():
        check_libraries()  # later starts may have nothing to do but judge
    entries, to_write = entry_stream()
    async with entries, to_write, AsyncExitStack() as opened:
        dataset = with_readable_dataset(settings.dataset, opened.enter_context(ExitStack()))
        problems = problem_source(dataset, console)
        existing = None
        if source.kind == "replay":
            existing = open_existing(source.path, settings.samples, problems, opened, console)
        task = build_task(settings, problems, existing)
        cluster = opened.enter_context(connected(address)) if address else None
        engine: Engine | None = None
        if cluster is not None and source.kind in ("local", "scripted"):
            engine = ClusterEngine(cluster, build_blueprint(settings, source, is_judged=is_judged), events=entries)
        elif source.kind == "local":
            engine = local = local_engine(settings.model, entries, is_judged=is_judged)
            if not missing_libraries():
                await opened.enter_async_context(local.prepared())
        elif source.kind == "server":
            engine = ServerEngine(settings.server, model=settings.model.model, events=entries)
        elif source.kind == "scripted":
            engine = ScriptedEngine(read_script(source.path) if source.path else Script())
        elif source.plug_in is not None:
            engine = source.plug_in.call(source.argument, settings.model)
        evaluator: Evaluator | ClusterEvaluator | None = None
        use_workers: Callable[[int], None] | None = None
        if is_judged and cluster is not None:
            judging = ClusterEvaluator(cluster, with_absolute_paths(settings.evaluator), events=entries)
            evaluator = await opened.enter_async_context(judging)
        elif is_judged:
            pool = Evaluator(settings.evaluator, events=entries)
            use_workers = pool.use_workers if settings.evaluator.workers is None else None
            evaluator = await opened.enter_async_context(pool)
        manifest = build_manifest(settings, dataset.dataset, evaluator.sandbox_tier if evaluator else "")
        opening = open_run(path, manifest, RunSettings().results(), Growth(SELECTING, partial(left_out, dataset)))
        directory = await opened.enter_async_context(opening)
        task = with_reuse(task, settings, path, manifest.results, console)
        announce(directory, settings.evaluator, evaluator.sandbox_tier if evaluator else "", console)
        tally = directory.tally
        announce_other_samples(directory, settings, console)
        pipeline = Pipeline(
            task,
            engine=engine,
            evaluator=evaluator,
            store=directory,
            tally=tally,
            entries=(entries, to_write),
            completions_buffer=settings.samples.completions_buffer,
            use_workers=use_workers,
            started_at=started_at,
        )
        work = partial(carry_out, pipeline, directory, tally, settings, console, problems=problems)
        if was_interrupted():
            raise KeyboardInterrupt
        return await under_signals(work, pipeline.stop)


def with_reuse(task: Task, settings: RunSettings, path: Path, results: Mapping[str, Any], console: Console) -> Task:
    """The task with the samples of the run that `--reuse` names, if it names one.

    Raises the errors of `ReusableSamples`, and `UsageError` if the run is this one. A resumed run may go on without a
    run that is there no more, and says so.
    """
    if settings.samples.reuse is None:
        return task
    other = Path(settings.samples.reuse)
    if other.resolve() == path.resolve():
        raise UsageError(f"--reuse names the run itself, {path}: the same command without it resumes")
    if not (other / MANIFEST).exists() and (path / COMPLETIONS).exists() and (path / COMPLETIONS).stat().st_size:
        console.print(
            f"{other} is there no more: what it did not give yet is generated", style="yellow", soft_wrap=True
        )
        return task
    reusable = ReusableSamples(other, results)
    console.print(f"reusing what is wanted of the {reusable.count:,} samples in {other}", soft_wrap=True)
    return task._replace(reuse=reusable.find)


def find_settings(completions: Path) -> Mapping[str, Any]:
    """The settings of the run that is, or that holds, these completions; none if they are not a run's."""
    folder = completions if completions.is_dir() else completions.parent
    if completions.name not in (folder.name, COMPLETIONS) or not (folder / MANIFEST).is_file():
        return {}
    return read_manifest(folder / MANIFEST).settings


class AnsweredBy(NamedTuple):
    """The parts of `--engine`: `local`, `server`, `scripted`, `replay` or a plug-in, and what is behind the colon."""

    kind: str
    argument: str
    plug_in: PlugIn | None = None

    @property
    def path(self) -> Path | None:
        """The file of `scripted` or `replay`, if one is given."""
        return Path(self.argument) if self.argument else None


def parse_engine(text: str) -> AnsweredBy:
    """Who answers. Raises `UsageError` if the text names nobody."""
    kind, _, argument = text.partition(":")
    if kind in ("replay", "scripted") or (kind in ("local", "server") and not argument):
        return AnsweredBy(kind, argument)
    plug_in = None if kind in ("local", "server") else find_plug_in(PlugInKind.ENGINE, kind)
    if plug_in is None:
        raise UsageError(
            f"--engine cannot be {text!r}: it is local, server, replay, replay:FILE, scripted, scripted:FILE or "
            "the name of a plug-in"
        )
    return AnsweredBy(kind, argument, plug_in)


def name_shard(settings: RunSettings) -> RunSettings:
    """The settings with the shard that `auto` stands for here: the run is of that shard, wherever it is resumed."""
    if settings.dataset.shard is None:
        return settings
    shard = str(parse_shard(settings.dataset.shard))
    return msgspec.structs.replace(settings, dataset=msgspec.structs.replace(settings.dataset, shard=shard))


def name_served_model(settings: RunSettings, console: Console) -> RunSettings:
    """The settings with the name of the model that servers are asked for, if servers are to answer.

    A run has it in its manifest, so that it resumes with the same model. Raises `UsageError` if the settings do not fit
    together: those of a model that is run here change nothing elsewhere.
    """
    servers, is_served = settings.server, parse_engine(settings.samples.engine).kind == "server"
    if not is_served:
        if servers != ServerSettings():
            raise UsageError("--server and the other flags of servers need --engine server")
        return settings
    given, usual = msgspec.structs.replace(settings.model, model=DEFAULT_MODEL), ModelSettings()
    if given != usual:
        name = next(each for each in usual.__struct_fields__ if getattr(given, each) != getattr(usual, each))
        raise UsageError(f"--{name.replace('_', '-')} is for a model that is run here; give it to the server")
    urls = " and ".join(split_urls(servers.server or ""))
    console.print(f"asking {urls}; waits up to {servers.server_patience:g} s for an answer", soft_wrap=True)
    if settings.model.model != DEFAULT_MODEL:
        return settings
    name = anyio.run(find_served_model, servers, backend_options={"use_uvloop": True})
    return msgspec.structs.replace(settings, model=ModelSettings(model=name))


def local_engine(
    settings: ModelSettings, events: ObjectSendStream[EngineEvent] | None, *, is_judged: bool
) -> LocalEngine:
    """The engine for a transformers model, with the threads that it may use beside an evaluator if it has one."""
    model = str(DEMO / "model") if settings.model == "demo" else settings.model
    threads = settings.threads or generating_cores(is_judged=is_judged)
    return LocalEngine(msgspec.structs.replace(settings, model=model, threads=threads), events=events)


def build_blueprint(settings: RunSettings, source: AnsweredBy, *, is_judged: bool) -> EngineBlueprint:
    """The engine of each node of a cluster, which reads a model's folder under the same path as this machine."""
    if source.kind == "scripted":
        return ScriptBlueprint(read_script(source.path) if source.path else Script())
    model = settings.model
    if Path(model.model).is_dir():
        model = msgspec.structs.replace(model, model=str(Path(model.model).absolute()))
    return ModelBlueprint(model, is_judged)


def with_absolute_paths(settings: EvaluatorSettings) -> EvaluatorSettings:
    """The settings for evaluators on other machines, whose current folder is another."""
    paths = {"checkers_folder": settings.checkers_folder, "verdict_cache": settings.verdict_cache}
    given = {name: str(Path(path).absolute()) for name, path in paths.items() if path is not None}
    return msgspec.structs.replace(settings, **given)


def build_task(settings: RunSettings, problems: Problems, existing: Existing | None) -> Task:
    """The task of the run. Raises `UsageError` if the settings contradict each other."""
    prompting = build_prompting(settings.prompt)
    count = settings.samples.samples
    samples = DEFAULT_SAMPLES if count is None else count
    if existing is None or count is not None:
        settled_ks(settings.samples.k, samples)
    stops = prompting.stop_strings + settings.sampling.stop
    return Task(
        problems=problems,
        sample_indices=(
            (lambda _: range(samples)) if existing is None else (lambda each: existing.sample_indices(each)[:count])
        ),
        prompt=prompting.build,
        extract=extraction(prompting, settings),
        sampling=msgspec.structs.replace(settings.sampling, stop=stops),
        seed=settings.samples.seed,
        existing=existing,
    )


def extraction(prompting: Prompting, settings: RunSettings) -> Callable[[Completion, Problem], Extraction]:
    """How programs are found in answers to such prompts."""
    source = parse_engine(settings.samples.engine)
    if source.kind == "replay" and source.path is None:
        return lambda completion, _: extract_base(completion.text)
    # A file's completions were cut where their author cut them, and a program may well hold a stop string.
    stops = () if source.kind == "replay" else prompting.stop_strings

    def extract(completion: Completion, problem: Problem) -> Extraction:
        if prompting.is_chat:
            join_blocks = settings.samples.join_blocks
            return extract_chat(completion.text, entry_point=problem.fn_name, join_blocks=join_blocks)
        return extract_base(completion.text, stops)

    return extract


def open_existing(
    path: Path | None, settings: SampleSettings, problems: Problems, opened: AsyncExitStack, console: Console
) -> Existing:
    """The completions of a file or a run, or the reference solutions if none is named.

    Reports completions and problems that do not match and skips them; with `strict_ids` raises `UsageError`.
    """
    if path is None:
        return reference_solutions()
    if (path / COMPLETIONS).is_file():
        path /= COMPLETIONS
    positions: dict[int, str] = {}
    human_eval: dict[str, str] = {}  # completions that only continue HumanEval's prompts are put behind them
    for problem in problems():
        positions[problem.position] = problem.problem_id
        if problem.source == "humaneval":
            human_eval[problem.problem_id] = problem.question
    named = settings.id_field or settings.text_field
    names = FieldNames(problem_id=settings.id_field, text=settings.text_field) if named else None
    read = read_completions(path, names=names, prompts=human_eval, positions=positions)
    spool = opened.enter_context(CompletionSpool(read))
    held = {name: len(spool.sample_indices(name)) for name in sorted(spool.problem_ids())}
    gaps = match_ids(held, positions.values(), spool.repeated)
    if gaps and settings.strict_ids:
        raise UsageError("; ".join(gaps))
    for gap in gaps:
        console.print(gap, style="yellow", soft_wrap=True)
    return spool.existing()


async def carry_out(
    pipeline: Pipeline,
    directory: RunDirectory,
    tally: Tally,
    settings: RunSettings,
    console: Console,
    *,
    problems: Problems,
) -> int:
    """Runs the pipeline under the view and sums up, however it ends; the exit code."""
    await directory.append([RunResumed() if directory.is_resumed else RunStarted()])

    pace = Pace()

    def snapshot() -> Snapshot:
        statistics = pipeline.statistics()
        return Snapshot(
            statistics=statistics,
            pass_at_1=tally.pass_at_1(settings.evaluator.mode),
            taken_at=time.time(),
            seconds_left=pace.seconds_left(count_total(statistics)),
        )

    failure: TacoStreamError | None = None
    async with anyio.create_task_group() as view:
        view.start_soon(keep_pace, pace, pipeline.statistics)
        if settings.samples.metrics_port is not None:
            await view.start(serve_metrics, settings.samples.metrics_port, pipeline.statistics)
        view.start_soon(show, lambda: panel(snapshot()), lambda: plain_line(snapshot()), console)
        try:
            await pipeline.run()
        except TacoStreamError as error:
            failure = error
        view.cancel_scope.cancel()
    if failure is not None and directory.is_empty:
        raise failure
    if pipeline.interrupted and directory.is_empty:
        console.print(UNBEGUN)
        return 130
    if not isinstance(failure, StoreError):
        await directory.append([RunFinished(statistics=pipeline.statistics())])
        summary = sum_up(tally, directory, settings)
        if pipeline.is_judging:
            directory.write_summary(summary)
            report = directory.path / REPORT
            # A person who interrupted the run waits for its end: the dataset is not read once more for them.
            again = None if pipeline.interrupted else problems
            write_html(directory.path, report, settings.evaluator, settings.samples.k, problems=again)
            print_report(summary, stdout_console(lenient=True))
        else:
            print_speed(directory, summary, console)
    if failure is not None:
        raise failure
    console.print(closing(pipeline, directory, tally), soft_wrap=True)
    if pipeline.interrupted:
        return 130
    if not pipeline.is_judging:
        return 0
    return 3 if tally.statuses[settings.evaluator.mode][Status.INFRASTRUCTURE_ERROR] else 0


def print_speed(directory: RunDirectory, summary: Summary, console: Console) -> None:
    """Prints where the unjudged completions are, and how fast they were generated."""
    for line in (*notes_on_prompts(summary.coverage), *describe_generation_speed(summary.throughput)):
        console.print(line, soft_wrap=True)
    stdout_console(lenient=True).print(directory.path / COMPLETIONS, soft_wrap=True)


def build_manifest(settings: RunSettings, dataset: str, sandbox_tier: str) -> Manifest:
    """The manifest of this start. Reads every byte of the dataset, or asks for its revision, for its fingerprint."""
    fingerprint = dataset_fingerprint(dataset, split=settings.dataset.split)
    return Manifest(
        results={**settings.results(), "dataset_fingerprint": fingerprint},
        settings=settings.values(),
        sandbox_tier=sandbox_tier,
        versions=versions(),
        hardware=hardware(),
        git_commit=git_commit(),
        created_at=time.time(),
    )


def left_out(settings: DatasetSettings, results: Mapping[str, Any]) -> list[str]:
    """The problems that a run with such `results` took and this start does not, in the run's order."""
    written = {name: results[name] for name in SELECTING}
    selecting = {name: tuple(value) if isinstance(value, list) else value for name, value in written.items()}
    before = msgspec.structs.replace(settings, **selecting)
    taken = set(selected_ids(settings))
    return [name for name in selected_ids(before) if name not in taken]


def announce(directory: RunDirectory, evaluator: EvaluatorSettings, tier: str, console: Console) -> None:
    """Prints where the run is, how programs are confined (if any run), and the remains of an earlier start."""
    console.print(f"{'resuming' if directory.is_resumed else 'new run'} {directory.path}", soft_wrap=True)
    if tier:
        console.print(f"sandbox {tier}; {evaluator.worst_case}", soft_wrap=True, style="dim")
    for repair in directory.repairs:
        console.print(repair, style="yellow", soft_wrap=True)
    if directory.is_resumed:
        console.print(directory.safe, soft_wrap=True, style="dim")


def announce_other_samples(directory: RunDirectory, settings: RunSettings, console: Console) -> None:
    """Prints that the run has more samples than are asked for now, if it has."""
    is_replay = parse_engine(settings.samples.engine).kind == "replay"
    wanted = settings.samples.samples or (None if is_replay else DEFAULT_SAMPLES)
    had = directory.max_samples
    if wanted is not None and wanted < had:
        console.print(
            f"the run has up to {had:,} samples of a problem, more than the {wanted:,} asked for: all are reported",
            soft_wrap=True,
        )


def closing(pipeline: Pipeline, directory: RunDirectory, tally: Tally) -> str:
    """The last line that is printed: where the results are, or how to resume."""
    if pipeline.interrupted:
        return f"interrupted; {directory.safe}. The same command resumes."
    if not pipeline.is_judging:
        return f"complete: {directory.safe}; `taco-stream run` with the same settings judges them"
    return f"complete: {tally.samples:,} samples judged, in {directory.path}"
