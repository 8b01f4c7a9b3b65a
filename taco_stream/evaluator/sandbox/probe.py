"""Finding out which plan this machine gives us, by trying layers and plans in a throw-away process.

A kernel's version says little: containers filter calls, distributions switch user namespaces off, a security module
forbids mounts. So `probe_results` starts an interpreter of its own (this file as a script, isolated as the zygote is),
which forks once per layer and sees in the fork whether the layer can be put into effect.

Layers that work one by one need not work together, nor an interpreter under them: a user of the zygote's own may not
get into the home folder that Python lies in, and neither may root without its capabilities if the home is somebody
else's. So `candidates` makes plans of the layers that work, the strongest first, and each is tried as a whole until one
works: a module of the standard library that was not loaded must import, and every folder that programs import from must
open.

Not covered: changes after the trial.
"""

import functools
import itertools
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from contextlib import closing
from typing import NamedTuple

TRIAL_SECONDS = 60.0
FORCED_TIER = "TACO_STREAM_SANDBOX"
"""The environment variable that names a tier to use instead of the strongest, for tests and for measuring."""

if __name__ == "__main__":
    sys.path.insert(0, sys.argv[2])

from taco_stream.evaluator.sandbox import cgroups  # noqa: E402 (an isolated interpreter finds it only now)
from taco_stream.evaluator.sandbox.confine import enter_zygote, library_folders  # noqa: E402
from taco_stream.evaluator.sandbox.plan import RLIMITS_ONLY, Layer, SandboxPlan  # noqa: E402
from taco_stream.evaluator.sandbox.scratch import ScratchFolder  # noqa: E402


def probe() -> SandboxPlan:
    """The plan to use: the strongest there is, or the one that the environment variable forces.

    Raises `ValueError` if the variable names no tier.
    """
    forced = os.environ.get(FORCED_TIER)
    return SandboxPlan.from_tier(forced) if forced else available_plans()[0]


def available_plans() -> list[SandboxPlan]:
    """The plans that work here as a whole, the strongest first; the last is resource limits alone."""
    return [SandboxPlan.from_tier(tier) for tier in probe_results().tiers]


def layers_that_work() -> frozenset[Layer]:
    """The layers that can be put into effect here, by one trial each."""
    return probe_results().layers


def refusals() -> dict[Layer, str]:
    """The errors of layers that were tried and do not work here."""
    return {Layer(name): reason for name, reason in probe_results().refusals.items() if name in list(Layer)}


def refused_plans() -> dict[str, str]:
    """The errors, by tier, of plans stronger than all that work, which do not work as a whole."""
    return {name: reason for name, reason in probe_results().refusals.items() if name in probe_results().stronger}


def candidates(working: frozenset[Layer]) -> list[list[SandboxPlan]]:
    """Plans of the layers that work, in lists of which the first plan that works as a whole is wanted.

    The first list has the strongest with whatever there is, the others weaker ones, which can be forced. Root's own
    user is in those without namespaces only: with them the zygote always has one.
    """
    common = working & {Layer.LANDLOCK, Layer.SECCOMP} | {Layer.RLIMITS}
    inside = [SandboxPlan(common | {tree}) for tree in (Layer.NAMESPACES, Layer.ROOT_NAMESPACES) if tree in working]
    without_landlock = [plan.without(Layer.LANDLOCK) for plan in inside]
    outside = [SandboxPlan(common | users) for users in ({Layer.USER} & working, frozenset[Layer]())]
    return [[*inside, *without_landlock, *outside, RLIMITS_ONLY], without_landlock, outside, [RLIMITS_ONLY]]


class ProbeResults(NamedTuple):
    """The results: layers that work alone, tiers that work, stronger tiers that do not, and the errors."""

    layers: frozenset[Layer]
    tiers: list[str]
    stronger: list[str]
    refusals: dict[str, str]


