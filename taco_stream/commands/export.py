"""The command `export`: a run in another tool's format."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from taco_stream.commands.report import count_records, read_run
from taco_stream.formats import export, find_format
from taco_stream.metrics import DEFAULT_KS, settled_ks
from taco_stream.prompting import build_prompting
from taco_stream.run.problems import problem_source, with_readable_dataset
from taco_stream.terminal import stderr_console
from taco_stream.types import ComparisonMode, Prompt, TextPrompt


def export_run(
    path: Path, target: Path, name: str, *, mode: ComparisonMode | None, ks: tuple[int, ...]
) -> tuple[Path, ...]:
    """Writes the run at `path` into `target` in the format of that name; the files written.

    Raises `UsageError` if there is no such format, or a `k` asked for is over the samples of a problem. A dataset that
    came on standard input has to come there again.
    """
    kind = find_format(name)
    files, settings = read_run(path, mode, ks)
    if ks:
        counts = count_records(files).problems[settings.evaluator.mode].values()
        settled_ks(ks, min((count.scored for count in counts), default=0))
    prompting = build_prompting(settings.prompt)
    with ExitStack() as opened:
        problems = problem_source(with_readable_dataset(settings.dataset, opened), stderr_console())

        def prompts() -> Iterator[tuple[str, str]]:
            for problem in problems():
                yield problem.problem_id, prompt_text(prompting.build(problem))

        return export(
            files, kind, target, prompts=prompts, mode=settings.evaluator.mode, ks=settings.samples.k or DEFAULT_KS
        )


def prompt_text(prompt: Prompt) -> str:
    """A prompt as the one text that `generations.json` has room for."""
    if isinstance(prompt, TextPrompt):
        return prompt.text
    return "\n\n".join(message.content for message in prompt.messages)
