"""A session whose hard limits are too low is told so, and no program is blamed for it."""

import subprocess
import sys

import pytest

from taco_stream.evaluator.sandbox.rlimits import SHARED_THREADS

SCRIPT = """
import json, resource, sys
import anyio
from taco_stream.errors import EvaluatorError
from taco_stream.evaluator.pool import Evaluator, EvaluatorSettings
from taco_stream.types import Problem

async def judge():
    tests = json.dumps({"inputs": ["1"], "outputs": ["3"]})
    problem = Problem(problem_id="p", position=0, question="", tests=tests, time_limit_seconds=20)
    settings = EvaluatorSettings(workers=1, memory_limit=int(sys.argv[3]) >> 20, unsafe_no_sandbox=True)
    async with Evaluator(settings) as evaluator:
        verdict = await evaluator.judge(problem, "print(3)")
        print(verdict.status, verdict.detail)

kind, value = getattr(resource, sys.argv[1]), int(sys.argv[2])
resource.setrlimit(kind, (value, value))
try:
    anyio.run(judge)
except EvaluatorError as error:
    print(error)
"""


QUICK_CHILD = """
import os, resource, signal
from taco_stream.evaluator.sandbox.rlimits import limit_test

if os.getuid() == 0:
    os.setuid(65534)
told, lowered = os.pipe()
child = os.fork()
if not child:
    resource.setrlimit(resource.RLIMIT_CPU, (1, 1))
    os.write(lowered, b"!")
    signal.pause()
os.read(told, 1)
limit_test(child, 10)
print(resource.prlimit(child, resource.RLIMIT_CPU))
os.kill(child, 9)
"""


def test_a_test_that_lowers_its_own_limit_first_keeps_it() -> None:
    command = [sys.executable, "-c", QUICK_CHILD]
    assert subprocess.run(command, capture_output=True, text=True, check=True, timeout=550).stdout == "(1, 1)\n"


def room_for_threads(*, before: str = "") -> int:
    """What an ordinary user's test may have of processes and threads, as a process of its own finds it."""
    text = f"""
import os, resource
from taco_stream.evaluator.sandbox.rlimits import max_processes_of_user
if os.getuid() == 0:
    os.setresuid(65534, 65534, 65534)
{before}
limit = resource.getrlimit(resource.RLIMIT_NPROC)
print(max_processes_of_user())
assert resource.getrlimit(resource.RLIMIT_NPROC) == limit
"""
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True, timeout=550)
    return int(done.stdout)


def test_where_the_user_runs_other_things_threads_are_bounded_beyond_those() -> None:
    assert 1024 + SHARED_THREADS < room_for_threads() < 1 << 22


def test_no_more_threads_are_allowed_than_the_session_may_have() -> None:
    assert room_for_threads(before="resource.setrlimit(resource.RLIMIT_NPROC, (1500, 1500))") == 1500


def said_under(limit: str, value: int, memory_bytes: int = 4 << 30) -> str:
    """What judging a right program says in a session with one low hard limit."""
    command = [sys.executable, "-c", SCRIPT, limit, str(value), str(memory_bytes)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=550).stdout


@pytest.mark.parametrize(
    ("limit", "value"), [("RLIMIT_AS", 3 << 30), ("RLIMIT_FSIZE", 30 << 20), ("RLIMIT_NOFILE", 60)]
)
def test_an_evaluator_does_not_start_where_a_hard_limit_is_below_what_every_test_gets(limit: str, value: int) -> None:
    assert said_under(limit, value).startswith("this session's hard limit of ")


def test_a_session_with_little_memory_judges_programs_that_get_less() -> None:
    """Compiling has a limit of its own, which may be above the session's."""
    assert said_under("RLIMIT_AS", 3 << 30, memory_bytes=1 << 30).startswith("passed")


def test_a_problem_that_grants_more_than_the_session_may_is_an_infrastructure_error() -> None:
    assert said_under("RLIMIT_CPU", 30).startswith("infrastructure_error this session's hard limit of CPU time")
