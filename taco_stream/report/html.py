"""The report as one HTML file: no script, style, font or image from elsewhere, so it can be mailed and archived.

The template beside this file lays out; what it shows is computed here, in `summary` and in `timeline`. Everything that
comes from a run is escaped.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from taco_stream.metrics import Estimate, ProblemCount, Tally, pass_at_k
from taco_stream.report.summary import Summary
from taco_stream.report.text import count_problems, describe_speed, notes_on
from taco_stream.report.timeline import draw_lanes, sample_moments
from taco_stream.store.atomic import write_atomically
from taco_stream.store.manifest import Manifest
from taco_stream.store.run_directory import RunFiles

TEMPLATE = Path(__file__).with_name("report.html.jinja")


class ScoreRow(NamedTuple):
    """A line of a table of scores: one estimate for each k, None if there is none."""

    name: str
    estimates: list[Estimate | None]
    problems: int


class Share(NamedTuple):
    """One part of a whole: a status and its samples, or a stage and the seconds it was busy."""

    name: str
    amount: float
    percent: float


class ProblemRow(NamedTuple):
    """One problem: its counts, and pass@k for each k it has samples for."""

    problem_id: str
    counted: ProblemCount
    scores: list[float | None]


def write_html(run: RunFiles, summary: Summary, tally: Tally, path: Path) -> None:
    """Writes the report of a run. Raises `StoreError` if it cannot be written."""
    write_atomically(path, render(run, summary, tally).encode("utf-8"))


def render(run: RunFiles, summary: Summary, tally: Tally) -> str:
    """The report as one page."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    moments = sample_moments(run.events())
    ks = list(summary.pass_at_k)
    modes = {f"{summary.mode} (scored)": summary.pass_at_k}
    modes.update({str(mode): estimates for mode, estimates in summary.other_modes.items()})
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        title=run_title(run.manifest),
        run=run,
        created=datetime.fromtimestamp(run.manifest.created_at, UTC).strftime("%Y-%m-%d %H:%M UTC"),
        summary=summary,
        ks=ks,
        splits={
            "Comparison mode": _score_rows(modes, ks),
            "Difficulty": _score_rows(summary.by_difficulty, ks),
            "Skill": _score_rows(summary.by_skill, ks),
        },
        shares={
            "Status": _shares(summary.statuses),
            "Program found by": _shares(summary.extractions),
            "Finish reason": _shares(summary.finish_reasons),
        },
        notes=notes_on(summary),
        speed=describe_speed(summary.throughput),
        stages=_stages(summary),
        lanes=draw_lanes(moments),
        duration=str(timedelta(seconds=round(moments[-1].seconds))) if moments else "",
        problems=_problem_rows(tally.problems[summary.mode], ks),
    )


def run_title(manifest: Manifest) -> str:
    """The model and the dataset."""
    settings = {name: str(value) for name, value in manifest.settings.items()}
    engine = settings.get("engine", "local")
    made_by = settings.get("model", engine) if engine == "local" else engine
    return f"{made_by} on {settings.get('dataset', 'unknown problems')}"


def _score_rows(split: Mapping[str, Mapping[int, Estimate]], ks: Sequence[int]) -> list[ScoreRow]:
    return [
        ScoreRow(name, [estimates.get(k) for k in ks], count_problems(estimates)) for name, estimates in split.items()
    ]


def _shares(counts: Mapping[str, int]) -> list[Share]:
    total = sum(counts.values())
    return [Share(name, count, 100 * count / total) for name, count in counts.items()]


def _stages(summary: Summary) -> list[Share]:
    """How long each stage was busy, of the whole run; nothing if no time is known."""
    throughput = summary.throughput
    whole = throughput.wall_seconds
    busy = {
        "generating": throughput.generating_seconds,
        "judging": throughput.judging_seconds,
        "overlapping": throughput.overlapped_seconds,
    }
    return [Share(name, seconds, min(100.0, 100 * seconds / whole)) for name, seconds in busy.items() if whole]


def _problem_rows(counts: Mapping[str, ProblemCount], ks: Sequence[int]) -> list[ProblemRow]:
    return [
        ProblemRow(
            problem_id,
            counted,
            [pass_at_k(counted.scored, counted.passed, k) if counted.scored >= k else None for k in ks],
        )
        for problem_id, counted in sorted(counts.items(), key=lambda item: _by_number(item[0]))
    ]


def _by_number(name: str) -> list[tuple[int, str]]:
    """Sorts `p2` before `p10`: runs of digits by their value, what is between them as text."""
    return [(int(part) if part.isdecimal() else -1, part) for part in re.split(r"([0-9]+)", name)]
