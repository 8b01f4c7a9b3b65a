"""An OpenAI-compatible server with faults, in the event loop of a test: aiohttp's own, on a port of its own.

It answers with a text made of the seed, so that a test can see which sample a text belongs to, and whether it would be
another one in other company. `Behaviour` says how it differs from a server that works; it may be exchanged while it runs.

`owned_by` names the server whose wire it has: vLLM's (0.32, probed), SGLang's (read in the source of 0.5.23, never run
here) or llama.cpp's (b11549, probed).
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Answer = Callable[[dict[str, Any]], Awaitable[web.StreamResponse]]


@dataclass
class Behaviour:
    """How a server answers. `faults` are tried for the first requests of a run of samples, in turn, as often as said."""

    model: str = "m"
    root: str | None = "/models/m"
    context_length: int | None = None
    owned_by: str = "vllm"
    lists_models: bool = True
    has_health: bool = True
    is_loading: bool = False
    health_hangs: bool = False
    seconds: float = 0.0
    slots: int | None = None  # as many at once, the rest queues
    cap: int | None = None  # one more in flight is refused with status 503
    retry_after: str | None = None
    rejects: frozenset[str] = frozenset()
    is_greedy: bool = False
    ignores_seeds: bool = False
    key: str | None = None
    fingerprint: str = "fake-1"
    faults: tuple[str, ...] = ()  # one after another, as requests come; see `_fail`
    text: Callable[[dict[str, Any]], str] | None = None
    finish_reason: str = "stop"
    extra: dict[str, Any] = field(default_factory=dict)  # of the message or choice


class FakeServer:
    """One server. `asked` are the bodies of all requests for samples, the probes' aside."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.asked: list[dict[str, Any]] = []
        self.probes = 0
        self.in_flight = self.most_in_flight = self.refused = self.completed = self.left = 0
        self.headers: list[dict[str, str]] = []
        self._runner: web.AppRunner | None = None
        self._port = 0
        self._slots = asyncio.Semaphore(behaviour.slots or 10_000)
        self._faults = list(behaviour.faults)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/health", self._health)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/props", self._props)
        app.router.add_post("/tokenize", self._tokenize)
        app.router.add_post("/v1/completions", self._complete)
        app.router.add_post("/v1/chat/completions", self._complete)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def kill(self) -> None:
        """What `kill -9` does: the port is closed, and every connection reset."""
        if self._runner is None:
            return
        runner, self._runner = self._runner, None
        server = runner.server
        assert server is not None
        for site in list(runner.sites):
            await site.stop()
        for connection in list(server.connections):  # type: ignore[attr-defined]
            if connection.transport is not None:
                connection.transport.abort()
        await runner.cleanup()
        self.in_flight = 0

    async def _health(self, request: web.Request) -> web.Response:
        if self.behaviour.health_hangs:
            await asyncio.sleep(3600)
        if not self.behaviour.has_health:
            return web.Response(status=404)
        return web.Response(status=503 if self.behaviour.is_loading else 200)

    async def _models(self, request: web.Request) -> web.Response:
        behaviour = self.behaviour
        if not behaviour.lists_models:
            return web.Response(status=500, text="Internal Server Error")
        if not self._is_let_in(request):
            return web.json_response({"error": {"message": f"wrong key {behaviour.key}"}}, status=401)
        model: dict[str, Any] = {"id": behaviour.model, "owned_by": behaviour.owned_by}
        match behaviour.owned_by:
            case "llamacpp":
                model["meta"] = {"n_ctx_train": 131072}
            case "sglang":
                model |= {"root": behaviour.model, "max_model_len": behaviour.context_length}
            case _:
                model |= {"root": behaviour.root, "max_model_len": behaviour.context_length}
        return web.json_response({"data": [model]})

    async def _props(self, request: web.Request) -> web.Response:
        if self.behaviour.owned_by != "llamacpp":
            return web.Response(status=404)
        return web.json_response({"default_generation_settings": {"n_ctx": self.behaviour.context_length}})

    async def _tokenize(self, request: web.Request) -> web.Response:
        if self.behaviour.owned_by == "llamacpp":
            return web.json_response({"tokens": []})
        return web.json_response({"count": self._count(await request.json())})

    def _is_let_in(self, request: web.Request) -> bool:
        key = self.behaviour.key
        return key is None or request.headers.get("Authorization") == f"Bearer {key}"

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        behaviour, body = self.behaviour, await request.json()
        self.headers.append(dict(request.headers))
        if not self._is_let_in(request):
            return web.json_response({"error": {"message": "Incorrect API key"}}, status=401)
        if body["model"] != behaviour.model and behaviour.owned_by == "vllm":
            return web.json_response({"error": {"message": f"no model {body['model']}"}}, status=404)
        if behaviour.rejects & set(body):
            named = sorted(behaviour.rejects & set(body))
            return web.json_response({"detail": f"Unexpected fields in the request: {named}"}, status=422)
        if "twenty words" in json.dumps(body):
            self.probes += 1
            return self._answer(body)
        self.asked.append(body)
        if behaviour.cap is not None and self.in_flight >= behaviour.cap:
            self.refused += 1
            headers = {} if behaviour.retry_after is None else {"Retry-After": behaviour.retry_after}
            error = {"message": "queue full"}
            content = {"object": "error", **error} if behaviour.owned_by == "sglang" else {"error": error}
            return web.json_response(content, status=503, headers=headers)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            async with self._slots:
                if self._faults and (fault := self._faults.pop(0)) != "none":
                    return await self._fail(fault, request, body)
                await asyncio.sleep(behaviour.seconds)
        except asyncio.CancelledError:
            self.left += 1
            raise
        finally:
            self.in_flight -= 1
        self.completed += 1
        return self._answer(body)

    def _answer(self, body: dict[str, Any]) -> web.Response:
        behaviour = self.behaviour
        prompt_tokens = self._count(body)
        wanted = body.get("max_tokens", body.get("max_completion_tokens"))
        if behaviour.context_length is not None:
            refusal = REFUSALS.get(behaviour.owned_by, _refuse_as_vllm)(prompt_tokens, wanted, behaviour.context_length)
            if refusal is not None:
                return web.json_response(refusal, status=400)
        choice: dict[str, Any] = {"index": 0, "finish_reason": behaviour.finish_reason}
        if behaviour.owned_by == "vllm":
            choice["stop_reason"] = None
        elif behaviour.owned_by == "sglang":
            choice["matched_stop"] = 0 if behaviour.finish_reason == "stop" else None  # the token that ended it
        if "messages" in body:
            choice["message"] = {"role": "assistant", "content": self._text(body), **behaviour.extra}
        else:
            choice |= {"text": self._text(body), **behaviour.extra}
        usage = {"prompt_tokens": prompt_tokens, "completion_tokens": 5}
        answer = {"choices": [choice], "usage": usage}
        if behaviour.owned_by != "sglang":
            answer["system_fingerprint"] = behaviour.fingerprint
        return web.json_response(answer)

    def _text(self, body: dict[str, Any]) -> str:
        behaviour = self.behaviour
        if behaviour.text is not None and "twenty words" not in json.dumps(body):
            return behaviour.text(body)
        if behaviour.is_greedy or body["temperature"] == 0:
            return "the likeliest text"
        if behaviour.ignores_seeds or "seed" not in body:
            return " ".join(random.choices("abcdefgh", k=20))
        return text_of(body["seed"])

    def _count(self, body: dict[str, Any]) -> int:
        return len(body.get("prompt") or body["messages"][-1]["content"])

    async def _fail(self, fault: str, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        match fault:
            case "500":
                return web.json_response({"error": {"message": "EngineCore encountered an issue"}}, status=500)
            case "502":
                return web.Response(status=502, text="<html>Bad Gateway</html>")
            case "503":
                return web.Response(status=503)
            case "429":
                return web.Response(status=429, headers={"Retry-After": "0.05"})
            case "reset":
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            case "hang":
                await asyncio.sleep(3600)
                raise AssertionError("nobody waits that long")
            case "null":
                return web.json_response({"choices": [{"index": 0, "text": "half", "finish_reason": None}]})
            case "stream":
                half = json.dumps({"choices": [{"index": 0, "text": "half", "finish_reason": None}]})
                text = f'data: {half}\n\ndata: {{"error": {{"message": "EngineCore died"}}}}\n\ndata: [DONE]\n\n'
                return web.Response(text=text, content_type="text/event-stream")
            case "truncated":
                response = web.StreamResponse(headers={"Content-Length": "500", "Content-Type": "application/json"})
                await response.prepare(request)
                await response.write(b'{"choices": [{"index": 0, "text": "half')
                assert request.transport is not None
                request.transport.close()
                return response
            case "broken":
                return web.Response(text='{"choices": [{"index": 0, "text": "half', content_type="application/json")
            case "redirect":
                return web.Response(status=307, headers={"Location": "http://127.0.0.1:9/elsewhere"})
        raise AssertionError(fault)


def _refuse_as_vllm(prompt: int, wanted: int, longest: int) -> dict[str, Any] | None:
    if wanted > longest:
        message = f"max_tokens={wanted} cannot be greater than max_model_len={longest}"
        return {"error": {"message": message, "param": "max_tokens"}}
    if prompt < longest:
        return None
    message = f"This model's maximum context length is {longest} tokens. However, your prompt contains at least "
    return {"error": {"message": f"{message}{longest + 1} input tokens", "param": "input_tokens"}}


def _refuse_as_sglang(prompt: int, wanted: int, longest: int) -> dict[str, Any] | None:
    if prompt >= longest:
        message = f"The input ({prompt} tokens) is longer than the model's context length ({longest} tokens)."
    elif prompt + wanted > longest:
        message = (
            f"Requested token count exceeds the model's maximum context length of {longest} tokens. You requested a "
            f"total of {prompt + wanted} tokens: {prompt} tokens from the input messages and {wanted} tokens for the "
            "completion. Please reduce the number of tokens in the input messages or the completion to fit within the "
            "limit."
        )
    else:
        return None
    return {"object": "error", "message": message, "type": "BadRequestError", "param": None, "code": 400}


def _refuse_as_llama_cpp(prompt: int, wanted: int, longest: int) -> dict[str, Any] | None:
    if prompt < longest:
        return None
    message = f"request ({prompt} tokens) exceeds the available context size ({longest} tokens), try increasing it"
    kind = "exceed_context_size_error"
    return {"error": {"code": 400, "message": message, "type": kind, "n_prompt_tokens": prompt, "n_ctx": longest}}


REFUSALS: dict[str, Callable[[int, int, int], dict[str, Any] | None]] = {
    "vllm": _refuse_as_vllm,
    "sglang": _refuse_as_sglang,
    "llamacpp": _refuse_as_llama_cpp,
}


def text_of(seed: int) -> str:
    """The text of the sample with this seed."""
    return f"x = {random.Random(seed).getrandbits(64)}"


def seeds_asked(server: FakeServer) -> Counter[int]:
    """How often each sample was asked for."""
    return Counter(body["seed"] for body in server.asked)


@asynccontextmanager
async def serving(**behaviour: Any) -> AsyncIterator[FakeServer]:
    """A server that runs inside the block, unless it is killed there."""
    server = FakeServer(Behaviour(**behaviour))
    await server.start()
    try:
        yield server
    finally:
        await server.kill()
