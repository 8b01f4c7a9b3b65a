"""The command `show`: one problem of a run with its samples, or one sample with everything that is known about it."""

from collections.abc import Mapping
from pathlib import Path

import anyio
import msgspec

from taco_stream.commands.stories import RunStories
from taco_stream.errors import StoreError, UsageError
from taco_stream.evaluator.pool import Evaluator
from taco_stream.evaluator.settings import EvaluatorSettings
from taco_stream.report.sample import KnownProblem, SampleStory, tell_rerun
from taco_stream.report.sample_files import DRIVER, sample_files
from taco_stream.report.sample_text import print_problem, print_sample
from taco_stream.terminal import stderr_console, stdout_console, write_json
from taco_stream.types import ComparisonMode, Problem, Verdict


def show_problem(
    path: Path, problem_id: str, *, dataset: str | None, mode: ComparisonMode | None, as_json: bool
) -> None:
    """Prints the problem's question and its samples. Raises `UsageError` if it is unknown to both run and dataset."""
    story = RunStories(path, dataset=dataset, mode=mode).problem(problem_id)
    if as_json:
        write_json(story)
    else:
        print_problem(story, stdout_console())


def show_sample(
    path: Path,
    problem_id: str,
    sample_index: int,
    *,
    dataset: str | None,
    mode: ComparisonMode | None,
    as_json: bool,
    rerun: bool,
    save: Path | None,
) -> None:
    """Prints everything that is known about the sample.

    `rerun` judges its program now, in the sandbox and with the run's settings; `save` names a folder for the files
    that `sample_files` makes. Raises `UsageError` if the run has no such sample, or if its program
    or its tests are missing.
    """
    stories = RunStories(path, dataset=dataset, mode=mode)
    story = stories.sample(problem_id, sample_index)
    known, _ = stories.known(problem_id)
    if rerun:
        story = tell_rerun(story, _judge_again(story, known, stories.settings.evaluator))
    if save is not None:
        _save(story, known, save)
    if as_json:
        write_json(story)
    else:
        print_sample(story, stdout_console())
    if save is not None:
        is_runnable = (save / DRIVER).exists()
        how = f"`cd {save} && python {DRIVER}` runs it without the sandbox" if is_runnable else "without a test"
        stderr_console().print(f"saved in {save}: {how}", soft_wrap=True)


def _judge_again(
    story: SampleStory, known: KnownProblem | None, settings: EvaluatorSettings
) -> Mapping[ComparisonMode, Verdict]:
    if story.program is None:
        raise UsageError("--rerun needs a program, and none was found in this completion")
    if known is None:
        raise UsageError(f"--rerun needs the tests: {'; '.join(story.notes)}")
    # One worker is enough, and a verdict of a cache would answer another question.
    alone = msgspec.structs.replace(settings, workers=1, verdict_cache=None)
    return anyio.run(_judged, known.problem, story.program, alone, backend_options={"use_uvloop": True})


async def _judged(problem: Problem, program: str, settings: EvaluatorSettings) -> Mapping[ComparisonMode, Verdict]:
    async with Evaluator(settings) as evaluator:
        return await evaluator.judge_all_modes(problem, program, use_cache=False)


def _save(story: SampleStory, known: KnownProblem | None, folder: Path) -> None:
    """Writes the program with the test that it fails, or the first one if it fails none.

    A folder with files in it is refused: a program that was saved there may have been changed since.
    """
    if story.program is None:
        raise UsageError("--save needs a program, and none was found in this completion")
    test = known.test(story.failing.index if story.failing else 0) if known else None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UsageError(f"--save {folder}: this folder has files in it, and none is overwritten; name a new one")
        for name, text in sample_files(story.program, test).items():
            (folder / name).write_bytes(text.encode("utf-8"))
    except OSError as error:
        raise StoreError(f"the sample cannot be saved in {folder}: {error.strerror}") from error
