"""The command `tune`: measures a model on this machine, prints what to run it with, and writes that as a settings file.

For each choice (`run.tuning`) the pipeline of a run goes on for a while, with an engine and an evaluator of its own and
samples that are kept in memory: it is looked at for `seconds`, from the first verdict or, without one, for as long
before. Then an evaluator judges the programs of these samples alone. Nothing is written before all is measured.

Settings that are given are kept: the number of threads, rows or workers is then the only one that is measured.
"""

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple, Self

import anyio
import msgspec
from rich.console import Console

from taco_stream.background import in_background
from taco_stream.commands.run import build_task, local_engine
from taco_stream.engine.base import Engine
from taco_stream.engine.libraries import check_libraries
from taco_stream.engine.settings import ModelSettings
from taco_stream.errors import EngineError, StoreError, UsageError
from taco_stream.evaluator.pool import Evaluator
from taco_stream.evaluator.settings import EvaluatorSettings
from taco_stream.machine import available_cores, hardware
from taco_stream.report.text import make_table
from taco_stream.run.pipeline import Pipeline
from taco_stream.run.problems import problem_source, with_readable_dataset
from taco_stream.run.settings import RunSettings
from taco_stream.run.task import Entry, Task
from taco_stream.run.tuning import Choice, Measurement, Prospect, choose, expect, thread_counts, worker_counts
from taco_stream.run.watching import interruptible, raising_ours
from taco_stream.statistics import RunStatistics
from taco_stream.terminal import stderr_console, stdout_console
from taco_stream.types import Completion, Problem, Record, SampleKey

POLL_SECONDS = 0.02

REPORT_SECONDS = 2.0
"""How long a generation worker's next figures are waited for, which come twice a second if its steps are short."""

MAX_PROGRAMS = 256
"""Programs that are judged alone: enough that the slow ones among them count as they should."""


class Measured(NamedTuple):
    """The prospects of all choices, and the programs that so many workers judge in a second."""

    prospects: Sequence[Prospect]
    judged_per_second: Mapping[int, float]


class Look(NamedTuple):
    """A run at a time of the monotonic clock."""

    at: float
    statistics: RunStatistics

    @classmethod
    def at_once(cls, pipeline: Pipeline) -> Self:
        """The run as it is now."""
        return cls(time.monotonic(), pipeline.statistics())

    @property
    def tokens(self) -> int:
        """The tokens that the engine has reported."""
        return self.statistics.engine.completion_tokens if self.statistics.engine else 0

    @property
    def rows(self) -> int:
        """The rows that it has."""
        return self.statistics.engine.rows_total if self.statistics.engine else 0


class SampleBox:
    """A store in memory, for all choices together."""

    def __init__(self) -> None:
        self.completions: list[Completion] = []
        self.programs: list[tuple[str, str]] = []
        """The problem's id and the text of each."""

    def is_generated(self, key: SampleKey) -> bool:
        """Each choice generates everything."""
        return False

    def unjudged(self, problem_id: str) -> Iterable[Completion]:
        """There was no earlier start."""
        return ()

    async def append(self, entries: Sequence[Entry]) -> None:
        """Keeps completions and programs."""
        for entry in entries:
            if isinstance(entry, Completion) and entry.error is None:
                self.completions.append(entry)
            elif isinstance(entry, Record) and entry.program is not None and len(self.programs) < MAX_PROGRAMS:
                self.programs.append((entry.problem_id, entry.program))

    def tokens_per_sample(self) -> float | None:
        """The mean length of a completion; None without one."""
        count = len(self.completions)
        return sum(each.completion_tokens for each in self.completions) / count if count else None


