"""One server as the engine sees it: what it serves, what it understands, and samples from it.

Nothing here is retried, and nothing is counted: `sampler` decides on an outcome.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

import anyio
import msgspec

from taco_stream.engine.server.answer import (
    Answered,
    Failed,
    Outcome,
    PromptRefused,
    SampleRefused,
    ServerUnusable,
    Unreachable,
    read_answer,
)
from taco_stream.engine.server.body import DROPPABLE, Body, changed_by_dropping, sample_body
from taco_stream.engine.server.connection import Connection, Reply
from taco_stream.engine.server.description import (
    Description,
    choose_model,
    read_models,
    read_slot_length,
    read_token_count,
    root_of,
)
from taco_stream.engine.server.probing import (
    PROBE_SEEDS,
    PROBE_TOKENS,
    SAMPLING_TEMPERATURES,
    has_sampled,
    have_seeds_held,
    probe_request,
    rejected_fields,
)
from taco_stream.errors import UsageError
from taco_stream.events import EngineEvent, ServerFieldDropped, ServerFieldIgnored
from taco_stream.types import ChatPrompt, Request, SamplingParameters

EventSender = Callable[[EngineEvent], Awaitable[None]]


class Dialect(NamedTuple):
    """What a server makes of requests of one kind: the fields that it rejects, and those that it takes and ignores."""

    dropped: frozenset[str] = frozenset()
    ignored: frozenset[str] = frozenset()

    @property
    def without(self) -> tuple[str, ...]:
        """The fields that do not count, for the samples' identity."""
        return tuple(sorted(self.dropped | self.ignored))


