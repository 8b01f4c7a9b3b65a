"""The service as its callers use it: verl's client, open-instruct's, and the `sandbox-fusion` SDK.

verl's and open-instruct's are written again from their sources (`verl/utils/reward_score/sandbox_fusion/utils.py`,
`open_instruct/ground_truth_utils.py`), for each comes with a trainer. The SDK is the real one, in an environment of its
own, because it wants an older pydantic: `SANDBOX_FUSION_PYTHON` names the Python of one that has `sandbox-fusion`.
"""

import base64
import json
import os
import pickle
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("starlette", reason="the extra `serve` is not installed")
pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")

SUM = "print(sum(map(int, input().split())))"
COMPILE_SECONDS = 60.0
"""Python has no use for them, and the deadline is so much later: this machine may be busy."""

SLEEPS = "import time; time.sleep(1.5); print(3)"


class Served(NamedTuple):
    """A service that runs."""

    url: str
    pid: int


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    command = [sys.executable, "-m", "taco_stream", "serve", "--port", "0", "--workers", "2", "--unsafe-no-sandbox"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            url = process.stdout.readline().strip()
            assert url.startswith("http://")
            yield Served(url, process.pid)
        finally:
            process.terminate()
            assert process.wait(60) == 0


def post(url: str, body: object, seconds: float = 60.0) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=seconds) as answer:
        return json.loads(answer.read())


def ask_as_verl(url: str, code: str, stdin: str | None, seconds: float) -> dict[str, Any] | None:
    """verl's `call_sandbox_api`: three tries, and another one after a 504 only. None is a `-1`, which scores 0."""
    payload = {
        "compile_timeout": COMPILE_SECONDS,
        "run_timeout": seconds,
        "code": code,
        "stdin": stdin,
        "memory_limit_MB": 1024,
        "language": "python",
        "files": {},
        "fetch_files": [],
    }
    for attempt in range(3):
        try:
            return post(f"{url}/run_code", payload, COMPILE_SECONDS + seconds + 10)
        except urllib.error.HTTPError as error:
            if error.code != 504:
                return None
            time.sleep(attempt / 10)  # a second and two there
    return None


def check_as_verl(url: str, code: str, cases: Sequence[tuple[str, str]], seconds: float) -> list[Any]:
    """verl's `check_correctness`: all cases at once, a result for each."""

    def check(case: tuple[str, str]) -> Any:
        answer = ask_as_verl(url, code, case[0], seconds)
        if answer is None or answer["status"] == "SandboxError":
            return -1
        run = answer["run_result"]
        if answer["status"] == "Failed":
            assert answer["compile_result"] is None
            if run["status"] == "TimeLimitExceeded":
                return -3
            return -2 if run["status"] == "Error" or run["return_code"] != 0 else -1
        assert (answer["status"], run["status"]) == ("Success", "Finished")
        return run["stdout"].rstrip("\n") == case[1].rstrip("\n")

    with ThreadPoolExecutor(32) as pool:
        return list(pool.map(check, cases))


@pytest.mark.parametrize(
    ("code", "results"),
    [
        (SUM, [True, False, True]),
        ("print(3)", [True, False, False]),
        ("raise ValueError", [-2] * 3),
        ("def f(:", [-2] * 3),
        ("while True: pass", [-3] * 3),
        ("x = bytearray(2 << 30)", [-2] * 3),
    ],
    ids=["right", "constant", "raises", "syntax", "endless", "memory"],
)
def test_verl_gets_a_result_for_each_case(served: Served, code: str, results: list[Any]) -> None:
    cases = [("1 2\n", "3"), ("1 2\n", "4"), ("2 2\n", "4\n")]
    assert check_as_verl(served.url, code, cases, seconds=0.5 if -3 in results else 5) == results


def kill_workers(pid: int) -> None:
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        os.kill(int(child), signal.SIGKILL)


