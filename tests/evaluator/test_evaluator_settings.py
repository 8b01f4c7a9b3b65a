"""What the evaluator makes of its settings."""

from pathlib import Path

from taco_stream.evaluator.protocol import Sweep
from taco_stream.evaluator.settings import EvaluatorSettings, limits_per_test, read_checker
from taco_stream.types import Problem, SpecialJudge

PROBLEM = Problem(problem_id="p", position=0, question="", tests="", special_judge=SpecialJudge.SEVERAL_ANSWERS)


def test_a_test_gets_the_memory_that_is_set_or_what_its_problem_states_if_that_is_more() -> None:
    settings = EvaluatorSettings(memory_limit=512)
    generous = Problem(problem_id="q", position=0, question="", tests="", memory_limit_bytes=1 << 30)
    assert limits_per_test(PROBLEM, settings).memory_bytes == 512 << 20
    assert limits_per_test(generous, settings).memory_bytes == 1 << 30


def test_failing_tests_come_first_only_where_asked() -> None:
    assert EvaluatorSettings().sweep is Sweep.FIRST_FAILURE
    assert EvaluatorSettings(failures_first=True).sweep is Sweep.FAILURES_FIRST
    assert EvaluatorSettings(failures_first=True, full_results=True).sweep is Sweep.FULL


def test_the_checker_of_a_problem_is_read_from_the_folder(tmp_path: Path) -> None:
    (tmp_path / "p.py").write_text("def check(input, output, expected): return True\n")
    assert read_checker(PROBLEM, EvaluatorSettings(checkers_folder=str(tmp_path))) is not None
    assert read_checker(PROBLEM, EvaluatorSettings()) is None
