"""The summary as text: tables for a terminal, the same without colour in a pipe."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from taco_stream.metrics import FEWEST_PROBLEMS, Estimate
from taco_stream.report.summary import NAMES_SHOWN, Coverage, Summary, Throughput

NOTABLE_TAIL = 0.05
"""Share of the time of generating from which on its tail is reported."""

NOTABLE_SECONDS = 0.1
"""Shorter times are not worth a person's while."""

LONG_PROMPTS_SHOWN = 3
"""With a model of a short context every prompt is long."""


def print_report(summary: Summary, console: Console) -> None:
    """Prints scores, splits, statuses, gaps and speed, in that order; of a run without a verdict the last two."""
    if summary.coverage.samples:
        splits = (("difficulty", summary.by_difficulty), ("skill", summary.by_skill))
        shown = [_split(title, split) for title, split in splits if len(split) > 1]
        for table in (_scores(summary), *shown, _counts("status", summary.statuses)):
            console.print(table)
            console.print()
    for line in (
        *_in_words("extraction", summary.extractions),
        *_in_words("finish reason", summary.finish_reasons),
        *notes_on(summary),
        *describe_speed(summary.throughput),
    ):
        console.print(line, soft_wrap=True, markup=False)


def print_head(summary: Summary, console: Console) -> None:
    """Prints the scores and the gaps; of a run without a verdict only the gaps."""
    if summary.coverage.samples:
        console.print(_scores(summary))
        console.print()
    for line in notes_on_samples(summary.coverage):
        console.print(line, soft_wrap=True)


def notes_on(summary: Summary) -> list[str]:
    """Caveats about the samples behind the scores, a sentence each."""
    return [
        *notes_on_samples(summary.coverage),
        *_notes_on_ks(summary),
        *_notes_on_few_problems(summary),
        *notes_on_prompts(summary.coverage),
        *_notes_on_events(summary),
    ]


def notes_on_samples(coverage: Coverage) -> list[str]:
    """The samples missing from a run, or counted twice in it."""
    notes = []
    if coverage.samples_expected and coverage.samples < coverage.samples_expected:
        notes.append(f"not complete: {coverage.samples:,} of {coverage.samples_expected:,} samples are judged")
    if coverage.incomplete_problems:
        names = ", ".join(coverage.incomplete_names)
        notes.append(f"{coverage.incomplete_problems} problems have fewer samples than the others: {names}")
    if coverage.duplicated_samples:
        notes.append(f"{coverage.duplicated_samples} duplicate samples; the first of each counts")
    if coverage.unscored_samples:
        names = ", ".join(coverage.unscored_names)
        notes.append(f"{coverage.unscored_samples} samples were not scored (evaluator errors, no checker): {names}")
    if coverage.fenced_programs:
        notes.append(
            f"{coverage.fenced_programs} programs that do not compile hold Markdown fences: "
            "--prompt chat finds the program in such answers"
        )
    return notes


def _notes_on_ks(summary: Summary) -> list[str]:
    """The scores that rest on fewer problems than the table says."""
    most = count_problems(summary.pass_at_k)
    return [
        f"pass@{k} is of the {estimate.problems} problems with at least {k} scored samples, of {most}"
        for k, estimate in summary.pass_at_k.items()
        if estimate.problems < most
    ]


def _notes_on_few_problems(summary: Summary) -> list[str]:
    """The scores that rest on too few problems for an interval to mean much."""
    problems = count_problems(summary.pass_at_k)
    if 0 < problems < FEWEST_PROBLEMS:
        return [f"the score is of only {problems} problems: an interval means little below {FEWEST_PROBLEMS}"]
    few = [
        f"{name} ({count_problems(estimates)})"
        for split in (summary.by_difficulty, summary.by_skill)
        for name, estimates in split.items()
        if count_problems(estimates) < FEWEST_PROBLEMS
    ]
    more = f" and {len(few) - NAMES_SHOWN} others" if len(few) > NAMES_SHOWN else ""
    names = ", ".join(few[:NAMES_SHOWN])
    return [f"fewer than {FEWEST_PROBLEMS} problems, too few for a reliable score: {names}{more}"] if few else []


