"""Readings of a machine: thin readers that judge nothing.

Whatever can be tried is tried: every layer of the sandbox by the evaluator's own probe, a right program by the
evaluator itself, and writing, syncing and locking by the store's own functions, in a folder that is gone again
afterwards. torch is asked by an interpreter of its own, which runs this file as its main module.

Not covered: the hub is not called, and whether a given model fits is known only when it is loaded.
"""

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import anyio
import msgspec
from packaging.requirements import Requirement

from taco_stream.errors import EvaluatorError, RunInUseError, StoreError
from taco_stream.evaluator.pool import Evaluator, EvaluatorSettings
from taco_stream.evaluator.sandbox import landlock
from taco_stream.evaluator.sandbox.plan import Layer
from taco_stream.evaluator.sandbox.probe import FORCED_TIER, available_plans, layers_that_work, refusals, refused_plans
from taco_stream.machine import read_kernel_file
from taco_stream.plug_ins import list_plug_ins
from taco_stream.store.atomic import write_atomically
from taco_stream.store.lock import exclusive
from taco_stream.types import Problem, Status, Verdict

TORCH_SECONDS = 60.0

SWITCHES = {
    "kernel.unprivileged_userns_clone": (0, 1, "user namespaces are switched off for ordinary users"),
    "kernel.apparmor_restrict_unprivileged_userns": (1, 0, "AppArmor takes the rights from ordinary users' namespaces"),
    **{
        f"user.max_{kind}_namespaces": (0, 10000, f"the limit of {kind} namespaces is 0")
        for kind in ("user", "mnt", "net", "pid", "ipc", "uts")
    },
}
"""Settings of the kernel that can forbid namespaces: the value that does, one that does not, and its meaning."""

TRIAL = Problem(problem_id="doctor", position=0, question="", tests='{"inputs": ["7\\n"], "outputs": ["7\\n"]}')


class Sandbox(msgspec.Struct, frozen=True, kw_only=True):
    """How programs can be confined here, the strongest tier first, and the obstacles to the rest.

    `refusals` has the kernel's errors for layers that do not work, `refused` those for stronger tiers as a whole.
    `forced` is the tier that the environment names, if any. `security_modules` is empty if the kernel does not show
    them; `landlock_version` is 0 if there is none.
    """

    tiers: tuple[str, ...]
    working: frozenset[Layer]
    forced: str = ""
    refusals: Mapping[Layer, str] = {}
    refused: Mapping[str, str] = {}
    switches: Mapping[str, int] = {}
    security_modules: str = ""
    landlock_version: int = 0
    is_filtered: bool = False


class Device(msgspec.Struct, frozen=True):
    """One accelerator."""

    name: str
    memory_bytes: int
    has_bfloat16: bool


class Torch(msgspec.Struct, frozen=True, kw_only=True):
    """Torch's own account: the CUDA version it was built for (None: without) and the devices it can use."""

    is_installed: bool = True
    cuda: str | None = None
    devices: tuple[Device, ...] = ()
    failure: str = ""


class Folder(msgspec.Struct, frozen=True, kw_only=True):
    """A folder that a run writes to or below, and why it cannot where that is so."""

    name: str
    path: str
    free_bytes: int
    file_system: str
    failure: str = ""


class Package(msgspec.Struct, frozen=True):
    """A requirement of ours: `wanted` is a version specifier, `extra` empty if it is always needed.

    `installed` is the version, empty if there is none.
    """

    name: str
    wanted: str
    extra: str
    installed: str


def read_sandbox() -> Sandbox:
    """Tries every layer, and reads the settings that may keep one from working."""
    switches = {name: read_kernel_file(Path("/proc/sys", *name.split("."))) for name in SWITCHES}
    return Sandbox(
        tiers=tuple(plan.tier for plan in available_plans()),
        working=layers_that_work(),
        forced=os.environ.get(FORCED_TIER, ""),
        refusals=refusals(),
        refused=refused_plans(),
        switches={name: int(value) for name, value in switches.items() if value},
        security_modules=read_kernel_file(Path("/sys/kernel/security/lsm")),
        landlock_version=read_landlock_version(),
        is_filtered=bool(re.search(r"^Seccomp:\s+[12]$", read_kernel_file(Path("/proc/self/status")), re.MULTILINE)),
    )


def read_landlock_version() -> int:
    """The kernel's version of Landlock, 0 if there is none."""
    try:
        return landlock.version()
    except OSError:
        return 0


