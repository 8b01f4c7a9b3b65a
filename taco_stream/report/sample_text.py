"""One sample's story, and one problem's, as text: for a terminal of any width, the same without colour in a pipe.

Programs, inputs and answers are shown line by line behind a bar, so that nothing in them can be taken for the report;
long ones are cut, and a line says by how much.
"""

from collections.abc import Iterator

from rich import box
from rich.cells import chop_cells
from rich.console import Console
from rich.table import Table
from rich.text import Text

from taco_stream.evaluator.protocol import Limits
from taco_stream.evaluator.readable_test import TestKind
from taco_stream.report.sample import FailingTest, ProblemStory, Rerun, SampleStory
from taco_stream.terminal import printable
from taco_stream.types import ComparisonMode, ExtractionMethod, Status, Verdict

QUESTION_LINES, TEST_LINES, CUT_LINES = 24, 16, 12
LINE_CHARACTERS = 400
"""A line that is longer is cut: inputs of a hundred thousand numbers are one line."""


def print_problem(story: ProblemStory, console: Console) -> None:
    """Prints the question's head, the limits and a table of the samples."""
    console.print(_heading(story.problem_id, ", ".join([story.difficulty, *story.skills, story.source])))
    for note in story.notes:
        console.print(note, style="yellow", soft_wrap=True)
    if story.question is not None:
        console.print()
        _print_lines(story.question.strip(), console, QUESTION_LINES)
        console.print()
        calls = f"calls of {story.fn_name}" if story.fn_name else "standard input"
        console.print(f"tests: {'unknown' if story.tests is None else f'{story.tests:,}'}, {calls}", soft_wrap=True)
        if story.limits is not None:
            console.print(f"limits of a test: {_limits(story.limits)}", soft_wrap=True)
    console.print()
    if story.samples:
        console.print(_samples(story, console.width))


def print_sample(story: SampleStory, console: Console) -> None:
    """Prints the story in the order in which it happened; the verdict, which a person looks for, is at the end."""
    status = story.verdict.status if story.verdict else "not judged"
    console.print(_heading(f"{story.problem_id}, sample {story.sample_index}", status))
    console.print(", ".join(_figures(story)), style="dim", soft_wrap=True)
    for note in story.notes:
        console.print(note, style="yellow", soft_wrap=True)
    if story.prompt is not None:
        _section("prompt", f"{story.prompt_tokens:,} tokens" if story.prompt_tokens else "", console)
        _print_lines(story.prompt, console, QUESTION_LINES)
    _print_answer(story, console)
    if story.failing is not None:
        _print_failing_test(story.failing, story.verdict, console)
    elif story.verdict is not None and story.verdict.detail:
        _section("reason", "", console)
        _print_lines(story.verdict.detail, console, TEST_LINES)
    if story.limits is not None:
        _section("limits of a test", _limits(story.limits), console)
    if story.verdicts:
        _section("verdicts", "", console)
        console.print(_verdicts(story))
    if story.rerun is not None:
        _print_rerun(story.rerun, story, console)


def _figures(story: SampleStory) -> Iterator[str]:
    if story.difficulty != "UNKNOWN":
        yield story.difficulty
    if story.completion_tokens:
        yield f"{story.completion_tokens:,} tokens"
    yield f"finish reason {story.finish_reason}"
    if story.seed is not None and not story.engine.startswith("replay"):
        yield f"seed {story.seed}"
    if story.generate_seconds:
        yield f"generated in {story.generate_seconds:.2f} s"
    if story.judge_seconds:
        yield f"judged in {story.judge_seconds:.2f} s"
    if story.engine:
        yield story.engine


def _print_answer(story: SampleStory, console: Console) -> None:
    """The completion in its parts: the program, and the text that was cut away before and after it."""
    if story.error:
        _section("error", "", console)
        _print_lines(story.error, console, TEST_LINES)
    if story.program is None:
        if story.completion is not None:
            about = "" if story.verdict is None else "no program was found in it"
            _section("completion", about, console)
            _print_lines(story.completion, console, QUESTION_LINES)
        return
    if story.reasoning_characters:
        _section("reasoning", f"{story.reasoning_characters:,} characters, never run; --json has them", console)
    if story.cut_before:
        _section("cut away before the program", f"{len(story.cut_before):,} characters", console)
        _print_lines(story.cut_before, console, CUT_LINES)
    is_whole = story.extraction is ExtractionMethod.WHOLE_TEXT and not story.cut_after
    _section("program", "the whole completion" if is_whole else story.extraction, console)
    _print_lines(story.program, console, None, numbered=True)
    if story.cut_after:
        _section("cut away after the program", f"{len(story.cut_after):,} characters", console)
        _print_lines(story.cut_after, console, CUT_LINES)


