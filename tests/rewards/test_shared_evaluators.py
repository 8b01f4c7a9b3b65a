"""The evaluators that a process shares among its reward functions: how many, and what becomes of them."""

import json
import multiprocessing
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rewards.evaluator_workers import workers_of_this_process

from taco_stream.errors import EvaluatorError
from taco_stream.evaluator.blocking import open_evaluator
from taco_stream.evaluator.settings import EvaluatorSettings
from taco_stream.rewards.shared_evaluators import close_evaluators, find_evaluator
from taco_stream.rewards.trl import TrlReward
from taco_stream.types import Problem

SETTINGS = EvaluatorSettings(workers=1, unsafe_no_sandbox=True)
DOUBLE = Problem(problem_id="double", position=0, question="", tests=json.dumps({"inputs": ["2"], "outputs": ["4"]}))
ANSWERS = ["```python\nprint(2 * int(input()))\n```", "```python\nprint(5)\n```"]
REWARD = TrlReward([DOUBLE], evaluator=SETTINGS)


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    close_evaluators()


def rewards() -> list[float | None]:
    return REWARD(ANSWERS, problem_id=["double"] * 2)


def test_functions_with_equal_settings_share_one() -> None:
    first = find_evaluator(SETTINGS)
    assert find_evaluator(EvaluatorSettings(workers=1, unsafe_no_sandbox=True)) is first
    assert find_evaluator(EvaluatorSettings(workers=1, unsafe_no_sandbox=True, full_results=True)) is not first


def test_closing_ends_the_processes_and_the_next_call_opens_anew() -> None:
    assert rewards() == [1.0, 0.0]
    before = find_evaluator(SETTINGS)
    close_evaluators()
    assert workers_of_this_process() == set()
    assert rewards() == [1.0, 0.0]
    assert find_evaluator(SETTINGS) is not before


def test_a_reward_function_can_be_pickled() -> None:
    assert pickle.loads(pickle.dumps(REWARD))(ANSWERS, problem_id=["double"] * 2) == [1.0, 0.0]


# Python 3.12 warns of a fork beside threads, which is what is tested.
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_process_that_is_started_in_mid_use_has_its_own(method: str) -> None:
    assert rewards() == [1.0, 0.0]
    context = multiprocessing.get_context(method)
    with context.Pool(1) as pool:
        assert pool.apply_async(rewards).get(300) == [1.0, 0.0]
        pool.close()
        pool.join()
    assert rewards() == [1.0, 0.0]


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_forked_process_that_ends_leaves_its_parents_workers_alone() -> None:
    rewards()
    before = workers_of_this_process()
    process = multiprocessing.get_context("fork").Process(target=rewards)
    process.start()
    process.join(300)
    assert process.exitcode == 0
    assert workers_of_this_process() == before


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_an_evaluator_that_was_opened_before_a_fork_says_so_instead_of_hanging() -> None:
    def judge() -> None:
        with pytest.raises(EvaluatorError, match="opened before this process was forked"):
            opened.judge(DOUBLE, "print(4)")

    with open_evaluator(SETTINGS) as opened:
        process = multiprocessing.get_context("fork").Process(target=judge)
        process.start()
        process.join(300)
        assert process.exitcode == 0


PROGRAM = """
import json, multiprocessing, os, pathlib, sys
from taco_stream import EvaluatorSettings, Problem, TrlReward
# Large enough to be sent by a thread that is not a daemon, for which the interpreter waits before `atexit`.
tests = json.dumps({"inputs": ["2"], "outputs": ["4"], "padding": "x" * 400_000})
reward = TrlReward(
    [Problem(problem_id="double", position=0, question="", tests=tests)],
    evaluator=EvaluatorSettings(workers=1, unsafe_no_sandbox=True),
)

def work():
    assert reward(["print(2 * int(input()))"], problem_id=["double"]) == [1.0]
    for path in pathlib.Path(f"/proc/{os.getpid()}/task").glob("*/children"):
        print(path.read_text(), end=" ", flush=True)

if __name__ == "__main__":
    if sys.argv[1] == "main":
        work()
    else:
        process = multiprocessing.get_context(sys.argv[1]).Process(target=work)
        process.start()
        process.join()
        assert process.exitcode == 0
"""


@pytest.mark.parametrize("where", ["main", "fork", "spawn"])
def test_a_program_that_closes_nothing_ends_and_leaves_nothing(tmp_path: Path, where: str) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, "-W", "error", str(tmp_path / "program.py"), where]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    workers = [int(each) for each in done.stdout.split()]
    assert workers
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline, "a process has outlived the program"
        time.sleep(0.05)
