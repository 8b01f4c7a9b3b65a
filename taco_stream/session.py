"""One start of a run: builds what the settings name, runs the pipeline, sums up.

The order is that of what can go wrong soonest and cheapest: settings, dataset, completions to replay, evaluator, run
directory, and only then the engine, which may take minutes to load a model; its process is started before the
evaluator, to import its libraries meanwhile. A start that fails before anything was
generated leaves no run directory behind that was not there before.

A start that judges nothing is the same start without an evaluator: no sandbox is needed, nothing is summed up, and a
later start that judges finds completions without a verdict.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import anyio
import msgspec
from rich.console import Console

from taco_stream.cores import generating_cores
from taco_stream.datasets.open import dataset_fingerprint
from taco_stream.errors import StoreError, TacoStreamError
from taco_stream.evaluator.pool import Evaluator
from taco_stream.pipeline.gauges import gauges
from taco_stream.pipeline.pipeline import Pipeline
from taco_stream.pipeline.plan import Entry, OpenProblems, Plan
from taco_stream.progress import Snapshot, show
from taco_stream.prompting import Prompting, build_prompting
from taco_stream.report.html import write_html
from taco_stream.report.summary import Summary
from taco_stream.report.text import generation_speed_of, notes_on_prompts, print_report
from taco_stream.review import sum_up, tally_of
from taco_stream.run.settings import RunSettings
from taco_stream.sources import Source, check_ids, problem_source, source_of, with_readable_dataset
from taco_stream.store.manifest import Manifest, git_commit, hardware, versions
from taco_stream.store.run import COMPLETIONS, REPORT, RunDirectory, open_run
from taco_stream.terminal import stderr_console, stdout_console
from taco_stream.types import Completion, Event, Problem, Record, SampleKey, Status


def start(settings: RunSettings, path: Path | None, *, is_judged: bool = True) -> int:
    """Runs until the run is complete or interrupted; the exit code. Raises the `TacoStreamError` it failed with.

    Where it is not to be judged, completions are written and left without a verdict.
    """
    directory = path or Path("runs") / default_name(settings)
    return anyio.run(run, settings, directory, is_judged, stderr_console(), backend_options={"use_uvloop": True})


def default_name(settings: RunSettings) -> str:
    """Names a run by what changes its results, so that the same command finds its own run again."""
    digest = hashlib.sha256(msgspec.json.encode(settings.results(), order="deterministic")).hexdigest()
    made_by = settings.model.model if settings.samples.engine == "local" else settings.samples.engine
    words = [word.strip("./").replace("/", "-").replace(":", "-") for word in (made_by, settings.dataset.dataset)]
    return "-".join([*dict.fromkeys(words), digest[:8]])


async def run(settings: RunSettings, path: Path, is_judged: bool, console: Console) -> int:
    """Runs the settings in `path`; 0 complete, 3 complete with infrastructure errors, 130 interrupted."""
    prompting = build_prompting(settings.prompt)
    open_problems = OpenProblems()
    # Events are rare; a full buffer only makes their sender wait for the next gauge.
    happened, events = anyio.create_memory_object_stream[Event](256)
    async with happened, events, AsyncExitStack() as opened:
        readable = with_readable_dataset(settings.dataset, opened.enter_context(ExitStack()))
        problems = problem_source(readable, console)
        source = source_of(
            settings,
            prompting,
            problems,
            open_problems=open_problems,
            happened=happened,
            opened=opened,
            threads=generating_cores(is_judged=is_judged),
        )
        check_ids(source, problems, settings, console)
        await opened.enter_async_context(source.prepared())
        evaluator = None
        if is_judged:
            evaluator = await opened.enter_async_context(Evaluator(settings.evaluator, events=happened))
        manifest = manifest_of(settings, readable.dataset, evaluator.sandbox_tier if evaluator else "")
        directory = await opened.enter_async_context(open_run(path, manifest))
        announce(directory, evaluator, console)
        engine = await opened.enter_async_context(source.engine)
        counted = CountedRun(directory)
        pipeline = Pipeline(
            plan_of(settings, source, prompting, problems),
            engine=engine,
            judge=evaluator,
            journal=counted,
            events=events,
            open_problems=open_problems,
        )
        return await carry_out(pipeline, counted, settings, console)


class CountedRun:
    """A run directory that counts what is in it, for the score so far and the summary."""

    def __init__(self, directory: RunDirectory) -> None:
        self.directory = directory
        self.tally = tally_of(directory)

    def is_generated(self, key: SampleKey) -> bool:
        """Whether the sample's completion, or its record, is on disk."""
        return self.directory.is_generated(key)

    def unjudged(self, problem_id: str) -> Iterable[Completion]:
        """The completions of a problem that are on disk without a verdict."""
        return self.directory.unjudged(problem_id)

    async def append(self, entries: Sequence[Entry]) -> None:
        """Writes the entries and counts the records among them."""
        await self.directory.append(entries)
        for entry in entries:
            if isinstance(entry, Record):
                self.tally.add(entry)


