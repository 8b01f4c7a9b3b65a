"""Several runs against the first of them: the output of `taco-stream compare`, computed once, as values and as text.

Runs have letters: A is the baseline, B and the others are candidates.
"""

import string
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from taco_stream.metrics import FEWEST_PROBLEMS, Tally
from taco_stream.report.run_comparison import (
    ProblemChange,
    RunComparison,
    ScoreDifference,
    adjust_p_values,
    compare,
)
from taco_stream.report.summary import NAMES_SHOWN, Coverage
from taco_stream.report.text import make_table, notes_on_samples
from taco_stream.types import ComparisonMode

LETTERS = string.ascii_uppercase
"""The names of runs, and so how many can be compared at once."""

LONGEST_VALUE = 40
"""Characters of a setting's value that are printed."""


class ComparedRun(msgspec.Struct, frozen=True, kw_only=True):
    """One of the runs: its letter, where it is, the mode that its own report scores by, and what it covers.

    `infrastructure_errors` are samples that the evaluator failed to judge; the same command judges them again.
    """

    letter: str
    path: str
    scored_by: ComparisonMode
    coverage: Coverage
    infrastructure_errors: int = 0

    def why_incomplete(self) -> str | None:
        """The samples of its newest start that the run lacks, in words; None if nothing is known to be missing."""
        if self.coverage.samples < (self.coverage.samples_expected or 0):
            return f"{self.coverage.samples:,} of {self.coverage.samples_expected:,} samples are judged"
        if self.infrastructure_errors:
            return f"the evaluator failed to judge {self.infrastructure_errors:,} samples"
        return None


class SettingDifference(msgspec.Struct, frozen=True, kw_only=True):
    """A setting, or a fact about the machine, in which the runs differ: a value for each, None if it has none.

    `component` is the part that it configures: `model`, `dataset`, `samples`, `sampling`, `prompt`, `evaluator`,
    `versions` or `machine`.
    """

    component: str
    name: str
    values: tuple[Any, ...]


class ComparedRuns(msgspec.Struct, frozen=True, kw_only=True):
    """The whole comparison. `comparisons` has one for each run but the first, in the order of `runs`.

    `p_values` are those of the sign tests, corrected for their number by `adjust_p_values`. `notes` are caveats, a
    sentence each: gaps in a run, and problems that were not compared alike.
    """

    mode: ComparisonMode
    ks: tuple[int, ...]
    difficulties: tuple[str, ...]
    runs: tuple[ComparedRun, ...]
    comparisons: tuple[RunComparison, ...]
    p_values: tuple[float, ...]
    setting_differences: tuple[SettingDifference, ...]
    notes: tuple[str, ...] = ()


def compare_runs(
    runs: Sequence[ComparedRun],
    tallies: Sequence[Tally],
    setting_differences: Sequence[SettingDifference],
    *,
    mode: ComparisonMode,
    ks: Sequence[int],
    difficulties: Sequence[str] = (),
) -> ComparedRuns:
    """Compares each run with the first, over the problems of the given difficulties if there are any."""
    counts = [
        {
            name: count
            for name, count in tally.problems[mode].items()
            if not difficulties or count.difficulty in difficulties
        }
        for tally in tallies
    ]
    comparisons = tuple(compare(counts[0], other, ks) for other in counts[1:])
    compared = ComparedRuns(
        mode=mode,
        ks=tuple(ks),
        difficulties=tuple(difficulties),
        runs=tuple(runs),
        comparisons=comparisons,
        p_values=tuple(adjust_p_values([each.sign_test.p_value for each in comparisons])),
        setting_differences=tuple(setting_differences),
    )
    return msgspec.structs.replace(compared, notes=tuple(_notes(compared)))


def find_shortfalls(compared: ComparedRuns, delta: float) -> list[str]:
    """Why the candidates do not pass as good enough, a sentence each; none if they do.

    A candidate must be complete, and for every k its pass@k less the baseline's at least `delta` percentage points.
    """
    shortfalls = []
    for run, comparison in zip(compared.runs[1:], compared.comparisons, strict=True):
        if (reason := run.why_incomplete()) is not None:
            shortfalls.append(f"{run.path} is not complete: {reason}")
        for k, difference in comparison.pass_at_k.items():
            # In whole steps of 1e-9 points: a difference of exactly -2 must not fail for its last binary digit.
            if round(100 * difference.value - delta, 9) < 0:
                shortfalls.append(
                    f"pass@{k} of {run.path} is {100 * difference.candidate:.1f} %, {points(difference.value)} points "
                    f"from the {100 * difference.baseline:.1f} % of {compared.runs[0].path} over "
                    f"{difference.problems} problems: --fail-under {delta:g} asks for {delta:+g} or more"
                )
    return shortfalls


def points(share: float) -> str:
    """A difference of shares in percentage points, with its sign."""
    return f"{round(100 * share, 1) + 0.0:+.1f}".replace("-", "−") if round(share, 3) else "0.0"


def print_comparison(compared: ComparedRuns, console: Console) -> None:
    """Prints the runs, the differences, the problems that moved, and the settings in which the runs differ."""
    _print_runs(compared, console)
    for table in _difference_tables(compared):
        console.print(table)
        console.print()
    for lines in (_moves(compared), _differing_settings(compared), compared.notes):
        for line in lines:
            console.print(line, soft_wrap=not console.is_terminal)
        if lines:
            console.print()


def _print_runs(compared: ComparedRuns, console: Console) -> None:
    for run in compared.runs:
        coverage = run.coverage
        console.print(
            f"{run.letter}  {run.path}  ({coverage.samples:,} samples of {coverage.problems:,} problems)",
            soft_wrap=True,
        )
    console.print()


