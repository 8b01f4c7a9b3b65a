"""The command `taco-stream doctor`: whether this machine can run everything, and how to fix it if not.

It reads (`readings`), judges (`diagnosis`) and prints: a table, then each remedy as one line that can be copied.
"""

import platform
import resource
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from taco_stream.doctor import diagnosis, readings
from taco_stream.doctor.diagnosis import Diagnosis, Level
from taco_stream.machine import available_cores, hardware, read_control_group, read_kernel_file, read_memory
from taco_stream.terminal import stdout_console, write_json

LIMITS = ("AS", "CPU", "FSIZE", "NOFILE", "NPROC", "STACK")
COLOURS = {Level.OK: "green", Level.NOTE: "yellow", Level.PROBLEM: "bold red"}


def examine(directory: Path, *, as_json: bool) -> int:
    """Prints the diagnoses to standard output; 0 if a run in `directory` can start here, else 1."""
    found = diagnose(directory)
    if as_json:
        write_json(found)
    else:
        print_diagnoses(found, stdout_console())
    return 0 if can_start(found) else 1


def can_start(found: Sequence[Diagnosis]) -> bool:
    """Whether a run can start, and judges rightly, in spite of this diagnosis."""
    return all(each.level is not Level.PROBLEM for each in found)


def diagnose(directory: Path) -> list[Diagnosis]:
    """Everything found on this machine, by topic."""
    if platform.system() != "Linux":
        remedy = "use Linux 5.3 or later, in a virtual machine or container if need be"
        return [Diagnosis("system", Level.PROBLEM, f"programs cannot be judged on {platform.system()}", remedy)]
    from huggingface_hub import constants, get_token

    cores = available_cores()
    limits = {name: resource.getrlimit(getattr(resource, f"RLIMIT_{name}")) for name in LIMITS}
    group = read_control_group(read_kernel_file(Path("/proc/self/cgroup")), Path("/sys/fs/cgroup"))
    sandbox = readings.read_sandbox()
    return [
        *diagnosis.diagnose_sandbox(sandbox),
        diagnosis.diagnose_evaluator(readings.read_verdict()),
        *diagnosis.diagnose_limits(limits, cores),
        diagnosis.diagnose_cores(cores, group.cores),
        *diagnosis.diagnose_memory(*read_memory(), group.memory_bytes, cores),
        diagnosis.diagnose_control_group(group, sandbox),
        *diagnosis.diagnose_accelerators(readings.read_torch(), hardware()["accelerators"]),
        diagnosis.diagnose_disk(readings.read_folder("runs", directory), is_needed=True),
        diagnosis.diagnose_disk(readings.read_folder("HF_HOME", Path(constants.HF_HOME)), is_needed=False),
        *diagnosis.diagnose_packages(readings.read_packages()),
        *diagnosis.diagnose_plug_ins(readings.read_plug_ins()),
        diagnosis.diagnose_hub(has_token=get_token() is not None, is_offline=constants.HF_HUB_OFFLINE),
    ]


def print_diagnoses(found: Sequence[Diagnosis], console: Console) -> None:
    """Prints a table, the remedies, and the conclusion."""
    table = Table("topic", "", "finding", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for each in found:
        table.add_row(each.topic, Text(each.level, style=COLOURS[each.level]), Text(each.text))
    console.print(table)
    console.print()
    for each in found:
        if each.remedy:
            console.print(f"{each.topic}: {each.remedy}", soft_wrap=True, markup=False)
    console.print("a run can start here" if can_start(found) else "a run cannot start here: see the problems above")
