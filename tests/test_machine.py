"""This machine: the cores and memory that a process may use, and its description."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from taco_stream.machine import (
    ControlGroup,
    available_cores,
    generating_cores,
    hardware,
    read_control_group,
    read_process_tree,
)

GIB = 1 << 30


def test_only_cores_that_this_process_may_run_on_count() -> None:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert available_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize(("granted", "cores"), [(None, 8), (2.5, 2), (0.5, 1), (64.0, 8)])
def test_no_more_cores_count_than_the_control_group_grants(
    monkeypatch: pytest.MonkeyPatch, granted: float | None, cores: int
) -> None:
    group = ControlGroup(version=2, path="/", memory_bytes=None, cores=granted)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr("taco_stream.machine.read_control_group", lambda membership, root: group)
    assert available_cores() == cores


@pytest.mark.parametrize(("cores", "alone", "beside"), [(1, 1, 1), (2, 2, 1), (3, 3, 1), (16, 16, 8)])
def test_judging_is_left_half_of_the_cores(
    monkeypatch: pytest.MonkeyPatch, cores: int, alone: int, beside: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    assert generating_cores(is_judged=False) == alone
    assert generating_cores(is_judged=True) == beside


HOLD = "data = bytearray(64 << 20)\nprint('ready', flush=True)\ninput()"


def tree_bytes() -> int:
    return sum(each.resident_bytes for each in read_process_tree())


def test_a_childs_memory_counts_while_it_lives() -> None:
    before = tree_bytes()
    child = subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    during = tree_bytes()
    child.communicate("\n")
    assert during - before >= 64 << 20
    assert tree_bytes() < during - (32 << 20)


PEAK = "data = bytearray(64 << 20)\ndel data\nprint('ready', flush=True)\ninput()"


def test_a_processs_peak_is_the_kernels_which_misses_nothing(tmp_path: Path) -> None:
    (tmp_path / "holding.py").write_text(PEAK)
    child = subprocess.Popen(
        [sys.executable, "-m", "holding"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    (seen,) = (each for each in read_process_tree() if each.module == "holding")
    child.communicate("\n")
    assert seen.peak_bytes - seen.resident_bytes >= 32 << 20


def write_tree(root: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)


def test_the_tightest_limit_of_all_groups_above_binds(tmp_path: Path) -> None:
    files = {
        "cgroup.controllers": "cpu memory",
        "a/memory.max": "2147483648\n",
        "a/cpu.max": "max 100000\n",
        "a/b/memory.max": "max\n",
        "a/b/cpu.max": "150000 100000\n",
    }
    write_tree(tmp_path, files)
    group = read_control_group("0::/a/b", tmp_path)
    assert (group.version, group.memory_bytes, group.cores) == (2, 2 * GIB, 1.5)


def test_the_first_version_of_control_groups_is_read_too(tmp_path: Path) -> None:
    files = {
        "memory/a/memory.limit_in_bytes": "1073741824\n",
        "memory/memory.limit_in_bytes": "9223372036854771712\n",
        "cpu/cpu.cfs_quota_us": "50000\n",
        "cpu/cpu.cfs_period_us": "100000\n",
    }
    write_tree(tmp_path, files)
    group = read_control_group("4:memory:/a\n1:cpu,cpuacct:/a\n0::/", tmp_path)
    assert (group.version, group.memory_bytes, group.cores) == (1, GIB, 0.5)


def test_no_limit_and_no_control_group_are_no_limit(tmp_path: Path) -> None:
    write_tree(tmp_path / "second", {"cgroup.controllers": "", "memory.max": "max\n", "cpu.max": "max 100000\n"})
    for root in (tmp_path / "second", tmp_path / "none"):
        group = read_control_group("0::/", root)
        assert (group.memory_bytes, group.cores) == (None, None)


def test_the_machine_is_described_in_words() -> None:
    assert {"system", "processor", "cores", "memory_bytes", "accelerators"} == set(hardware())
    assert all(hardware().values())
    assert int(hardware()["memory_bytes"]) > 1 << 20
