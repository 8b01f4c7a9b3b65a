"""The command as it runs: real connections, real programs, signals, and what is left afterwards."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hostile.program import HostileProgram
from hostile.suite import SETTINGS, make_problems, programs
from hostile.world import opened_world
from service.fake_evaluator import SUM_TESTS

from taco_stream.commands.serve import Serving, listen, serve
from taco_stream.errors import EvaluatorError, UsageError

pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")
aiohttp = pytest.importorskip("aiohttp", reason="the extra `server` is not installed")

MARK = "never-to-be-logged"
RIGHT = f"print(sum(map(int, input().split())))  # {MARK}\n"
TESTS = json.loads(SUM_TESTS)
QUEUE = 64


class Process(NamedTuple):
    """A service that runs: its process, its address, and the file that it talks to."""

    process: subprocess.Popen[str]
    address: str
    said: Path

    def post(self, path: str, value: object, *, timeout: float = 120.0) -> Any:
        """The answer to a request, its JSON; raises `HTTPError`."""
        request = urllib.request.Request(self.address + path, json.dumps(value).encode())
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return json.loads(answer.read())

    def get(self, path: str) -> tuple[int, str]:
        """The status and the text of a page."""
        try:
            with urllib.request.urlopen(self.address + path, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def figure(self, name: str) -> float:
        """A figure of `/metrics`."""
        lines = self.get("/metrics")[1].splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(f"taco_stream_{name} "))

    def descendants(self) -> set[int]:
        """The processes below it."""
        return descendants(self.process.pid)


def descendants(pid: int) -> set[int]:
    found = set()
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, thread.read_text().split()):
            found |= {child} | descendants(child)
    return found


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def wait_until(condition: Callable[[], bool], *, seconds: float = 60.0) -> None:
    ends_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends_at
        time.sleep(0.02)


@contextmanager
def serving(folder: Path, *flags: str) -> Iterator[Process]:
    """A service at a free port; it is ended, and what it said has no program in it."""
    said = folder / "said.txt"
    command = [sys.executable, "-m", "taco_stream", "serve", "--port", "0", "--workers", "1", *flags]
    with said.open("w") as talk:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=talk, text=True, cwd=folder)
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        assert address, said.read_text()
        yield Process(process, address, said)
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert MARK not in said.read_text()
    assert "Traceback" not in said.read_text()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with serving(tmp_path_factory.mktemp("serve"), "--queue", f"{QUEUE}", "--time-limit-factor", "0.25") as opened:
        yield opened


def item(program: str, **keys: object) -> Mapping[str, object]:
    return {"tests": TESTS, "program": program, **keys}


def test_the_start_line_names_the_tier_the_workers_the_problems_and_the_address(service: Process) -> None:
    first = service.said.read_text().splitlines()[0]
    assert first.startswith("sandbox ")
    assert "; 1 worker; no dataset; each test gets" in first
    assert service.address.startswith("http://127.0.0.1:")


def test_other_formats_are_served(service: Process) -> None:
    tests = [{"input": "1 2\n", "output": "3\n"}, {"input": "1 2\n", "output": "4\n"}]
    asked = {"program": RIGHT, "tests": tests, "max_execution_time": 2.0}
    assert service.post("/test_program_stdio", asked)["results"] == [1, 0]
    ran = service.post("/run_code", {"code": RIGHT, "language": "python", "stdin": "1 2\n"})
    assert (ran["status"], ran["run_result"]["stdout"]) == ("Success", "3\n")
    assert service.get("/v1/ping") == (200, '"pong"')


def test_a_burst_is_answered_exactly_once_each(service: Process) -> None:
    """2,000 programs, of which most are refused at once: 400 at a time at a queue of 64."""
    before = [service.figure(f"service_{name}") for name in ("finished", "refused")]
    answers: Counter[tuple[int, Any]] = Counter()

    async def burst() -> None:
        numbers = iter(range(2000))

        async def ask() -> None:
            for number in numbers:
                body = item(f"{RIGHT}# {number % 40}\nimport time; time.sleep(0.02)", id=number)
                async with session.post(f"{service.address}/v1/judge", json=body) as answer:
                    told = await answer.json()
                    assert answer.status in (200, 503), told
                    if answer.status == 200:
                        assert told["id"] == number
                    else:
                        assert int(answer.headers["Retry-After"]) >= 1
                    answers[answer.status, told.get("reward")] += 1

        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            await asyncio.gather(*(ask() for _ in range(400)))

    asyncio.run(burst())
    assert answers.keys() == {(200, 1.0), (503, None)}
    assert answers.total() == 2000
    assert answers[200, 1.0] >= QUEUE
    after = [service.figure(f"service_{name}") for name in ("finished", "refused")]
    assert [now - then for now, then in zip(after, before, strict=True)] == [answers[200, 1.0], answers[503, None]]


def test_a_storm_of_disconnects_leaves_nothing_behind(service: Process) -> None:
    service.post("/v1/judge", item(RIGHT))
    before = service.descendants()
    host, port = service.address.removeprefix("http://").split(":")
    withdrawn = service.figure("service_withdrawn")
    with ExitStack() as connections:
        for number in range(50):
            body = json.dumps(item(f"while True: pass  # {number}")).encode()
            head = f"POST /v1/judge HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            connection = connections.enter_context(socket.create_connection((host, int(port))))
            connection.sendall(head + body)
        wait_until(lambda: service.figure("service_waiting") >= 45)
    wait_until(lambda: service.figure("service_waiting") == service.figure("service_running") == 0)
    assert service.figure("service_withdrawn") >= withdrawn + 45
    began_at = time.monotonic()
    assert service.post("/v1/judge", item(RIGHT + "# new"))["reward"] == 1.0
    # The programs that wait for nobody take two seconds each, and there were fifty.
    assert time.monotonic() - began_at < 30
    wait_until(lambda: len(service.descendants()) == len(before))


def test_identical_programs_are_one_until_one_caller_leaves_and_then_the_other_is_answered(service: Process) -> None:
    program = item(f"import time; time.sleep(0.7)\n{RIGHT}")
    host, port = service.address.removeprefix("http://").split(":")
    body = json.dumps(program).encode()
    with ThreadPoolExecutor() as others, socket.create_connection((host, int(port))) as leaving:
        leaving.sendall(
            f"POST /v1/judge HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        )
        wait_until(lambda: service.figure("service_running") == 1)
        other = others.submit(service.post, "/v1/judge", program)
        wait_until(lambda: service.figure("service_running") == 2)
        leaving.close()
        assert other.result()["reward"] == 1.0


def test_a_worker_that_is_killed_costs_no_verdict(service: Process) -> None:
    service.post("/v1/judge", item(RIGHT))
    with ThreadPoolExecutor() as callers:
        caller = callers.submit(service.post, "/v1/judge", item(f"import time; time.sleep(0.5)\n{RIGHT}# killed"))
        wait_until(lambda: service.figure("evaluator_busy") == 1)
        (worker,) = (pid for pid in service.descendants() if "taco_stream.evaluator.worker" in command_line(pid))
        os.kill(worker, signal.SIGKILL)
        assert caller.result()["reward"] == 1.0
    assert service.figure("evaluator_infrastructure_errors") == 0
    assert "an evaluator worker ended and was replaced" in service.said.read_text()


HOSTILE = programs(brief=False) if os.environ.get("TACO_STREAM_HOSTILE") == "all" else programs(brief=True)[::15]


def test_hostile_programs_do_no_more_than_without_http(service: Process) -> None:
    """Every fifteenth that does not wait for the clock; all of them with `TACO_STREAM_HOSTILE=all`."""
    limits = {
        "cpu_seconds": SETTINGS.time_limit_seconds * SETTINGS.time_limit_factor,
        "wall_seconds": 2.0,
        "memory_bytes": SETTINGS.memory_limit_bytes,
        "output_bytes": SETTINGS.output_limit_bytes,
    }

    def judge(program: HostileProgram) -> Any:
        tests = json.loads(problems[program.problem].tests)
        return service.post("/v1/judge", {"tests": tests, "program": program.text, "limits": limits}, timeout=550)

    with opened_world() as world, ThreadPoolExecutor(8) as callers:
        problems = make_problems(world)
        answers = callers.map(judge, HOSTILE)
        verdicts = {each.name: answer["verdict"] for each, answer in zip(HOSTILE, answers, strict=True)}
        changes = world.changes()
    allowed = {each.name: each.statuses for each in HOSTILE}
    assert {name: each for name, each in verdicts.items() if each["status"] not in allowed[name]} == {}
    assert changes == []
    assert service.post("/v1/judge", item(RIGHT + "# after them"))["reward"] == 1.0


def test_sigterm_finishes_what_was_accepted_and_refuses_the_rest(tmp_path: Path) -> None:
    with serving(tmp_path, "--dataset", "demo") as ending, ThreadPoolExecutor() as callers:
        caller = callers.submit(ending.post, "/v1/judge", item(f"import time; time.sleep(1)\n{RIGHT}"))
        wait_until(lambda: ending.figure("service_running") == 1)
        before = ending.descendants()
        ending.process.send_signal(signal.SIGTERM)
        wait_until(lambda: ending.get("/health")[0] == 503)
        with pytest.raises(urllib.error.HTTPError, match="503") as refused:
            ending.post("/v1/judge", item(RIGHT))
        with refused.value as error:
            assert error.headers["Retry-After"] == "5"
        assert caller.result()["reward"] == 1.0
        assert ending.process.wait(timeout=30) == 0
        wait_until(lambda: not any(map(command_line, before)))
    assert "finishing what was accepted" in ending.said.read_text()
    assert "56 problems of demo" in ending.said.read_text()


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    def ask() -> None:
        with pytest.raises((ConnectionError, urllib.error.URLError)):
            ending.post("/v1/judge", item("while True: pass", limits={"cpu_seconds": 60}))

    with serving(tmp_path) as ending:
        caller = threading.Thread(target=ask)
        caller.start()
        wait_until(lambda: ending.figure("service_running") == 1)
        before = ending.descendants()
        ending.process.send_signal(signal.SIGINT)
        wait_until(lambda: ending.get("/health")[0] == 503)
        ending.process.send_signal(signal.SIGINT)
        assert ending.process.wait(timeout=10) == -signal.SIGINT
        caller.join()
        wait_until(lambda: not any(map(command_line, before)))


def plain(**changes: Any) -> Serving:
    usual = Serving("127.0.0.1", 0, None, max_waiting=1, max_wait_seconds=1.0, max_body_bytes=1)
    return usual._replace(**changes)


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_other_machines_are_not_listened_to_without_a_token(host: str) -> None:
    with pytest.raises(UsageError, match="--token-env NAME"):
        serve({}, None, plain(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1", "localhost"])
def test_with_a_token_any_address_will_do(host: str) -> None:
    with listen(host, 0, has_token=True) as listening:
        assert listening.getsockname()[1] > 0


@pytest.mark.parametrize("value", [None, ""])
def test_a_token_that_is_not_there_is_refused(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if value is not None:
        monkeypatch.setenv("JUDGE_TOKEN", value)
    with pytest.raises(UsageError, match="--token-env JUDGE_TOKEN: the environment has no such variable"):
        serve({}, None, plain(token_env="JUDGE_TOKEN"))


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_an_address_that_cannot_be_listened_to_is_named(host: str) -> None:
    with (
        pytest.raises(UsageError, match=f"--host {host} --port 0 cannot be listened to"),
        listen(host, 0, has_token=True),
    ):
        pass


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"--port {port} cannot be listened to: Address already in use"):
            serve({}, None, plain(port=port))


def test_it_does_not_start_without_a_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TACO_STREAM_SANDBOX", "rlimits")
    with pytest.raises(EvaluatorError, match="programs cannot be confined here"):
        serve({"workers": 1}, None, plain())