def read_verdict() -> Verdict:
    """The evaluator's verdict on a right program, under the sandbox that there is."""

    async def judge() -> Verdict:
        async with Evaluator(EvaluatorSettings(workers=1, unsafe_no_sandbox=True)) as evaluator:
            return await evaluator.judge(TRIAL, "print(input())")

    try:
        return anyio.run(judge)
    except EvaluatorError as error:
        return Verdict(status=Status.INFRASTRUCTURE_ERROR, detail=str(error))


def read_torch() -> Torch:
    """Torch's account, from a separate interpreter."""
    if importlib.util.find_spec("torch") is None:
        return Torch(is_installed=False)
    command = [sys.executable, "-P", "-m", "taco_stream.doctor.readings"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TORCH_SECONDS, check=True)
    except subprocess.TimeoutExpired:
        return Torch(failure=f"no answer within {TORCH_SECONDS:.0f} s")
    except subprocess.CalledProcessError as error:
        return Torch(failure=(error.stderr.strip() or f"exit code {error.returncode}").splitlines()[-1])
    return msgspec.json.decode(done.stdout, type=Torch)


def print_torch() -> None:
    """Prints torch's account as JSON."""
    import torch

    # With a driver that is too old, torch counts devices that it cannot use.
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    properties = [torch.cuda.get_device_properties(number) for number in range(count)]
    # The first devices that compute in bfloat16 are of compute capability 8.
    devices = tuple(Device(each.name, each.total_memory, each.major >= 8) for each in properties)
    sys.stdout.write(msgspec.json.encode(Torch(cuda=torch.version.cuda, devices=devices)).decode())


def read_folder(name: str, path: Path) -> Folder:
    """Tries the nearest folder that exists at or above `path`."""
    # A run makes the folder itself, so the nearest one that is there counts.
    there = next(each for each in (path.absolute(), *path.absolute().parents) if os.path.exists(each))
    number = there.stat().st_dev
    mounts = [line.split() for line in read_kernel_file(Path("/proc/self/mountinfo")).splitlines()]
    # proc(5): optional fields come before a single hyphen, and the file system's type after it.
    kinds = [each[each.index("-") + 1] for each in mounts if each[2] == f"{os.major(number)}:{os.minor(number)}"]
    return Folder(
        name=name,
        path=str(path.absolute()),
        free_bytes=shutil.disk_usage(there).free,
        file_system=kinds[-1] if kinds else "unknown file system",
        failure=failure_of_writing(there),
    )


def failure_of_writing(folder: Path) -> str:
    """Why the store cannot work in a folder; empty if it can."""
    try:
        with tempfile.TemporaryDirectory(prefix=".taco-stream-doctor-", dir=folder) as name:
            scratch = Path(name)
            write_atomically(scratch / "file", b"doctor")
            with exclusive(scratch):
                return "" if is_locked(scratch) else "a lock does not hold there"
    except OSError as error:
        return error.strerror or str(error)
    except StoreError as error:
        return str(error)


def is_locked(folder: Path) -> bool:
    """Whether another run would be refused."""
    try:
        with exclusive(folder):
            return False
    except RunInUseError:
        return True


def read_packages() -> list[Package]:
    """The requirements in our own metadata, except for development, with the versions installed."""
    try:
        requirements = importlib.metadata.requires("taco-stream") or []
        extras = ["", *(importlib.metadata.metadata("taco-stream").get_all("Provides-Extra") or [])]
    except importlib.metadata.PackageNotFoundError:
        return []
    packages = []
    for requirement in map(Requirement, requirements):
        marker = requirement.marker
        extra = next((each for each in extras if marker is None or marker.evaluate({"extra": each})), None)
        if extra is not None and extra not in ("dev", "docs"):
            installed = installed_version(requirement.name)
            packages.append(Package(requirement.name, str(requirement.specifier), extra, installed))
    return packages


def read_plug_ins() -> dict[str, str]:
    """The plug-ins, by what they add and where they come from, with the exception if one cannot be imported."""
    found = {}
    for each in list_plug_ins():
        adds = each.kind.removeprefix("taco_stream.").removesuffix("s")
        name = f"{adds} {each.entry.name} of {each.distribution}"
        try:
            each.entry.load()
        except Exception as error:  # another's code
            found[name] = repr(error)
        else:
            found[name] = ""
    return found


def installed_version(name: str) -> str:
    """The version of an installed package, empty if there is none."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


if __name__ == "__main__":
    print_torch()