def _print_failing_test(failing: FailingTest, verdict: Verdict | None, console: Console) -> None:
    total = f"of {verdict.tests_total:,}, counted from 0" if verdict and verdict.tests_total else ""
    _section(f"failing test {failing.index}", total, console)
    if failing.test is not None:
        name = {TestKind.STANDARD_INPUT: "input", TestKind.CALL: "call", TestKind.CODE: "code"}[failing.test.kind]
        console.print(f"{name}:")
        _print_lines(failing.test.given, console, TEST_LINES)
        if failing.test.expected is not None:
            console.print("expected:")
            _print_lines(failing.test.expected, console, TEST_LINES)
    if failing.actual_head:
        console.print(f"actual{' (its first 500 bytes)' if len(failing.actual_head.encode()) >= 500 else ''}:")
        _print_lines(failing.actual_head, console, TEST_LINES)
    if failing.difference:
        is_answer = verdict is not None and verdict.status in (Status.WRONG_ANSWER, Status.NO_CHECKER)
        console.print(f"{'first difference' if is_answer else 'reason'}: {failing.difference}", soft_wrap=True)
    if failing.stderr_tail.strip():
        console.print("stderr:")
        _print_lines(failing.stderr_tail, console, TEST_LINES, from_end=True)


def _print_rerun(rerun: Rerun, story: SampleStory, console: Console) -> None:
    _section("judged again", "the same verdicts" if rerun.is_same else "another verdict", console)
    for mode, verdict in rerun.verdicts.items():
        before = story.verdicts.get(mode)
        if before is None or _outcome(before) != _outcome(verdict):
            was = _outcome(before) if before else "nothing"
            console.print(f"{mode}: {_outcome(verdict)}, where the run has {was}", soft_wrap=True)
    fresh = rerun.verdicts[story.mode]
    if fresh.output_head and fresh.output_head != (story.verdict.output_head if story.verdict else ""):
        console.print("actual:")
        _print_lines(fresh.output_head, console, TEST_LINES)
        console.print(f"first difference: {fresh.detail}", soft_wrap=True)


def _outcome(verdict: Verdict) -> str:
    return f"{verdict.status}{'' if verdict.failed_test is None else f' at test {verdict.failed_test}'}"


def _verdicts(story: SampleStory) -> Table:
    table = _table("mode", "status", "test", "run", "CPU", "memory")
    for mode in ComparisonMode:
        if verdict := story.verdicts.get(mode):
            table.add_row(
                f"{mode} (scored)" if mode is story.mode else str(mode),
                str(verdict.status),
                "" if verdict.failed_test is None else str(verdict.failed_test),
                f"{verdict.tests_run} of {verdict.tests_total}",
                f"{verdict.peak_cpu_seconds:.2f} s",
                f"{verdict.peak_memory_bytes / (1 << 20):,.0f} MiB",
                style="bold" if mode is story.mode else None,
            )
    return table


def _samples(story: ProblemStory, width: int) -> Table:
    """The samples as a table; the reason, in the last column, is cut to the width that is left."""
    heads = ("sample", f"status ({story.mode})", "tokens", "test")
    rows = [
        (
            str(row.sample_index),
            str(row.status or "not judged"),
            f"{row.completion_tokens:,}",
            "" if row.failed_test is None else str(row.failed_test),
        )
        for row in story.samples
    ]
    table = _table(*heads)
    others = sum(max(map(len, column)) + 3 for column in zip(heads, *rows, strict=True))
    table.add_column("reason", no_wrap=True, overflow="ellipsis", width=max(12, width - others))
    for row, cells in zip(story.samples, rows, strict=True):
        # A Text: rich would take brackets in a string for its own markup.
        table.add_row(*cells, Text(row.detail.split("\n")[0]))
    return table


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number < 2 else "right", no_wrap=True)
    return table


def _limits(limits: Limits) -> str:
    memory, output = (f"{size / (1 << 20):,.0f} MiB" for size in (limits.memory_bytes, limits.output_bytes))
    return f"{limits.cpu_seconds:g} s of CPU time, {limits.wall_seconds:g} s idle, {memory}, {output} of output"


def _heading(name: str, about: str) -> Text:
    return Text.assemble((name, "bold"), f"  {about.strip(', ')}")


def _section(title: str, about: str, console: Console) -> None:
    console.print()
    console.print(Text.assemble((title, "bold cyan"), f"  {about}" if about else ""), soft_wrap=True)


def _print_lines(
    text: str, console: Console, most: int | None, *, numbered: bool = False, from_end: bool = False
) -> None:
    """The lines of a text behind a bar: at most so many, the first ones or the last."""
    lines = text.removesuffix("\n").split("\n")
    left = 0 if most is None else max(0, len(lines) - most)
    if left and from_end:
        _say_left(left, "above", console)
    shown = lines[left:] if from_end else lines[: len(lines) - left]
    for number, line in enumerate(shown, start=1):
        mark = f"{number:4} │ " if numbered else "  │ "
        rest = len(line) - LINE_CHARACTERS
        cut = line if rest <= 0 else f"{line[:LINE_CHARACTERS]}… and {rest:,} more characters"
        for part in _fold(cut, console, len(mark)):
            console.print(Text.assemble((mark, "dim"), part), soft_wrap=True)
            mark = "│ ".rjust(len(mark))
    if left and not from_end:
        _say_left(left, "more", console)


def _fold(line: str, console: Console, indent: int) -> list[str]:
    """The line in parts that fit beside its mark: a terminal would continue a long one below the mark."""
    if not console.is_terminal:
        return [line]
    return chop_cells(printable(line).expandtabs(), max(20, console.width - indent)) or [""]


def _say_left(lines: int, where: str, console: Console) -> None:
    console.print(f"  … {lines:,} lines {where}", style="dim", soft_wrap=True)