def notes_on_prompts(coverage: Coverage) -> list[str]:
    """How many problems had less room for an answer than was asked for, and those with the least."""
    long = coverage.long_prompts
    if not long:
        return []
    tightest = sorted(long, key=lambda each: each.new_tokens_left)[:LONG_PROMPTS_SHOWN]
    names = ", ".join(
        f"{each.problem_id} (prompt {each.prompt_tokens:,}, left {each.new_tokens_left:,})" for each in tightest
    )
    more = f" and {len(long) - len(tightest):,} more" if len(long) > len(tightest) else ""
    contexts = " and ".join(f"{length:,}" for length in sorted({each.context_length for each in long}))
    refused = sum(each.new_tokens_left == 0 for each in long)
    parts = [
        f"{len(long)} problems have prompts that leave fewer new tokens than were asked for in a context of {contexts}"
    ]
    parts += [f"{refused} of them none, which were not generated"] if refused else []
    return [f"{', '.join(parts)}: {names}{more}"]


def _notes_on_events(summary: Summary) -> list[str]:
    """What befell the generation workers, and which events could not be taken into account."""
    notes = [*summary.dropped_devices]
    if summary.worker_restarts:
        notes.append(f"generation workers that died or hung and were replaced: {summary.worker_restarts:,}")
    if summary.unknown_events:
        kinds = ", ".join(f"{kind} ({count:,})" for kind, count in summary.unknown_events.items())
        notes.append(f"events of kinds unknown to this version were left out: {kinds}")
    if summary.damaged_events:
        lines = ", ".join(map(str, summary.damaged_events))
        notes.append(f"events.jsonl is damaged (line {lines}): times and speeds are incomplete, scores are not")
    return notes


def describe_speed(throughput: Throughput) -> list[str]:
    """How long the run took, and for how long its stages overlapped, as one sentence; empty if no time is known."""
    if not throughput.wall_seconds:
        return []
    parts = _generation_speed(throughput)
    parts.append(f"generating {throughput.generating_seconds:.1f} s, judging {throughput.judging_seconds:.1f} s")
    parts.append(f"overlapping {throughput.overlapped_seconds:.1f} s")
    if throughput.peak_memory_bytes:
        parts.append(f"peak memory {throughput.peak_memory_bytes / 2**20:,.0f} MiB")
    divisions = [f"cores: {'; '.join(throughput.core_divisions)}"] if throughput.core_divisions else []
    return ["; ".join(parts), *_where_time_went(throughput), *_tail(throughput), *divisions]


def describe_generation_speed(throughput: Throughput) -> list[str]:
    """The same of a run that only generated."""
    return ["; ".join(_generation_speed(throughput)), *_tail(throughput)] if throughput.wall_seconds else []


def _where_time_went(throughput: Throughput) -> list[str]:
    """The critical path, of which parts the wall time is made, and what either stage waited for."""
    overlap = throughput.overlap
    if overlap is None:
        return []
    path = (
        f"critical path: start-up {overlap.startup_seconds:.1f} s, then generating alone "
        f"{overlap.generating_alone_seconds:.1f} s, both {overlap.both_seconds:.1f} s, judging alone "
        f"{overlap.judging_alone_seconds:.1f} s, neither {overlap.neither_seconds:.1f} s; bound by {overlap.bound_by}, "
        f"overlap efficiency {100 * overlap.efficiency:.1f} %"
    )
    firsts = (("token", throughput.first_token_seconds), ("verdict", throughput.first_verdict_seconds))
    waits = [f"first {name} after {seconds:.1f} s" for name, seconds in firsts if seconds is not None]
    waits.append(
        f"idle between samples: generating {overlap.generating_idle_seconds:.1f} s, "
        f"judging {overlap.judging_idle_seconds:.1f} s"
    )
    if overlap.held_back_seconds >= NOTABLE_SECONDS:
        waits.append(f"completions held back by judging {overlap.held_back_seconds:.1f} s")
    return [path, "; ".join(waits)]


