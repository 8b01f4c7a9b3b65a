"""Load decides nothing: a program that needs most of its CPU limit passes on a machine whose cores are all taken.

Each of the busy processes has a session of its own, as different people's work has. The kernel shares the cores out
among sessions first, so only these take the time from a program that the evaluator's own session would have.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from taco_stream.evaluator.idle_clock import is_counted
from taco_stream.evaluator.pool import Evaluator, EvaluatorSettings
from taco_stream.types import Problem, Status

BUSY_PER_CORE = 8
SETTINGS = EvaluatorSettings(workers=1, time_limit_factor=1.0, wall_multiple=0.5, unsafe_no_sandbox=True)
CLOCK_SECONDS = 2.0
"""The limit on the clock that these settings make of a second of CPU, and thus the least that load must take."""

PROBLEM = Problem(
    problem_id="p",
    position=0,
    question="",
    tests=json.dumps({"inputs": ["1"], "outputs": ["1"]}),
    time_limit_seconds=1.0,
)
CALLS = "for n in range(10_000): assert f(n) == n"  # 0.3 s of CPU, 0.7 where others use the core's caches
ASSERTED = Problem(
    problem_id="a",
    position=0,
    question="",
    tests=json.dumps(
        {
            "fn_name": "check_number",
            "inputs": [[0]],
            "outputs": [[True]],
            "assertions": {"entry_point": "f", "statements": [CALLS]},
        }
    ),
    time_limit_seconds=1.0,
)
SLOW = "import time\nwhile time.process_time() < 0.75: pass\nprint(input())"


@contextmanager
def cores_taken() -> Iterator[None]:
    """So many that a program gets about a tenth of a core."""
    with ExitStack() as running:
        for _ in range(BUSY_PER_CORE * len(os.sched_getaffinity(0))):
            busy = [sys.executable, "-I", "-S", "-c", "while True: pass"]
            running.callback(running.enter_context(subprocess.Popen(busy, start_new_session=True)).kill)
        yield


@pytest.mark.anyio
@pytest.mark.skipif(not is_counted(), reason="this kernel does not count how long a process waits to run")
async def test_a_program_that_is_kept_from_running_is_not_a_slow_one() -> None:
    async with Evaluator(SETTINGS) as evaluator:
        with cores_taken():
            verdict = await evaluator.judge(PROBLEM, SLOW)
            assert verdict.status is Status.PASSED, verdict
            assert verdict.wall_seconds > CLOCK_SECONDS, "the load was too low to show anything"
            # Asserting and asserted process take turns, so each is idle while the other is kept from running.
            for number in range(8):  # the kernel lets processes that take short turns pass, but not for long
                asserted = await evaluator.judge(ASSERTED, f"def f(a): return a  # {number}")
                assert asserted.status is Status.PASSED, asserted
                if asserted.wall_seconds > 2 * CLOCK_SECONDS:  # half of it each process waits for the other
                    break
            else:
                pytest.fail("the load was too low to show anything")
            sleeper = await evaluator.judge(PROBLEM, "import time; time.sleep(1000)")
            assert sleeper.status is Status.TIME_LIMIT
