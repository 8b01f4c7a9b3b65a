"""SandboxFusion's requests as work for the evaluator, and results as its answers."""

import json
import signal
from typing import Any

import msgspec
import pytest

from taco_stream.errors import UsageError
from taco_stream.evaluator.blocking import BlockingEvaluator, open_evaluator
from taco_stream.evaluator.settings import EvaluatorSettings
from taco_stream.service.sandbox_fusion import SandboxFusion, reply_to_run_code, reply_to_submit
from taco_stream.service.wire import ExecuteWork, JudgeWork, WireRequest
from taco_stream.types import ExecutionResult, Status, Verdict

SETTINGS = EvaluatorSettings(workers=1, memory_limit=256, unsafe_no_sandbox=True)
FORMAT = SandboxFusion(SETTINGS)
SUM = "print(sum(map(int, input().split())))"
BROKEN = Status.INFRASTRUCTURE_ERROR


def run_body(code: str, **fields: object) -> bytes:
    """What verl sends."""
    sent = {
        "compile_timeout": 10,
        "run_timeout": 10,
        "code": code,
        "stdin": None,
        "memory_limit_MB": 1024,
        "language": "python",
        "files": {},
        "fetch_files": [],
    }
    return json.dumps({**sent, **fields}).encode()


def case(given: str, expected: str) -> dict[str, dict[str, str]]:
    return {"input": {"stdin": given}, "output": {"stdout": expected}}


CASES = [case("1 2", "3"), case("1 2", "4"), case("2 2", "4")]


def submit_body(completion: str, *, test: object = CASES, **config: object) -> bytes:
    problem = {"id": 7, "content": "", "labels": {}, "test": test}
    given = {"language": "python", "provided_data": problem, **config}
    return json.dumps({"dataset": "any", "id": 7, "completion": completion, "config": given}).encode()


@pytest.fixture(scope="module")
def evaluator() -> Any:
    with open_evaluator(SETTINGS) as opened:
        yield opened


def ask(evaluator: BlockingEvaluator, path: str, body: bytes) -> tuple[int, Any]:
    """What an application does with a request: the HTTP status, and the answer as a client reads it."""
    (route,) = [route for route in FORMAT.routes if route.path == path]
    request = route.parse(body)
    results: list[Any] = []
    for work in request.work:
        if isinstance(work, ExecuteWork):
            results.append(evaluator.execute(work.program, work.stdin, work.limits))
        else:
            judged = {"limits": work.limits, "full_results": work.full_results}
            results.append(evaluator.judge(work.problem, work.program, **judged))
    answer = route.reply(request, results)
    return answer.status, json.loads(msgspec.json.encode(answer.body))


@pytest.mark.parametrize(
    ("code", "sent", "status", "run"),
    [
        (SUM, {"stdin": "1 2\n"}, "Success", {"status": "Finished", "return_code": 0, "stdout": "3\n", "stderr": ""}),
        ("print(repr(__import__('sys').stdin.read()))", {}, "Success", {"stdout": "''\n"}),
        ("exit(3)", {}, "Failed", {"status": "Finished", "return_code": 3}),
        ("def f(:", {}, "Failed", {"status": "Finished", "return_code": 1, "stdout": ""}),
        ("import os; os.kill(os.getpid(), 11)", {}, "Failed", {"return_code": -signal.SIGSEGV}),
        ("while True: pass", {"run_timeout": 0.2}, "Failed", {"status": "TimeLimitExceeded", "return_code": None}),
        ("x = bytearray(200 << 20)", {"memory_limit_MB": 100}, "Failed", {"status": "Finished", "return_code": 1}),
        ("x = bytearray(200 << 20)", {"memory_limit_MB": -1}, "Success", {"return_code": 0}),
        ("import os; os.write(1, b'a\\0\\xff')", {}, "Success", {"stdout": "a\ufffd\ufffd"}),
        ("print('é')", {"files": {"ignored": None}}, "Success", {"stdout": "é\n"}),
        ("x" * (2 << 20), {}, "Failed", {"return_code": 1}),
    ],
)
def test_a_program_is_run(
    evaluator: BlockingEvaluator, code: str, sent: dict[str, Any], status: str, run: dict[str, Any]
) -> None:
    http_status, answer = ask(evaluator, "/run_code", run_body(code, **sent))
    assert (http_status, answer["status"], answer["message"]) == (200, status, "")
    assert {name: answer["run_result"][name] for name in run} == run
    assert answer["compile_result"] is None


