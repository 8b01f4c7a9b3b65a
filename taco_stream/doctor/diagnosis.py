"""From readings of a machine to diagnoses about a run: pure functions.

A problem keeps a run from starting here, or from judging rightly. A note means that it works with less. A way
to fix either, or to have more, is the diagnosis's remedy: a command, a flag or a sentence.
"""

import enum
import platform
from collections.abc import Mapping, Sequence
from resource import RLIM_INFINITY

import msgspec
from packaging.specifiers import SpecifierSet

from taco_stream import __version__
from taco_stream.doctor.readings import SWITCHES, Device, Folder, Package, Sandbox, Torch
from taco_stream.evaluator.pool import EvaluatorSettings
from taco_stream.evaluator.sandbox.plan import Layer, SandboxPlan
from taco_stream.evaluator.sandbox.probe import FORCED_TIER
from taco_stream.evaluator.sandbox.rlimits import DESCRIPTORS, THREADS
from taco_stream.machine import ControlGroup
from taco_stream.types import Status, Verdict

LITTLE_DISK_BYTES = 5 * 10**9
LITTLE_MEMORY_BYTES = 1 << 30
"""The demo was seen to take 589 MiB."""

STACK_BYTES = 8 << 20
"""Linux's usual limit. Half of it ended a cached function 10,000 calls deep, which this much let pass."""

NETWORK_FILE_SYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "9p", "afs", "lustre", "ceph", "beegfs", "gpfs", "fuse.sshfs"}

KERNELS = {
    Layer.NAMESPACES: "use a kernel with CONFIG_USER_NS",
    Layer.LANDLOCK: "use Linux 5.13 or later with CONFIG_SECURITY_LANDLOCK",
    Layer.SECCOMP: "use a kernel with CONFIG_SECCOMP_FILTER, on x86_64 or aarch64",
}

DELEGATION = (
    "systemd-run --user --pty --same-dir -p Delegate=yes -p DelegateSubgroup=main $(command -v taco-stream) run "
    "(systemd 254; not with --scope, which ignores the subgroup), or name a delegated group in TACO_STREAM_CGROUP"
)
OPEN = "if a folder is closed: install Python and taco-stream where every user can read them, in /opt for example"
SECOND_VERSION = "start the kernel with systemd.unified_cgroup_hierarchy=1 (GRUB_CMDLINE_LINUX in /etc/default/grub)"


