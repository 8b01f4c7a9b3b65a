"""The service beside the ways that trainers use: a fresh interpreter for each request, and open-instruct's own server.

    python bench/serve.py [--open-instruct PYTHON FOLDER] [--rounds 3] [--seconds 10] [--out FILE]
    python bench/serve.py --soak 100000 [--out FILE]

Every server runs in processes of its own, with as many workers as there are cores, and is asked over loopback by this
process. Rates are of programs judged; *per core* divides by the processor time of the server and all below it, which
others on the machine disturb little. Rivals take turns, and figures are medians over the rounds:

* `/run_code`, one test in a request, as verl sends them: ours, and SandboxFusion's method (`fresh_interpreters`), a
  file in a new folder, a shell and `python FILE`, behind the same HTTP server and without a sandbox.
* `/test_program_stdio`, ten tests in a request: ours, and `open_instruct.code_utils.api` under uvicorn, which needs the
  Python of an environment with fastapi, and a folder in which open-instruct's sources are. It is asked by fewer
  callers: it takes half a second for a request.
* the cost of HTTP: the processor time of the serving process for a judgement, less that of a process that calls
  `Evaluator.judge` itself, as a share of all that the judgement takes.
* overload: requests at four times the rate that the service was found to serve, each with a deadline.

`--soak` sends that many requests of every kind, bad ones and callers that leave among them, and reads the resident
memory of the service a hundred times meanwhile: exit status 1 if it grew by more than a tenth in the second half.
"""

import argparse
import asyncio
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import anyio
import uvloop

from taco_stream import Evaluator, EvaluatorSettings, Problem, Status

PARTS = ("run_code", "stdio", "http", "overload")
CONCURRENT = 200
SLOW_CONCURRENT = 8
SUM = "print(sum(map(int, input().split())))\n"
TESTS = 10
DEADLINE_SECONDS = 5.0
"""What a caller under overload waits."""


class Served(NamedTuple):
    """A server that runs."""

    url: str
    pid: int

    def core_seconds(self) -> tuple[float, float]:
        """Processor time so far: of the serving process itself, and of it with all below it, ended ones included."""
        own, ended, parents = {}, {}, {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # it has ended
                fields = path.read_text(encoding="utf-8").rpartition(")")[2].split()
                pid = int(path.parent.name)
                parents[pid] = int(fields[1])
                own[pid] = int(fields[11]) + int(fields[12])
                ended[pid] = int(fields[13]) + int(fields[14])
        family = {self.pid}
        while more := {pid for pid, parent in parents.items() if parent in family} - family:
            family |= more
        tick = os.sysconf("SC_CLK_TCK")
        return own[self.pid] / tick, sum(own[pid] + ended[pid] for pid in family) / tick

    def resident_bytes(self) -> int:
        """The resident memory of the serving process."""
        pages = Path(f"/proc/{self.pid}/statm").read_text(encoding="utf-8").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--open-instruct", nargs=2, metavar=("PYTHON", "FOLDER"), help="a Python, and the sources")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--soak", type=int, metavar="REQUESTS")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--fresh-interpreters", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fresh_interpreters:
        fresh_interpreters()
        return
    result = uvloop.run(soak(options.soak) if options.soak else compare(options))
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    sys.exit(result.get("grew", 1.0) > 1.1)


# The servers


@contextmanager
def started(command: Sequence[str], environ: dict[str, str] | None = None, url: str = "") -> Iterator[Served]:
    """A server in processes of its own; without a `url` it prints it."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command,
            stdout=log if url else subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, **(environ or {})},
            start_new_session=True,
        )
        try:
            if process.stdout:
                url = process.stdout.readline().strip()
            yield Served(url, process.pid)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(60)


def ours() -> Any:
    """The service, with the settings that it has by default."""
    return started([sys.executable, "-m", "taco_stream", "serve", "--port", "0"])


def fresh() -> Any:
    """SandboxFusion's method."""
    return started([sys.executable, __file__, "--fresh-interpreters"])


