"""Which stage gets a core: on a simulated machine of two stages, and in a loop that looks at a run."""

import math
from dataclasses import dataclass, field

import anyio
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_values import statistics

from taco_stream.events import CoresDivided
from taco_stream.run import balance as balance_module
from taco_stream.run.balance import WINDOW_SECONDS, CoreBalance, WindowGauges, keep_balance, window_gauges
from taco_stream.run.task import Entry
from taco_stream.statistics import EngineStatistics, EvaluatorStatistics, RunStatistics

STEP_SECONDS = 0.2


@dataclass
class Plant:
    """Two stages with a buffer between them, as fluids: rates are samples a second, of all threads and of a worker.

    Whoever wants more cores than there are gets less of each. Generating is slower by `waste` besides while a core is lent.
    """

    cores: int
    claimed: int
    generating_rate: float
    judging_rate: float
    waste: float = 1.0
    buffer: float = 100.0
    to_generate: float = math.inf
    queue: float = 0.0
    seconds: float = 0.0

    @property
    def claimed_now(self) -> int:
        return self.claimed if self.to_generate > 0 else 0

    @property
    def is_over(self) -> bool:
        return self.to_generate <= 0 and self.queue < 1e-6

    def pass_window(self, workers: int) -> WindowGauges:
        """Ends sooner if generating does."""
        claimed, steps, idle, busy = self.claimed_now, 0, 0, 0.0
        is_lent = workers > max(1, self.cores - claimed)
        while steps * STEP_SECONDS < WINDOW_SECONDS and claimed == self.claimed_now and not self.is_over:
            is_generating = self.to_generate > 0 and self.queue < self.buffer
            at_work = min(workers, self.queue / (self.judging_rate * STEP_SECONDS))
            share = min(1.0, self.cores / max(at_work + claimed * is_generating, 1e-9))
            rate = is_generating * self.generating_rate * share * (self.waste if is_lent else 1.0)
            generated = min(self.to_generate, rate * STEP_SECONDS)
            self.to_generate -= generated
            self.queue += generated - min(self.queue, at_work * self.judging_rate * share * STEP_SECONDS)
            steps, idle, busy = steps + 1, idle + (not is_generating), busy + at_work
        self.seconds += steps * STEP_SECONDS
        return WindowGauges(claimed, idle / max(steps, 1), busy / max(steps, 1) / workers, math.floor(self.queue))


@dataclass
class Course:
    """The numbers of workers after each window."""

    balance: CoreBalance
    workers: list[int] = field(default_factory=list)

    def follow(self, plant: Plant, windows: int) -> "Course":
        while len(self.workers) < windows and not plant.is_over:
            if plant.claimed_now != self.balance.claimed_cores:
                self.balance.observe(WindowGauges(plant.claimed_now, 0.0, 0.0, 0))
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
    assert course.workers == [2] * 200


def test_a_full_buffer_lends_the_cores_on_which_generating_waits() -> None:
    course = run_on(Plant(cores=4, claimed=2, generating_rate=20, judging_rate=1))
    assert course.workers[-1] == 4
    assert course.moves == 2


def test_a_lent_core_comes_back_when_judging_can_do_without() -> None:
    plant = Plant(cores=4, claimed=2, generating_rate=20, judging_rate=1)
    course = run_on(plant)
    plant.judging_rate = 30
    course.follow(plant, 400)
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
    """Generating that shares its core is ten times slower: each state asks for the other."""
    course = run_on(Plant(cores=2, claimed=1, generating_rate=20, judging_rate=5, waste=0.1, buffer=10), 2000)
    assert 4 <= course.moves <= 2 * math.log2(2000)
    assert course.workers.count(2) <= 0.1 * 2000


plants = st.builds(
    Plant,
    cores=st.integers(1, 6),
    claimed=st.integers(0, 8),
    generating_rate=st.floats(0.01, 50),
    judging_rate=st.floats(0.01, 50),
    waste=st.floats(0.05, 1.0),
    buffer=st.floats(1, 1000),
)


@settings(max_examples=50)
@given(plants)
def test_under_a_steady_load_it_stays_within_bounds_and_comes_to_rest(plant: Plant) -> None:
    windows = 128
    course = run_on(plant, windows)
    own = max(1, plant.cores - plant.claimed)
    assert all(own <= workers <= plant.cores for workers in course.workers)
    assert course.moves <= 2 * (plant.cores - own + math.log2(windows))
    late = Course(course.balance, course.workers[windows // 2 :])
    assert late.moves <= 2 * (plant.cores - own) + 2


@settings(max_examples=25)
@given(st.integers(2, 4), st.floats(0.1, 4), st.sampled_from([20.0, 4096.0]))
def test_no_fixed_number_of_workers_is_much_faster(cores: int, judging_per_generating: float, buffer: float) -> None:
    """From generation-bound to judging-bound, with threads on half of the cores: within a twentieth of the best."""

    def plant() -> Plant:
        judging_rate = 10 / judging_per_generating
        return Plant(cores, cores // 2, 10.0, judging_rate, buffer=buffer, to_generate=1000)

    def seconds_with(workers: int) -> float:
        fixed = plant()
        while not fixed.is_over:
            fixed.pass_window(workers)
        return fixed.seconds

    tuned = plant()
    Course(CoreBalance(cores)).follow(tuned, 10_000)
    assert tuned.seconds <= 1.05 * min(seconds_with(workers) for workers in range(1, cores + 1))


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