class Level(enum.StrEnum):
    """How much a diagnosis matters."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


class Diagnosis(msgspec.Struct, frozen=True):
    """One diagnosis, and a remedy if there is one."""

    topic: str
    level: Level
    text: str
    remedy: str = ""


def diagnose_sandbox(seen: Sandbox) -> list[Diagnosis]:
    """The tier that programs run behind, and for each missing layer the reason and the remedy."""
    try:
        used = SandboxPlan.from_tier(seen.forced or seen.tiers[0])
    except ValueError:
        text = f"{FORCED_TIER}={seen.forced} names no tier"
        return [Diagnosis("sandbox", Level.PROBLEM, text, f"unset {FORCED_TIER}")]
    remedy = f"unset {FORCED_TIER}" if seen.forced else ""
    if used.lacks:
        level, text = Level.PROBLEM, f"a run refuses to start: {used.tier} lacks {used.lacks}"
        remedy = remedy or "turn on the missing layers, or --unsafe-no-sandbox for programs that you wrote yourself"
    elif seen.forced:
        level, text = Level.NOTE, f"{used.tier}, forced by {FORCED_TIER}"
    else:
        version = f" (Landlock {seen.landlock_version})" if seen.landlock_version else ""
        others = ", ".join(map(_name_tier, seen.tiers[1:]))
        level, text = Level.OK, f"{used.tier}{version}, the strongest; also available: {others}"
    missing = [layer for layer in (Layer.LANDLOCK, Layer.SECCOMP) if layer not in seen.working]
    if not seen.working & {Layer.NAMESPACES, Layer.ROOT_NAMESPACES}:
        missing.insert(0, Layer.NAMESPACES)
    refused = [Diagnosis("sandbox", Level.NOTE, f"not {tier}: {reason}", OPEN) for tier, reason in seen.refused.items()]
    return [Diagnosis("sandbox", level, text, remedy), *refused, *(missing_layer(layer, seen) for layer in missing)]


def missing_layer(layer: Layer, seen: Sandbox) -> Diagnosis:
    """Why a layer does not work, in plain words, and how to change that."""
    reason, remedy = "the kernel lacks it or does not allow it", KERNELS[layer]
    modules = seen.security_modules.split(",")
    stops = [name for name, value in seen.switches.items() if value == SWITCHES[name][0]]
    if layer is Layer.NAMESPACES and stops:
        reason = "; ".join(f"{SWITCHES[name][2]} ({name})" for name in stops)
        remedy = f"sudo sysctl -w {' '.join(f'{name}={SWITCHES[name][1]}' for name in stops)}"
    elif layer is Layer.LANDLOCK and seen.security_modules and layer not in modules:
        reason = "it is not among the security modules that the kernel was started with"
        remedy = f"start the kernel with lsm={','.join([layer, *modules])} (GRUB_CMDLINE_LINUX in /etc/default/grub)"
    elif seen.is_filtered:
        reason = "a filter lies over the system calls of this process, as containers have one"
        remedy = "start the container with --security-opt seccomp=unconfined --security-opt apparmor=unconfined"
    said = f"; reported: {seen.refusals[layer]}" if layer in seen.refusals else ""
    return Diagnosis("sandbox", Level.NOTE, f"no {layer}: {reason}{said}", remedy)


def diagnose_evaluator(verdict: Verdict) -> Diagnosis:
    """Whether the evaluator judges rightly: the verdict is that on a right program."""
    if verdict.status is Status.PASSED:
        return Diagnosis("evaluator", Level.OK, f"a right program passed, behind {verdict.sandbox_tier}")
    text = f"a right program did not pass, its verdict is {verdict.status}: {verdict.detail}"
    return Diagnosis("evaluator", Level.PROBLEM, text, "fix the problems above, then run doctor again")


def diagnose_limits(limits: Mapping[str, tuple[int, int]], cores: int) -> list[Diagnosis]:
    """The resource limits, soft and hard by name, that are too low for a test or a run."""
    judging = EvaluatorSettings()
    given = {
        "AS": judging.memory_limit_bytes,
        "CPU": int(judging.time_limit_seconds * judging.time_limit_factor) + 1,
        "FSIZE": judging.output_limit_bytes,
        "NOFILE": DESCRIPTORS,
        "NPROC": THREADS,
    }
    diagnoses = []
    for name, needed in given.items():
        if _is_below(limits[name][1], needed):
            text = f"hard limit {name} is {limits[name][1]:,}; a test is given {needed:,}, so right programs would fail"
            diagnoses.append(Diagnosis("limits", Level.PROBLEM, text, _raise_limit(name)))
    # Seen: 2, 8 and 16 workers ran with 32, 48 and 64 descriptors, and did not with 24, 32 and 48.
    if _is_below(limits["NOFILE"][0], needed := 32 + 4 * cores):
        text = f"{limits['NOFILE'][0]} files may be open; a run on {cores} cores needs {needed}"
        remedy = _raise_limit("NOFILE") if _is_below(limits["NOFILE"][1], needed) else f"ulimit -Sn {needed}"
        diagnoses.append(Diagnosis("limits", Level.PROBLEM, text, remedy))
    if _is_below(limits["STACK"][0], STACK_BYTES):
        text = f"the stack is {limits['STACK'][0] >> 10} KiB: deep recursion that passes elsewhere crashes here"
        diagnoses.append(Diagnosis("limits", Level.NOTE, text, f"ulimit -s {STACK_BYTES >> 10}"))
    enough = f"{limits['NOFILE'][0]} open files; the other limits allow all that a test is given"
    return diagnoses or [Diagnosis("limits", Level.OK, enough)]


def diagnose_cores(usable: int, granted: float | None) -> Diagnosis:
    """How many cores there are, and whether the control group grants as many."""
    if granted is not None and granted < usable:
        text = f"{usable}, of which the control group grants {granted:g}: one evaluator worker for each would be many"
        return Diagnosis("cores", Level.NOTE, text, f"--workers {max(1, int(granted))}")
    return Diagnosis("cores", Level.OK, f"{usable}, an evaluator worker for each")


def diagnose_memory(total: int, free: int, limit: int | None, cores: int) -> list[Diagnosis]:
    """Whether memory, in bytes, is enough for the demo, and for the largest test on every core at once."""
    total, free = min(total, limit or total), min(free, limit or free)
    diagnoses = []
    if free < LITTLE_MEMORY_BYTES:
        text = f"{_gib(free)} free, which is little: the demo alone takes 0.6 GiB"
        diagnoses.append(Diagnosis("memory", Level.NOTE, text, "end other programs, or raise the limit"))
    at_most = EvaluatorSettings().memory_limit_bytes
    if cores * at_most > total:
        text = f"{_gib(total)}; tests on {cores} cores may take {_gib(at_most)} each"
        remedy = f"--workers {max(1, total // at_most)} or --memory-limit {(total // cores) >> 20}"
        diagnoses.append(Diagnosis("memory", Level.NOTE, text, remedy))
    bound = " allowed by the control group" if limit == total else ""
    return diagnoses or [Diagnosis("memory", Level.OK, f"{_gib(total)}{bound}, {_gib(free)} free")]


def diagnose_control_group(group: ControlGroup, seen: Sandbox) -> Diagnosis:
    """Which control group this process is in, and whether programs get some of their own. A run can do without."""
    text = f"version {group.version}, {group.path}"
    if Layer.CGROUP in seen.working:
        return Diagnosis("control group", Level.OK, f"{text}; programs are put into groups of their own")
    reason = seen.refusals.get(Layer.CGROUP, "the kernel does not allow it")
    remedy = DELEGATION if group.version == 2 else SECOND_VERSION
    return Diagnosis(
        "control group", Level.OK, f"{text}; programs get none of their own (a run needs none): {reason}", remedy
    )


def diagnose_accelerators(torch: Torch, shown_by_driver: str) -> list[Diagnosis]:
    """The devices models run on. `shown_by_driver` names the driver's devices, which torch may be unable to use."""
    if not torch.is_installed:
        text = "torch is not installed: completions can be judged here, and no model can run"
        return [Diagnosis("accelerator", Level.NOTE, text, "pip install 'taco-stream[local]'")]
    again = "pip install --force-reinstall torch"
    if torch.failure:
        return [Diagnosis("accelerator", Level.PROBLEM, f"torch does not load: {torch.failure}", again)]
    if not torch.devices and shown_by_driver != "none":
        build = f"torch was built for CUDA {torch.cuda}" if torch.cuda else "this torch was built without CUDA"
        remedy = f"install a driver for CUDA {torch.cuda} or later" if torch.cuda else again
        return [Diagnosis("accelerator", Level.NOTE, f"{shown_by_driver} cannot be used: {build}", remedy)]
    if not torch.devices:
        return [Diagnosis("accelerator", Level.OK, "none: models run on the CPU, which is fine for the demo")]
    return [_device(device, torch.cuda) for device in torch.devices]