def test_an_output_over_the_limit_is_cut_and_no_success(evaluator: BlockingEvaluator) -> None:
    code = "try:\n  print('x' * (17 << 20))\nexcept OSError: pass\nimport os; os._exit(0)"
    _, answer = ask(evaluator, "/run_code", run_body(code))
    assert (answer["status"], answer["run_result"]["return_code"]) == ("Failed", -signal.SIGXFSZ)
    assert len(answer["run_result"]["stdout"]) == 16 << 20


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        ({"language": "pytest"}, "pytest is not supported"),
        ({"language": "cpp"}, "cpp is not supported"),
        ({"files": {"a.txt": "YQ=="}}, "files are not supported"),
        ({"fetch_files": ["a.txt"]}, "files are not supported"),
    ],
)
def test_what_is_not_supported_is_said_so_and_not_a_failure(
    evaluator: BlockingEvaluator, sent: dict[str, Any], says: str
) -> None:
    http_status, answer = ask(evaluator, "/run_code", run_body(SUM, **sent))
    assert (http_status, answer["status"], answer["run_result"]) == (200, "SandboxError", None)
    assert says in answer["message"]


def test_a_failure_of_the_evaluator_is_one_that_verl_asks_again_after() -> None:
    """It retries 504 and nothing else."""
    result = ExecutionResult(status=BROKEN, detail="the evaluator failed twice")
    answer = reply_to_run_code(WireRequest(()), [result])
    assert (answer.status, answer.body.status, answer.body.message) == (504, "SandboxError", result.detail)
    assert answer.body.run_result is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"language": "python"}',
        b'{"code": "\xff", "language": "python"}',
        b"[" * 99_999,
        run_body(SUM, run_timeout=0),
        run_body(SUM, run_timeout=1e9),
        run_body(SUM, memory_limit_MB=1),
        run_body(SUM, stdin=7),
    ],
)
def test_a_body_that_cannot_be_run_is_an_error(body: bytes) -> None:
    with pytest.raises(UsageError):
        FORMAT.parse_run_code(body)


def test_a_program_with_half_a_character_is_judged_as_one() -> None:
    (work,) = FORMAT.parse_run_code(b'{"code": "print(\'\\ud800\')", "language": "python"}').work
    assert isinstance(work, ExecuteWork)
    assert work.program == "print('\ud800')"


def test_the_deadline_is_before_verl_gives_up() -> None:
    request = FORMAT.parse_run_code(run_body(SUM, compile_timeout=3, run_timeout=5))
    assert request.deadline_seconds == 3 + 5 + 10 - 2
    (work,) = request.work
    assert isinstance(work, ExecuteWork)
    assert (work.limits.cpu_seconds, work.limits.wall_seconds, work.limits.memory_bytes) == (5, 5, 1 << 30)


@pytest.mark.parametrize(
    ("completion", "config", "accepted", "passed"),
    [
        (f"Sure:\n```python\n{SUM}\n```\n", {}, False, [False]),
        (SUM, {"extra": {"run_all_cases": True}}, False, [True, False, True]),
        (SUM, {"test": [CASES[0], CASES[2]]}, True, [True, True]),
        (SUM, {"test": json.dumps(CASES[:1])}, True, [True]),
        ("I do not know.", {}, False, []),
        ("```python\ndef f(:\n```", {}, False, [False]),
        ("while True: pass", {"run_timeout": 0.2}, False, [False]),
    ],
)
def test_a_submission_is_judged(
    evaluator: BlockingEvaluator, completion: str, config: dict[str, Any], accepted: bool, passed: list[bool]
) -> None:
    http_status, answer = ask(evaluator, "/submit", submit_body(completion, **config))
    assert (http_status, answer["id"], answer["accepted"]) == (200, 7, accepted)
    assert [test["passed"] for test in answer["tests"]] == passed
    assert answer["extracted_code"].strip() in completion


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"language": None}, "runs python"),
        ({"language": "cpp"}, "runs python"),
        ({"dataset_type": "AutoEvalDataset"}, "only CommonOJDataset"),
        ({"custom_extract_logic": "import os"}, "code, which this service does not run"),
        ({"provided_data": None}, "no dataset any here"),
        ({"test": [{"input": {"stdin": "", "a.txt": ""}, "output": {"stdout": ""}}]}, "has files"),
        ({"test": [{"input": {"stdin": ""}, "output": {}}]}, "has files"),
        ({"test": "["}, "not that of a CommonOJDataset"),
        ({"test": None}, "not that of a CommonOJDataset"),
        ({"test": []}, "has 0 tests"),
        ({"test": [CASES[0]] * 10_001}, "has 10,001 tests"),
        ({"run_timeout": -1}, "cpu_seconds"),
    ],
)
def test_a_submission_that_cannot_be_judged_is_an_error(config: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        FORMAT.parse_submit(submit_body(SUM, **config))


@pytest.mark.parametrize(
    "verdict",
    [
        Verdict(status=BROKEN, detail="the evaluator failed twice"),
        Verdict(status=Status.NO_CHECKER),
        Verdict(status=Status.WRONG_ANSWER, test_statuses=(Status.WRONG_ANSWER, BROKEN)),
    ],
)
def test_a_submission_that_could_not_be_judged_is_never_rejected(verdict: Verdict) -> None:
    request = FORMAT.parse_submit(submit_body(SUM))
    assert isinstance(request.work[0], JudgeWork)
    answer = reply_to_submit(request, [verdict])
    assert answer.status == 500
    assert answer.body["detail"]