def open_instruct(python: str, folder: str) -> Any:
    """open-instruct's server, with a process for each core: a request holds one up until it is answered."""
    port = "18321"
    workers = str(os.cpu_count())
    command = [python, "-m", "uvicorn", "open_instruct.code_utils.api:app", "--port", port, "--workers", workers]
    return started([*command, "--log-level", "warning"], {"PYTHONPATH": folder}, f"http://127.0.0.1:{port}")


def fresh_interpreters() -> None:
    """Serves `/run_code` by starting an interpreter for each request, two at a time for each core."""
    import socket

    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    places = asyncio.Semaphore(2 * (os.cpu_count() or 1))

    async def run_code(request: Request) -> JSONResponse:
        asked = await request.json()
        async with places:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "program.py"
                file.write_text(asked["code"], encoding="utf-8")
                pipe = asyncio.subprocess.PIPE
                process = await asyncio.create_subprocess_shell(
                    f"{sys.executable} {file}", cwd=folder, executable="/bin/bash", stdin=pipe, stdout=pipe, stderr=pipe
                )
                given = process.communicate((asked["stdin"] or "").encode())
                out, err = await asyncio.wait_for(given, asked["run_timeout"])
        run = {"status": "Finished", "return_code": process.returncode, "stdout": out.decode(), "stderr": err.decode()}
        status = "Failed" if process.returncode else "Success"
        return JSONResponse({"status": status, "message": "", "run_result": run, "files": {}})

    listening = socket.create_server(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    config = uvicorn.Config(
        Starlette(routes=[Route("/run_code", run_code, methods=["POST"])]), log_level="critical", access_log=False
    )
    asyncio.run(uvicorn.Server(config).serve(sockets=[listening]))


# What they are asked


def run_code_body(number: object) -> dict[str, Any]:
    """One test, as verl sends it; no two programs are the same."""
    return {
        "compile_timeout": 30,
        "run_timeout": 30,
        "code": f"{SUM}# {number}\n",
        "stdin": "1 2\n",
        "memory_limit_MB": 1024,
        "language": "python",
        "files": {},
        "fetch_files": [],
    }


def ran_right(answer: Any) -> bool:
    return answer["status"] == "Success" and answer["run_result"]["stdout"] == "3\n"


def stdio_body(number: object) -> dict[str, Any]:
    """Ten tests, as open-instruct sends them."""
    tests = [{"input": f"{each} 2\n", "output": f"{each + 2}\n"} for each in range(TESTS)]
    return {"program": f"{SUM}# {number}\n", "tests": tests, "max_execution_time": 6.0}


def passed_all(answer: Any) -> bool:
    return bool(answer["results"] == [1] * TESTS)


def judge_body(number: object, tests: int) -> dict[str, Any]:
    """Tests inline, as the service's own format has them."""
    given = {"inputs": [f"{each} 2\n" for each in range(tests)], "outputs": [f"{each + 2}\n" for each in range(tests)]}
    return {"program": f"{SUM}# {number}\n", "tests": given}


Ask = Callable[[aiohttp.ClientSession, int], Awaitable[bool]]


def ask(url: str, body: Callable[[object], Any], is_right: Callable[[Any], bool]) -> Ask:
    """Asks once, and says whether the answer was right."""

    async def once(session: aiohttp.ClientSession, number: int) -> bool:
        async with session.post(url, json=body(f"{time.time_ns()} {number}")) as answer:
            return answer.status == 200 and is_right(await answer.json())

    return once


def client() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None), raise_for_status=False
    )


async def ready(served: Served, once: Ask) -> None:
    """Returns once a right answer has come."""
    async with client() as session:
        for _ in range(600):
            with suppress(aiohttp.ClientError, json.JSONDecodeError):
                if await once(session, 0):
                    return
            await asyncio.sleep(0.1)
    raise TimeoutError(f"{served.url} gives no right answer")


