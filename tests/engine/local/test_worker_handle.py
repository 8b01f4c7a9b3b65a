"""Which chunks a worker is given after deaths, and how a request that kills workers is found among innocent ones."""

import pytest

from taco_stream.engine.local.worker_handle import Chunk, WorkerHandle
from taco_stream.engine.protocol import Load
from taco_stream.statistics import EngineStatistics
from taco_stream.types import Completion, FinishReason, Request, SamplingParameters, TextPrompt


@pytest.fixture
def worker() -> WorkerHandle:
    return WorkerHandle(Load(model="none"))


def give(worker: WorkerHandle, count: int) -> None:
    for ticket in range(count):
        request = Request(
            problem_id=str(ticket),
            prompt=TextPrompt("x"),
            sample_indices=(0, 1),
            sampling=SamplingParameters(),
            seed=1,
        )
        worker.chunks[ticket] = Chunk(request, 0.0, {0, 1})


def answer(worker: WorkerHandle, ticket: int) -> None:
    for index in (0, 1):
        completion = Completion(
            problem_id=str(ticket), sample_index=index, text="y", finish_reason=FinishReason.STOP, seed=1
        )
        assert worker.record_completion(ticket, completion)


def serve(worker: WorkerHandle, poison: set[int], deaths_allowed: int = 100) -> tuple[int, list[int]]:
    """Lives and dies as processes would; how many died, and of what."""
    deaths, condemned, in_hand = 0, [], set()
    while worker.chunks:
        in_hand |= {ticket for ticket, _ in worker.take_due()}
        if in_hand & poison:
            deaths += 1
            assert deaths <= deaths_allowed
            in_hand.clear()
            if (ticket := worker.record_death()) is not None:
                condemned.append(ticket)
                worker.condemn(ticket, "signal 11")
        else:
            answer(worker, in_hand.pop())
    return deaths, condemned


@pytest.mark.parametrize("count", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("place", [0, -1])
def test_one_request_that_kills_workers_is_found(worker: WorkerHandle, count: int, place: int) -> None:
    give(worker, count)
    poison = range(count)[place]
    deaths, condemned = serve(worker, {poison})
    assert condemned == [poison]
    assert deaths <= 2 + (count - 1).bit_length()
    assert worker.consecutive_restarts <= 3
    reasons = {completion.problem_id: completion.finish_reason for completion in worker.finished}
    assert len(worker.finished) == 2 * count
    assert [name for name, reason in reasons.items() if reason is FinishReason.ERROR] == [str(poison)]
    assert "2 generation workers died" in str(worker.finished[-1].error) or count > 1


def test_several_are_found_one_after_the_other(worker: WorkerHandle) -> None:
    give(worker, 20)
    assert sorted(serve(worker, {3, 4, 17})[1]) == [3, 4, 17]


def test_one_death_puts_nobody_on_trial(worker: WorkerHandle) -> None:
    give(worker, 5)
    assert len(worker.take_due()) == 5
    assert worker.record_death() is None
    assert len(worker.take_due()) == 5
    assert not worker.take_due()


def test_chunks_that_came_later_wait_for_the_trials_end(worker: WorkerHandle) -> None:
    give(worker, 2)
    for _ in range(2):
        worker.take_due()
        assert worker.record_death() is None
    worker.chunks[9] = Chunk(worker.chunks[0].request, 0.0, {0, 1})
    assert [ticket for ticket, _ in worker.take_due()] == [0]
    answer(worker, 0)
    assert [ticket for ticket, _ in worker.take_due()] == [1]
    assert worker.record_death() == 1
    worker.condemn(1, "signal 11")
    assert [ticket for ticket, _ in worker.take_due()] == [9]


def test_a_suspect_that_was_not_alone_is_tried_alone_before_it_is_condemned(worker: WorkerHandle) -> None:
    give(worker, 1)
    worker.take_due()
    worker.record_death()
    worker.chunks[5] = Chunk(worker.chunks[0].request, 0.0, {0, 1})
    assert len(worker.take_due()) == 2
    assert worker.record_death() is None
    assert [ticket for ticket, _ in worker.take_due()] == [0]


def test_deaths_of_everything_are_in_vain(worker: WorkerHandle) -> None:
    """A machine that is broken must not get every request of a run answered as an error."""
    give(worker, 64)
    condemned = 0
    while worker.consecutive_restarts <= 3:
        worker.take_due()
        if (ticket := worker.record_death()) is not None:
            worker.condemn(ticket, "signal 9")
            condemned += 1
    assert condemned == 2


@pytest.mark.anyio
async def test_a_cancelled_run_leaves_no_figures_of_a_busy_worker(worker: WorkerHandle) -> None:
    give(worker, 3)
    worker.gauges = EngineStatistics(rows_busy=2, rows_total=4, samples_waiting=5, completion_tokens=7)
    await worker.cancel()
    assert worker.statistics() == EngineStatistics(rows_total=4, completion_tokens=7)
