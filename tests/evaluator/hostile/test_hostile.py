"""No hostile program succeeds: each on every tier this machine has, as this user, and as an ordinary one where this is
root. What one run of the suite left behind, and pairs of programs side by side, are tests of their own.

Programs that run until the clock stops them take nearly all of the time. They run on the strongest tier alone, and on every
one with `TACO_STREAM_HOSTILE=all` in the environment.
"""

import functools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from made_once import made_once
from ordinary_user import NOBODY, as_user

from hostile.program import HostileProgram
from hostile.programs import PROGRAMS
from hostile.side_by_side import PAIRS, Pair
from hostile.suite import Report, programs
from taco_stream.evaluator.sandbox.probe import available_plans
from taco_stream.types import Status

SUITE_SECONDS = 800
"""A run takes a fifteenth of that on an idle machine; beside twenty busy processes it gets a tenth of the cores."""

pytestmark = pytest.mark.timeout(900)  # the first test of a run waits for the whole suite


class Run(NamedTuple):
    """One run of the suite: a tier, the user that runs the evaluator, and whether the programs that wait are left out."""

    tier: str
    user: int
    brief: bool

    def __str__(self) -> str:
        return self.tier + ("-ordinary-user" if self.user != os.getuid() else "")


def runs() -> list[Run]:
    """The runs that this machine and this user allow."""
    tiers = [plan.tier for plan in available_plans() if plan.meets_floor]
    is_brief = os.environ.get("TACO_STREAM_HOSTILE") != "all"
    own = [Run(tier, os.getuid(), is_brief and tier != tiers[0]) for tier in tiers]
    return [*own, *(Run(tier, NOBODY, is_brief) for tier in tiers if os.getuid() == 0)]


RUNS = runs()
if not RUNS:
    pytest.skip("this machine offers no sandbox above the floor", allow_module_level=True)

on_every_run = pytest.mark.parametrize("run", RUNS, ids=str)


@pytest.fixture(scope="session")
def read_report(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Run], Report]:
    """Runs the suite, in a process of its own, or reads what it reported when another test process ran it."""

    @functools.cache
    def read_report(run: Run) -> Report:
        folder = made_once(tmp_path_factory, f"hostile-{run}", lambda folder: judge_all(run, folder / "report.json"))
        return msgspec.json.decode((folder / "report.json").read_bytes(), type=Report)

    return read_report


def judge_all(run: Run, path: Path) -> None:
    with path.open("wb") as report:
        subprocess.run(
            [
                *as_user(run.user),
                *(sys.executable, "-m", "hostile.suite", "brief" if run.brief else "all"),
            ],
            stdout=report,
            timeout=SUITE_SECONDS,
            check=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "TACO_STREAM_SANDBOX": run.tier},
            cwd=Path(__file__).parents[3],
        )


@pytest.mark.parametrize(
    ("run", "program"),
    [(run, program) for run in RUNS for program in programs(brief=run.brief)],
    ids=lambda value: value.name if isinstance(value, HostileProgram) else str(value),
)
def test_a_hostile_program_does_not_succeed(
    run: Run, program: HostileProgram, read_report: Callable[[Run], Report]
) -> None:
    verdict = read_report(run).verdicts[program.name]
    assert verdict.status in program.statuses, f"{verdict.status}: {verdict.detail}\n{verdict.stderr_tail}"


@on_every_run
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_programs_side_by_side_do_not_notice_each_other(
    run: Run, pair: Pair, read_report: Callable[[Run], Report]
) -> None:
    striking, neighbour = read_report(run).pairs[pair.name]
    assert neighbour.status is Status.PASSED, neighbour
    assert striking.status in pair.striking.statuses, striking


@on_every_run
def test_the_suite_ran_on_the_tier_and_as_the_user_it_names(run: Run, read_report: Callable[[Run], Report]) -> None:
    report = read_report(run)
    assert (report.tier, report.user) == (run.tier, run.user)


@on_every_run
def test_the_evaluator_is_well_after_the_suite(run: Run, read_report: Callable[[Run], Report]) -> None:
    assert set(read_report(run).health) == {Status.PASSED}


@on_every_run
def test_no_program_breaks_a_worker_or_a_zygote(run: Run, read_report: Callable[[Run], Report]) -> None:
    statistics = read_report(run).statistics
    assert (statistics.restarts, statistics.infrastructure_errors) == (0, 0)


@on_every_run
def test_no_process_is_left(run: Run, read_report: Callable[[Run], Report]) -> None:
    assert not read_report(run).processes_left


@on_every_run
def test_nothing_outside_has_changed(run: Run, read_report: Callable[[Run], Report]) -> None:
    assert not read_report(run).changes


def test_the_suite_has_at_least_ninety_programs_with_a_name_each() -> None:
    assert len({program.name for program in PROGRAMS}) == len(PROGRAMS)