def _difference_tables(compared: ComparedRuns) -> Iterator[Table]:
    """One candidate: a row for each k, then for each difficulty. Several: for each k a row per candidate."""
    if len(compared.comparisons) == 1:
        (comparison,) = compared.comparisons
        yield _difference_table(
            f"by {compared.mode}", {f"pass@{k}": each for k, each in comparison.pass_at_k.items()}, "B"
        )
        if len(comparison.by_difficulty) > 1:
            for k in compared.ks:
                rows = {name: split[k] for name, split in comparison.by_difficulty.items() if k in split}
                yield _difference_table(f"difficulty (pass@{k})", rows, "B")
        return
    for k in compared.ks:
        rows = {
            run.letter: comparison.pass_at_k[k]
            for run, comparison in zip(compared.runs[1:], compared.comparisons, strict=True)
            if k in comparison.pass_at_k
        }
        yield _difference_table(f"pass@{k} by {compared.mode}", rows, "other")
    yield _sign_test_table(compared)


def _difference_table(title: str, rows: Mapping[str, ScoreDifference], other: str) -> Table:
    table = make_table(title, "A", other, f"{other} − A (95 % interval)", "problems")
    for name, each in rows.items():
        table.add_row(
            name,
            f"{100 * each.baseline:.1f} %",
            f"{100 * each.candidate:.1f} %",
            f"{points(each.value)} ({points(each.low)} to {points(each.high)})",
            str(each.problems),
        )
    return table


def _sign_test_table(compared: ComparedRuns) -> Table:
    table = make_table("sign test", "better than A", "worse", "equal", "p", f"p of {len(compared.comparisons)} tests")
    for run, comparison, adjusted in zip(compared.runs[1:], compared.comparisons, compared.p_values, strict=True):
        test = comparison.sign_test
        table.add_row(run.letter, str(test.better), str(test.worse), str(test.equal), _p(test.p_value), _p(adjusted))
    return table


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else f"{value:.0e}"


def _moves(compared: ComparedRuns) -> list[str]:
    """Which problems moved, for each candidate."""
    lines = []
    for run, comparison in zip(compared.runs[1:], compared.comparisons, strict=True):
        test, other = comparison.sign_test, run.letter
        if len(compared.comparisons) == 1:
            name = "McNemar's exact test" if test.is_mcnemar else "sign test over problems"
            lines.append(
                f"{other} is better on {test.better} problems, worse on {test.worse} and equal on {test.equal}: "
                f"p = {_p(test.p_value)} ({name}, two-sided)"
            )
        lines += _named_changes(f"solved by {other} alone", comparison.gained)
        lines += _named_changes(f"solved by A alone, not by {other}", comparison.lost)
        flipped = {each.problem_id for each in (*comparison.gained, *comparison.lost)}
        others = [each for each in comparison.changes if each.problem_id not in flipped]
        lines += _named_changes(f"solved by both, other share of samples in {other}", others)
        lines += _named(f"only in A, not in {other}", comparison.only_in_baseline)
        lines += _named(f"only in {other}, not in A", comparison.only_in_candidate)
    return lines


def _named_changes(title: str, changes: Sequence[ProblemChange]) -> list[str]:
    """How many, and the first ten with their passed samples in A and in the candidate."""
    return _named(
        title,
        [
            f"{each.problem_id} {each.baseline.passed}/{each.baseline.scored}"
            f" → {each.candidate.passed}/{each.candidate.scored}"
            for each in changes
        ],
    )


def _named(title: str, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - NAMES_SHOWN:,} more" if len(names) > NAMES_SHOWN else ""
    count = "1 problem" if len(names) == 1 else f"{len(names):,} problems"
    return [f"{title} ({count}): {', '.join(names[:NAMES_SHOWN])}{more}"]


def _differing_settings(compared: ComparedRuns) -> list[str]:
    """The settings that differ, a line for each component."""
    components: dict[str, list[str]] = {}
    for each in compared.setting_differences:
        values = [_shown(value) for value in each.values]
        if len(values) == 2:
            words = " → ".join(values)
        else:
            words = ", ".join(f"{run.letter} {value}" for run, value in zip(compared.runs, values, strict=True))
        components.setdefault(each.component, []).append(f"{each.name} {words}")
    return [f"{component} differs: {'; '.join(words)}" for component, words in components.items()]


def _shown(value: Any) -> str:
    if value is None or value == []:
        return "–"
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"


def _notes(compared: ComparedRuns) -> list[str]:
    """Caveats: gaps in each run, and problems that were not compared alike."""
    notes = [f"{run.letter}: {note}" for run in compared.runs for note in notes_on_samples(run.coverage)]
    if len({run.scored_by for run in compared.runs}) > 1:
        modes = ", ".join(f"{run.letter} by {run.scored_by}" for run in compared.runs)
        notes.append(f"the runs' own reports score by other modes ({modes}); here all are scored by {compared.mode}")
    named = {(each.component, each.name) for each in compared.setting_differences}
    if ("dataset", "content") in named:
        notes.append("the datasets differ in content: problems are paired by id, and may not be the same")
    if "evaluator" in {component for component, _ in named}:
        notes.append("the programs were not judged under the same rules: a difference may come from the evaluator")
    for run, comparison in zip(compared.runs[1:], compared.comparisons, strict=True):
        test = comparison.sign_test
        paired = test.better + test.worse + test.equal
        for k, difference in comparison.pass_at_k.items():
            if difference.problems < paired:
                notes.append(
                    f"{run.letter}: pass@{k} is of the {difference.problems} problems with at least {k} scored samples "
                    f"in both runs, of {paired}"
                )
        if paired < FEWEST_PROBLEMS:
            notes.append(
                f"{run.letter}: only {paired} problems are compared: an interval means little below {FEWEST_PROBLEMS}"
            )
    return notes
