"""The clock that finds hanging workers: its limit, and the time that does not count."""

import os

import pytest

from taco_stream.engine.local.silence_clock import (
    FLOOR_SECONDS,
    MAX_TICK_SECONDS,
    MULTIPLE,
    SilenceClock,
    waiting_seconds,
)


class Worker:
    """A worker that is silent, or not, second by second."""

    def __init__(self) -> None:
        self.clock = SilenceClock()
        self.clock.start(0.0)
        self.now = self.waited = 0.0
        self.tick()

    def tick(self, *, seconds: float = 1.0, kept: float = 0.0, heard: bool = False, owes: bool = True) -> None:
        self.now += seconds
        self.waited += kept
        self.clock.tick(self.now, {"1": self.waited, "2": 0.0}, was_heard=heard, owes=owes)

    def be_silent(self, seconds: int, **how: float) -> None:
        for _ in range(seconds):
            self.tick(**how)  # type: ignore[arg-type]


def test_a_worker_that_owes_and_is_silent_hangs_from_the_floor_on() -> None:
    worker = Worker()
    worker.be_silent(int(FLOOR_SECONDS))
    assert not worker.clock.has_run_out
    worker.tick()
    assert worker.clock.has_run_out


def test_one_that_owes_nothing_may_be_silent() -> None:
    worker = Worker()
    for _ in range(1000):
        worker.tick(owes=False)
    assert not worker.clock.has_run_out


def test_long_steps_raise_the_limit() -> None:
    worker = Worker()
    worker.be_silent(60)
    worker.tick(heard=True)
    assert worker.clock.limit_seconds == MULTIPLE * 60
    worker.be_silent(MULTIPLE * 60)
    assert not worker.clock.has_run_out


def test_loading_is_a_step_until_the_first_answer() -> None:
    worker = Worker()
    worker.clock.start(100.0)
    assert worker.clock.limit_seconds == MULTIPLE * 100
    worker.tick(heard=True)
    assert worker.clock.limit_seconds == FLOOR_SECONDS


def test_time_in_which_a_thread_waits_for_a_core_does_not_count() -> None:
    worker = Worker()
    worker.be_silent(5 * int(FLOOR_SECONDS), kept=0.9)
    assert not worker.clock.has_run_out
    assert worker.clock.silent_seconds == pytest.approx(0.5 * FLOOR_SECONDS, rel=0.01)


def test_a_suspension_of_this_process_counts_for_a_few_seconds() -> None:
    worker = Worker()
    worker.tick(seconds=100_000)
    assert worker.clock.silent_seconds == MAX_TICK_SECONDS


def test_a_thread_that_is_new_has_waited_for_nothing_yet() -> None:
    clock = SilenceClock()
    clock.start(0.0)
    clock.tick(1.0, {"1": 50.0}, was_heard=False, owes=True)
    clock.tick(2.0, {"1": 50.0, "2": 70.0}, was_heard=False, owes=True)
    assert clock.silent_seconds == 1.0


def test_the_kernel_is_asked_about_every_thread() -> None:
    waited = waiting_seconds(os.getpid())
    assert not waited or str(os.getpid()) in waited
    assert waiting_seconds(2**22 + 1) == {}
