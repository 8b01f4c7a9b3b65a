"""Judging in the test's own process, without a worker: a zygote, the comparer and the judgement between them."""

from collections.abc import Mapping

from taco_stream.evaluator.comparer import Comparer
from taco_stream.evaluator.execution import Zygotes
from taco_stream.evaluator.judging import judge_program, program_forms
from taco_stream.evaluator.problem_tests import parse_tests
from taco_stream.evaluator.protocol import Limits, Sweep, Tests
from taco_stream.types import ComparisonMode, SpecialJudge, Status


def statuses(
    program: str,
    tests: str,
    *,
    zygotes: Zygotes,
    comparer: Comparer,
    limits: Limits,
    special_judge: SpecialJudge = SpecialJudge.NONE,
) -> Mapping[ComparisonMode, Status]:
    """The status of a program under every mode; `tests` are the JSON text of a problem's."""
    problem = parse_tests(Tests(key=1, problem_id="p", tests=tests, limits=limits, special_judge=special_judge))
    with zygotes.program(program_forms(program, problem), limits) as running:
        verdicts = judge_program(
            program, problem, running, comparer.accepting_modes, sweep=Sweep.FIRST_FAILURE, tier=""
        )
    return {mode: verdict.status for mode, verdict in verdicts.items()}
