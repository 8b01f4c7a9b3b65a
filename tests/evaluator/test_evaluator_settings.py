"""What the evaluator makes of a run's settings."""

from pathlib import Path

from taco_stream.evaluator.protocol import Sweep
from taco_stream.evaluator.settings import checker_of, evaluator_settings
from taco_stream.settings import RunSettings
from taco_stream.types import ComparisonMode, Problem, SpecialJudge


def test_what_was_not_given_stays_the_evaluators_default() -> None:
    untouched, given = evaluator_settings(RunSettings()), evaluator_settings(RunSettings(memory_limit=512))
    assert given.memory_limit_bytes == 512 << 20
    assert untouched.time_limit_factor == given.time_limit_factor


def test_the_mode_that_counts_reaches_the_evaluator() -> None:
    assert evaluator_settings(RunSettings(mode=ComparisonMode.SPJ)).mode is ComparisonMode.SPJ


def test_failing_tests_come_first_only_where_asked() -> None:
    assert evaluator_settings(RunSettings()).sweep is Sweep.FIRST_FAILURE
    assert evaluator_settings(RunSettings(failures_first=True)).sweep is Sweep.FAILURES_FIRST


def test_the_folder_of_checkers_reaches_the_evaluator(tmp_path: Path) -> None:
    problem = Problem(problem_id="p", position=0, question="", tests="", special_judge=SpecialJudge.SEVERAL_ANSWERS)
    (tmp_path / "p.py").write_text("def check(input, output, expected): return True\n")
    assert checker_of(problem, evaluator_settings(RunSettings(checkers_folder=str(tmp_path)))) is not None
