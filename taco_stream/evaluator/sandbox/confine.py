"""Putting a plan into effect: once over the zygote, a little in each program process, the rest in each test.

`enter_zygote` runs before the zygote serves. The order matters: the control group comes first, while its folder can be
reached and so that all else is counted in it; the new root needs the rights that the user change takes away; a change
of user clears the tie to the parent and makes the process dumpable again, so both come after it; Landlock opens the
paths it allows, so the root exists by then; and the long seccomp filter, which forbids all of these, is last. The rest,
for each test, is cheap by then: the short filter and, without namespaces, the tie to the parent.

The zygote's working folder is the scratch folder. `wipe_scratch` empties it after a test, which costs one listing if
nothing was written.
"""

import os
import sys
from collections.abc import Callable
from functools import partial

from taco_stream.evaluator.sandbox import cgroups, landlock, namespaces, privileges, rlimits, seccomp
from taco_stream.evaluator.sandbox.plan import Layer, SandboxPlan
from taco_stream.evaluator.sandbox.rlimits import ProgramLimits


def enter_zygote(plan: SandboxPlan, scratch: str, leaf: str) -> None:
    """Confines this process, which becomes the zygote; raises `OSError` if the kernel refuses a layer.

    `scratch` is an empty folder for the tests' files, and raises `ValueError` if it is not empty: everything in it
    will be deleted. With namespaces it is not used, there is one inside; there the caller's process waits outside and
    another goes on. `leaf` is the control group to be in, and not used if the plan has none.
    """
    if not plan.has_namespaces and os.listdir(scratch):
        # Before anything else is done with it: a wrong folder here once emptied a machine's /tmp.
        raise ValueError(f"the scratch folder {scratch} is not empty")
    # First: its folder is out of reach in the new root, and all that follows is counted in it.
    if Layer.CGROUP in plan.layers:
        cgroups.enter(leaf)
    os.umask(0o022)  # the new root's folders are made by root and must be passable for others
    parent = os.getppid()
    readable = library_folders()
    is_root = os.getuid() == 0
    user = privileges.dedicated_user() if is_root else os.getuid()
    if plan.has_namespaces:
        # The one that stays outside must not outlive the worker either: its end is the end of all inside.
        namespaces.enter(user, with_user_namespace=Layer.NAMESPACES in plan.layers, worker=parent)
        namespaces.build_root(readable, user)
        scratch, parent = namespaces.SCRATCH, 0
    else:
        if Layer.USER in plan.layers:
            os.chown(scratch, user, user)
        os.chdir(scratch)
    # After the new root, which needs the rights that are given up here, and before the tie to the parent, which a
    # change of user clears.
    if plan.has_own_user:
        privileges.switch_user(user)
    else:
        rlimits.max_processes_of_user()  # asked once, for every test
    os.umask(0o077)
    if Layer.SECCOMP in plan.layers:
        privileges.drop_capabilities()
    privileges.die_with_parent(parent)
    privileges.forbid_new_privileges()
    if Layer.LANDLOCK in plan.layers:
        landlock.restrict(readable, [scratch], namespaces.DEVICES)
    # Last: the filter forbids everything above.
    if Layer.SECCOMP in plan.layers:
        seccomp.confine_zygote()


def enter_program(parent: int) -> None:
    """Confines this fork of the zygote, which becomes a program process; `parent` is the zygote."""
    privileges.die_with_parent(parent)


def limit_program(plan: SandboxPlan, limits: ProgramLimits) -> None:
    """Bounds the resources, except time, of this program process's tests."""
    rlimits.limit_program(limits, user_is_ours=plan.has_own_user)


def steps_into_test(plan: SandboxPlan) -> list[Callable[[], None]]:
    """Steps that confine a fork of this program process, which becomes a test, for good: to be called there in order.

    They are settled before the fork, for in the test even the look at a plan costs page faults.
    """
    steps: list[Callable[[], None]] = []
    if can_make_processes(plan):
        steps.append(os.setsid)  # so that processes it leaves behind can be killed by the session's number
    # With namespaces a test ends with the zygote, their first process, and a worker replaces the zygote of a program
    # process that is gone, so the tie to the parent would be 0.07 ms for nothing.
    if not plan.has_namespaces:
        steps.append(partial(privileges.die_with_parent, os.getpid()))
        if not plan.has_own_user:
            steps.append(rlimits.limit_threads)
        if Layer.LANDLOCK in plan.layers:
            steps.append(landlock.forbid_new_files)
    if Layer.SECCOMP in plan.layers:
        steps.append(seccomp.prepared_test_filter().install_for_this_process)
    return steps


def can_make_processes(plan: SandboxPlan) -> bool:
    """Whether a test may fork. Those that cannot are not sessions of their own, and leave no process behind."""
    return Layer.SECCOMP not in plan.layers


def can_make_files(plan: SandboxPlan) -> bool:
    """Whether a test may make files in its scratch folder."""
    return plan.has_namespaces or Layer.LANDLOCK not in plan.layers


def wipe_scratch() -> None:
    """Empties the working folder, a scratch folder, after a test."""
    for name in os.listdir("."):
        try:
            os.unlink(name)
        except (IsADirectoryError, PermissionError):
            import shutil  # with its own imports it would be a tenth of every test's memory

            shutil.rmtree(name, ignore_errors=True)  # only below the floor can a test make a folder


def library_folders() -> list[str]:
    """The folders that this interpreter reads from: its modules and the shared libraries that it has loaded."""
    with open("/proc/self/maps") as file:
        mapped = {os.path.dirname(line.split(maxsplit=5)[-1].strip()) for line in file if ".so" in line}
    # A library that is loaded later is looked for under either name of a merged /usr.
    merged = {folder.removeprefix("/usr") for folder in mapped if folder.startswith("/usr/lib")}
    return sorted({*mapped, *merged, *filter(os.path.isabs, sys.path), "/etc/ld.so.cache"})