@functools.cache
def probe_results() -> ProbeResults:
    """The separate interpreter's results; it runs once per process."""
    name = cgroups.FOLDER_VARIABLE
    package = os.path.abspath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 3))
    with closing(ScratchFolder()) as scratch:
        done = subprocess.run(
            [
                *(sys.executable, "-I", "-S", os.path.abspath(__file__)),
                *(scratch.path, package, sysconfig.get_path("purelib")),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TRIAL_SECONDS,
            check=False,
            env={"PATH": "/usr/bin:/bin", **({name: os.environ[name]} if name in os.environ else {})},
        )
    found: dict[str, list[str]] = {}
    for line in done.stdout.decode().splitlines():
        kind, _, value = line.partition(" ")
        found.setdefault(kind, []).append(value)
    lines = (line.partition(": ") for line in done.stderr.decode(errors="replace").splitlines())
    return ProbeResults(
        frozenset(map(Layer, found.get("layer", []))),
        found.get("tier", [RLIMITS_ONLY.tier]),
        found.get("stronger", []),
        {name: reason for name, _, reason in lines},
    )


def works(plan: SandboxPlan, scratch: str, *, importing: bool) -> bool:
    """Whether a fork of this process can enter the plan and, if asked, still import."""
    if Layer.CGROUP not in plan.layers:
        return fork_works(plan, scratch, "", importing=importing)
    try:
        group = cgroups.LeafGroup()
    except OSError as error:
        print_refusal(plan, str(error))
        return False
    with closing(group):
        return fork_works(plan, scratch, group.folder, importing=importing)


def fork_works(plan: SandboxPlan, scratch: str, leaf: str, *, importing: bool) -> bool:
    """The same, with the control group there."""
    child = os.fork()
    if child == 0:
        needed, modules = library_folders(), list(filter(os.path.isdir, sys.path))
        try:
            enter_zygote(plan, scratch, leaf)
            if importing:
                import_from(modules)
        except BaseException as error:
            # Most refusals come of a folder above Python that the zygote's own user cannot enter: name it.
            closed = next(filter(None, map(closed_folder, needed)), "")
            print_refusal(plan, f"{error}; {closed} is closed to user {os.getuid()}" if closed else str(error))
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def import_from(folders: Iterable[str]) -> None:
    """Opens the folders that modules lie in and imports one that was not loaded. Raises whatever is in the way."""
    for folder in folders:
        os.listdir(folder)
    # A module that nothing above has loaded, or the import would prove nothing.
    assert "wave" not in sys.modules
    __import__("wave")


def closed_folder(path: str) -> str:
    """The first folder on the way to `path`, and the path itself, that this user cannot enter; empty if all are open.

    Even root cannot enter every folder without its capabilities, nor those of a user that its namespace does not have.
    """
    folders = [path]
    while (above := os.path.dirname(folders[-1])) != folders[-1]:
        folders.append(above)
    return next((each for each in reversed(folders) if os.path.isdir(each) and not os.access(each, os.X_OK)), "")


def print_refusal(plan: SandboxPlan, reason: str) -> None:
    """Writes why a plan does not work to standard error, on one line."""
    print(plan.tier, " ".join(reason.split()), sep=": ", file=sys.stderr, flush=True)


def main() -> None:
    """Prints the layers that work, the tiers that work, and the stronger ones that do not, one a line."""
    scratch, package, *folders = sys.argv[1:]
    sys.path.remove(package)  # programs import from the zygote's path, which has no package of ours
    sys.path += folders
    of_root = () if os.getuid() == 0 else (Layer.USER, Layer.ROOT_NAMESPACES)
    working = frozenset(
        layer
        for layer in Layer
        if layer not in of_root and works(SandboxPlan(frozenset({layer})), scratch, importing=False)
    )
    whole = functools.cache(functools.partial(works, scratch=scratch, importing=True))
    first, *others = candidates(working)
    best = next(filter(whole, first), RLIMITS_ONLY)
    grouped = SandboxPlan(best.layers | {Layer.CGROUP})  # tried with these alone, for it confines the same with any
    chosen = [grouped, best] if Layer.CGROUP in working and whole(grouped) else [best]
    chosen += [plan for plans in others for plan in itertools.islice(filter(whole, plans), 1)]
    for layer in working:
        print("layer", layer)
    for plan in dict.fromkeys(chosen):
        print("tier", plan.tier)
    for plan in first[: first.index(best)]:
        print("stronger", plan.tier)


if __name__ == "__main__":
    main()