def start(settings: RunSettings, path: Path, *, seconds: float) -> int:
    """Measures each choice for so many seconds, and writes the best with all given settings to `path`; the exit code.

    Raises `UsageError` if there is nothing to tune, or a file already, and the errors of a run.
    """
    console = stderr_console()
    if settings.samples.engine != "local" or settings.cluster.ray:
        raise UsageError("tune measures a model that is run on this machine: it needs --engine local, and no --ray")
    if path.exists():
        raise UsageError(f"{path} exists: name another file for the settings, or remove it")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {path.parent} to write the settings to")
    check_libraries()

    async def measure_all() -> Measured:
        return await measure(settings, console, seconds=seconds)

    try:
        with interruptible():
            measured = anyio.run(measure_all, backend_options={"use_uvloop": True})
    except KeyboardInterrupt:
        console.print("interrupted; nothing was written")
        return 130
    best = choose(measured.prospects)
    print_figures(measured, best, stdout_console())
    try:
        path.write_text(settings_file(settings, best.measurement.choice), encoding="utf-8")
    except OSError as error:
        raise StoreError(f"the settings cannot be written to {path}: {error.strerror}") from error
    console.print(f"use it with: taco-stream run --config {path}", soft_wrap=True)
    return 0


async def measure(
    settings: RunSettings,
    console: Console,
    *,
    seconds: float,
    make_engine: Callable[[ModelSettings], Engine] | None = None,
) -> Measured:
    """Measures all choices; `make_engine` makes another engine than the local one. Raises the errors of a run."""
    cores, model = available_cores(), settings.model
    is_on_cpu = hardware()["accelerators"] == "none" if model.devices == "auto" else "cuda" not in model.devices
    judging = msgspec.structs.replace(settings.evaluator, verdict_cache=None)  # verdicts that are there cost nothing
    box = SampleBox()
    with ExitStack() as opened:
        problems = problem_source(with_readable_dataset(settings.dataset, opened), console)
        task = build_task(settings, problems, None)

        async def tried(choice: Choice) -> Measurement:
            rows = "as many as fit" if choice.batch_size is None else f"{choice.batch_size:,}"
            console.print(f"measuring: threads {choice.threads or '–'}, rows {rows}", soft_wrap=True)
            chosen = msgspec.structs.replace(model, threads=choice.threads, batch_size=choice.batch_size)
            engine = make_engine(chosen) if make_engine else local_engine(chosen, None, is_judged=True)
            return await try_choice(choice, engine, task, judging, box, seconds=seconds)

        counts = thread_counts(cores, model.threads) if is_on_cpu else (None,)
        measurements = [await tried(Choice(threads, model.batch_size)) for threads in counts]
        wanted = {problem_id for problem_id, _ in box.programs}
        found = {each.problem_id: each for each in problems() if each.problem_id in wanted}
        programs = [(found[problem_id], text) for problem_id, text in box.programs]
        judged = await judge_alone(programs, judging, worker_counts(cores, judging.workers), seconds=seconds / 2)
        length = box.tokens_per_sample()
        prospects = [expect(measurement, cores, length, judged) for measurement in measurements]
        best = choose(prospects).measurement
        # Rows are part of the samples of the reproducible mode.
        if model.batch_size is None and best.rows > 1 and not model.reproducible:
            fewer = await tried(best.choice._replace(batch_size=best.rows // 2))
            prospects.append(expect(fewer, cores, length, judged))
    return Measured(prospects, judged)


async def try_choice(
    choice: Choice, engine: Engine, task: Task, judging: EvaluatorSettings, box: SampleBox, *, seconds: float
) -> Measurement:
    """Generates beside an evaluator for a while. Raises `EngineError` if there is no token, and the errors of a run."""
    looks: list[Look] = []

    async def generate() -> None:
        async with Evaluator(judging) as evaluator:
            use_workers = evaluator.use_workers if judging.workers is None else None
            pipeline = Pipeline(task, engine=engine, evaluator=evaluator, store=box, use_workers=use_workers)
            is_over = anyio.Event()

            async def run() -> None:
                await pipeline.run()
                is_over.set()

            async with in_background(run):
                looks.append(await look(pipeline, is_over, lambda now: now.first_token_seconds is not None, math.inf))
                looks.append(await look(pipeline, is_over, lambda now: now.judged > 0, seconds))
                looks.append(await look(pipeline, is_over, lambda now: False, seconds))

    await raising_ours(generate)
    _, begun, ended = looks
    tokens, took = ended.tokens - begun.tokens, ended.at - begun.at
    if tokens <= 0:  # it was through before it could be looked at twice
        tokens, took = ended.tokens, ended.statistics.generating_seconds
    if tokens <= 0 or took <= 0:
        raise EngineError("nothing was generated that could be measured: `taco-stream run` shows why")
    return Measurement(choice, max(each.rows for each in looks), tokens / took)


async def look(
    pipeline: Pipeline, is_over: anyio.Event, is_time: Callable[[RunStatistics], bool], longest: float
) -> Look:
    """Waits until it is time, but no longer than `longest` seconds, and then for the engine's next figures."""

    async def wait_until(is_reached: Callable[[Look], bool], longest: float) -> Look:
        with anyio.move_on_after(longest):
            while not (is_over.is_set() or is_reached(Look.at_once(pipeline))):  # noqa: ASYNC110 (statistics are polled)
                await anyio.sleep(POLL_SECONDS)
        return Look.at_once(pipeline)

    reached = await wait_until(lambda seen: is_time(seen.statistics), longest)
    return await wait_until(lambda seen: seen.tokens != reached.tokens, REPORT_SECONDS)


async def judge_alone(
    programs: Sequence[tuple[Problem, str]], judging: EvaluatorSettings, counts: Sequence[int], *, seconds: float
) -> dict[int, float]:
    """The programs that each number of workers judges in a second; empty if there are none."""
    if not programs:
        return {}
    rates = {}
    async with Evaluator(msgspec.structs.replace(judging, workers=max(counts))) as evaluator:
        for count in counts:
            evaluator.use_workers(count)
            rates[count] = await judging_rate(evaluator, cycle(programs), seconds=seconds)
    return rates


async def judging_rate(evaluator: Evaluator, programs: Iterator[tuple[Problem, str]], *, seconds: float) -> float:
    """The programs that an evaluator judges in a second."""
    done, started_at = 0, time.monotonic()

    async def judge() -> None:
        nonlocal done
        while time.monotonic() - started_at < seconds:
            await evaluator.judge_all_modes(*next(programs), use_cache=False)
            done += 1

    async with anyio.create_task_group() as tasks:
        for _ in range(evaluator.concurrency):
            tasks.start_soon(judge)
    return done / (time.monotonic() - started_at)


def print_figures(measured: Measured, best: Prospect, console: Console) -> None:
    """Prints the choices with their figures, the best one marked, and the rates of judging."""
    table = make_table("threads", "rows", "tokens/s beside judging", "samples/s expected", "")
    for each in measured.prospects:
        expected = "–" if each.samples_per_second is None else f"{each.samples_per_second:,.2f}"
        threads = str(each.measurement.choice.threads or "–")
        speed = f"{each.measurement.tokens_per_second:,.0f}"
        table.add_row(threads, f"{each.measurement.rows:,}", speed, expected, "chosen" if each is best else "")
    console.print(table)
    console.print()
    if not measured.judged_per_second:
        console.print("no program was finished in that time, so judging is taken to cost nothing", soft_wrap=True)
        return
    table = make_table("workers", "programs/s judged alone")
    for workers, rate in measured.judged_per_second.items():
        table.add_row(str(workers), f"{rate:,.1f}")
    console.print(table)
    console.print()
    console.print("workers in use follow the run while it goes on, unless --workers is given", soft_wrap=True)


def settings_file(settings: RunSettings, best: Choice) -> str:
    """All given settings, and the best choice, as TOML."""
    usual = RunSettings().values()
    values = {name: value for name, value in settings.values().items() if value != usual[name]}
    if best.threads:
        values["threads"] = best.threads
    if best.batch_size:
        values["batch_size"] = best.batch_size
    machine = hardware()
    measured_on = f"{machine['cores']} cores of {machine['processor']}, accelerators: {machine['accelerators']}"
    lines = [f"{name} = {toml_value(value)}\n" for name, value in values.items()]
    return f"# Written by `taco-stream tune` on {time.strftime('%Y-%m-%d')}. {measured_on}\n{''.join(lines)}"


def toml_value(value: Any) -> str:
    """A number, text, truth value or list of these as TOML, which writes them as JSON does, but for one character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
