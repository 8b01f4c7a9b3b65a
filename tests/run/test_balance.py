"""Which stage gets a core: on a simulated machine of two stages, and in a loop that looks at a run."""

import math
from dataclasses import dataclass, field

import anyio
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_values import statistics

from taco_stream.events import CoresDivided
from taco_stream.run import balance as balance_module
from taco_stream.run.balance import WINDOW_SECONDS, CoreBalance, WindowGauges, keep_balance, window_gauges
from taco_stream.run.task import Entry
from taco_stream.statistics import EngineStatistics, EvaluatorStatistics, RunStatistics


@dataclass
class Plant:
    """Two stages with a buffer between them, as a fluid: rates are samples a second.

    A core that is lent multiplies what generating can do by `slowdown`.
    """

    cores: int
    claimed: int
    generating_rate: float
    judging_rate: float
    slowdown: float = 0.7
    buffer: float = 100.0
    queue: float = 0.0
    judged: float = 0.0

    def pass_window(self, workers: int) -> WindowGauges:
        lent = workers - max(1, self.cores - self.claimed)
        generating = self.generating_rate * self.slowdown**lent * WINDOW_SECONDS
        judging = self.judging_rate * workers * WINDOW_SECONDS
        generated = min(generating, self.buffer - self.queue + judging)
        judged = min(judging, self.queue + generated)
        self.queue += generated - judged
        self.judged += judged
        return WindowGauges(self.claimed, 1 - generated / generating, judged / judging, math.floor(self.queue))


@dataclass
class Course:
    """The numbers of workers after each window."""

    balance: CoreBalance
    workers: list[int] = field(default_factory=list)

    def follow(self, plant: Plant, windows: int) -> "Course":
        for _ in range(windows):
            self.balance.observe(plant.pass_window(self.balance.workers))
            self.workers.append(self.balance.workers)
        return self

    @property
    def moves(self) -> int:
        return sum(one != other for one, other in zip(self.workers, self.workers[1:], strict=False))


def run_on(plant: Plant, windows: int = 200) -> Course:
    return Course(CoreBalance(plant.cores)).follow(plant, windows)


def test_judging_has_the_cores_that_are_not_claimed() -> None:
    course = run_on(Plant(cores=8, claimed=3, generating_rate=10, judging_rate=4))
    assert course.workers == [5] * 200


def test_both_stages_at_work_on_their_own_cores_are_left_alone() -> None:
    """Judging lags behind, but a core that generating uses is not idle: lending it gains nothing."""
    course = run_on(Plant(cores=4, claimed=2, generating_rate=3, judging_rate=1, buffer=1e9))
    assert course.workers[-1] == 2


def test_a_full_buffer_lends_the_cores_on_which_generating_waits() -> None:
    course = run_on(Plant(cores=4, claimed=2, generating_rate=20, judging_rate=1))
    assert course.workers[-1] == 4
    assert course.moves == 2


def test_a_lent_core_comes_back_when_judging_can_do_without() -> None:
    plant = Plant(cores=4, claimed=2, generating_rate=20, judging_rate=1)
    course = run_on(plant)
    plant.judging_rate = 30
    course.follow(plant, 200)
    assert course.workers[-1] == 2


def test_all_cores_judge_once_generating_is_over() -> None:
    balance = CoreBalance(8)
    assert balance.workers == 8
    assert balance.observe(WindowGauges(3, 0.0, 0.0, 0)) == "generating needs 3 of 8 cores"
    assert balance.workers == 5
    assert balance.observe(WindowGauges(0, 1.0, 1.0, 9)) == "generating is over"
    assert balance.workers == 8


def test_one_worker_always_judges() -> None:
    assert run_on(Plant(cores=2, claimed=4, generating_rate=1, judging_rate=9)).workers[-1] == 1


def test_a_lent_core_that_does_harm_is_lent_ever_more_seldom() -> None:
    """Generating with a lent core is ten times slower: each state asks for the other."""
    plant = Plant(cores=2, claimed=1, generating_rate=20, judging_rate=5, slowdown=0.1, buffer=10)
    course = run_on(plant, 4000)
    assert 4 <= course.moves <= 2 * math.log2(4000)
    late = Course(course.balance, course.workers[2000:])
    assert late.moves <= 2


@given(
    st.builds(
        Plant,
        cores=st.integers(1, 16),
        claimed=st.integers(0, 20),
        generating_rate=st.floats(0.01, 1000),
        judging_rate=st.floats(0.01, 1000),
        slowdown=st.floats(0.05, 1.0),
        buffer=st.floats(1, 10_000),
    )
)
def test_under_a_steady_load_it_stays_within_bounds_and_comes_to_rest(plant: Plant) -> None:
    windows = 256
    course = run_on(plant, windows)
    own = max(1, plant.cores - plant.claimed)
    assert all(own <= workers <= plant.cores for workers in course.workers)
    assert course.moves <= plant.claimed * (math.log2(windows) + 2)
    # Each reversal takes as long as all before it, so hardly one is left for the second half.
    assert Course(course.balance, course.workers[windows // 2 :]).moves <= 2 * (plant.cores - own)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 2), st.integers(0, 5000)), max_size=60), st.integers(1, 8))
def test_no_gauges_move_anything_if_nothing_is_claimed(windows: list[tuple[float, float, int]], cores: int) -> None:
    balance = CoreBalance(cores)
    assert not any(balance.observe(WindowGauges(0, *window)) for window in windows)
    assert balance.workers == cores


def run_statistics(
    seconds: float, *, cores: int, workers: int, generating: float, judging: float, waiting: int
) -> RunStatistics:
    return msgspec.structs.replace(
        statistics(
            engine=EngineStatistics(cores=cores),
            evaluator=EvaluatorStatistics(workers=workers, busy_seconds=judging, waiting=1),
        ),
        elapsed_seconds=seconds,
        generating_seconds=generating,
        completions_waiting=waiting,
    )


def test_gauges_are_shares_of_the_window() -> None:
    before = run_statistics(10.0, cores=2, workers=4, generating=8.0, judging=20.0, waiting=0)
    now = run_statistics(12.0, cores=2, workers=4, generating=8.5, judging=26.0, waiting=6)
    assert window_gauges(before, now) == WindowGauges(2, 0.75, 0.75, 7)


@pytest.mark.anyio
async def test_every_change_is_carried_out_and_is_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(balance_module, "TICK_SECONDS", 0.0)
    looks = [
        run_statistics(0.0, cores=0, workers=2, generating=0.0, judging=0.0, waiting=0),
        run_statistics(1.0, cores=1, workers=2, generating=0.0, judging=0.0, waiting=0),  # loaded
        run_statistics(2.0, cores=1, workers=1, generating=0.1, judging=0.0, waiting=0),  # within a window
        run_statistics(3.1, cores=1, workers=1, generating=0.1, judging=2.1, waiting=50),  # held back
        run_statistics(3.2, cores=0, workers=2, generating=0.1, judging=2.2, waiting=50),  # over, nothing to change
    ]
    used: list[int] = []
    entries, written = anyio.create_memory_object_stream[Entry](10)
    with entries, written:
        with pytest.raises(IndexError):
            await keep_balance(used.append, lambda: looks.pop(0), entries)
        events = [written.receive_nowait() for _ in used]
    assert used == [1, 2]
    assert [each.workers for each in events if isinstance(each, CoresDivided)] == used
    assert events[1].message == "2 evaluator workers: 51 programs waited, generating was idle 95%"
