"""The server engine against servers that fail: every sample once, with its own text, or an error that says why."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
import pytest

pytest.importorskip("aiohttp", reason="the extra `server` is not installed")

from engine.server.fake_server import Behaviour, FakeServer, seeds_asked, serving, text_of

from taco_stream.engine.server.body import sample_seed
from taco_stream.engine.server.engine import ServerEngine
from taco_stream.engine.settings import ServerSettings
from taco_stream.errors import EngineError, UsageError
from taco_stream.events import (
    EngineEvent,
    PromptTooLong,
    ServerChanged,
    ServerDown,
    ServerFieldDropped,
    ServerFieldIgnored,
    ServerLimit,
    ServerOverloaded,
    ServerUp,
)
from taco_stream.types import (
    ChatMessage,
    ChatPrompt,
    Completion,
    FinishReason,
    Prompt,
    Request,
    SampleKey,
    SamplingParameters,
    TextPrompt,
)

pytestmark = pytest.mark.anyio

KEY = "sk-very-secret"


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses a hundredth as long as they are."""
    monkeypatch.setattr("taco_stream.engine.server.fleet.FIRST_RETRY_SECONDS", 0.0025)
    monkeypatch.setattr("taco_stream.engine.server.fleet.FIRST_PAUSE_SECONDS", 0.005)
    monkeypatch.setattr("taco_stream.engine.server.supervisor.FIRST_PAUSE_SECONDS", 0.005)
    monkeypatch.setattr("taco_stream.engine.server.supervisor.LONGEST_PAUSE_SECONDS", 0.1)


def requests(problems: int = 4, samples: int = 5, *, prompt: Prompt | None = None, **sampling: Any) -> list[Request]:
    return [
        Request(
            problem_id=f"problem/{number}",
            prompt=prompt or TextPrompt(f"say {number}"),
            sample_indices=tuple(range(samples)),
            sampling=SamplingParameters(**{"max_new_tokens": 8, "temperature": 0.8, **sampling}),
            seed=11,
        )
        for number in range(problems)
    ]


