"""A run that is on disk, looked at again: its summary and its exports, also while it is still running."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec

from taco_stream.datasets.statistics import dataset_statistics, statistics_text
from taco_stream.engine.rendering import rendered_by
from taco_stream.formats import ExportFormat, export
from taco_stream.metrics import DEFAULT_KS, Tally, settled_ks
from taco_stream.prompting import build_prompting
from taco_stream.report.html import write_html
from taco_stream.report.summary import Summary, summarise
from taco_stream.report.text import print_report
from taco_stream.run.settings import SETTINGS, RunSettings
from taco_stream.sources import problem_source, with_readable_dataset
from taco_stream.store.run import RunFiles
from taco_stream.terminal import stderr_console, stdout_console, write_out
from taco_stream.types import ComparisonMode, Prompt, TextPrompt

NO_MODEL = RunSettings().model.model
"""What stands for no model named: the embedded one, which knows no conversation."""


def tally_of(files: RunFiles) -> Tally:
    """Counts everything that has been judged."""
    tally = Tally()
    for record in files.records():
        tally.add(record)
    return tally


def sum_up(tally: Tally, files: RunFiles, settings: RunSettings) -> Summary:
    """The summary of everything in the run directory."""
    most = max((count.scored for count in tally.problems[settings.evaluator.mode].values()), default=0)
    ks = tuple(k for k in settled_ks(settings.samples.k, max(most, *settings.samples.k, 1)) if k <= most)
    return summarise(tally, files.events(), mode=settings.evaluator.mode, ks=ks)


def print_summary(
    path: Path, *, mode: ComparisonMode | None, ks: tuple[int, ...], as_json: bool, html: Path | None
) -> None:
    """Prints the summary of the run at `path` to standard output; `mode` and `ks` default to the run's own.

    Where `html` names a file, the report is written there as well.
    """
    files, settings = _read_run(path, mode, ks)
    tally = tally_of(files)
    summary = sum_up(tally, files, settings)
    if html is not None:
        write_html(files, summary, tally, html)
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(summary), indent=2).decode() + "\n")
    else:
        print_report(summary, stdout_console())


def export_run(
    path: Path, target: Path, kind: ExportFormat, *, mode: ComparisonMode | None, ks: tuple[int, ...]
) -> tuple[Path, ...]:
    """Writes the run at `path` into `target` in the format asked for; the files written.

    Raises `UsageError` where a `k` asked for is over the samples of a problem. A dataset that came on standard input
    has to come there again.
    """
    files, settings = _read_run(path, mode, ks)
    if ks:
        settled_ks(ks, _fewest_samples(tally_of(files), settings.evaluator.mode))
    prompting = build_prompting(settings.prompt)
    with ExitStack() as opened:
        problems = problem_source(with_readable_dataset(settings.dataset, opened), stderr_console())

        def prompts() -> Iterator[tuple[str, str]]:
            for problem in problems():
                yield problem.problem_id, prompt_text(prompting.build(problem))

        return export(
            files, kind, target, prompts=prompts, mode=settings.evaluator.mode, ks=settings.samples.k or DEFAULT_KS
        )


def _fewest_samples(tally: Tally, mode: ComparisonMode) -> int:
    return min((count.scored for count in tally.problems[mode].values()), default=0)


def print_prompt(problem_id: str, settings: RunSettings) -> None:
    """Prints the prompt of one problem as a run with these settings would send it.

    A conversation is shown with its roles, and where a model is named as that model's tokenizer writes it; the number
    of tokens then goes to standard error.
    """
    console = stderr_console()
    with ExitStack() as opened:
        wanted = msgspec.structs.replace(with_readable_dataset(settings.dataset, opened), ids=(problem_id,))
        problem = next(problem_source(wanted, console)())
    prompt = build_prompting(settings.prompt).build(problem)
    if settings.model.model == NO_MODEL:
        text = shown_text(prompt)
    else:
        text, tokens = rendered_by(settings.model.model, prompt)
        console.print(f"{tokens:,} tokens", style="dim")
    is_cut_short = sys.stdout.isatty() and not text.endswith("\n")
    write_out(text + ("\n" if is_cut_short else ""))


def print_dataset(settings: RunSettings) -> None:
    """Prints what the selected problems are: counts, sizes and a sample."""
    with ExitStack() as opened:
        problems = problem_source(with_readable_dataset(settings.dataset, opened), stderr_console())()
        write_out(statistics_text(dataset_statistics(problems)) + "\n")


def prompt_text(prompt: Prompt) -> str:
    """A prompt as the one text that `generations.json` has room for."""
    if isinstance(prompt, TextPrompt):
        return prompt.text
    return "\n\n".join(message.content for message in prompt.messages)


def shown_text(prompt: Prompt) -> str:
    """A prompt as a person reads it: a conversation with the role before each turn."""
    if isinstance(prompt, TextPrompt):
        return prompt.text
    return "\n\n".join(f"[{message.role}]\n{message.content}" for message in prompt.messages)


def _read_run(path: Path, mode: ComparisonMode | None, ks: tuple[int, ...]) -> tuple[RunFiles, RunSettings]:
    files = RunFiles(path)
    chosen = {name: value for name, value in (("mode", mode), ("k", ks)) if value}
    written = {name: value for name, value in files.manifest.settings.items() if name in SETTINGS}
    return files, RunSettings.resolve({**written, **chosen}, environ={})