class RemoteServer:
    """Asks one server.

    `model` is the name to ask for, None for the only one that it serves. `may_ignore` names fields whose loss changes
    what is sampled and that are given up if need be. `secret` is taken out of whatever the server says.
    """

    def __init__(
        self,
        url: str,
        connection: Connection,
        *,
        model: str | None,
        may_ignore: frozenset[str],
        secret: str | None,
        send_event: EventSender,
    ) -> None:
        self.url = url
        self.description: Description | None = None
        self._connection = connection
        self._model = model
        self._may_ignore = may_ignore
        self._secret = secret.encode() if secret else None
        self._send_event = send_event
        self._has_health = False
        self._dialects: dict[object, Dialect] = {}
        self._learning = anyio.Lock()

    async def describe(self) -> Description | Unreachable | ServerUnusable:
        """Asks whether the server is well, and what it serves. Raises `UsageError` if that is not the model.

        `/health` is believed where it exists, since vLLM goes on listing its models when its engine has died.
        """
        health = await self._connection.get(f"{root_of(self.url)}/health")
        models = await self._connection.get(f"{self.url}/models")
        if not isinstance(models, Reply):
            return Unreachable(models.message, was_connected=True) if isinstance(models, Failed) else models
        if models.status in (401, 403) or 300 <= models.status < 400:
            outcome = self._read(models, ())
            assert isinstance(outcome, ServerUnusable)
            return outcome
        is_healthy = isinstance(health, Reply) and health.status == 200
        if not is_healthy and (self._has_health or (isinstance(health, Reply) and health.status == 503)):
            said = f"status {health.status}" if isinstance(health, Reply) else health.message
            return Unreachable(f"its /health says {said}", was_connected=True)
        is_listed = models.status == 200
        if not is_listed and not is_healthy:
            if models.status == 404:
                return ServerUnusable(
                    f"there is no OpenAI-compatible server at {self.url}: it has no {self.url}/models"
                )
            return Unreachable(f"its /models says status {models.status}", was_connected=True)
        if self.description is not None and self.description.root is not None and not is_listed:
            return Unreachable(f"its /models says status {models.status}", was_connected=True)
        self._has_health |= is_healthy
        served = read_models(models.content) if is_listed else []
        description = choose_model(self.url, self._model, served)
        if description.context_length is None and any(model.owned_by == "llamacpp" for model in served):
            properties = await self._connection.get(f"{root_of(self.url)}/props")
            if isinstance(properties, Reply):
                description = description._replace(context_length=read_slot_length(properties.content))
        return description

    async def learn(self, request: Request) -> Dialect | Outcome:
        """The dialect for requests like this one; asks once for each kind. An outcome is why it cannot be learnt now.

        Raises `UsageError` if the server refuses requests of this kind, or gives other samples than those asked for.
        """
        thinking = request.prompt.thinking if isinstance(request.prompt, ChatPrompt) else None
        kind = (type(request.prompt), thinking, request.sampling)
        if (dialect := self._dialects.get(kind)) is not None:
            return dialect
        async with self._learning:
            if kind not in self._dialects:
                sampling = msgspec.structs.replace(request.sampling, max_new_tokens=PROBE_TOKENS)
                learnt = await self._probe(probe_request(request.prompt, sampling))
                if not isinstance(learnt, Dialect):
                    return learnt
                self._dialects[kind] = learnt
        return self._dialects[kind]

    async def sample(self, request: Request, sample_index: int, dialect: Dialect) -> Outcome:
        """Asks for one sample.

        One that does not fit into the context, prompt and all, is asked for again with the tokens that are left.
        """
        assert self.description is not None
        body = sample_body(self.description.model, request, sample_index, dialect.dropped)
        wanted, longest = request.sampling.max_new_tokens, self.description.context_length
        if longest is not None and wanted > longest:  # vLLM refuses such a number, whatever the prompt
            wanted = longest
            body = body.with_max_tokens(wanted)
        outcome = await self._ask(body, request.sampling.stop)
        if isinstance(outcome, PromptRefused):
            # The larger count is right: vLLM says "at least", SGLang adds tokens of its own that it reserves.
            counts = [count for count in (await self._count_tokens(body), outcome.prompt_tokens) if count is not None]
            outcome = outcome._replace(
                prompt_tokens=max(counts, default=None), context_length=outcome.context_length or longest
            )
            if outcome.prompt_tokens is None or outcome.context_length is None:
                return outcome
            left = outcome.context_length - outcome.prompt_tokens
            if 0 < left < wanted:
                return await self._ask(body.with_max_tokens(left), request.sampling.stop)
        return outcome

    async def _probe(self, request: Request) -> Dialect | Outcome:
        assert self.description is not None
        dropped: frozenset[str] = frozenset()
        while True:
            body = sample_body(self.description.model, request, 0, dropped)
            outcome = await self._ask(body, request.sampling.stop)
            match outcome:
                case Answered():
                    break
                case SampleRefused(message, content):
                    sent = {name for name, value in msgspec.structs.asdict(body).items() if value is not None}
                    rejected = rejected_fields(content, sent & DROPPABLE)
                    if not rejected:
                        raise UsageError(f"{self.url} refuses to answer: {message}")
                    dropped |= rejected
                case ServerUnusable(message) | PromptRefused(message, _, _):
                    raise UsageError(f"{self.url} cannot be used: {message}")
                case _:
                    return outcome
        self._refuse_unless_allowed(changed_by_dropping(request, dropped), "rejects")
        ignored = await self._find_ignored(request, dropped)
        if not isinstance(ignored, frozenset):
            return ignored
        self._refuse_unless_allowed(ignored - {"seed"}, "ignores")
        for field in sorted(dropped):
            message = f"{self.url} rejects {field}, and is asked without it"
            await self._send_event(ServerFieldDropped(message=message, url=self.url, field=field))
        for field in sorted(ignored):
            message = f"{self.url} ignores {field}"
            await self._send_event(ServerFieldIgnored(message=message, url=self.url, field=field))
        return Dialect(dropped, ignored)

    def _refuse_unless_allowed(self, fields: frozenset[str], verb: str) -> None:
        forbidden = sorted(fields - self._may_ignore)
        if forbidden:
            permission = " ".join(f"--server-may-ignore {field}" for field in forbidden)
            raise UsageError(
                f"{self.url} {verb} {', '.join(forbidden)}, so its samples are not those asked for; "
                f"{permission} goes on with what it gives"
            )

    async def _find_ignored(self, request: Request, dropped: frozenset[str]) -> frozenset[str] | Outcome:
        """The fields of `temperature` and `seed` that make no difference. Nothing is to be found for greedy samples."""
        if request.sampling.temperature == 0 or "temperature" in dropped:
            return frozenset()
        for temperature in SAMPLING_TEMPERATURES:
            sampling = SamplingParameters(temperature=temperature, top_p=1.0, max_new_tokens=PROBE_TOKENS)
            texts: list[str] = []
            for seed in PROBE_SEEDS:
                text = await self._probe_text(request, sampling, seed, dropped)
                if not isinstance(text, str):
                    if isinstance(text, SampleRefused) and temperature != SAMPLING_TEMPERATURES[0]:
                        break  # some take no temperature above 1
                    return text
                texts.append(text)
                if has_sampled(texts):
                    break
            if not has_sampled(texts):
                continue
            if "seed" in dropped:
                return frozenset()
            repeated = await self._probe_text(request, sampling, PROBE_SEEDS[0], dropped)
            if not isinstance(repeated, str):
                return repeated
            return frozenset() if have_seeds_held(texts, repeated) else frozenset({"seed"})
        return frozenset({"temperature"})

    async def _probe_text(
        self, request: Request, sampling: SamplingParameters, seed: int, dropped: frozenset[str]
    ) -> str | Outcome:
        assert self.description is not None
        asked = probe_request(request.prompt, sampling, seed=seed)
        outcome = await self._ask(sample_body(self.description.model, asked, 0, dropped), ())
        return outcome.reasoning + outcome.text if isinstance(outcome, Answered) else outcome

    async def _count_tokens(self, body: Body) -> int | None:
        """The length of a prompt by `/tokenize` of vLLM or SGLang: refusals may say "at least", or count characters."""
        prompt = {"prompt": body.prompt} if body.messages is None else {"messages": body.messages}
        content = msgspec.json.encode({"model": body.model, **prompt})
        reply = await self._connection.post(f"{root_of(self.url)}/tokenize", content)
        return read_token_count(reply.content) if isinstance(reply, Reply) and reply.status == 200 else None

    async def _ask(self, body: Body, stop_strings: tuple[str, ...]) -> Outcome:
        url = f"{self.url}/completions" if body.messages is None else f"{self.url}/chat/completions"
        try:
            content = msgspec.json.encode(body)
        except UnicodeEncodeError:
            return SampleRefused("the prompt has half a surrogate pair, which is not text")
        reply = await self._connection.post(url, content)
        return self._read(reply, stop_strings) if isinstance(reply, Reply) else reply

    def _read(self, reply: Reply, stop_strings: tuple[str, ...]) -> Outcome:
        content = reply.content
        if self._secret is not None:
            content = content.replace(self._secret, b"***")
        return read_answer(reply.status, reply.headers, content, stop_strings)
