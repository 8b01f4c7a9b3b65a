"""The evaluator from code that is not asynchronous."""

import json

import anyio
import anyio.lowlevel
import pytest

from taco_stream.errors import EvaluatorError
from taco_stream.evaluator.blocking import open_evaluator
from taco_stream.evaluator.pool import EvaluatorSettings
from taco_stream.types import Problem, Status

SETTINGS = EvaluatorSettings(workers=1, unsafe_no_sandbox=True)
DOUBLE = Problem(
    problem_id="double", position=0, question="", tests=json.dumps({"inputs": ["2", "3"], "outputs": ["4", "6"]})
)
RIGHT = "print(2 * int(input()))"


def test_a_batch_is_judged_in_its_order() -> None:
    with open_evaluator(SETTINGS) as evaluator:
        verdicts = evaluator.judge_batch([(DOUBLE, RIGHT), (DOUBLE, "print(4)"), (DOUBLE, "1 / 0")])
    assert [verdict.status for verdict in verdicts] == [Status.PASSED, Status.WRONG_ANSWER, Status.RUNTIME_ERROR]


@pytest.mark.anyio
async def test_it_works_inside_a_running_loop(anyio_backend: object) -> None:
    with open_evaluator(SETTINGS) as evaluator:
        assert evaluator.judge(DOUBLE, RIGHT).status is Status.PASSED
    await anyio.lowlevel.checkpoint()


def test_after_its_context_it_says_that_it_is_closed() -> None:
    with open_evaluator(SETTINGS) as evaluator:
        assert evaluator.settings is SETTINGS
    with pytest.raises(EvaluatorError, match="the evaluator is closed: judge within `with open_evaluator"):
        evaluator.judge(DOUBLE, RIGHT)
    with pytest.raises(EvaluatorError, match="the evaluator is closed"):
        evaluator.judge_batch([(DOUBLE, RIGHT)])
