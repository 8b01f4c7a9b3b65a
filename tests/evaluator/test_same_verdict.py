"""A verdict depends on the program and its tests alone: not on load, luck, or what was judged before."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import pytest

from taco_stream.evaluator.pool import Evaluator, EvaluatorSettings
from taco_stream.types import Problem, Status

pytestmark = pytest.mark.anyio

LIMIT_SECONDS = 1.0
PROBLEM = Problem(
    problem_id="p",
    position=0,
    question="",
    tests=json.dumps({"inputs": ["1", "2"], "outputs": ["1", "2"]}),
    time_limit_seconds=LIMIT_SECONDS,
)
BUSY = "import time\nwhile time.process_time() < {seconds}: pass\nprint(input())"
LUCK = "print(input() if {expression} else 'bad luck')"


def hash_without_luck(text: str) -> int:
    """What `hash` gives where Python's hash seed is 0."""
    command = [sys.executable, "-c", f"print(hash({text!r}))"]
    return int(subprocess.check_output(command, env={"PYTHONHASHSEED": "0"}))


@pytest.fixture
async def evaluator(anyio_backend: object) -> AsyncIterator[Evaluator]:
    async with Evaluator(EvaluatorSettings(workers=1, time_limit_factor=1.0, unsafe_no_sandbox=True)) as opened:
        yield opened


@pytest.fixture
def all_cores_busy() -> Iterator[None]:
    """Three spinning processes for every core, so that a program's clock runs several times faster than its CPU time."""
    with ExitStack() as running:
        for _ in range(3 * len(os.sched_getaffinity(0))):
            process = running.enter_context(subprocess.Popen([sys.executable, "-I", "-S", "-c", "while True: pass"]))
            running.callback(process.kill)
        yield


@pytest.mark.parametrize(("seconds", "status"), [(0.6, Status.PASSED), (1.4, Status.TIME_LIMIT)])
async def test_load_changes_no_verdict(
    evaluator: Evaluator, all_cores_busy: None, seconds: float, status: Status
) -> None:
    """Each test takes more time on the clock than its CPU limit, and only CPU time counts."""
    assert (await evaluator.judge(PROBLEM, BUSY.format(seconds=seconds))).status is status


@pytest.mark.parametrize(
    "expression",
    [
        "random.random() == 0.8444218515250481",
        f"hash('x') == {hash_without_luck('x')}",
        "np.random.rand() == 0.5488135039273248",
    ],
)
async def test_the_same_program_has_the_same_verdict_every_time(evaluator: Evaluator, expression: str) -> None:
    """A hundred programs that differ in a comment, so that none is answered from memory."""
    programs = [f"{LUCK.format(expression=expression)}\n# {number}" for number in range(100)]
    verdicts = await evaluator.judge_batch([(PROBLEM, program) for program in programs])
    assert {verdict.status for verdict in verdicts} == {Status.PASSED}


async def test_large_tests_arrive_whole(evaluator: Evaluator) -> None:
    """Over the size from which tests travel in a memory file."""
    text = "é" * 500_000
    problem = Problem(
        problem_id="large", position=0, question="", tests=json.dumps({"inputs": [text], "outputs": [text]})
    )
    assert (await evaluator.judge(problem, "print(input())")).status is Status.PASSED
    assert (await evaluator.judge(problem, "print(input()[1:])")).status is Status.WRONG_ANSWER


async def test_an_output_far_larger_than_expected_is_not_parsed(evaluator: Evaluator) -> None:
    verdict = await evaluator.judge(PROBLEM, "import sys\nsys.stdout.write('ab ' * 3_000_000)")
    assert verdict.status is Status.OUTPUT_LIMIT
