"""The command `taco-stream doctor`: whether this machine can run everything, and how to fix what is missing.

It reads (`readings`), judges (`findings`) and prints: a table, then each remedy as one line that can be copied.
"""

import platform
import resource
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from taco_stream.doctor import findings, readings
from taco_stream.doctor.findings import Finding, Level
from taco_stream.machine import available_cores, hardware, read_control_group, read_memory, text_of
from taco_stream.terminal import stdout_console

LIMITS = ("AS", "CPU", "FSIZE", "NOFILE", "NPROC", "STACK")
COLOURS = {Level.OK: "green", Level.NOTE: "yellow", Level.PROBLEM: "bold red"}


def examine(directory: Path, *, as_json: bool) -> int:
    """Prints the findings to standard output; 0 if a run in `directory` can start here, else 1."""
    found = findings_here(directory)
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n")
    else:
        print_findings(found, stdout_console())
    return 0 if can_start(found) else 1


def can_start(found: Sequence[Finding]) -> bool:
    """Whether a run can start, and judges rightly, in spite of this finding."""
    return all(each.level is not Level.PROBLEM for each in found)


def findings_here(directory: Path) -> list[Finding]:
    """Everything found on this machine, by topic."""
    if platform.system() != "Linux":
        remedy = "use Linux 5.3 or later, in a virtual machine or container if need be"
        return [Finding("system", Level.PROBLEM, f"programs cannot be judged on {platform.system()}", remedy)]
    from huggingface_hub import constants, get_token

    cores = available_cores()
    limits = {name: resource.getrlimit(getattr(resource, f"RLIMIT_{name}")) for name in LIMITS}
    group = read_control_group(text_of(Path("/proc/self/cgroup")), Path("/sys/fs/cgroup"))
    sandbox = readings.read_sandbox()
    return [
        *findings.sandbox_findings(sandbox),
        findings.verdict_finding(readings.read_verdict()),
        *findings.limit_findings(limits, cores),
        findings.core_finding(cores, group.cores),
        *findings.memory_findings(*read_memory(), group.memory_bytes, cores),
        findings.group_finding(group, sandbox),
        *findings.accelerator_findings(readings.read_torch(), hardware()["accelerators"]),
        findings.disk_finding(readings.read_place("runs", directory), is_needed=True),
        findings.disk_finding(readings.read_place("HF_HOME", Path(constants.HF_HOME)), is_needed=False),
        *findings.package_findings(readings.read_packages()),
        findings.hub_finding(has_token=get_token() is not None, is_offline=constants.HF_HUB_OFFLINE),
    ]


def print_findings(found: Sequence[Finding], console: Console) -> None:
    """Prints a table, what to do, and what it comes to."""
    table = Table("topic", "", "finding", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for each in found:
        table.add_row(each.topic, Text(each.level, style=COLOURS[each.level]), Text(each.text))
    console.print(table)
    console.print()
    for each in found:
        if each.remedy:
            console.print(f"{each.topic}: {each.remedy}", soft_wrap=True, markup=False)
    console.print("a run can start here" if can_start(found) else "a run cannot start here: see the problems above")
