"""Which chunks a worker is given after deaths, and how a request that kills workers is found among innocent ones."""

from collections.abc import Iterator

import pytest

from taco_stream.engine.local.worker_handle import Chunk, ServedWorker
from taco_stream.engine.local.worker_process import WorkerProcess
from taco_stream.engine.protocol import Load
from taco_stream.types import Completion, FinishReason, Request, SamplingParameters, TextPrompt


@pytest.fixture
def worker() -> Iterator[ServedWorker]:
    process = WorkerProcess(Load(model="none"))
    yield ServedWorker(process)
    process.close()


def give(worker: ServedWorker, count: int) -> None:
    for ticket in range(count):
        request = Request(
            problem_id=str(ticket),
            prompt=TextPrompt("x"),
            sample_indices=(0, 1),
            sampling=SamplingParameters(),
            seed=1,
        )
        worker.chunks[ticket] = Chunk(request, 0.0, {0, 1})


def answer(worker: ServedWorker, ticket: int) -> None:
    for index in (0, 1):
        completion = Completion(
            problem_id=str(ticket), sample_index=index, text="y", finish_reason=FinishReason.STOP, seed=1
        )
        assert worker.settle(ticket, completion)


def serve(worker: ServedWorker, poison: set[int], deaths_allowed: int = 100) -> tuple[int, list[int]]:
    """Lives and dies as processes would; how many died, and of what."""
    deaths, condemned, in_hand = 0, [], set()
    while worker.chunks:
        in_hand |= {ticket for ticket, _ in worker.to_send()}
        if in_hand & poison:
            deaths += 1
            assert deaths <= deaths_allowed
            in_hand.clear()
            if (ticket := worker.bury()) is not None:
                condemned.append(ticket)
                worker.condemn(ticket, "signal 11")
        else:
            answer(worker, in_hand.pop())
    return deaths, condemned


@pytest.mark.parametrize("count", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("place", [0, -1])
def test_one_request_that_kills_workers_is_found(worker: ServedWorker, count: int, place: int) -> None:
    give(worker, count)
    poison = range(count)[place]
    deaths, condemned = serve(worker, {poison})
    assert condemned == [poison]
    assert deaths <= 2 + (count - 1).bit_length()
    assert worker.restarts_in_vain <= 3
    reasons = {completion.problem_id: completion.finish_reason for completion in worker.finished}
    assert len(worker.finished) == 2 * count
    assert [name for name, reason in reasons.items() if reason is FinishReason.ERROR] == [str(poison)]
    assert "2 generation workers died" in str(worker.finished[-1].error) or count > 1


def test_several_are_found_one_after_the_other(worker: ServedWorker) -> None:
    give(worker, 20)
    assert sorted(serve(worker, {3, 4, 17})[1]) == [3, 4, 17]


def test_one_death_puts_nobody_on_trial(worker: ServedWorker) -> None:
    give(worker, 5)
    assert len(worker.to_send()) == 5
    assert worker.bury() is None
    assert len(worker.to_send()) == 5
    assert not worker.to_send()


def test_chunks_that_came_later_wait_for_the_trials_end(worker: ServedWorker) -> None:
    give(worker, 2)
    for _ in range(2):
        worker.to_send()
        assert worker.bury() is None
    worker.chunks[9] = Chunk(worker.chunks[0].request, 0.0, {0, 1})
    assert [ticket for ticket, _ in worker.to_send()] == [0]
    answer(worker, 0)
    assert [ticket for ticket, _ in worker.to_send()] == [1]
    assert worker.bury() == 1
    worker.condemn(1, "signal 11")
    assert [ticket for ticket, _ in worker.to_send()] == [9]


def test_a_suspect_that_was_not_alone_is_tried_alone_before_it_is_condemned(worker: ServedWorker) -> None:
    give(worker, 1)
    worker.to_send()
    worker.bury()
    worker.chunks[5] = Chunk(worker.chunks[0].request, 0.0, {0, 1})
    assert len(worker.to_send()) == 2
    assert worker.bury() is None
    assert [ticket for ticket, _ in worker.to_send()] == [0]


def test_deaths_of_everything_are_in_vain(worker: ServedWorker) -> None:
    """A machine that is broken must not get every request of a run answered as an error."""
    give(worker, 64)
    condemned = 0
    while worker.restarts_in_vain <= 3:
        worker.to_send()
        if (ticket := worker.bury()) is not None:
            worker.condemn(ticket, "signal 9")
            condemned += 1
    assert condemned == 2