class Run:
    """What an engine answered and reported."""

    def __init__(self) -> None:
        self.completions: list[Completion] = []
        self.events: list[EngineEvent] = []

    def of_kind(self, kind: type[msgspec.Struct]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@asynccontextmanager
async def opened(
    *urls: str, into: Run, model: str | None = None, key: str | None = None, **settings: Any
) -> AsyncIterator[ServerEngine]:
    send, receive = anyio.create_memory_object_stream[EngineEvent](10_000)
    made = ServerSettings(
        server=",".join(urls), api_key_env="KEY" if key else None, **{"server_patience": 5.0, **settings}
    )
    with send, receive:
        try:
            async with ServerEngine(made, model=model, events=send, environ={"KEY": key or ""}) as engine:
                yield engine
        finally:
            while receive.statistics().current_buffer_used:
                into.events.append(receive.receive_nowait())


async def generate(
    asked: list[Request],
    *urls: str,
    during: Callable[[Run], Awaitable[None]] | None = None,
    into: Run | None = None,
    **settings: Any,
) -> Run:
    """Everything that an engine over the servers answers; `during` runs beside it."""
    run, failure = into or Run(), None
    with anyio.fail_after(200):
        async with opened(*urls, into=run, **settings) as engine, anyio.create_task_group() as beside:
            if during is not None:
                beside.start_soon(during, run)
            try:
                async with engine.generate(asked) as stream:
                    async for completion in stream:
                        run.completions.append(completion)
            except (EngineError, UsageError) as error:  # which the task group would wrap
                failure = error
    if failure is not None:
        raise failure
    return run


async def until(condition: Callable[[], bool]) -> None:
    """Waits for something that a server does in the same event loop."""
    while not condition():  # noqa: ASYNC110 - nobody announces it
        await asyncio.sleep(0.005)


def keys(asked: list[Request]) -> Counter[SampleKey]:
    return Counter(SampleKey(request.problem_id, index) for request in asked for index in request.sample_indices)


def check_each_once_with_its_own_text(run: Run, asked: list[Request]) -> None:
    assert Counter(completion.key for completion in run.completions) == keys(asked)
    for completion in run.completions:
        assert completion.finish_reason is FinishReason.STOP, completion.error
        assert completion.text == text_of(sample_seed(11, completion.problem_id, completion.sample_index))


@pytest.mark.both_loops
async def test_every_sample_is_asked_for_once_with_a_seed_of_its_own(anyio_backend: object) -> None:
    async with serving() as server:
        run = await generate(requests(), server.url)
    check_each_once_with_its_own_text(run, requests())
    assert set(seeds_asked(server).values()) == {1}
    assert len(seeds_asked(server)) == 20


@pytest.mark.parametrize("fault", ["500", "502", "503", "429", "reset", "null", "stream", "truncated", "broken"])
async def test_a_fault_loses_repeats_and_spoils_nothing(fault: str) -> None:
    async with serving(faults=("none", fault, fault, "none", fault) + ("none",) * 10 + (fault,) * 3) as server:
        run = await generate(requests(), server.url)
    check_each_once_with_its_own_text(run, requests())
    assert len(server.asked) == 26


async def test_all_faults_at_once_on_two_servers() -> None:
    kinds = ("500", "502", "503", "429", "reset", "null", "stream", "truncated", "broken", "none", "none", "none")
    asked = requests(problems=20, samples=10)
    async with (
        serving(faults=kinds * 4, seconds=0.002) as one,
        serving(faults=kinds[::-1] * 4, cap=20, slots=8) as other,
    ):
        run = await generate(asked, one.url, other.url)
    check_each_once_with_its_own_text(run, asked)
    assert one.completed > 0
    assert other.completed > 0


async def test_a_hanging_request_is_tried_again_after_the_time_out() -> None:
    async with serving(faults=("none", "hang")) as server:
        run = await generate(requests(), server.url, server_timeout=0.3)
    check_each_once_with_its_own_text(run, requests())


async def test_a_request_that_always_fails_is_an_error_and_no_other_is() -> None:
    class Poisoned(FakeServer):
        async def _fail(self, fault: str, request: Any, body: dict[str, Any]) -> Any:
            return await super()._fail("500" if body["prompt"] == "say 2" else "none", request, body)

    def text(body: dict[str, Any]) -> str:
        return text_of(body["seed"])

    async with serving(text=text) as server:
        answer = server._answer

        def poisoned(body: dict[str, Any]) -> Any:
            if body["prompt"] == "say 2":
                from aiohttp import web

                return web.json_response({"error": {"message": "no luck"}}, status=500)
            return answer(body)

        server._answer = poisoned  # type: ignore[method-assign]
        run = await generate(requests(samples=1), server.url)
    errors = [completion for completion in run.completions if completion.finish_reason is FinishReason.ERROR]
    assert [completion.problem_id for completion in errors] == ["problem/2"]
    assert "8 attempts failed" in (errors[0].error or "")
    assert "no luck" in (errors[0].error or "")
    assert len(run.completions) == 4


async def test_a_server_that_broke_is_tried_again_after_its_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else happens that would wake the sample."""
    monkeypatch.setattr("taco_stream.engine.server.fleet.FIRST_PAUSE_SECONDS", 0.2)
    asked = requests(problems=1, samples=1)
    async with serving(faults=("500",) * 5) as server:
        run = await generate(asked, server.url)
    check_each_once_with_its_own_text(run, asked)


async def test_a_server_that_is_killed_and_started_again_changes_nothing() -> None:
    asked = requests(problems=30, samples=10)
    async with serving(seconds=0.02, slots=16) as server:

        async def kill_twice(run: Run) -> None:
            for count in (40, 120):
                await until(lambda count=count: len(run.completions) >= count)
                await server.kill()
                await asyncio.sleep(0.1)
                await server.start()

        run = await generate(asked, server.url, during=kill_twice)
    check_each_once_with_its_own_text(run, asked)
    assert len(run.of_kind(ServerDown)) == 2
    assert len(run.of_kind(ServerUp)) == 3


async def test_a_killed_server_costs_no_attempts() -> None:
    """Ten kills, each with all samples in flight: eight attempts would be used up."""
    asked = requests(problems=1, samples=6)
    async with serving(seconds=0.2) as server:

        async def kill(run: Run) -> None:
            for _ in range(10):
                before = len(server.asked)
                await until(lambda before=before: len(server.asked) >= before + 6)
                await server.kill()
                await asyncio.sleep(0.1)
                await server.start()

        run = await generate(asked, server.url, during=kill)
    check_each_once_with_its_own_text(run, asked)


async def test_one_of_two_servers_dies_and_the_other_does_its_work() -> None:
    asked = requests(problems=20, samples=10)
    async with serving(seconds=0.01, slots=16) as one, serving(seconds=0.01, slots=16) as other:

        async def kill(run: Run) -> None:
            await until(lambda: one.completed >= 20)
            await one.kill()

        run = await generate(asked, one.url, other.url, during=kill)
    check_each_once_with_its_own_text(run, asked)
    assert [event.url for event in run.of_kind(ServerDown)] == [f"{one.url}/v1"]


async def test_a_server_that_comes_back_with_another_model_is_not_asked() -> None:
    asked = requests(problems=20, samples=10)
    async with serving(seconds=0.01, slots=16) as one, serving(seconds=0.01, slots=16) as other:

        async def exchange(run: Run) -> None:
            await until(lambda: one.completed >= 20)
            await one.kill()
            one.behaviour.root = "/models/other"
            one.asked.clear()
            await asyncio.sleep(0.1)
            await one.start()

        run = await generate(asked, one.url, other.url, during=exchange)
    check_each_once_with_its_own_text(run, asked)
    assert one.asked == []
    assert len(run.of_kind(ServerUp)) == 2


async def test_servers_that_stay_away_end_the_run_after_what_was_finished() -> None:
    asked, run = requests(problems=30, samples=10), Run()
    async with serving(seconds=0.02, slots=16) as server:

        async def kill(run: Run) -> None:
            await until(lambda: server.completed >= 40)
            await server.kill()

        with pytest.raises(EngineError, match="no server was of use for 0.5 seconds .*the same command resumes"):
            await generate(asked, server.url, during=kill, into=run, server_patience=0.5)
    assert len(run.completions) >= server.completed - 16  # the last answers may have been reset on their way
    assert set(Counter(completion.key for completion in run.completions).values()) == {1}


async def test_a_server_that_refuses_everything_ends_the_run_and_no_sample() -> None:
    run = Run()
    async with serving(cap=0) as server:
        with pytest.raises(EngineError, match="no server was of use for 0.5 seconds .*status 503: queue full"):
            await generate(requests(), server.url, into=run, server_patience=0.5)
    assert run.completions == []


async def test_a_key_that_expires_ends_the_run_and_no_sample() -> None:
    asked, run = requests(problems=30, samples=10), Run()
    async with serving(seconds=0.01, slots=8) as server:

        async def expire(run: Run) -> None:
            await until(lambda: len(run.completions) >= 30)
            server.behaviour.key = "another"

        with pytest.raises(EngineError, match="can no longer be used: status 401"):
            await generate(asked, server.url, during=expire, into=run)
    assert {completion.finish_reason for completion in run.completions} == {FinishReason.STOP}


async def test_a_queue_limit_loses_nothing_and_is_found() -> None:
    """Status 503 without Retry-After for everything beyond 12, as vLLM's --max-num-queued-reqs."""
    asked = requests(problems=30, samples=10)
    async with serving(seconds=0.01, cap=12) as server:
        run = await generate(asked, server.url)
    check_each_once_with_its_own_text(run, asked)
    assert server.refused < 60  # 20 in the first burst, then now and then one
    assert run.of_kind(ServerOverloaded)


async def test_a_server_that_names_a_time_is_left_alone_until_then() -> None:
    async with serving(faults=("429",), retry_after="1") as server:
        arrivals: list[float] = []

        def text(body: dict[str, Any]) -> str:
            arrivals.append(asyncio.get_running_loop().time())
            return text_of(body["seed"])

        server.behaviour.text = text
        run = await generate(requests(problems=1, samples=3), server.url, server_concurrency=1)
    check_each_once_with_its_own_text(run, requests(problems=1, samples=3))
    assert len(server.asked) == 4


async def test_the_limit_is_not_exceeded() -> None:
    async with serving(seconds=0.005) as server:
        await generate(requests(problems=10, samples=10), server.url, server_concurrency=7)
    assert server.most_in_flight == 7


async def test_a_prompts_samples_are_kept_together() -> None:
    asked = requests(problems=16, samples=4)
    async with serving(seconds=0.005) as one, serving(seconds=0.005) as other:
        await generate(asked, one.url, other.url)
    homes: dict[str, set[str]] = {}
    for server in (one, other):
        for body in server.asked:
            homes.setdefault(body["prompt"], set()).add(server.url)
    assert len(one.asked) > 8
    assert len(other.asked) > 8
    assert sum(len(urls) == 1 for urls in homes.values()) >= 12


async def test_samples_do_not_depend_on_who_shares_the_batch() -> None:
    async with serving() as server:
        together = await generate(requests(), server.url)
        alone = await generate(requests(problems=3, samples=2)[2:], server.url, server_concurrency=1)
    texts = {completion.key: completion.text for completion in together.completions}
    for completion in alone.completions:
        assert texts[completion.key] == completion.text


async def test_leaving_a_run_closes_its_connections() -> None:
    async with serving(seconds=3600) as server, opened(server.url, into=Run()) as engine:
        async with anyio.create_task_group() as tasks:
            outbound, inbound = anyio.create_memory_object_stream[Request](1)
            answered, answers = anyio.create_memory_object_stream[Completion](1)
            with outbound, answers:
                tasks.start_soon(engine.run, inbound, answered)
                await outbound.send(requests(problems=1)[0])
                await until(lambda: server.in_flight >= 5)
                assert engine.statistics().rows_busy == 5
                assert engine.statistics().rows_total == 32
                tasks.cancel_scope.cancel()
        with anyio.fail_after(200):
            await until(lambda: not server.in_flight)
        assert engine.statistics().rows_busy == 0
    assert server.left == 5


async def test_a_run_that_is_left_while_a_server_is_checked_leaves_the_engine_of_use() -> None:
    async with serving(faults=("reset",)) as server, opened(server.url, into=Run()) as engine:
        server.behaviour.health_hangs = True
        with anyio.move_on_after(0.3) as left:
            async with engine.generate(requests(problems=1)) as stream:
                _ = [completion async for completion in stream]
        assert left.cancelled_caught
        server.behaviour.health_hangs = False
        with anyio.fail_after(200):
            async with engine.generate(requests(problems=1)) as stream:
                assert len([completion async for completion in stream]) == 5


async def test_a_drain_finishes_what_is_in_flight_and_sends_nothing_more() -> None:
    asked, run = requests(problems=10, samples=10), Run()
    async with serving(seconds=0.2) as server, opened(server.url, into=run, server_concurrency=8) as engine:
        outbound, inbound = anyio.create_memory_object_stream[Request](10)
        answered, answers = anyio.create_memory_object_stream[Completion](200)
        with answers:
            async with anyio.create_task_group() as tasks:
                with outbound:
                    for request in asked:
                        outbound.send_nowait(request)
                tasks.start_soon(engine.run, inbound, answered)
                await until(lambda: server.in_flight >= 8)
                engine.drain()
            completions = [completion async for completion in answers]
    reasons = Counter(completion.finish_reason for completion in completions)
    assert reasons == {FinishReason.STOP: 8, FinishReason.CANCELLED: 92}
    assert Counter(completion.key for completion in completions) == keys(asked)
    assert len(server.asked) == 8


async def test_a_drain_gives_up_what_waits_to_be_tried_again() -> None:
    async with serving(seconds=0.01) as server, opened(server.url, into=Run()) as engine:
        outbound, inbound = anyio.create_memory_object_stream[Request](10)
        answered, answers = anyio.create_memory_object_stream[Completion](200)
        with anyio.fail_after(200), answers:
            async with anyio.create_task_group() as tasks:
                with outbound:
                    outbound.send_nowait(requests()[0])
                await server.kill()
                tasks.start_soon(engine.run, inbound, answered)
                await until(lambda: bool(engine.statistics().samples_waiting))
                engine.drain()
            completions = [completion async for completion in answers]
    assert {completion.finish_reason for completion in completions} == {FinishReason.CANCELLED}
    assert len(completions) == 5


# --- what is learnt at the start


async def test_the_only_model_is_asked_for_and_described() -> None:
    async with serving(context_length=99) as server:
        run = await generate(requests(), server.url)
    assert {body["model"] for body in server.asked} == {"m"}
    assert {completion.engine for completion in run.completions} == {"server:m root=/models/m fake-1"}
    (up,) = run.of_kind(ServerUp)
    assert (up.url, up.model, up.root, up.context_length) == (f"{server.url}/v1", "m", "/models/m", 99)


async def test_a_model_that_is_not_served_is_refused() -> None:
    async with serving() as server:
        with pytest.raises(UsageError, match="--model cannot be 'other': .* serves m"):
            await generate(requests(), server.url, model="other")
    assert server.asked == []


async def test_a_server_without_a_list_is_asked_for_the_model_named() -> None:
    async with serving(lists_models=False, model="./model", owned_by="me") as server:
        run = await generate(requests(), server.url, model="./model")
    check_each_once_with_its_own_text(run, requests())


async def test_servers_of_different_models_are_refused() -> None:
    async with serving() as one, serving(root="/models/other") as other:
        with pytest.raises(UsageError, match="do not serve the same model"):
            await generate(requests(), one.url, other.url)


async def test_what_is_no_such_server_is_refused_at_once() -> None:
    async with serving() as server:
        with pytest.raises(UsageError, match="no OpenAI-compatible server"):
            await generate(requests(), f"{server.url}/elsewhere", server_patience=60.0)


async def test_a_server_that_does_not_answer_is_waited_for() -> None:
    server = FakeServer(Behaviour())
    await server.start()
    url = server.url
    await server.kill()
    with pytest.raises(UsageError, match="no server answers"):
        await generate(requests(), url, server_patience=0.2)

    async with anyio.create_task_group() as tasks:

        async def start_late() -> None:
            await asyncio.sleep(0.3)
            await server.start()

        tasks.start_soon(start_late)
        run = await generate(requests(), url)
    await server.kill()
    check_each_once_with_its_own_text(run, requests())


async def test_a_server_that_is_loading_is_waited_for() -> None:
    async with serving(is_loading=True) as server, anyio.create_task_group() as tasks:

        async def load() -> None:
            await asyncio.sleep(0.3)
            assert server.asked == []
            server.behaviour.is_loading = False

        tasks.start_soon(load)
        run = await generate(requests(), server.url)
    check_each_once_with_its_own_text(run, requests())


async def test_a_second_server_may_join_later() -> None:
    late = FakeServer(Behaviour(seconds=0.01))
    await late.start()
    url = late.url
    await late.kill()
    asked = requests(problems=30, samples=10)
    async with serving(seconds=0.02, slots=4) as server:

        async def join(run: Run) -> None:
            await until(lambda: len(run.completions) >= 20)
            await late.start()

        run = await generate(asked, server.url, url, during=join)
    await late.kill()
    check_each_once_with_its_own_text(run, asked)
    assert late.completed > 20


async def test_a_rejected_field_that_is_off_is_dropped_and_recorded() -> None:
    async with serving(rejects=frozenset({"top_k", "min_p"})) as server:
        run = await generate(requests(top_p=1.0), server.url)
    check_each_once_with_its_own_text(run, requests())
    assert not any({"top_k", "min_p"} & set(body) for body in server.asked)
    assert {event.field for event in run.of_kind(ServerFieldDropped)} == {"top_k", "min_p"}
    assert {completion.engine for completion in run.completions} == {
        "server:m root=/models/m without=min_p,top_k fake-1"
    }


async def test_a_rejected_field_that_was_asked_for_is_refused_unless_allowed() -> None:
    async with serving(rejects=frozenset({"top_k", "min_p"})) as server:
        with pytest.raises(UsageError, match="rejects top_k, .*--server-may-ignore top_k goes on"):
            await generate(requests(top_k=5), server.url)
        assert server.asked == []
        run = await generate(requests(top_k=5), server.url, server_may_ignore=("top_k",))
    assert len(run.completions) == 20
    assert "without=min_p,top_k" in run.completions[0].engine


async def test_the_older_name_of_max_tokens_gives_way_to_the_newer() -> None:
    async with serving(rejects=frozenset({"max_tokens"})) as server:
        run = await generate(requests(), server.url)
    check_each_once_with_its_own_text(run, requests())
    assert {body["max_completion_tokens"] for body in server.asked} == {8}


async def test_a_server_that_answers_greedily_is_refused_unless_allowed() -> None:
    async with serving(is_greedy=True) as server:
        with pytest.raises(UsageError, match="ignores temperature, .*--server-may-ignore temperature goes on"):
            await generate(requests(), server.url)
        assert server.asked == []
        run = await generate(requests(), server.url, server_may_ignore=("temperature",))
    assert {completion.text for completion in run.completions} == {"the likeliest text"}
    assert "without=temperature" in run.completions[0].engine
    assert [event.field for event in run.of_kind(ServerFieldIgnored)] == ["temperature"]


async def test_greedy_samples_need_no_server_that_samples() -> None:
    async with serving(is_greedy=True) as server:
        run = await generate(requests(temperature=0.0), server.url)
    assert {completion.text for completion in run.completions} == {"the likeliest text"}
    assert run.of_kind(ServerFieldIgnored) == []
    assert server.probes == 1


async def test_a_server_that_ignores_seeds_is_recorded() -> None:
    async with serving(ignores_seeds=True) as server:
        run = await generate(requests(), server.url)
    assert [event.field for event in run.of_kind(ServerFieldIgnored)] == ["seed"]
    assert {completion.engine for completion in run.completions} == {"server:m root=/models/m without=seed fake-1"}


async def test_a_fingerprint_that_changes_is_reported() -> None:
    asked = requests(problems=10, samples=10)
    async with serving(seconds=0.01) as server:

        async def change(run: Run) -> None:
            await until(lambda: len(run.completions) >= 20)
            server.behaviour.fingerprint = "fake-2"

        run = await generate(asked, server.url, during=change)
    assert "fake-2" in {event.fingerprint for event in run.of_kind(ServerChanged)}
    assert {completion.engine.split()[-1] for completion in run.completions} == {"fake-1", "fake-2"}


async def test_the_limits_history_is_reported() -> None:
    async with serving(seconds=0.02) as server:
        run = await generate(requests(problems=30, samples=10), server.url)
    assert run.of_kind(ServerLimit)


# --- servers of other makes


async def test_sglang_is_asked_as_it_wants_and_its_seeds_are_not_counted_on() -> None:
    """Its queue is bounded, its answers have no fingerprint, and without a flag its seeds do not hold."""
    asked = requests(problems=20, samples=10)
    async with serving(owned_by="sglang", ignores_seeds=True, cap=12, seconds=0.01) as server:
        run = await generate(asked, server.url)
    assert Counter(completion.key for completion in run.completions) == keys(asked)
    assert {completion.finish_reason for completion in run.completions} == {FinishReason.STOP}
    assert {completion.engine for completion in run.completions} == {"server:m without=seed"}
    assert {body["top_k"] for body in server.asked} == {-1}  # it refuses 0
    assert "queue full" in run.of_kind(ServerOverloaded)[0].message


async def test_llama_cpp_is_told_everything_and_its_slot_is_the_context() -> None:
    async with serving(owned_by="llamacpp", context_length=99, slots=4, fingerprint="b11549") as server:
        run = await generate(requests(), server.url)
    check_each_once_with_its_own_text(run, requests())
    assert run.of_kind(ServerUp)[0].context_length == 99
    assert {completion.engine for completion in run.completions} == {"server:m b11549"}
    for body in server.asked:  # what is left out has a default that changes samples
        assert {"top_k", "min_p", "top_p", "temperature", "seed", "max_tokens"} <= set(body)


# --- prompts and texts


async def test_chat_goes_to_chat_and_reasoning_stays_apart() -> None:
    prompt = ChatPrompt((ChatMessage("system", "be brief"), ChatMessage("user", "hello")), thinking=True)
    async with serving(extra={"reasoning_content": "hm"}) as server:
        run = await generate(requests(problems=1, prompt=prompt), server.url)
    check_each_once_with_its_own_text(run, requests(problems=1))
    assert {completion.reasoning for completion in run.completions} == {"hm"}
    assert server.asked[0]["messages"] == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "hello"},
    ]
    assert server.asked[0]["chat_template_kwargs"] == {"enable_thinking": True}