def diagnose_disk(folder: Folder, *, is_needed: bool) -> Diagnosis:
    """Whether a folder can be written to and has room for a run."""
    text = f"{folder.name}: {folder.path} ({folder.file_system}), {folder.free_bytes / 1e9:.1f} GB free"
    if folder.failure:
        remedy = "name another run directory" if is_needed else f"set {folder.name} to a folder of yours"
        level = Level.PROBLEM if is_needed else Level.NOTE
        return Diagnosis("disk", level, f"{folder.name}: {folder.path} cannot be written: {folder.failure}", remedy)
    if folder.file_system in NETWORK_FILE_SYSTEMS:
        return Diagnosis("disk", Level.NOTE, f"{text}; locks may not hold between machines", "use a local disk")
    if folder.free_bytes < LITTLE_DISK_BYTES:
        return Diagnosis("disk", Level.NOTE, f"{text}, which is little", "make room, or use another disk")
    return Diagnosis("disk", Level.OK, text)


def diagnose_packages(packages: Sequence[Package]) -> list[Diagnosis]:
    """Which packages a run needs and lacks, and which extras are not installed."""
    shown = [f"{each.name} {each.installed}" for each in packages if each.extra == "local" and each.installed]
    text = ", ".join([f"Python {platform.python_version()}", f"taco-stream {__version__}", *shown])
    diagnoses = [Diagnosis("versions", Level.OK, text)]
    for each in packages:
        # A nightly build of torch is a pre-release, and will do.
        fits = bool(each.installed) and SpecifierSet(each.wanted).contains(each.installed, prereleases=True)
        if not fits and (not each.extra or (each.extra == "local" and each.installed)):
            text = f"{each.name} {each.installed or 'is missing'}: {each.wanted} is needed"
            diagnoses.append(Diagnosis("versions", Level.PROBLEM, text, f"pip install '{each.name}{each.wanted}'"))
    if absent := [each for each in packages if each.extra and not each.installed]:
        text = f"optional, not installed: {', '.join(each.name for each in absent)}"
        extras = ",".join(dict.fromkeys(each.extra for each in absent))
        diagnoses.append(Diagnosis("versions", Level.OK, text, f"pip install 'taco-stream[{extras}]'"))
    return diagnoses


