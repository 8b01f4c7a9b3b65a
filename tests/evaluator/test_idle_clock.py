"""The clock of a test: it runs while the test is idle, and stands while it runs or waits for a core."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from taco_stream.evaluator import idle_clock
from taco_stream.evaluator.idle_clock import IdleClock, busy_seconds, is_counted

pytestmark = pytest.mark.skipif(not is_counted(), reason="this kernel does not count how long a process waits to run")

SPIN = "while True: pass"
SLEEP = "import time; time.sleep(1000)"


@contextmanager
def running(program: str) -> Iterator[int]:
    """A handle of a process that runs a program."""
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", program]) as process:
        handle = os.pidfd_open(process.pid)
        try:
            yield handle
        finally:
            process.kill()
            os.close(handle)


def test_a_process_that_sleeps_runs_out_of_time() -> None:
    with running(SLEEP) as handle, closing(IdleClock(0.5)) as clock:
        deadline = time.monotonic() + 200
        while clock.seconds_left(os.dup(handle)) > 0:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert not clock.is_starved


def test_two_tests_that_sleep_run_out_of_their_time_together() -> None:
    with running(SLEEP) as one, running(SLEEP) as other, closing(IdleClock(0.5, tests=2)) as clock:
        deadline = time.monotonic() + 200
        time.sleep(0.6)
        assert clock.seconds_left(os.dup(one), number=0) > 0  # what the other does is not known yet
        while clock.seconds_left(os.dup(other), number=1) > 0:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_test_that_waits_for_another_keeps_its_time() -> None:
    with running(SLEEP) as one, running(SPIN) as other, closing(IdleClock(10.0, tests=2)) as clock:
        before = busy_seconds(other)
        while busy_seconds(other) - before < 1.5:
            time.sleep(0.05)
        clock.seconds_left(os.dup(one), number=0)
        assert clock.seconds_left(os.dup(other), number=1) > 9.0
        clock.leave(1)
        assert clock.seconds_left(os.dup(one), number=0) > 9.5  # the clock starts anew


def test_a_process_that_shares_its_core_keeps_its_time() -> None:
    """Two on one core, so each of them waits for half of the time."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        with running(SPIN), running(SPIN) as handle:
            time.sleep(0.3)  # past the interpreter's start, in which it waits for files
            before = busy_seconds(handle)
            with closing(IdleClock(10.0)) as clock:
                time.sleep(1.5)
                assert busy_seconds(handle) - before > 1.2
                assert clock.seconds_left(os.dup(handle)) > 9.5
    finally:
        os.sched_setaffinity(0, allowed)


def test_a_process_that_never_gets_its_turn_is_given_up_as_starved(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(idle_clock, "MAX_STARVATION", 2)
    monkeypatch.setattr(idle_clock, "busy_seconds", lambda _: 1000.0)
    monkeypatch.setattr(idle_clock, "time", SimpleNamespace(monotonic=lambda: now))
    with closing(IdleClock(0.1)) as clock:
        now = 0.15
        assert clock.seconds_left(os.open(os.devnull, os.O_RDONLY)) > 0
        now = 0.25
        assert clock.seconds_left(os.open(os.devnull, os.O_RDONLY)) == 0
        assert clock.is_starved


def test_a_process_that_is_gone_has_no_time() -> None:
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", ""]) as process:
        handle = os.pidfd_open(process.pid)
    assert busy_seconds(handle) == 0
    os.close(handle)


def test_without_the_kernels_figures_all_time_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(idle_clock, "_thread_busy_seconds", lambda _: 0.0)
    with suppress(ProcessLookupError), running(SPIN) as handle, closing(IdleClock(0.1)) as clock:
        time.sleep(0.2)
        assert clock.seconds_left(os.dup(handle)) == 0
        assert not clock.is_starved
    assert not is_counted()
