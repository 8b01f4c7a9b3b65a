"""What the doctor makes of readings, what it reads from made-up kernels, and what a person and a script get from it."""

import contextlib
import email
import io
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from taco_stream.commands.doctor import can_start, print_diagnoses
from taco_stream.doctor.diagnosis import (
    Diagnosis,
    Level,
    diagnose_accelerators,
    diagnose_control_group,
    diagnose_cores,
    diagnose_disk,
    diagnose_evaluator,
    diagnose_hub,
    diagnose_limits,
    diagnose_memory,
    diagnose_packages,
    diagnose_sandbox,
)
from taco_stream.doctor.readings import (
    Device,
    Folder,
    Package,
    Sandbox,
    Torch,
    failure_of_writing,
    read_folder,
    read_packages,
    read_torch,
    read_verdict,
)
from taco_stream.evaluator.sandbox.plan import Layer
from taco_stream.machine import ControlGroup
from taco_stream.types import Status, Verdict

EVERY_LAYER = frozenset(Layer)
STRONGEST = "namespaces+landlock+seccomp+rlimits"
UNLIMITED = dict.fromkeys(
    ("AS", "CPU", "FSIZE", "NOFILE", "NPROC", "STACK"), (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
)
RUNS_FOLDER = Folder(name="runs", path="/data/runs", free_bytes=10**12, file_system="ext4")
GIB = 1 << 30


def sandbox(working: frozenset[Layer] = EVERY_LAYER, tier: str = STRONGEST, **seen) -> Sandbox:
    return Sandbox(tiers=(tier, "rlimits"), working=working, **seen)


# The sandbox


def test_the_strongest_tier_is_named_with_the_others() -> None:
    (diagnosis,) = diagnose_sandbox(sandbox(landlock_version=7))
    assert diagnosis.level is Level.OK
    assert diagnosis.text.startswith(f"{STRONGEST} (Landlock 7), the strongest")
    assert diagnosis.text.endswith("rlimits (below the floor)")


def test_a_tier_below_the_floor_is_a_problem() -> None:
    first, *layers = diagnose_sandbox(sandbox(frozenset({Layer.RLIMITS}), "rlimits"))
    assert first.level is Level.PROBLEM
    assert "seccomp and Landlock or namespaces" in first.text
    assert [diagnosis.text.split(":")[0] for diagnosis in layers] == ["no namespaces", "no landlock", "no seccomp"]


def test_a_missing_layer_above_the_floor_is_a_note() -> None:
    first, second = diagnose_sandbox(sandbox(EVERY_LAYER - {Layer.LANDLOCK}, "namespaces+seccomp+rlimits"))
    assert (first.level, second.level) == (Level.OK, Level.NOTE)


def test_roots_own_namespaces_are_namespaces() -> None:
    assert len(diagnose_sandbox(sandbox(EVERY_LAYER - {Layer.NAMESPACES}, f"root_{STRONGEST}"))) == 1


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("kernel.unprivileged_userns_clone", 0, "sudo sysctl -w kernel.unprivileged_userns_clone=1"),
        (
            "kernel.apparmor_restrict_unprivileged_userns",
            1,
            "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ("user.max_net_namespaces", 0, "sudo sysctl -w user.max_net_namespaces=10000"),
    ],
)
def test_a_switch_that_forbids_namespaces_is_named_with_the_command_that_turns_it(
    name: str, value: int, remedy: str
) -> None:
    working = EVERY_LAYER - {Layer.NAMESPACES, Layer.ROOT_NAMESPACES}
    _, diagnosis = diagnose_sandbox(sandbox(working, "landlock+seccomp+rlimits", switches={name: value}))
    assert diagnosis.remedy == remedy


def test_a_switch_that_allows_namespaces_is_not_blamed() -> None:
    working = EVERY_LAYER - {Layer.NAMESPACES, Layer.ROOT_NAMESPACES}
    switches = {"kernel.unprivileged_userns_clone": 1, "user.max_user_namespaces": 96365}
    _, diagnosis = diagnose_sandbox(sandbox(working, "landlock+seccomp+rlimits", switches=switches))
    assert "sysctl" not in diagnosis.remedy


def test_landlock_that_was_not_started_with_the_kernel_is_added_to_what_was() -> None:
    seen = sandbox(EVERY_LAYER - {Layer.LANDLOCK}, "namespaces+seccomp+rlimits", security_modules="capability,yama")
    assert "lsm=landlock,capability,yama " in diagnose_sandbox(seen)[1].remedy


def test_a_filter_over_ourselves_is_taken_for_a_containers() -> None:
    seen = sandbox(EVERY_LAYER - {Layer.LANDLOCK}, "namespaces+seccomp+rlimits", is_filtered=True)
    assert "--security-opt seccomp=unconfined" in diagnose_sandbox(seen)[1].remedy


