"""A leaf group is made only where one was delegated, bounds the sum of all in it, and is gone afterwards.

Most of it is shown on a made-up tree of groups. The last tests need a real one, which `taco-stream doctor` tells how to
get.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from taco_stream.evaluator.execution import RunningProgram, Zygote
from taco_stream.evaluator.outcomes import execution_status
from taco_stream.evaluator.pool import Evaluator, EvaluatorSettings
from taco_stream.evaluator.protocol import Limits
from taco_stream.evaluator.sandbox import cgroups
from taco_stream.evaluator.sandbox.cgroups import LeafGroup, NotDelegatedError, delegated_folder, marked_parent
from taco_stream.evaluator.sandbox.plan import Layer, SandboxPlan
from taco_stream.evaluator.sandbox.probe import FORCED_TIER, available_plans, layers_that_work, refusals
from taco_stream.evaluator.sandbox.rlimits import ProgramLimits
from taco_stream.types import Problem, Status

DELEGATED = {"cgroup.controllers": "cpu memory pids\n", "cgroup.procs": "", "cgroup.subtree_control": ""}
LEAF = (
    *("cgroup.procs", "cgroup.kill", "memory.max", "memory.oom.group", "memory.swap.max", "memory.events"),
    "pids.max",
)
MIB = 1 << 20
NO_WORKER = 1 << 22
"""Larger than the number of any process."""


def make_group(folder: Path, files: Mapping[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(content)
    return folder


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A made-up group that was delegated by name."""
    folder = make_group(tmp_path / "ours", DELEGATED)
    monkeypatch.setenv(cgroups.FOLDER_VARIABLE, str(folder))
    return folder


def fill_new_leaves(monkeypatch: pytest.MonkeyPatch, names: Iterable[str]) -> None:
    def make_and_fill(path: str) -> None:
        make(path)
        make_group(Path(path), dict.fromkeys(names, ""))

    make = os.mkdir
    monkeypatch.setattr(cgroups, "os", SimpleNamespace(**vars(os) | {"mkdir": make_and_fill}))


@pytest.fixture
def kernel(group: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same where a new folder has the kernel's files in it at once."""
    fill_new_leaves(monkeypatch, LEAF)
    monkeypatch.setattr(cgroups, "REMOVAL_SECONDS", 0.0)  # the files keep the folder from being removed
    return group


def content(folder: Path | str, name: str) -> str:
    return (Path(folder) / name).read_text()


# Where


def test_a_named_group_is_used_and_its_controllers_are_switched_on(group: Path) -> None:
    assert delegated_folder() == str(group)
    assert content(group, "cgroup.subtree_control") == "+memory +pids"


def test_controllers_that_are_on_are_left_alone(group: Path) -> None:
    make_group(group, {"cgroup.subtree_control": "pids cpu memory\n"})
    assert delegated_folder() == str(group)
    assert content(group, "cgroup.subtree_control") == "pids cpu memory\n"


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"cgroup.controllers": "cpu pids"}, "no controller for memory"),
        ({"cgroup.controllers": ""}, "no controller for memory and pids"),
        ({"cgroup.procs": "1\n2\n"}, "processes of its own"),
    ],
)
def test_a_group_that_cannot_have_leaves_with_limits_is_refused_and_left_alone(
    group: Path, files: Mapping[str, str], reason: str
) -> None:
    make_group(group, files)
    with pytest.raises(NotDelegatedError, match=reason):
        delegated_folder()
    assert content(group, "cgroup.subtree_control") == ""


def test_a_folder_that_is_no_group_is_refused(group: Path) -> None:
    (group / "cgroup.controllers").unlink()
    with pytest.raises(NotDelegatedError, match="not a control group of version 2"):
        delegated_folder()


