"""From a problem and an answer to a reward."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from taco_stream.errors import UsageError
from taco_stream.evaluator.blocking import open_evaluator
from taco_stream.evaluator.settings import EvaluatorSettings
from taco_stream.rewards import program_reward
from taco_stream.rewards.program_reward import ProgramReward, parse_tests, read_answer
from taco_stream.types import Problem, Status, Verdict

SQUARES = Problem(
    problem_id="squares/1",
    position=0,
    question="",
    tests=json.dumps({"inputs": ["1", "2", "3", "4"], "outputs": ["1", "4", "9", "16"]}),
)


@pytest.mark.parametrize("share_of_tests", [False, True])
@pytest.mark.parametrize("status", [each for each in Status if not each.is_scored])
def test_a_verdict_that_says_nothing_of_the_program_is_no_reward(status: Status, share_of_tests: bool) -> None:
    assert ProgramReward([SQUARES], share_of_tests=share_of_tests).worth(Verdict(status=status)) is None


def test_the_share_of_tests_is_that_of_those_passed() -> None:
    statuses = (Status.PASSED, Status.WRONG_ANSWER, Status.TIME_LIMIT, Status.PASSED)
    verdict = Verdict(status=Status.WRONG_ANSWER, test_statuses=statuses)
    assert ProgramReward([SQUARES], share_of_tests=True).worth(verdict) == 0.5
    assert ProgramReward([SQUARES]).worth(verdict) == 0.0
    assert ProgramReward([SQUARES], share_of_tests=True).worth(Verdict(status=Status.COMPILE_ERROR)) == 0.0


def test_a_share_of_tests_needs_an_open_evaluator_that_runs_them_all() -> None:
    with (
        open_evaluator(EvaluatorSettings(workers=1)) as evaluator,
        pytest.raises(UsageError, match="full_results=True"),
    ):
        ProgramReward([SQUARES], share_of_tests=True, evaluator=evaluator)


def test_an_unknown_problem_is_named_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="no problem 'square/1' among the 1 problems; did you mean squares/1"):
        ProgramReward([SQUARES]).find_problem("square/1")


@pytest.mark.parametrize("tests", ["", "[1]", '{"inputs": []}', '{"inputs": ["1"], "outputs": []}', "{" * 100_000])
def test_tests_that_are_none_are_refused(tests: str) -> None:
    with pytest.raises(UsageError, match="the tests of an answer cannot be read"):
        parse_tests(tests)


def test_tests_that_call_a_function_name_it() -> None:
    assert parse_tests(json.dumps({"inputs": [[1]], "outputs": [2], "fn_name": "inc"})).fn_name == "inc"


@pytest.mark.parametrize(
    ("completion", "text"),
    [
        ("a", "a"),
        ([{"role": "assistant", "content": "a"}, {"role": "tool", "content": "4"}], "a"),
        ([{"role": "assistant", "content": None}], ""),
        ([{"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "image"}]}], "a"),
        ([], ""),
    ],
)
def test_the_answer_is_the_text_of_the_last_message_by_the_assistant(completion: object, text: str) -> None:
    assert read_answer(completion) == text  # type: ignore[arg-type]


def test_a_dataset_that_many_threads_ask_for_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []

    def read(dataset: str) -> list[Problem]:
        reads.append(dataset)
        time.sleep(0.2)  # long enough for all to ask
        return [SQUARES]

    monkeypatch.setattr(program_reward, "open_dataset", read)
    reward = ProgramReward("a dataset of this test alone")
    with ThreadPoolExecutor(16) as threads:
        assert list(threads.map(reward.find_problem, ["squares/1"] * 16)) == [SQUARES] * 16
    assert len(reads) == 1