async def measure(served: Served, once: Ask, seconds: float, concurrent: int = CONCURRENT) -> dict[str, float]:
    """So many callers, each of which asks again when it is answered. Raises `AssertionError` for a wrong answer."""
    await ready(served, once)
    latencies: list[float] = []
    async with client() as session:
        ends_at = time.perf_counter() + seconds

        async def caller(number: int) -> None:
            while (began := time.perf_counter()) < ends_at:
                assert await once(session, number)
                latencies.append(time.perf_counter() - began)

        before, began = served.core_seconds(), time.perf_counter()
        await asyncio.gather(*(caller(number) for number in range(concurrent)))
        wall, after = time.perf_counter() - began, served.core_seconds()
    count = len(latencies)
    latencies.sort()
    return {
        "requests": count,
        "per_second": count / wall,
        "server_milliseconds": 1000 * (after[0] - before[0]) / count,
        "core_milliseconds": 1000 * (after[1] - before[1]) / count,
        "per_core_second": count / (after[1] - before[1]),
        "p50_seconds": latencies[count // 2],
        "p99_seconds": latencies[int(count * 0.99)],
    }


def medians(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}


# What is found out


async def compare(options: argparse.Namespace) -> dict[str, Any]:
    """The parts asked for, of all but the soak."""
    result: dict[str, Any] = {
        "hardware": f"{os.cpu_count()} cores, {processor_name()}, Python {platform.python_version()}",
        "load_before": os.getloadavg()[0],
        "http_parser": "httptools" if find_spec("httptools") else "h11",
    }
    if "run_code" in options.parts:
        rivals: dict[str, Callable[[], Any]] = {"ours": ours, "fresh": fresh}
        result["run_code"] = await beside(rivals, "/run_code", run_code_body, ran_right, options)
    if "stdio" in options.parts:
        rivals = {"ours": ours}
        if options.open_instruct:
            rivals["open_instruct"] = lambda: open_instruct(*options.open_instruct)
        result["stdio"] = await beside(rivals, "/test_program_stdio", stdio_body, passed_all, options)
    if "http" in options.parts:
        result["http"] = await cost_of_http(options)
    if "overload" in options.parts:
        with ours() as served:
            once = ask(f"{served.url}/run_code", run_code_body, ran_right)
            capacity = (await measure(served, once, options.seconds))["per_second"]
        result["overload"] = {
            "judge": await overload(capacity, options.seconds, f"/v1/judge?deadline_seconds={DEADLINE_SECONDS}"),
            "run_code": await overload(capacity, options.seconds, "/run_code"),
        }
    return result


async def beside(
    rivals: dict[str, Callable[[], Any]],
    path: str,
    body: Callable[[object], Any],
    is_right: Callable[[Any], bool],
    options: argparse.Namespace,
) -> dict[str, Any]:
    """The rivals in turns; the first is compared with the others."""
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in rivals}
    for _ in range(options.rounds):
        for name, start in rivals.items():
            with start() as served:
                once = ask(served.url + path, body, is_right)
                concurrent = CONCURRENT if name != "open_instruct" else SLOW_CONCURRENT
                rounds[name].append(await measure(served, once, options.seconds, concurrent))
    found: dict[str, Any] = {name: medians(each) for name, each in rounds.items()}
    for name, each in found.items():
        print(
            f"{path} {name}: {each['per_second']:.0f}/s, {each['per_core_second']:.0f}/s per core "
            f"({each['core_milliseconds']:.2f} ms each, {each['server_milliseconds']:.2f} in the serving process), "
            f"p50 {each['p50_seconds']:.2f} s, p99 {each['p99_seconds']:.2f} s"
        )
    first, *others = rivals
    for name in others:
        ratios = [
            mine["per_core_second"] / theirs["per_core_second"]
            for mine, theirs in zip(rounds[first], rounds[name], strict=True)
        ]
        found[f"times_{name}"] = statistics.median(ratios)
        print(f"{path}: {statistics.median(ratios):.1f} times the requests per core of {name}")
    found["rounds"] = rounds
    return found


