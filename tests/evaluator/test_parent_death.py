"""A parent that is killed leaves no process behind, also in the middle of a program that would run for long."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PARENT = """
import anyio
from taco_stream.evaluator.pool import Evaluator, EvaluatorSettings
from taco_stream.types import Problem

SLEEPER = 'import time\\nprint("started", flush=True)\\ntime.sleep(1000)'
PROBLEM = Problem(problem_id="p", position=0, question="", tests='{"inputs": [""], "outputs": [""]}')


async def main():
    async with Evaluator(EvaluatorSettings(workers=1, unsafe_no_sandbox=True)) as evaluator:
        print("ready", flush=True)
        await evaluator.judge(PROBLEM, SLEEPER)


anyio.run(main)
"""


def descendants(pid: int) -> set[int]:
    """Every process below this one."""
    below = {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}
    return below.union(*map(descendants, below))


def wait_until_more(pid: int, count: int) -> set[int]:
    """The descendants, as soon as there are more than `count`."""
    deadline = time.monotonic() + 200
    while len(found := descendants(pid)) <= count:
        assert time.monotonic() < deadline, found
        time.sleep(0.01)
    return found


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="/proc tells who is whose child")
def test_killing_the_parent_ends_a_program_in_the_middle() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        below = wait_until_more(parent.pid, len(descendants(parent.pid)))  # the program's process has started
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 200
    while any(Path(f"/proc/{pid}").exists() for pid in below):
        assert time.monotonic() < deadline, "a process has outlived the run"
        time.sleep(0.05)