def test_a_group_of_somebody_else_is_refused(group: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(NotDelegatedError, match="is not writable"):
        delegated_folder()


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """A made-up unit of systemd's that was delegated, in a tree of groups."""
    make_group(tmp_path, DELEGATED)
    folder = make_group(tmp_path / "user/run.service", DELEGATED)
    try:
        os.setxattr(folder, "user.delegate", b"1")
    except OSError as error:
        pytest.skip(f"no extended attributes here: {error}")
    return folder


def test_the_group_above_our_own_is_found_where_systemd_marked_it(unit: Path, tmp_path: Path) -> None:
    assert marked_parent("4:memory:/elsewhere\n0::/user/run.service/main", str(tmp_path)) == str(unit)


@pytest.mark.parametrize("own", ["/user/run.service", "/user/other.scope/main", "/", ""])
def test_no_group_is_taken_that_systemd_did_not_mark(unit: Path, tmp_path: Path, own: str) -> None:
    assert unit.exists()
    with pytest.raises(NotDelegatedError):
        marked_parent(f"0::{own}", str(tmp_path))


def test_the_first_version_has_no_group_for_us(tmp_path: Path) -> None:
    with pytest.raises(NotDelegatedError, match="no control groups of version 2"):
        marked_parent("4:memory:/a/b\n0::/a/b", str(tmp_path))


# What a leaf is


def test_a_leaf_bounds_memory_processes_and_swap_and_dies_as_one(kernel: Path) -> None:
    leaf = LeafGroup()
    assert Path(leaf.folder).parent == kernel
    names = ("memory.swap.max", "memory.oom.group", "pids.max", "memory.max")
    found = [int(content(leaf.folder, name)) for name in names]
    assert found == [0, 1, cgroups.MAX_PROCESSES_IN_LEAF, cgroups.group_memory_bytes(ProgramLimits(0, 0))]


def test_a_leaf_has_room_for_all_that_a_test_may_take_by_its_other_limits(kernel: Path) -> None:
    leaf = LeafGroup()
    leaf.allow(ProgramLimits(memory_bytes=1000 * MIB, output_bytes=10 * MIB))
    assert int(content(leaf.folder, "memory.max")) == leaf.memory_bytes == (1000 + 3 * 10 + 128 + 256) * MIB


def test_a_smaller_limit_after_a_larger_one_writes_nothing(kernel: Path) -> None:
    leaf = LeafGroup()
    leaf.allow(ProgramLimits(1000 * MIB, 10 * MIB))
    make_group(Path(leaf.folder), {"memory.max": "as it was"})
    leaf.allow(ProgramLimits(900 * MIB, 10 * MIB))
    assert content(leaf.folder, "memory.max") == "as it was"


@pytest.mark.parametrize(("reached", "killed"), [(0, 0), (2, 5), (0, 5)])
def test_a_leaf_tells_whether_its_own_limit_was_reached(kernel: Path, reached: int, killed: int) -> None:
    leaf = LeafGroup()
    events = f"low 0\nhigh 0\nmax 9\noom {reached}\noom_kill {killed}\noom_group_kill 1\n"
    make_group(Path(leaf.folder), {"memory.events": events})
    assert leaf.memory_events() == (reached > 0, killed > 0)


def test_closing_kills_what_is_left_and_does_not_wait_for_ever(kernel: Path) -> None:
    leaf = LeafGroup()
    leaf.close()
    assert content(leaf.folder, "cgroup.kill") == "1"


def test_a_kernel_that_cannot_kill_a_group_is_refused(kernel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_new_leaves(monkeypatch, set(LEAF) - {"cgroup.kill"})
    with pytest.raises(FileNotFoundError, match=r"cgroup\.kill"):
        LeafGroup()


def test_a_process_enters_a_leaf_by_itself(tmp_path: Path) -> None:
    make_group(tmp_path, {"cgroup.procs": ""})
    cgroups.enter(str(tmp_path))
    assert content(tmp_path, "cgroup.procs") == "0"


def test_empty_leaves_of_workers_that_are_gone_are_removed_and_nothing_else(kernel: Path) -> None:
    abandoned, living, foreign = (
        kernel / name for name in (f"taco-stream-{NO_WORKER}-3", f"taco-stream-{os.getpid()}-99", "main")
    )
    for folder in (abandoned, living, foreign):
        folder.mkdir()
    LeafGroup()
    assert [folder.exists() for folder in (abandoned, living, foreign)] == [False, True, True]


# Its place in a plan


def test_a_group_comes_before_resource_limits_and_does_not_meet_the_floor() -> None:
    plan = SandboxPlan(frozenset({Layer.RLIMITS, Layer.CGROUP, Layer.SECCOMP}))
    assert plan.tier == "seccomp+cgroup+rlimits"
    assert not plan.meets_floor


# A real group

LIMITS = Limits(cpu_seconds=20, wall_seconds=60, memory_bytes=128 * MIB, output_bytes=16 * MIB)
GROUPED = SandboxPlan(frozenset({Layer.CGROUP, Layer.RLIMITS}))
"""Under more layers no program gets as far as to run out of the group's memory."""

FILL_MEMORY_FILES = """
import os
for _ in range(60):
    file = os.memfd_create("hog")
    for _ in range(16):
        os.write(file, bytes(1 << 20))
print("filled")
"""

FILL_PROCESSES = """
import os, time
for _ in range(30):
    if os.fork() == 0:
        kept = b"x" * (64 << 20)
        time.sleep(100)
time.sleep(100)
"""

needs_a_group = pytest.mark.skipif(
    Layer.CGROUP not in layers_that_work(), reason=f"no control group: {refusals().get(Layer.CGROUP)}"
)


@pytest.fixture
def zygote() -> Iterator[Zygote]:
    opened = Zygote(GROUPED)
    yield opened
    opened.close()


def status_and_output(program: RunningProgram) -> tuple[Status, bytes]:
    execution = program.run(b"", LIMITS)
    return execution_status(execution, LIMITS), execution.output


@needs_a_group
@pytest.mark.parametrize("hog", [FILL_MEMORY_FILES, FILL_PROCESSES])
def test_what_no_limit_of_one_process_bounds_is_the_programs_memory_limit(zygote: Zygote, hog: str) -> None:
    with zygote.program([hog, "print('still here')"], LIMITS) as program:
        assert status_and_output(program) == (Status.MEMORY_LIMIT, b"")
        again = program.run(b"", LIMITS, form=1)
    assert (again.status, again.output) == (0, b"still here\n")


@needs_a_group
def test_what_a_test_may_take_fits(zygote: Zygote) -> None:
    text = "kept = bytearray(64 << 20); print('x' * (15 << 20))"
    with zygote.program([text], LIMITS) as program:
        status, output = status_and_output(program)
    assert (status, len(output)) == (Status.PASSED, (15 << 20) + 1)


@needs_a_group
def test_with_a_group_there_is_one_plan_more_and_it_is_the_first() -> None:
    strongest, *rest = available_plans()
    assert strongest.without(Layer.CGROUP) == rest[0]
    assert not any(Layer.CGROUP in plan.layers for plan in rest)


@needs_a_group
def test_a_leaf_is_gone_with_its_zygote() -> None:
    opened = Zygote(available_plans()[0])
    leaves = dict(cgroups.leaves(delegated_folder()))
    opened.close()
    assert str(os.getpid()) in leaves.values()
    assert str(os.getpid()) not in dict(cgroups.leaves(delegated_folder())).values()


@needs_a_group
@pytest.mark.anyio
async def test_an_evaluator_calls_a_hog_out_of_memory_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FORCED_TIER, GROUPED.tier)
    problem = Problem(
        position=0,
        problem_id="p",
        question="",
        tests='{"inputs": ["1", "2"], "outputs": ["1", "2"]}',
        time_limit_seconds=LIMITS.cpu_seconds,
    )
    settings = EvaluatorSettings(
        workers=1,
        unsafe_no_sandbox=True,
        memory_limit=LIMITS.memory_bytes >> 20,
        output_limit_bytes=LIMITS.output_bytes,
        full_results=True,
    )
    async with Evaluator(settings) as evaluator:
        verdicts = [await evaluator.judge(problem, text) for text in (FILL_MEMORY_FILES, "print(input())")]
        statistics = evaluator.statistics()
    assert [verdict.status for verdict in verdicts] == [Status.MEMORY_LIMIT, Status.PASSED]
    assert {verdict.sandbox_tier for verdict in verdicts} == {"cgroup+rlimits"}
    assert (statistics.restarts, statistics.infrastructure_errors) == (0, 0)