async def cost_of_http(options: argparse.Namespace) -> dict[str, Any]:
    """Processor time for a judgement through HTTP and directly, with the same in flight, for 1 test and for ten."""
    found: dict[str, Any] = {}
    for tests in (1, TESTS):
        over_http, directly = [], []
        for _ in range(options.rounds):
            with ours() as served:
                once = ask(
                    f"{served.url}/v1/judge",
                    lambda number, tests=tests: judge_body(number, tests),
                    lambda answer: answer["reward"] == 1.0,
                )
                over_http.append(await measure(served, once, options.seconds, concurrent=32))
            directly.append(await judge_directly(tests, options.seconds))
        mine, bare = medians(over_http), medians(directly)
        extra = mine["server_milliseconds"] - bare["server_milliseconds"]
        found[f"tests_{tests}"] = {"http": mine, "direct": bare, "share": extra / mine["core_milliseconds"]}
        print(
            f"a judgement of {tests} tests takes {mine['core_milliseconds']:.2f} ms over HTTP, of them "
            f"{mine['server_milliseconds']:.2f} in the serving process; directly {bare['core_milliseconds']:.2f} and "
            f"{bare['server_milliseconds']:.2f}: HTTP is {100 * extra / mine['core_milliseconds']:.1f} % of it"
        )
    return found


async def judge_directly(tests: int, seconds: float) -> dict[str, float]:
    """The same judgements by an evaluator in this process."""
    here, count = Served("", os.getpid()), 0
    async with Evaluator(EvaluatorSettings()) as evaluator:
        given = json.dumps(judge_body(0, tests)["tests"])
        problem = Problem(problem_id="sum", position=0, question="", tests=given)
        ends_at = time.perf_counter() + seconds

        async def caller(number: int) -> None:
            nonlocal count
            while time.perf_counter() < ends_at:
                verdict = await evaluator.judge(problem, f"{SUM}# {time.time_ns()} {number}\n")
                assert verdict.status is Status.PASSED
                count += 1

        await evaluator.judge(problem, SUM)
        before, began = here.core_seconds(), time.perf_counter()
        async with anyio.create_task_group() as tasks:
            for number in range(32):
                tasks.start_soon(caller, number)
        wall, after = time.perf_counter() - began, here.core_seconds()
    return {
        "per_second": count / wall,
        "server_milliseconds": 1000 * (after[0] - before[0]) / count,
        "core_milliseconds": 1000 * (after[1] - before[1]) / count,
    }