def test_the_kernels_own_words_are_passed_on() -> None:
    refusals = {Layer.LANDLOCK: "system call 444: Function not implemented"}
    seen = sandbox(EVERY_LAYER - {Layer.LANDLOCK}, "namespaces+seccomp+rlimits", refusals=refusals)
    assert "Function not implemented" in diagnose_sandbox(seen)[1].text


def test_a_stronger_tier_that_does_not_work_as_a_whole_is_named_with_the_folder_that_is_in_the_way() -> None:
    refused = {f"root_{STRONGEST}": "[Errno 13] Permission denied; /home/ann is closed to user 0"}
    diagnosis = diagnose_sandbox(sandbox(tier="landlock+seccomp+rlimits", refused=refused))[1]
    assert diagnosis.level is Level.NOTE
    assert "/home/ann is closed to user 0" in diagnosis.text
    assert "where every user can read them" in diagnosis.remedy


def test_a_weaker_tier_that_the_environment_forces_is_a_note() -> None:
    (diagnosis,) = diagnose_sandbox(sandbox(forced="landlock+seccomp+rlimits"))
    assert (diagnosis.level, diagnosis.remedy) == (Level.NOTE, "unset TACO_STREAM_SANDBOX")


def test_a_forced_tier_of_no_known_layer_is_a_problem() -> None:
    (diagnosis,) = diagnose_sandbox(sandbox(forced="hope"))
    assert diagnosis.level is Level.PROBLEM


def test_a_right_program_that_does_not_pass_is_a_problem() -> None:
    diagnosis = diagnose_evaluator(Verdict(status=Status.RUNTIME_ERROR, detail="ValueError"))
    assert diagnosis.level is Level.PROBLEM
    assert "runtime_error: ValueError" in diagnosis.text


def test_a_right_program_passes_here() -> None:
    assert read_verdict().status is Status.PASSED


# Limits, cores, memory


def test_no_limit_is_enough() -> None:
    (diagnosis,) = diagnose_limits(UNLIMITED, cores=128)
    assert diagnosis.level is Level.OK


@pytest.mark.parametrize(
    ("name", "hard"), [("AS", 3 * GIB), ("CPU", 5), ("FSIZE", 30 << 20), ("NOFILE", 63), ("NPROC", 100)]
)
def test_a_hard_limit_below_what_a_test_is_given_is_a_problem(name: str, hard: int) -> None:
    found = diagnose_limits(UNLIMITED | {name: (hard, hard)}, cores=1)
    assert {diagnosis.level for diagnosis in found} == {Level.PROBLEM}
    assert f"--{name.lower()}=" in found[0].remedy


def test_every_worker_needs_descriptors() -> None:
    limits = UNLIMITED | {"NOFILE": (64, 4096)}
    assert [diagnose_limits(limits, cores)[0].level for cores in (8, 9)] == [Level.OK, Level.PROBLEM]
    assert diagnose_limits(limits, 9)[0].remedy == "ulimit -Sn 68"


def test_a_small_stack_is_a_note() -> None:
    (diagnosis,) = diagnose_limits(UNLIMITED | {"STACK": (1 << 20, resource.RLIM_INFINITY)}, cores=1)
    assert (diagnosis.level, diagnosis.remedy) == (Level.NOTE, "ulimit -s 8192")


def test_fewer_cores_granted_than_seen_are_a_note_with_the_flag_for_it() -> None:
    diagnosis = diagnose_cores(16, 2.5)
    assert (diagnosis.level, diagnosis.remedy) == (Level.NOTE, "--workers 2")


def test_as_many_cores_granted_as_seen_are_fine() -> None:
    assert diagnose_cores(2, 2.0).level is diagnose_cores(2, None).level is Level.OK


def test_memory_that_holds_a_test_on_every_core_is_fine() -> None:
    (diagnosis,) = diagnose_memory(8 * GIB, 7 * GIB, None, cores=2)
    assert diagnosis.level is Level.OK


def test_memory_that_cannot_hold_a_test_on_every_core_is_a_note_with_flags_that_fit() -> None:
    (diagnosis,) = diagnose_memory(16 * GIB, 15 * GIB, None, cores=16)
    assert (diagnosis.level, diagnosis.remedy) == (Level.NOTE, "--workers 4 or --memory-limit 1024")


def test_the_control_groups_memory_counts_where_it_is_less() -> None:
    (diagnosis,) = diagnose_memory(64 * GIB, 60 * GIB, 8 * GIB, cores=1)
    assert diagnosis.text.startswith("8.0 GiB allowed by the control group")


