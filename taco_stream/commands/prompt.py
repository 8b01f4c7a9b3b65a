"""The command `prompt`: one problem's prompt as a run would send it."""

import sys
from contextlib import ExitStack

import msgspec

from taco_stream.engine.libraries import check_libraries
from taco_stream.engine.worker.rendering import render_prompt
from taco_stream.prompting import build_prompting, shown_text
from taco_stream.run.problems import problem_source, with_readable_dataset
from taco_stream.run.settings import RunSettings
from taco_stream.terminal import stderr_console, write_out

DEFAULT_MODEL = RunSettings().model.model
"""The demo model, which has no chat template."""


def print_prompt(problem_id: str, settings: RunSettings) -> None:
    """Prints the prompt of one problem as a run with these settings would send it.

    A conversation is shown with its roles, and if a model is named as that model's tokenizer writes it; the number
    of tokens then goes to standard error.
    """
    console = stderr_console()
    is_rendered = settings.model.model != DEFAULT_MODEL
    if is_rendered:
        check_libraries()
    with ExitStack() as opened:
        wanted = msgspec.structs.replace(with_readable_dataset(settings.dataset, opened), ids=(problem_id,))
        problem = next(problem_source(wanted, console)())
    prompt = build_prompting(settings.prompt).build(problem)
    if is_rendered:
        text, tokens = render_prompt(settings.model.model, prompt)
        console.print(f"{tokens:,} tokens", style="dim")
    else:
        text = shown_text(prompt)
    is_cut_short = sys.stdout.isatty() and not text.endswith("\n")
    write_out(text + ("\n" if is_cut_short else ""))
