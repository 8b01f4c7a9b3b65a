"""What a run takes in: the problems, and the engine whose completions answer them."""

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, nullcontext
from pathlib import Path
from typing import NamedTuple

import msgspec
from anyio.abc import ObjectSendStream
from rich.console import Console

from taco_stream.datasets.open import open_dataset
from taco_stream.datasets.selection import selection_of
from taco_stream.datasets.settings import DatasetSettings
from taco_stream.datasets.sources import STANDARD_INPUT
from taco_stream.engine.base import Engine
from taco_stream.engine.local import LocalEngine
from taco_stream.engine.replay import CompletionSpool, ReplayEngine, reference_solution, solutions_of
from taco_stream.engine.scripted import Script, ScriptedEngine, read_script
from taco_stream.engine.settings import ModelSettings
from taco_stream.errors import UsageError
from taco_stream.extraction import Extraction, extract_base, extract_chat
from taco_stream.formats import FieldNames, match_ids, read_completions
from taco_stream.metrics import settled_ks
from taco_stream.pipeline.plan import OpenProblems
from taco_stream.prompting import Prompting
from taco_stream.run.settings import RunSettings
from taco_stream.store.run import COMPLETIONS
from taco_stream.types import Completion, Event, Problem

DEMO = Path(__file__).parent / "demo"
DEMO_PRESET = DEMO / "run.toml"
DEFAULT_SAMPLES = 10


class Source(NamedTuple):
    """Where completions come from: the engine, which samples of a problem it can give, how programs are found.

    Inside `prepared()` the engine gets ready for being entered. `spool` is there where completions of a file are
    replayed.
    """

    engine: Engine
    sample_indices: Callable[[Problem], Sequence[int]]
    extract: Callable[[Completion, Problem], Extraction]
    spool: CompletionSpool | None = None
    prepared: Callable[[], AbstractAsyncContextManager[None]] = nullcontext


def with_readable_dataset(settings: DatasetSettings, opened: ExitStack) -> DatasetSettings:
    """The settings with a dataset that can be read more than once: standard input is kept in a temporary file."""
    if settings.dataset != STANDARD_INPUT:
        return settings
    folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="taco-stream-"))
    path = Path(folder) / "standard-input"  # always this name, which is part of a dataset's fingerprint
    with path.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    return msgspec.structs.replace(settings, dataset=str(path))


def problem_source(settings: DatasetSettings, console: Console) -> Callable[[], Iterator[Problem]]:
    """What yields the selected problems, any number of times. Raises what is wrong with the dataset as a whole now."""
    selection = selection_of(settings)
    told: set[str] = set()

    def tell(bad_row: object) -> None:
        if str(bad_row) not in told:
            told.add(str(bad_row))
            console.print(f"skipped: {bad_row}", style="yellow", soft_wrap=True)

    def problems() -> Iterator[Problem]:
        return open_dataset(
            settings.dataset,
            selection=selection,
            special_judges=_path(settings.special_judges),
            on_bad_row=tell if settings.skip_bad_rows else None,
        )

    problems()
    return problems


def source_of(
    settings: RunSettings,
    prompting: Prompting,
    problems: Callable[[], Iterator[Problem]],
    *,
    open_problems: OpenProblems,
    happened: ObjectSendStream[Event],
    opened: AsyncExitStack,
    threads: int,
) -> Source:
    """The engine that `--engine` names, and what goes with it; `threads` are what it may compute with on a CPU.

    Raises `UsageError` for a name that is none.
    """
    name, _, argument = settings.samples.engine.partition(":")
    if name == "replay" and argument:
        spool = opened.enter_context(CompletionSpool(replayed_completions(Path(argument), settings, problems)))
        return _of_file(settings, prompting, spool)
    if name == "replay":
        return _of_reference_solutions(settings, open_problems)
    samples = DEFAULT_SAMPLES if settings.samples.samples is None else settings.samples.samples
    settled_ks(settings.samples.k, samples)
    extract = _extraction(prompting, settings)
    if name == "local" and not argument:
        engine = _local(settings.model, happened, threads)
        return Source(engine, lambda _: range(samples), extract, prepared=engine.prepared)
    if name == "scripted":
        script = read_script(Path(argument)) if argument else Script()
        return Source(ScriptedEngine(script), lambda _: range(samples), extract)
    raise UsageError(
        f"--engine cannot be {settings.samples.engine!r}: it is local, replay, replay:FILE, scripted or scripted:FILE"
    )


def _local(settings: ModelSettings, happened: ObjectSendStream[Event], threads: int) -> LocalEngine:
    return LocalEngine(
        str(DEMO / "model") if settings.model == "demo" else settings.model,
        devices=settings.devices,
        dtype=settings.dtype,
        batch_size=settings.batch_size,
        quantize=settings.quantize,
        reproducible=settings.reproducible,
        threads=threads,
        ignore_generation_config=settings.ignore_generation_config,
        events=happened,
    )


def _of_file(settings: RunSettings, prompting: Prompting, spool: CompletionSpool) -> Source:
    """Replays a file's completions, cut where their author cut them: a program may well hold a stop string."""
    return Source(
        ReplayEngine(spool.lookup, settings.samples.engine),
        lambda problem: spool.sample_indices(problem.problem_id)[: settings.samples.samples],
        _extraction(prompting._replace(stop_strings=()), settings),
        spool,
    )


def _of_reference_solutions(settings: RunSettings, open_problems: OpenProblems) -> Source:
    identity = "replay:reference solutions"
    return Source(
        ReplayEngine(reference_solution(open_problems.__getitem__, identity), identity),
        lambda problem: range(len(solutions_of(problem)))[: settings.samples.samples],
        lambda completion, _: extract_base(completion.text),
    )


def _extraction(prompting: Prompting, settings: RunSettings) -> Callable[[Completion, Problem], Extraction]:
    """How programs are found in the answers to such prompts."""

    def extract(completion: Completion, problem: Problem) -> Extraction:
        if prompting.is_chat:
            return extract_chat(completion.text, entry_point=problem.fn_name, join_blocks=settings.samples.join_blocks)
        return extract_base(completion.text, prompting.stop_strings)

    return extract


def replayed_completions(
    path: Path, settings: RunSettings, problems: Callable[[], Iterator[Problem]]
) -> Iterator[Completion]:
    """The completions of a file or a run. Those that only continue HumanEval's prompts are put behind them."""
    if (path / COMPLETIONS).is_file():
        path /= COMPLETIONS
    named = settings.samples.id_field or settings.samples.text_field
    return read_completions(
        path,
        names=FieldNames(problem_id=settings.samples.id_field, text=settings.samples.text_field) if named else None,
        prompts={problem.problem_id: problem.question for problem in problems() if problem.source == "humaneval"},
    )


def check_ids(
    source: Source, problems: Callable[[], Iterator[Problem]], settings: RunSettings, console: Console
) -> None:
    """Tells where replayed completions and problems do not fit each other; goes on with the rest.

    Raises `UsageError` instead where `--strict-ids` was given.
    """
    if source.spool is None:
        return
    asked = (problem.problem_id for problem in problems())
    held = {name: len(source.spool.sample_indices(name)) for name in sorted(source.spool.problem_ids())}
    gaps = match_ids(held, asked, source.spool.repeated)
    if gaps and settings.samples.strict_ids:
        raise UsageError("; ".join(gaps))
    for gap in gaps:
        console.print(gap, style="yellow", soft_wrap=True)


def _path(name: str | None) -> Path | None:
    return None if name is None else Path(name)