async def carry_out(pipeline: Pipeline, counted: CountedRun, settings: RunSettings, console: Console) -> int:
    """Runs the pipeline under the view and sums up, however it ends; the exit code."""
    await counted.append([_event("run_resumed" if counted.directory.is_resumed else "run_started")])

    def poll() -> Snapshot:
        return Snapshot(statistics=pipeline.statistics(), pass_at_1=counted.tally.pass_at_1(settings.evaluator.mode))

    failure: TacoStreamError | None = None
    async with anyio.create_task_group() as view:
        view.start_soon(show, poll, console)
        try:
            await pipeline.run()
        except TacoStreamError as error:
            failure = error
        view.cancel_scope.cancel()
    if not isinstance(failure, StoreError):
        await counted.append([finished_event(pipeline)])
        summary = sum_up(counted.tally, counted.directory, settings)
        if pipeline.is_judging:
            tell_results(counted, summary)
        else:
            tell_speed(counted, summary, console)
    if failure is not None:
        raise failure
    console.print(closing(pipeline, counted), soft_wrap=True)
    if pipeline.interrupted:
        return 130
    if not pipeline.is_judging:
        return 0
    return 3 if counted.tally.statuses[settings.evaluator.mode][Status.INFRASTRUCTURE_ERROR] else 0


def tell_results(counted: CountedRun, summary: Summary) -> None:
    """Writes the summary and the page, and prints the report."""
    counted.directory.write_summary(summary)
    write_html(counted.directory, summary, counted.tally, counted.directory.path / REPORT)
    print_report(summary, stdout_console())


def tell_speed(counted: CountedRun, summary: Summary, console: Console) -> None:
    """Prints where completions without a verdict are, and tells how fast they came."""
    for line in (*notes_on_prompts(summary.coverage), *generation_speed_of(summary.throughput)):
        console.print(line, soft_wrap=True, markup=False)
    print(counted.directory.path / COMPLETIONS)


def plan_of(
    settings: RunSettings, source: Source, prompting: Prompting, problems: Callable[[], Iterable[Problem]]
) -> Plan:
    """The plan that the pipeline carries out."""
    return Plan(
        problems=problems,
        sample_indices=source.sample_indices,
        prompt=prompting.build,
        extract=source.extract,
        sampling=msgspec.structs.replace(settings.sampling, stop=prompting.stop_strings + settings.sampling.stop),
        seed=settings.samples.seed,
        completions_buffer=settings.samples.completions_buffer,
    )


def manifest_of(settings: RunSettings, dataset: str, sandbox_tier: str) -> Manifest:
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


def announce(directory: RunDirectory, evaluator: Evaluator | None, console: Console) -> None:
    """Says where the run is, how safely programs run (where any do), and what an earlier start left."""
    console.print(f"{'resuming' if directory.is_resumed else 'new run'} {directory.path}", soft_wrap=True)
    if evaluator is not None:
        console.print(f"sandbox {evaluator.sandbox_tier}; {evaluator.worst_case}", soft_wrap=True, style="dim")
    for repair in directory.repairs:
        console.print(repair, style="yellow", soft_wrap=True)
    if directory.is_resumed:
        console.print(directory.safe, soft_wrap=True, style="dim")


def finished_event(pipeline: Pipeline) -> Event:
    """The figures of this start, from which the summary adds up times."""
    statistics = pipeline.statistics()
    figures = {
        **gauges(statistics).figures,
        "row_seconds": statistics.engine.row_seconds,
        "row_seconds_available": statistics.engine.row_seconds_available,
    }
    return Event(kind="run_finished", at=time.time(), figures=figures)


def closing(pipeline: Pipeline, counted: CountedRun) -> str:
    """The last line for the person: where the results are, or how to go on."""
    if pipeline.interrupted:
        return f"interrupted; {counted.directory.safe}. The same command goes on from there."
    if not pipeline.is_judging:
        return f"complete: {counted.directory.safe}; `taco-stream run` with the same settings judges them"
    return f"complete: {counted.tally.samples:,} samples judged, in {counted.directory.path}"


def _event(kind: str) -> Event:
    return Event(kind=kind, at=time.time())
