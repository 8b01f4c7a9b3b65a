"""This machine, as far as it concerns a run: its cores and memory, its control group's share of them, its names.

Everything is read from the kernel's files when it is asked for, and nothing heavy is imported: a generation worker, the
evaluator and `doctor` ask the same functions.
"""

import os
import platform
import re
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

NO_LIMIT = 1 << 60
"""The first version of control groups writes no limit as a number beyond this."""

_KILOBYTES = re.compile(r"^Vm(RSS|HWM):\s+(\d+) kB$", re.MULTILINE)

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def available_cores() -> int:
    """The cores that this process has: those it may run on, and no more than its control group grants.

    On systems that do not say, all of the machine's.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    granted = read_control_group(read_kernel_file(Path("/proc/self/cgroup")), Path("/sys/fs/cgroup")).cores
    return cores if granted is None else max(1, min(cores, int(granted)))


def generating_cores(*, is_judged: bool) -> int:
    """The cores to generate with on a CPU: all of them, or half if programs are judged on them at the same time.

    A model's threads wait for each other several hundred times in a step. One of them that has to share its core holds
    up all, so more threads than are free make generating slower, not faster (`bench/LOG.md`). The number is settled
    before a run and kept, since it changes samples in their last bits (docs/design/engine.md).
    """
    return max(1, available_cores() // 2) if is_judged else available_cores()


def read_memory() -> tuple[int, int]:
    """The machine's memory in bytes: all of it, and the free part."""
    kilobytes = dict(re.findall(r"^(\w+):\s+(\d+) kB$", read_kernel_file(Path("/proc/meminfo")), re.MULTILINE))
    return int(kilobytes["MemTotal"]) << 10, int(kilobytes["MemAvailable"]) << 10


def available_bytes() -> int:
    """Memory that can still be had: free or reclaimable, and no more than the control group may have."""
    if not Path("/proc/meminfo").exists():
        return os.sysconf("SC_AVPHYS_PAGES") * PAGE_BYTES
    _, available = read_memory()
    group = read_control_group(read_kernel_file(Path("/proc/self/cgroup")), Path("/sys/fs/cgroup"))
    return available if group.memory_bytes is None else min(available, group.memory_bytes)


class ProcessMemory(NamedTuple):
    """One process: the module that it runs, empty if it is not started by one, and its resident bytes."""

    module: str
    resident_bytes: int
    peak_bytes: int


def read_process_tree() -> list[ProcessMemory]:
    """This process, first, and its descendants now; without `/proc`, this process's own peak.

    Their sum is an upper bound: pages shared between processes count once for each.
    """
    if not Path("/proc/self/status").exists():
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # in KiB on Linux
        return [ProcessMemory("", peak, peak)]
    return [_read_process(pid) for pid in (os.getpid(), *_descendants(os.getpid()))]


class ControlGroup(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of this process's control group and those above it; None means no limit."""

    version: int
    path: str
    memory_bytes: int | None
    cores: float | None


def read_control_group(membership: str, root: Path) -> ControlGroup:
    """The limits in force, from the text of `/proc/self/cgroup` and the trees of groups mounted below `root`."""
    lines = [line.split(":", 2) for line in membership.splitlines()]
    paths = {name: path for _, names, path in lines for name in names.split(",")}

    def upwards(tree: Path, controller: str, name: str) -> Iterator[list[str]]:
        folder = tree / paths.get(controller, "/").lstrip("/")
        # A limit of any group above binds as well. In a container the tree may begin at our own group, whose path is
        # longer than the tree is deep: folders that are not there are passed over.
        for each in (folder, *folder.parents):
            if each.is_relative_to(tree) and (text := read_kernel_file(each / name)):
                yield text.split()

    if is_second := (root / "cgroup.controllers").exists():
        memory, cores = upwards(root, "", "memory.max"), upwards(root, "", "cpu.max")
    else:
        memory = upwards(root / "memory", "memory", "memory.limit_in_bytes")
        quotas, periods = (upwards(root / "cpu", "cpu", f"cpu.cfs_{name}_us") for name in ("quota", "period"))
        cores = ([*quota, *period] for quota, period in zip(quotas, periods, strict=False))
    path = paths.get("" if is_second else "memory", "/")
    return ControlGroup(
        version=2 if is_second else 1,
        path=path,
        memory_bytes=min((int(most) for (most,) in memory if most.isdigit() and int(most) < NO_LIMIT), default=None),
        cores=min((int(quota) / int(period) for quota, period in cores if quota.isdigit()), default=None),
    )


def hardware() -> dict[str, str]:
    """The machine in words, for a run's manifest."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": str(available_cores()),
        "memory_bytes": str(PAGE_BYTES * os.sysconf("SC_PHYS_PAGES")),
        "accelerators": ", ".join(_accelerators()) or "none",
    }


def read_kernel_file(path: Path) -> str:
    """The content of one of the kernel's files, empty if there is none to read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _accelerators() -> list[str]:
    """The names of the NVIDIA devices."""
    # From the driver's own files: loading torch would take seconds, for a name.
    found = []
    for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        found += [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]
    return found


def _processor() -> str:
    lines = read_kernel_file(Path("/proc/cpuinfo")).splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), "") or platform.processor() or platform.machine()


def _descendants(pid: int) -> list[int]:
    found = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            children = [int(child) for child in (task / "children").read_text().split()]
            for child in children:
                found += [child, *_descendants(child)]
    except OSError:
        pass  # the process ended while we looked
    return found


def _read_process(pid: int) -> ProcessMemory:
    # A process that has ended meanwhile has no files, one that is ending no memory.
    status = dict(_KILOBYTES.findall(read_kernel_file(Path(f"/proc/{pid}/status"))))
    arguments = read_kernel_file(Path(f"/proc/{pid}/cmdline")).split("\0")
    return ProcessMemory(
        module=arguments[arguments.index("-m") + 1] if "-m" in arguments[:-1] else "",
        resident_bytes=int(status.get("RSS", 0)) << 10,
        peak_bytes=int(status.get("HWM", 0)) << 10,
    )
