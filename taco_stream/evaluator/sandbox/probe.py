"""Finding out which layers this machine gives us, by trying each in a throw-away process.

A kernel's version says little: containers filter calls, distributions switch user namespaces off, a security module
forbids mounts. So `layers_that_work` starts an interpreter of its own (this file as a script, isolated as the zygote
is), which forks once per layer, puts the layer into effect in the fork, and sees whether an interpreter still works
there: a module of the standard library that was not loaded must import. It prints the names of those that do, and
to standard error what the kernel said of the others.

Root's own user is tried without namespaces only: with them the zygote always has one.
"""

import functools
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing

TRIAL_SECONDS = 20.0
FORCED_TIER = "TACO_STREAM_SANDBOX"
"""The environment variable that names a tier to use instead of the strongest, for tests and for measuring."""

if __name__ == "__main__":
    sys.path.insert(0, sys.argv[2])

from taco_stream.evaluator.sandbox import cgroups  # noqa: E402 (an isolated interpreter finds it only now)
from taco_stream.evaluator.sandbox.confine import enter_zygote  # noqa: E402
from taco_stream.evaluator.sandbox.plan import RLIMITS_ONLY, Layer, SandboxPlan  # noqa: E402
from taco_stream.evaluator.sandbox.scratch import ScratchFolder  # noqa: E402


def probe() -> SandboxPlan:
    """The plan to use: the strongest there is, or the one that the environment variable forces.

    Raises `ValueError` where the variable names no tier.
    """
    forced = os.environ.get(FORCED_TIER)
    return SandboxPlan.from_tier(forced) if forced else available_plans()[0]


def available_plans() -> list[SandboxPlan]:
    """The plans that work here, the strongest first; the last is resource limits alone.

    A control group is tried with the strongest other layers alone, for it confines the same with any.
    """
    working = layers_that_work() - {Layer.CGROUP}
    if Layer.NAMESPACES in working:
        working -= {Layer.ROOT_NAMESPACES}
    best = SandboxPlan(working | {Layer.RLIMITS})
    if best.has_namespaces:
        best = best.without(Layer.USER)
    outside = SandboxPlan(working | {Layer.RLIMITS}).without(Layer.NAMESPACES, Layer.ROOT_NAMESPACES)
    strongest = [SandboxPlan(best.layers | {Layer.CGROUP})] if Layer.CGROUP in layers_that_work() else []
    return list(dict.fromkeys((*strongest, best, best.without(Layer.LANDLOCK), outside, RLIMITS_ONLY)))


def layers_that_work() -> frozenset[Layer]:
    """The layers that can be put into effect here, by one trial each."""
    return frozenset(map(Layer, trial()[0].split()))


def refusals() -> dict[Layer, str]:
    """What was said of the layers that were tried and do not work here."""
    lines = (line.partition(": ") for line in trial()[1].splitlines())
    return {Layer(name): reason for name, _, reason in lines if name in list(Layer)}


@functools.cache
def trial() -> tuple[str, str]:
    """What the interpreter of its own printed, and what it wrote to standard error; run once per process."""
    name = cgroups.FOLDER_VARIABLE
    package = os.path.abspath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 3))
    with closing(ScratchFolder()) as scratch:
        done = subprocess.run(
            [sys.executable, "-I", "-S", os.path.abspath(__file__), scratch.path, package],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TRIAL_SECONDS,
            check=False,
            env={"PATH": "/usr/bin:/bin", **({name: os.environ[name]} if name in os.environ else {})},
        )
    return done.stdout.decode(), done.stderr.decode(errors="replace")


def works(layers: Sequence[Layer], scratch: str) -> bool:
    """Whether a fork of this process can enter the layers and still import a module."""
    if Layer.CGROUP not in layers:
        return fork_works(layers, scratch, "")
    try:
        group = cgroups.LeafGroup()
    except OSError as error:
        tell_refusal(layers, error)
        return False
    with closing(group):
        return fork_works(layers, scratch, group.folder)


def fork_works(layers: Sequence[Layer], scratch: str, leaf: str) -> bool:
    """The same, with the control group there."""
    child = os.fork()
    if child == 0:
        try:
            enter_zygote(SandboxPlan(frozenset(layers)), scratch, leaf)
            __import__("this_module_is_missing" if "wave" in sys.modules else "wave")
        except BaseException as error:
            tell_refusal(layers, error)
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def tell_refusal(layers: Sequence[Layer], error: BaseException) -> None:
    """Writes what was said of the layers to standard error."""
    print("+".join(layers), error, sep=": ", file=sys.stderr, flush=True)


def main() -> None:
    """Prints the layers that work."""
    scratch = sys.argv[1]
    for layer in Layer:
        if layer in (Layer.USER, Layer.ROOT_NAMESPACES) and os.getuid() != 0:
            continue
        if works([layer], scratch):
            print(layer.value)


if __name__ == "__main__":
    main()
