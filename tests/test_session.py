"""What a session makes of its settings."""

from pathlib import Path

import pytest

from taco_stream.evaluator.protocol import Sweep
from taco_stream.evaluator.settings import checker_of
from taco_stream.session import default_name, evaluator_settings
from taco_stream.settings import RunSettings
from taco_stream.types import ComparisonMode, Problem, SpecialJudge


def test_the_same_command_finds_its_own_run_again() -> None:
    assert default_name(RunSettings()) == default_name(RunSettings(workers=3, samples=99, batch_size=4))


@pytest.mark.parametrize("changed", [{"temperature": 0.9}, {"seed": 1}, {"model": "other"}, {"limit": 3}])
def test_a_run_with_other_results_has_another_name(changed: dict[str, object]) -> None:
    assert default_name(RunSettings()) != default_name(RunSettings(**changed))  # type: ignore[arg-type]


@pytest.mark.parametrize("model", ["./models/x", "/abs/model", "org/name", "a:b"])
def test_a_run_is_named_by_one_folder(model: str) -> None:
    assert "/" not in default_name(RunSettings(model=model))


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