def test_memory_too_small_for_the_demo_is_a_note() -> None:
    (diagnosis,) = diagnose_memory(8 * GIB, GIB // 2, None, cores=1)
    assert diagnosis.level is Level.NOTE


def test_a_group_for_programs_needs_nothing_done() -> None:
    diagnosis = diagnose_control_group(ControlGroup(version=2, path="/a", memory_bytes=None, cores=None), sandbox())
    assert (diagnosis.level, diagnosis.remedy) == (Level.OK, "")


@pytest.mark.parametrize(("version", "remedy"), [(1, "unified_cgroup_hierarchy"), (2, "-p DelegateSubgroup=main")])
def test_no_group_for_programs_is_no_fault_and_comes_with_what_would_give_one(version: int, remedy: str) -> None:
    group = ControlGroup(version=version, path="/a", memory_bytes=None, cores=None)
    seen = sandbox(EVERY_LAYER - {Layer.CGROUP}, refusals={Layer.CGROUP: "/a is not delegated"})
    diagnosis = diagnose_control_group(group, seen)
    assert diagnosis.level is Level.OK
    assert diagnosis.text.endswith(": /a is not delegated")
    assert remedy in diagnosis.remedy


# Accelerators


def test_no_accelerator_is_fine() -> None:
    (diagnosis,) = diagnose_accelerators(Torch(), "none")
    assert diagnosis.level is Level.OK
    assert "CPU" in diagnosis.text


def test_a_device_without_bfloat16_is_a_note_with_the_flag_for_it() -> None:
    torch = Torch(cuda="12.8", devices=(Device("Old", 16 * GIB, False), Device("New", 80 * GIB, True)))
    old, new = diagnose_accelerators(torch, "Old, New")
    assert (old.level, old.remedy) == (Level.NOTE, "--dtype float16")
    assert (new.level, new.text) == (Level.OK, "New, 80.0 GiB, CUDA 12.8, bfloat16")


@pytest.mark.parametrize(("cuda", "remedy"), [(None, "pip install"), ("13.0", "driver for CUDA 13.0")])
def test_a_device_that_torch_cannot_use_is_a_note(cuda: str | None, remedy: str) -> None:
    (diagnosis,) = diagnose_accelerators(Torch(cuda=cuda), "NVIDIA H100")
    assert diagnosis.level is Level.NOTE
    assert "NVIDIA H100" in diagnosis.text
    assert remedy in diagnosis.remedy


def test_torch_that_does_not_load_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so.13 is missing')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (diagnosis,) = diagnose_accelerators(read_torch(), "none")
    assert diagnosis.level is Level.PROBLEM
    assert "libcudart.so.13 is missing" in diagnosis.text


# Disk, packages, hub


def test_a_local_disk_with_room_is_fine() -> None:
    assert diagnose_disk(RUNS_FOLDER, is_needed=True).level is Level.OK


@pytest.mark.parametrize(("is_needed", "level"), [(True, Level.PROBLEM), (False, Level.NOTE)])
def test_no_access_is_a_problem_where_a_run_writes(is_needed: bool, level: Level) -> None:
    folder = Folder(name="x", path="/x", free_bytes=10**12, file_system="ext4", failure="Permission denied")
    assert diagnose_disk(folder, is_needed=is_needed).level is level


@pytest.mark.parametrize(("free_bytes", "file_system"), [(4 * 10**9, "ext4"), (10**12, "nfs4")])
def test_little_room_and_network_file_systems_are_notes(free_bytes: int, file_system: str) -> None:
    folder = Folder(name="runs", path="/data/runs", free_bytes=free_bytes, file_system=file_system)
    assert diagnose_disk(folder, is_needed=True).level is Level.NOTE


def test_trying_a_folder_leaves_nothing_in_it(tmp_path: Path) -> None:
    assert failure_of_writing(tmp_path) == ""
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_does_not_hold_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taco_stream.doctor.readings.exclusive", contextlib.nullcontext)
    assert failure_of_writing(tmp_path) == "a lock does not hold there"


def test_a_folder_that_is_not_there_yet_is_not_made(tmp_path: Path) -> None:
    folder = read_folder("runs", tmp_path / "a" / "runs")
    assert (folder.failure, folder.path) == ("", str(tmp_path / "a" / "runs"))
    assert not (tmp_path / "a").exists()


def test_a_folder_where_nobody_can_write_says_so() -> None:
    """Not even root makes a folder in /proc."""
    assert read_folder("runs", Path("/proc/runs")).failure == "No such file or directory"


def test_a_package_that_is_missing_or_too_old_is_a_problem() -> None:
    packages = [
        Package("torch", ">=2.11", "local", "2.9.1+cpu"),
        Package("rich", ">=13.9", "", ""),
        Package("x", ">=1", "", "1.0"),
        Package("y", ">=1,<3", "", "2.14.0.dev20261101+cu130"),
    ]
    _, old, missing = diagnose_packages(packages)
    assert (old.level, old.remedy) == (Level.PROBLEM, "pip install 'torch>=2.11'")
    assert (missing.level, missing.remedy) == (Level.PROBLEM, "pip install 'rich>=13.9'")


def test_a_package_that_is_too_new_is_a_problem() -> None:
    (_, found) = diagnose_packages([Package("x", ">=1,<3", "", "3.1")])
    assert (found.level, found.remedy) == (Level.PROBLEM, "pip install 'x>=1,<3'")


def test_requirements_of_every_form_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    stated = ["a>=1,<3", "b[c]~=2.1", "d; python_version<'3'", "e>=1; extra == 'fast'", "f; extra == 'dev'"]
    extras = "Provides-Extra: fast\nProvides-Extra: dev\n"
    monkeypatch.setattr("importlib.metadata.requires", lambda _: stated)
    monkeypatch.setattr("importlib.metadata.metadata", lambda _: email.message_from_string(extras))
    found = [(each.name, each.wanted, each.extra) for each in read_packages()]
    assert found == [("a", "<3,>=1", ""), ("b", "~=2.1", ""), ("e", ">=1", "fast")]


def test_extras_that_are_missing_are_fine_and_come_with_the_command() -> None:
    packages = [Package("torch", ">=2.11", "local", ""), Package("inspect-ai", ">=0.3.100", "inspect", "")]
    (_, extras) = diagnose_packages(packages)
    assert (extras.level, extras.remedy) == (Level.OK, "pip install 'taco-stream[local,inspect]'")


def test_a_hub_that_is_switched_off_is_a_note() -> None:
    assert diagnose_hub(has_token=True, is_offline=True).level is Level.NOTE


# What a person and a script get


def printed(*found: Diagnosis, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_diagnoses(found, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_only_a_problem_keeps_a_run_from_starting() -> None:
    fine, note = Diagnosis("a", Level.OK, "x"), Diagnosis("b", Level.NOTE, "y")
    assert can_start([fine, note])
    assert not can_start([fine, note, Diagnosis("c", Level.PROBLEM, "z")])


def test_a_remedy_stands_on_one_line_however_narrow_the_table() -> None:
    remedy = "sudo sysctl -w " + "kernel.unprivileged_userns_clone=1 " * 3 + "x"
    assert f"sandbox: {remedy}\n" in printed(Diagnosis("sandbox", Level.NOTE, "no namespaces", remedy), width=40)


def test_text_in_brackets_is_not_taken_for_markup() -> None:
    text = printed(Diagnosis("disk", Level.OK, "/data/[red]/x", "pip install 'a[b]'"))
    assert "/data/[red]/x" in text
    assert "'a[b]'" in text


def doctor(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "taco_stream", "doctor", *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        timeout=550,
        env={**os.environ, "HF_TOKEN": "hf_secret", "NO_COLOR": "1"},
    )


@pytest.fixture(scope="module")
def as_json(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    return doctor("--json", tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def as_table() -> subprocess.CompletedProcess[str]:
    return doctor("/proc/runs")


def test_a_script_gets_every_topic(as_json: subprocess.CompletedProcess[str]) -> None:
    topics = {diagnosis["topic"] for diagnosis in json.loads(as_json.stdout)}
    assert topics >= {"sandbox", "evaluator", "limits", "cores", "memory", "accelerator", "disk", "versions", "hub"}


def test_the_exit_code_says_whether_there_is_a_problem(as_json: subprocess.CompletedProcess[str]) -> None:
    assert as_json.returncode == any(diagnosis["level"] == "problem" for diagnosis in json.loads(as_json.stdout))


def test_where_a_run_cannot_be_written_the_exit_code_is_1(as_table: subprocess.CompletedProcess[str]) -> None:
    assert as_table.returncode == 1
    assert as_table.stdout.endswith("a run cannot start here: see the problems above\n")


def test_a_table_in_a_pipe_has_no_colour(as_table: subprocess.CompletedProcess[str]) -> None:
    assert "/proc/runs" in as_table.stdout
    assert "\x1b" not in as_table.stdout


def test_the_token_is_never_printed(
    as_json: subprocess.CompletedProcess[str], as_table: subprocess.CompletedProcess[str]
) -> None:
    assert "a token is set" in as_json.stdout
    assert not any("hf_secret" in text for done in (as_json, as_table) for text in (done.stdout, done.stderr))


def test_torch_is_not_loaded_by_the_doctor_itself() -> None:
    code = (
        "import sys; from pathlib import Path; from taco_stream.commands.doctor import diagnose;"
        "diagnose(Path('runs')); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=550)
    assert done.stdout == "False\n"
