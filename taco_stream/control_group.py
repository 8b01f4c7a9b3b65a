"""What the machine's memory is, and what the control group of this process leaves of the machine to it."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

NO_LIMIT = 1 << 60
"""The first version of control groups writes no limit as a number beyond this."""


class ControlGroup(msgspec.Struct, frozen=True, kw_only=True):
    """What the control group of this process, and those above it, leave to it; None is no limit."""

    version: int
    path: str
    memory_bytes: int | None
    cores: float | None


def read_memory() -> tuple[int, int]:
    """The machine's memory in bytes: all of it, and what is free."""
    kilobytes = dict(re.findall(r"^(\w+):\s+(\d+) kB$", text_of(Path("/proc/meminfo")), re.MULTILINE))
    return int(kilobytes["MemTotal"]) << 10, int(kilobytes["MemAvailable"]) << 10


def available_bytes() -> int:
    """Memory that can still be had: what is free or can be freed, and no more than the control group may have."""
    if not Path("/proc/meminfo").exists():
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    _, available = read_memory()
    group = read_control_group(text_of(Path("/proc/self/cgroup")), Path("/sys/fs/cgroup"))
    return available if group.memory_bytes is None else min(available, group.memory_bytes)


def read_control_group(membership: str, root: Path) -> ControlGroup:
    """The limits in force, from the text of `/proc/self/cgroup` and the trees of control groups mounted below `root`.

    A limit of any group above binds as well. In a container the tree may begin at our own group, whose path is longer.
    """
    lines = [line.split(":", 2) for line in membership.splitlines()]
    paths = {name: path for _, names, path in lines for name in names.split(",")}

    def upwards(tree: Path, controller: str, name: str) -> Iterator[list[str]]:
        folder = tree / paths.get(controller, "/").lstrip("/")
        for each in (folder, *folder.parents):
            if each.is_relative_to(tree) and (text := text_of(each / name)):
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


def text_of(path: Path) -> str:
    """The content of one of the kernel's files, empty where there is none to read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