@pytest.mark.parametrize("times", [1, 2])
def test_a_killed_worker_costs_verl_no_result(served: Served, times: int) -> None:
    """The evaluator tries again once; after that the answer is 504, and verl does."""
    with ThreadPoolExecutor(1) as pool:
        results = pool.submit(check_as_verl, served.url, SLEEPS, [("", "3")], 5)
        for _ in range(times):
            time.sleep(0.6)
            kill_workers(served.pid)
        assert results.result(60) == [True]


def test_open_instruct_gets_a_result_for_each_test(served: Served) -> None:
    tests = [{"input": "1 2\n", "output": "3\n"}, {"input": "1 2\n", "output": "4\n"}]
    encoded = base64.b64encode(zlib.compress(pickle.dumps(tests))).decode()
    for given in (tests, json.dumps(tests), encoded):
        body = {"program": SUM, "tests": given, "max_execution_time": 2.0}
        assert post(f"{served.url}/test_program_stdio", body)["results"] == [1, 0]
    body = {"program": "def f(n): return n", "tests": ["assert f(1) == 1", "assert f(1) == 2"]}
    assert post(f"{served.url}/test_program", body)["results"] == [1, 0]


def test_a_pickle_that_would_run_something_is_refused(served: Served, tmp_path: Path) -> None:
    class Touches:
        def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
            return Path.touch, (tmp_path / "run",)

    encoded = base64.b64encode(zlib.compress(pickle.dumps([Touches()]))).decode()
    with pytest.raises(urllib.error.HTTPError) as raised:
        post(f"{served.url}/test_program", {"program": "", "tests": encoded})
    assert raised.value.code == 400
    assert "a global" in json.loads(raised.value.read())["detail"]
    assert not (tmp_path / "run").exists()


SDK = """
import asyncio, json, sys
import sandbox_fusion as sdk
from sandbox_fusion import RunCodeRequest, RunStatus, SubmitRequest, SummaryMapping, TestConfig

sdk.set_endpoint(sys.argv[1])
run = lambda code, **fields: sdk.run_code(RunCodeRequest(code=code, language="python", **fields), max_attempts=1)
seen = {}
done = run("print(input())", stdin="a")
seen["right"] = [done.status, done.run_result.stdout, done.run_result.return_code]
mapping = SummaryMapping(RunFailed="failed", RunTimeout="slow")
for name, code in {"raises": "raise ValueError", "slow": "while True: pass", "fine": "pass", "syntax": "def f(:"}.items():
    seen[name] = sdk.summary_run_code_result(run(code, run_timeout=0.5), mapping)
try:
    sdk.run_code(RunCodeRequest(code="", language="cpp"), max_attempts=1)
except Exception as error:
    seen["cpp"] = str(error)
awaited = asyncio.run(sdk.run_code_async(RunCodeRequest(code="print(1)", language="python"), max_attempts=1))
seen["awaited"] = awaited.run_result.stdout
tests = [{"input": {"stdin": "1 2"}, "output": {"stdout": answer}} for answer in ("3", "4")]
def submit(tests):
    config = TestConfig(language="python", provided_data={"test": tests}, extra={"run_all_cases": True})
    answer = "```python\\nprint(sum(map(int, input().split())))\\n```"
    return sdk.submit(SubmitRequest(dataset="any", id=7, completion=answer, config=config), max_attempts=1)
seen["submitted"] = [submit(tests).accepted, [test.passed for test in submit(tests).tests], submit(tests[:1]).accepted]
print(json.dumps(seen))
"""


@pytest.mark.server
def test_the_sandbox_fusion_sdk_works_unchanged(served: Served) -> None:
    python = os.environ.get("SANDBOX_FUSION_PYTHON", "")
    if not python:
        pytest.skip("SANDBOX_FUSION_PYTHON does not name the Python of an environment with sandbox-fusion")
    done = subprocess.run([python, "-c", SDK, served.url], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    seen = json.loads(done.stdout)
    assert "cpp is not supported" in seen.pop("cpp")
    assert seen == {
        "right": ["Success", "a\n", 0],
        "raises": "failed",
        "slow": "slow",
        "fine": "Success",
        "syntax": "failed",
        "awaited": "1\n",
        "submitted": [False, [True, False], True],
    }
