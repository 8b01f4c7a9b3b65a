"""An audit's findings as text: the problems concerned, a count of each finding, each mode's refusals."""

from collections import Counter
from collections.abc import Collection

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from taco_stream.audit.findings import Finding, Rate, Rates, sum_rates
from taco_stream.audit.ledger import Audited
from taco_stream.types import ComparisonMode

SOURCES_SHOWN = 10
"""Sources with a row of their own: those with the most solutions scored."""


def print_audit(audited: Collection[Audited], mode: ComparisonMode, console: Console) -> None:
    """Prints every problem that is not ok, in the order of the findings, then the counts and the rates."""
    order = list(Finding)
    concerned = [each for each in audited if each.finding is not Finding.OK]
    for each in sorted(concerned, key=lambda each: (order.index(each.finding), each.problem_id)):
        line = f"{each.finding}  {each.problem_id}  {' '.join(each.detail.split())}"
        console.print(line.rstrip(), soft_wrap=True, markup=False)
    if concerned:
        console.print()
    for table in (_counts(audited), _rates(audited, mode), *_by_source(audited)):
        console.print(table)
        console.print()
    if unjudged := sum(each.infrastructure_errors for each in audited):
        console.print(f"the evaluator failed on {unjudged:,} solutions, which are not counted", soft_wrap=True)


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    return table


def _counts(audited: Collection[Audited]) -> Table:
    table = _table("finding", "problems", "share", "left out by --exclude")
    found = Counter(each.finding for each in audited)
    left_out = Counter(each.finding for each in audited if each.exclude)
    for finding in Finding:
        if count := found[finding]:
            table.add_row(finding, f"{count:,}", f"{100 * count / len(audited):.1f} %", f"{left_out[finding]:,}")
    table.add_row("all", f"{len(audited):,}", "", f"{left_out.total():,}", style="bold")
    return table


def _rates(audited: Collection[Audited], mode: ComparisonMode) -> Table:
    table = _table("mode", "solutions refused", "solutions scored", "false-negative rate")
    for each, rate in sum_rates(found.rates for found in audited).items():
        name, style = (f"{each} (scored)", "bold") if each is mode else (str(each), "")
        table.add_row(name, f"{rate.refused:,}", f"{rate.scored:,}", _percent(rate), style=style)
    return table


def _by_source(audited: Collection[Audited]) -> list[Table]:
    sources: dict[str, list[Rates]] = {}
    for each in audited:
        if each.judged:
            sources.setdefault(each.source, []).append(each.rates)
    if len(sources) < 2:
        return []
    totals = [(source, sum_rates(rates)) for source, rates in sources.items()]
    totals.sort(key=lambda pair: -pair[1][ComparisonMode.STRICT].scored)
    table = _table("false-negative rate by source", *ComparisonMode, "solutions")
    for source, rates in totals[:SOURCES_SHOWN]:
        most = max(rate.scored for rate in rates.values())
        table.add_row(Text(source or "–"), *(_percent(rates[mode]) for mode in ComparisonMode), f"{most:,}")
    if len(totals) > SOURCES_SHOWN:
        table.add_row(f"… and {len(totals) - SOURCES_SHOWN} more", "", "", "", "")
    return [table]


def _percent(rate: Rate) -> str:
    return "–" if rate.share is None else f"{100 * rate.share:.1f} %"