def diagnose_plug_ins(found: Mapping[str, str]) -> list[Diagnosis]:
    """The plug-ins, by what they add and where they come from, and why one cannot be imported. Runs can do without."""
    remedy = "upgrade or uninstall the distribution"
    broken = [
        Diagnosis("plug-ins", Level.NOTE, f"{name} cannot be imported: {failure}", remedy)
        for name, failure in found.items()
        if failure
    ]
    working = [name for name, failure in found.items() if not failure]
    return [*broken, Diagnosis("plug-ins", Level.OK, ", ".join(working))] if working else broken


def diagnose_hub(*, has_token: bool, is_offline: bool) -> Diagnosis:
    """Whether the hub can be reached."""
    if is_offline:
        return Diagnosis("hub", Level.NOTE, "off: only the cache is read", "unset HF_HUB_OFFLINE TRANSFORMERS_OFFLINE")
    if has_token:
        return Diagnosis("hub", Level.OK, "a token is set")
    remedy = "hf auth login, or HF_TOKEN, for gated and private ones"
    return Diagnosis("hub", Level.OK, "no token: public models and datasets only", remedy)


def _name_tier(tier: str) -> str:
    return tier if SandboxPlan.from_tier(tier).meets_floor else f"{tier} (below the floor)"


def _device(device: Device, cuda: str | None) -> Diagnosis:
    text = f"{device.name}, {_gib(device.memory_bytes)}, CUDA {cuda}"
    if device.has_bfloat16:
        return Diagnosis("accelerator", Level.OK, f"{text}, bfloat16")
    return Diagnosis("accelerator", Level.NOTE, f"{text}, no bfloat16", "--dtype float16")


def _is_below(limit: int, needed: int) -> bool:
    return limit != RLIM_INFINITY and limit < needed


def _raise_limit(limit: str) -> str:
    return f"sudo prlimit --pid $$ --{limit.lower()}={'65536' if limit == 'NOFILE' else 'unlimited'}"


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
