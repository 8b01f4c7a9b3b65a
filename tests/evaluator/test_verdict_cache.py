"""What the cache keeps, and what it must never keep."""

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from taco_stream.errors import UsageError
from taco_stream.evaluator.judge_spec import judge_spec
from taco_stream.evaluator.protocol import Sweep
from taco_stream.evaluator.settings import EvaluatorSettings
from taco_stream.evaluator.verdict_cache import VerdictCache, cache_key
from taco_stream.types import ComparisonMode, Problem, SpecialJudge, Status, Verdict

SETTINGS = EvaluatorSettings(time_limit_seconds=1.0)
PROBLEM = Problem(problem_id="p", position=0, question="", tests='{"inputs": [""], "outputs": [""]}')


def verdicts(status: Status = Status.PASSED) -> dict[ComparisonMode, Verdict]:
    return dict.fromkeys(ComparisonMode, Verdict(status=status, tests_run=3))


def key(
    problem: Problem = PROBLEM,
    program: str = "x",
    sweep: Sweep = Sweep.FULL,
    tier: str = "t",
    settings: EvaluatorSettings = SETTINGS,
) -> bytes:
    return cache_key(judge_spec(problem, settings), program, sweep=sweep, tier=tier)


def test_what_is_kept_is_found() -> None:
    with closing(VerdictCache()) as cache:
        assert cache.find(key()) is None
        cache.keep(key(), verdicts())
        assert cache.find(key()) == verdicts()


def test_the_file_outlives_the_run(tmp_path: Path) -> None:
    with closing(VerdictCache(tmp_path)) as cache:
        cache.keep(key(), verdicts())
    with closing(VerdictCache(tmp_path)) as cache:
        assert cache.find(key()) == verdicts()


@pytest.mark.parametrize("status", [Status.TIME_LIMIT, Status.MEMORY_LIMIT, Status.SANDBOX_VIOLATION])
def test_what_depends_on_the_machine_is_kept_for_this_run_alone(tmp_path: Path, status: Status) -> None:
    uncertain = verdicts() | {ComparisonMode.OFFICIAL: Verdict(status=status)}
    with closing(VerdictCache(tmp_path)) as cache:
        cache.keep(key(), uncertain)
        assert cache.find(key()) == uncertain
    with closing(VerdictCache(tmp_path)) as cache:
        assert cache.find(key()) is None


def test_the_evaluators_own_failure_is_never_kept() -> None:
    with closing(VerdictCache()) as cache:
        cache.keep(key(), verdicts(Status.INFRASTRUCTURE_ERROR))
        assert cache.find(key()) is None


def test_a_file_that_can_no_longer_be_written_is_done_without(tmp_path: Path) -> None:
    with closing(VerdictCache(tmp_path)) as cache, closing(sqlite3.connect(tmp_path / "verdicts.sqlite")) as other:
        other.execute("begin exclusive")
        cache.keep(key(), verdicts())
        assert "locked" in cache.trouble
        assert cache.find(key()) == verdicts()
        cache.keep(key(program="y"), verdicts())


def test_a_row_of_another_form_is_done_without(tmp_path: Path) -> None:
    with closing(VerdictCache(tmp_path)) as cache:
        cache.keep(key(), verdicts())
    with closing(sqlite3.connect(tmp_path / "verdicts.sqlite")) as database, database:
        database.execute("update verdicts set verdicts = x'81a16101'")
    with closing(VerdictCache(tmp_path)) as cache:
        assert cache.find(key()) is None
        assert cache.trouble


def test_the_key_tells_apart_whatever_changes_a_verdict(tmp_path: Path) -> None:
    (tmp_path / "p.py").write_text("def check(*_): return True")
    several = msgspec.structs.replace(PROBLEM, special_judge=SpecialJudge.SEVERAL_ANSWERS)
    keys = [
        key(),
        key(program="y"),
        key(sweep=Sweep.FIRST_FAILURE),
        key(settings=msgspec.structs.replace(SETTINGS, time_limit_seconds=2.0)),
        key(msgspec.structs.replace(PROBLEM, time_limit_seconds=2.5)),
        key(msgspec.structs.replace(PROBLEM, tests='{"inputs": ["1"], "outputs": [""]}')),
        key(msgspec.structs.replace(PROBLEM, special_judge=SpecialJudge.LETTER_CASE)),
        key(several),
        key(several, settings=msgspec.structs.replace(SETTINGS, checkers_folder=str(tmp_path))),
        key(tier="other"),
    ]
    assert len(set(keys)) == len(keys)


def test_the_same_program_of_another_problem_with_the_same_tests_is_the_same() -> None:
    assert key() == key(msgspec.structs.replace(PROBLEM, problem_id="q"))


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="file"):
        VerdictCache(tmp_path / "file")