async def test_stop_strings_beyond_four_are_cut_here() -> None:
    stop = ("\nQUESTION", "\n---", "\nANSWER", "STOP", "END")
    async with serving(text=lambda body: "a = 1\nEND\n--- more", finish_reason="length") as server:
        run = await generate(requests(problems=1, stop=stop), server.url)
    assert {len(body["stop"]) for body in server.asked} == {4}
    assert {(completion.text, completion.finish_reason) for completion in run.completions} == {
        ("a = 1\n", FinishReason.STOP_STRING)
    }


@pytest.mark.parametrize("owner", ["vllm", "sglang", "llamacpp"])
async def test_a_prompt_longer_than_the_context_is_an_error_that_is_reported_once(owner: str) -> None:
    asked = requests(problems=1, samples=3, prompt=TextPrompt("x" * 150))
    async with serving(context_length=100, owned_by=owner) as server:
        run = await generate(asked, server.url)
    assert {completion.error for completion in run.completions} == {
        "the prompt has 150 tokens, which leaves no room in a context of 100"
    }
    (event,) = run.of_kind(PromptTooLong)
    assert (event.prompt_tokens, event.context_length, event.new_tokens_wanted, event.new_tokens_left) == (
        150,
        100,
        8,
        0,
    )


@pytest.mark.parametrize("owner", ["vllm", "sglang", "llamacpp"])
async def test_a_prompt_that_leaves_less_than_was_asked_for_is_reported(owner: str) -> None:
    """SGLang refuses such a request, which is then sent again with less; the others generate what fits."""
    async with serving(context_length=100, owned_by=owner, finish_reason="length") as server:
        run = await generate(requests(problems=1, prompt=TextPrompt("x" * 95)), server.url)
    assert {completion.finish_reason for completion in run.completions} == {FinishReason.LENGTH}
    assert Counter(body["max_tokens"] for body in server.asked) == ({8: 5, 5: 5} if owner == "sglang" else {8: 5})
    (event,) = run.of_kind(PromptTooLong)
    assert (event.prompt_tokens, event.new_tokens_left) == (95, 5)


