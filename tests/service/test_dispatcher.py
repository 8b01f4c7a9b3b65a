"""The way of programs through the service, with an evaluator that finishes when the test says so."""

from collections.abc import Callable

import anyio
import anyio.lowlevel
import pytest
from service.fake_evaluator import FakeEvaluator, judge_work

from taco_stream.errors import EvaluatorError
from taco_stream.evaluator.protocol import Limits
from taco_stream.service.dispatcher import Dispatcher, RefusedError
from taco_stream.service.wire import ExecuteWork, Result
from taco_stream.types import Status

pytestmark = pytest.mark.anyio

LIMITS = Limits(cpu_seconds=1.0, wall_seconds=2.0, memory_bytes=128 << 20, output_bytes=1 << 20)


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(10):
        while not condition():
            await anyio.lowlevel.checkpoint()


async def test_the_evaluator_has_no_more_programs_than_it_does_well_with() -> None:
    evaluator = FakeEvaluator(concurrency=2)
    dispatcher = Dispatcher(evaluator, max_waiting=10, max_wait_seconds=60.0)
    results: list[Result | None] = []

    with dispatcher.admitted("a", 5) as tickets:

        async def carry_out(number: int) -> None:
            results.append(await dispatcher.carry_out(tickets[number], judge_work(f"{number}")))

        async with anyio.create_task_group() as tasks:
            for number in range(5):
                tasks.start_soon(carry_out, number)
            for number in range(5):
                await until(lambda number=number: f"{number}" in evaluator.running)  # type: ignore[misc]
                assert len(evaluator.running) <= 2
                evaluator.finish(f"{number}")
    assert [result and result.status for result in results] == [Status.PASSED] * 5
    assert dispatcher.statistics().finished == 5
    assert dispatcher.statistics().running == 0


async def test_a_caller_that_is_cancelled_gives_up_its_places_and_its_program_is_ended() -> None:
    evaluator = FakeEvaluator(concurrency=1)
    dispatcher = Dispatcher(evaluator, max_waiting=10, max_wait_seconds=60.0)

    async def caller(client: str) -> None:
        with dispatcher.admitted(client, 1) as (ticket,):
            await dispatcher.carry_out(ticket, judge_work(client))

    async with anyio.create_task_group() as tasks:
        async with anyio.create_task_group() as leaving:
            leaving.start_soon(caller, "running")
            await until(lambda: "running" in evaluator.running)
            leaving.start_soon(caller, "waiting")
            await until(lambda: dispatcher.statistics().waiting == 1)
            tasks.start_soon(caller, "other")
            await until(lambda: dispatcher.statistics().waiting == 2)
            leaving.cancel_scope.cancel()
        await until(lambda: "other" in evaluator.running)
        evaluator.finish("other")
    assert evaluator.cancelled == ["running"]
    statistics = dispatcher.statistics()
    assert (statistics.withdrawn, statistics.finished) == (2, 1)
    assert (statistics.waiting, statistics.running) == (0, 0)


async def test_tickets_that_nobody_carried_out_are_given_up_too() -> None:
    dispatcher = Dispatcher(FakeEvaluator(concurrency=1), max_waiting=10, max_wait_seconds=60.0)
    with pytest.raises(ZeroDivisionError), dispatcher.admitted("a", 3):
        raise ZeroDivisionError
    assert (dispatcher.statistics().waiting, dispatcher.statistics().running) == (0, 0)


async def test_a_deadline_ends_what_waits_and_what_runs_with_no_result() -> None:
    evaluator = FakeEvaluator(concurrency=1)
    dispatcher = Dispatcher(evaluator, max_waiting=10, max_wait_seconds=60.0)
    results: dict[int, Result | None] = {}
    with dispatcher.admitted("a", 2, deadline=anyio.current_time() + 0.3) as tickets:

        async def carry_out(number: int) -> None:
            results[number] = await dispatcher.carry_out(tickets[number], judge_work(f"{number}"))

        async with anyio.create_task_group() as tasks:
            for number in range(2):
                tasks.start_soon(carry_out, number)
    assert results == {0: None, 1: None}
    assert evaluator.cancelled == ["0"]


async def test_a_broken_evaluator_is_a_status_and_not_a_failure_of_the_program() -> None:
    evaluator = FakeEvaluator(concurrency=1, error=EvaluatorError("an evaluator worker does not start again: x"))
    dispatcher = Dispatcher(evaluator, max_waiting=10, max_wait_seconds=60.0)
    for work in (judge_work("p"), ExecuteWork(program="p", stdin=b"", limits=LIMITS)):
        with dispatcher.admitted("a", 1) as (ticket,):
            result = await dispatcher.carry_out(ticket, work)
        assert result is not None
        assert result.status is Status.INFRASTRUCTURE_ERROR
        assert result.detail == "an evaluator worker does not start again: x"


async def test_the_end_refuses_new_work_and_lets_accepted_work_finish() -> None:
    evaluator = FakeEvaluator(concurrency=1)
    dispatcher = Dispatcher(evaluator, max_waiting=10, max_wait_seconds=60.0)
    results: list[Result | None] = []

    async def caller() -> None:
        with dispatcher.admitted("a", 1) as (ticket,):
            results.append(await dispatcher.carry_out(ticket, judge_work("p")))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(caller)
        await until(lambda: "p" in evaluator.running)
        tasks.start_soon(dispatcher.close, 60.0)
        await until(lambda: dispatcher.is_closing)
        with pytest.raises(RefusedError, match="about to end"), dispatcher.admitted("b", 1):
            pass
        evaluator.finish("p")
    assert results[0] is not None


async def test_what_does_not_finish_before_the_end_gets_no_result() -> None:
    evaluator = FakeEvaluator(concurrency=1)
    dispatcher = Dispatcher(evaluator, max_waiting=10, max_wait_seconds=60.0)
    results: list[Result | None] = []

    async def caller() -> None:
        with dispatcher.admitted("a", 1) as (ticket,):
            results.append(await dispatcher.carry_out(ticket, judge_work("p")))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(caller)
        await until(lambda: "p" in evaluator.running)
        await dispatcher.close(0.0)
    assert results == [None]
    assert evaluator.cancelled == ["p"]


async def test_work_that_is_begun_after_the_end_gets_no_result_either() -> None:
    dispatcher = Dispatcher(FakeEvaluator(concurrency=1), max_waiting=10, max_wait_seconds=60.0)
    with dispatcher.admitted("a", 1) as (ticket,):
        await dispatcher.close(0.0)
        assert await dispatcher.carry_out(ticket, judge_work("p")) is None
