"""The evaluator in a trio program: what `test_pool` says of asyncio holds there too."""

import json
import os
import signal
from pathlib import Path

import anyio
import pytest

from taco_stream.evaluator.pool import Evaluator, EvaluatorSettings
from taco_stream.types import Problem, Status

pytestmark = pytest.mark.anyio

SETTINGS = EvaluatorSettings(workers=1, unsafe_no_sandbox=True)
DOUBLE = Problem(
    problem_id="double", position=0, question="", tests=json.dumps({"inputs": ["2", "3"], "outputs": ["4", "6"]})
)
RIGHT = "print(2 * int(input()))"


@pytest.fixture
def anyio_backend() -> str:
    return "trio"


def workers_of_this_process() -> list[int]:
    """The process numbers of the evaluator's workers, which trio starts from threads."""
    threads = Path("/proc/self/task").iterdir()
    return [int(number) for thread in threads for number in (thread / "children").read_text().split()]


async def test_programs_are_judged() -> None:
    async with Evaluator(SETTINGS) as evaluator:
        verdicts = await evaluator.judge_batch([(DOUBLE, RIGHT), (DOUBLE, "print(4)")])
    assert [verdict.status for verdict in verdicts] == [Status.PASSED, Status.WRONG_ANSWER]


async def test_a_cancelled_judgement_leaves_an_evaluator_that_judges() -> None:
    async with Evaluator(SETTINGS) as evaluator:
        with anyio.move_on_after(0.5) as scope:
            await evaluator.judge(DOUBLE, "import time; time.sleep(100)")
        assert scope.cancelled_caught
        assert (await evaluator.judge(DOUBLE, RIGHT)).status is Status.PASSED


async def test_a_killed_worker_is_replaced() -> None:
    async with Evaluator(SETTINGS) as evaluator:
        for worker in workers_of_this_process():
            os.kill(worker, signal.SIGKILL)
        assert (await evaluator.judge(DOUBLE, RIGHT)).status is Status.PASSED
    assert evaluator.statistics().restarts == 1


async def test_no_process_is_left() -> None:
    before = workers_of_this_process()
    async with Evaluator(SETTINGS):
        assert len(workers_of_this_process()) == len(before) + 1
    assert workers_of_this_process() == before