async def overload(capacity: float, seconds: float, path: str) -> dict[str, Any]:
    """Requests at four times the capacity, at an even pace whatever is answered; what becomes of each."""
    is_patient = path == "/run_code"
    became: Counter[str] = Counter()
    waited: dict[str, list[float]] = {"answered": [], "refused": [], "late": []}
    with ours() as served:
        await ready(served, ask(f"{served.url}/run_code", run_code_body, ran_right))

        async def one(session: aiohttp.ClientSession, number: int) -> None:
            # A verl whose time-outs come to the same deadline: 10 seconds of its own, less 2.
            body = judge_body(time.time_ns(), 1)
            if is_patient:
                body = {**run_code_body(time.time_ns()), "compile_timeout": 0, "run_timeout": 1}
            began = time.perf_counter()
            try:
                async with session.post(served.url + path, json=body) as answer:
                    found = await answer.json()
                    status = answer.status
            except (aiohttp.ClientError, json.JSONDecodeError) as error:
                became[f"lost: {type(error).__name__}"] += 1
                return
            taken = time.perf_counter() - began
            if status == 200:
                right = ran_right(found) if is_patient else found["reward"] == 1.0
                became["answered" if right else "answered wrongly"] += 1
                waited["answered"].append(taken)
            elif status in (503, 504):
                name = "refused" if status == 503 else "late"
                became[name] += 1
                waited[name].append(taken)
            else:
                became[f"status {status}"] += 1

        async with client() as session, asyncio.TaskGroup() as tasks:
            began = time.perf_counter()
            for number in range(int(4 * capacity * seconds)):
                await asyncio.sleep(max(0.0, began + number / (4 * capacity) - time.perf_counter()))
                tasks.create_task(one(session, number))
            sent_in = time.perf_counter() - began
    found: dict[str, Any] = {"sent_per_second": sum(became.values()) / sent_in, "became": dict(became)}
    for name, each in waited.items():
        if each:
            each.sort()
            found[name] = {
                "p50_seconds": each[len(each) // 2],
                "p99_seconds": each[int(len(each) * 0.99)],
                "max_seconds": each[-1],
            }
    print(f"overload {path}: {json.dumps(found)}")
    return found


async def soak(requests: int) -> dict[str, Any]:
    """So many requests of every kind, 64 at once, and the memory meanwhile."""
    gauges: list[int] = []
    became: Counter[str] = Counter()
    with ours() as served:
        await ready(served, ask(f"{served.url}/run_code", run_code_body, ran_right))
        began, number = time.perf_counter(), 0

        async def caller(session: aiohttp.ClientSession) -> None:
            nonlocal number
            while number < requests:
                mine, number = number, number + 1
                if mine % max(1, requests // 100) == 0:
                    gauges.append(served.resident_bytes())
                became[await one_of_many_kinds(session, served.url, mine)] += 1

        async with client() as session:
            await asyncio.gather(*(caller(session) for _ in range(64)))
        wall = time.perf_counter() - began
    tenth = len(gauges) // 10
    # Until then the evaluator's cache of 4,096 verdicts may still fill: with 100,000 requests a third of the way.
    early, late = statistics.median(gauges[4 * tenth : 5 * tenth]), statistics.median(gauges[-tenth:])
    print(f"{requests} requests in {wall:.0f} s: {dict(became)}")
    print(f"the service: {early / 1e6:.1f} MB early, {late / 1e6:.1f} MB late, {late / early:.3f} times")
    return {
        "hardware": f"{os.cpu_count()} cores, {processor_name()}, Python {platform.python_version()}",
        "requests": requests,
        "seconds": wall,
        "became": dict(became),
        "early_bytes": early,
        "late_bytes": late,
        "grew": late / early,
        "resident_bytes": gauges,
    }


async def one_of_many_kinds(session: aiohttp.ClientSession, url: str, number: int) -> str:
    """Sends one request, and says what kind of answer came. Raises `AssertionError` if it is not the one to expect."""
    kind = number % 64
    if number % 256 == 0:  # a caller that leaves: the worker that is killed for it takes half a second to replace
        with suppress(TimeoutError, asyncio.TimeoutError):
            async with asyncio.timeout(0.05), session.post(f"{url}/v1/judge", json=judge_body(number, 100)):
                return "left too late"
        return "left"
    if kind == 1:
        async with session.post(f"{url}/v1/judge", data=b"{") as answer:
            assert answer.status == 400
            return "bad request"
    if kind == 2:
        items = [{**judge_body(f"{number} {each}", 2), "id": each} for each in range(4)]
        async with session.post(f"{url}/v1/judge", json=items) as answer:
            lines = [json.loads(line) for line in (await answer.read()).splitlines()]
            assert sorted(line["id"] for line in lines) == list(range(4))
            return "list"
    if kind == 3:
        async with session.post(
            f"{url}/run_code", json={**run_code_body(number), "code": "raise ValueError"}
        ) as answer:
            assert (await answer.json())["status"] == "Failed"
            return "failed"
    if kind < 8:
        async with session.post(f"{url}/test_program_stdio", json=stdio_body(number)) as answer:
            assert (await answer.json())["results"] == [1] * TESTS
            return "stdio"
    async with session.post(f"{url}/run_code", json=run_code_body(number)) as answer:
        assert ran_right(await answer.json())
        return "run_code"


def processor_name() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