async def test_more_new_tokens_than_the_context_holds_are_not_asked_for() -> None:
    async with serving(context_length=100) as server:
        run = await generate(requests(problems=1, max_new_tokens=5000), server.url)
    assert {body["max_tokens"] for body in server.asked} == {100}
    assert len(run.of_kind(PromptTooLong)) == 1


async def test_a_prompt_that_is_not_text_is_an_error() -> None:
    async with serving() as server:
        run = await generate(requests(problems=1, samples=1, prompt=TextPrompt("\ud800")), server.url)
    assert "surrogate" in (run.completions[0].error or "")


# --- keys and addresses


async def test_a_key_is_sent_and_appears_nowhere() -> None:
    async with serving(key=KEY) as server:
        run = await generate(requests(), server.url, key=KEY)
    check_each_once_with_its_own_text(run, requests())
    written = msgspec.json.encode([run.completions, run.events])
    assert KEY.encode() not in written


async def test_a_wrong_key_is_refused_without_showing_it() -> None:
    async with serving(key="sk-the-right-one") as server:
        with pytest.raises(UsageError, match="status 401") as refusal:
            await generate(requests(), server.url, key="sk-wrong")
    assert "sk-wrong" not in str(refusal.value)


async def test_a_server_that_repeats_a_key_does_not_get_it_written() -> None:
    async with serving(key=KEY, faults=("none",)) as server:
        server.behaviour.text = lambda body: json.dumps(server.headers[-1])
        run = await generate(requests(problems=1, samples=1), server.url, key=KEY)
    assert "Bearer ***" in run.completions[0].text


@pytest.mark.parametrize("environ", [{}, {"KEY": ""}, {"KEY": "  "}])
def test_a_key_that_is_not_set_is_refused(environ: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="--api-key-env names KEY, which is not set"):
        ServerEngine(ServerSettings(server="http://a", api_key_env="KEY"), environ=environ)


async def test_a_redirect_is_not_followed() -> None:
    async with serving(faults=("redirect",)) as server:
        with pytest.raises(EngineError, match="it redirects to 'http://127.0.0.1:9/elsewhere'"):
            await generate(requests(), server.url)


def test_a_field_that_nobody_may_ignore_is_refused() -> None:
    with pytest.raises(UsageError, match="--server-may-ignore cannot be 'model'"):
        ServerEngine(ServerSettings(server="http://a", server_may_ignore=("model",)))


def test_without_aiohttp_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(UsageError, match=r"needs aiohttp: pip install 'taco-stream\[server\]'"):
        anyio.run(ServerEngine("http://127.0.0.1:9").__aenter__)