def _tail(throughput: Throughput) -> list[str]:
    """The end of generating, if it took a notable part of it: how empty the batch was, and for which sample."""
    tail, generating = throughput.tail, throughput.generating_seconds
    if tail is None or tail.seconds < max(NOTABLE_SECONDS, NOTABLE_TAIL * generating):
        return []
    sentence = (
        f"tail: no sample was left to begin in the last {tail.seconds:.1f} s of generating "
        f"({100 * tail.seconds / generating:.0f} %), {tail.mean_rows:.1f} were decoding on average, the last of them "
        f"sample {tail.sample_index} of {tail.problem_id} ({tail.completion_tokens:,} tokens)"
    )
    return [sentence]


def _generation_speed(throughput: Throughput) -> list[str]:
    parts = [f"{timedelta(seconds=round(throughput.wall_seconds))} in total"]
    if throughput.reused:
        parts.append(f"{throughput.reused:,} of {throughput.completions:,} samples reused from another run")
    if throughput.completion_tokens and throughput.generating_seconds:
        parts.append(f"{throughput.tokens_per_second:,.0f} tokens/s while generating")
    if throughput.occupancy is not None:
        parts.append(f"occupancy {100 * throughput.occupancy:.0f} %")
    return parts


def percent(estimate: Estimate | None, problems: int) -> str:
    """A score for a table whose row is of so many problems; one that is of fewer says of how many."""
    if estimate is None:
        return "–"
    own = "" if estimate.problems == problems else f" of {estimate.problems}"
    return f"{100 * estimate.value:.1f} %{own}"


def interval(estimate: Estimate) -> str:
    """The limits of a score's 95 % interval, in percent."""
    return f"{100 * estimate.low:.1f}–{100 * estimate.high:.1f}"


def count_problems(estimates: Mapping[int, Estimate]) -> int:
    """The number of problems behind scores: those behind the k that most have samples for."""
    return max((estimate.problems for estimate in estimates.values()), default=0)


def make_table(*columns: str) -> Table:
    """A table of figures, whose rows have names in the first column."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    return table


def _scores(summary: Summary) -> Table:
    table = make_table("mode", *(f"pass@{k}" for k in summary.pass_at_k), "problems")
    problems = count_problems(summary.pass_at_k)
    # Below each other if they do not fit side by side into 80 columns.
    between = "\n" if len(summary.pass_at_k) > 2 else " "
    with_interval = (f"{percent(each, problems)}{between}({interval(each)})" for each in summary.pass_at_k.values())
    table.add_row(f"{summary.mode} (scored)", *with_interval, str(problems), style="bold")
    for mode, estimates in summary.other_modes.items():
        _add_scores(table, Text(mode), estimates, list(summary.pass_at_k))
    return table


def _split(title: str, split: Mapping[str, Mapping[int, Estimate]]) -> Table:
    ks = sorted({k for estimates in split.values() for k in estimates})
    table = make_table(title, *(f"pass@{k}" for k in ks), "problems")
    for name, estimates in split.items():
        _add_scores(table, Text(name), estimates, ks)
    return table


def _add_scores(table: Table, name: Text, estimates: Mapping[int, Estimate], ks: Sequence[int]) -> None:
    problems = count_problems(estimates)
    table.add_row(name, *(percent(estimates.get(k), problems) for k in ks), str(problems))


def _counts(title: str, counts: Mapping[str, int]) -> Table:
    table = make_table(title, "samples", "share")
    total = sum(counts.values())
    for name, count in counts.items():
        table.add_row(name, f"{count:,}", f"{100 * count / total:.1f} %")
    return table


def _in_words(title: str, counts: Mapping[str, int]) -> list[str]:
    return [f"{title}: " + ", ".join(f"{name} {count:,}" for name, count in counts.items())] if counts else []
