"""The plan that is found is one that works as a whole, and what keeps a stronger one from working is named.

The scenes are made as root in a mount namespace of a process's own: a virtual environment in a folder that is closed to
others, as `/root` and home folders are.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ordinary_user import NOBODY, TESTS

from taco_stream.evaluator.sandbox.plan import RLIMITS_ONLY, Layer
from taco_stream.evaluator.sandbox.probe import available_plans, candidates, closed_folder, layers_that_work

SCENE = """
import json, os, sys, sysconfig
sys.path.insert(0, sys.argv[1])
import anyio
from ordinary_user import cover, enter_mount_namespace
from taco_stream.evaluator.pool import Evaluator, EvaluatorSettings
from taco_stream.evaluator.sandbox import seccomp
from taco_stream.evaluator.sandbox.probe import refusals, refused_plans
from taco_stream.evaluator.sandbox.syscall_numbers import of_this_machine
from taco_stream.types import Problem

async def judge():
    problem = Problem(problem_id="p", position=0, question="", tests='{"inputs": ["1"], "outputs": ["1"]}')
    async with Evaluator(EvaluatorSettings(workers=1, unsafe_no_sandbox=True)) as evaluator:
        return await evaluator.judge(problem, "import wave; print(input())")

library = sysconfig.get_path("purelib")
folder = os.path.dirname(library)
enter_mount_namespace()
cover([folder], [library], f"mode=700,uid={sys.argv[2]}")
if sys.argv[3] == "without namespaces":
    unshare = [(seccomp.EQUAL, 0, 1, of_this_machine()[1]["unshare"]), (seccomp.RETURN, 0, 0, 0x50001)]
    seccomp.Program([(seccomp.LOAD, 0, 0, seccomp.NUMBER), *unshare, (seccomp.RETURN, 0, 0, seccomp.ALLOW)]).install()
verdict = anyio.run(judge)
said = " ".join({**refusals(), **refused_plans()}.values())
print(json.dumps([verdict.status, verdict.sandbox_tier, " is closed to user" in said]))
"""


def judged_in_a_closed_folder(owner: int, *, namespaces: bool) -> str:
    """The status and tier of a right program there, and whether a closed folder was named, as JSON."""
    if os.getuid() != 0 or sys.prefix == sys.base_prefix:
        pytest.skip("only root can close the folder of a virtual environment, and none is used or this is not root")
    kind = "with namespaces" if namespaces else "without namespaces"
    command = [sys.executable, "-B", "-c", SCENE, str(TESTS), str(owner), kind]
    done = subprocess.run(command, capture_output=True, text=True, timeout=550, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_roots_own_closed_folder_costs_no_layer_with_namespaces() -> None:
    if not {Layer.NAMESPACES, Layer.LANDLOCK, Layer.SECCOMP} <= layers_that_work():
        pytest.skip("this machine has no namespaces, no Landlock or no seccomp")
    found = judged_in_a_closed_folder(0, namespaces=True)
    assert found.startswith('["passed", "namespaces+landlock+seccomp+')


def test_a_closed_folder_of_somebody_else_needs_roots_own_namespaces() -> None:
    if not {Layer.ROOT_NAMESPACES, Layer.LANDLOCK, Layer.SECCOMP} <= layers_that_work():
        pytest.skip("root has no namespaces here, or there is no Landlock or no seccomp")
    found = judged_in_a_closed_folder(NOBODY, namespaces=True)
    assert found.startswith('["passed", "root_namespaces+landlock+seccomp+')
    assert found.endswith(", true]")


def test_without_namespaces_programs_get_no_user_that_cannot_enter_the_folder() -> None:
    if not {Layer.LANDLOCK, Layer.SECCOMP} <= layers_that_work():
        pytest.skip("this machine has no Landlock or no seccomp")
    found = judged_in_a_closed_folder(0, namespaces=False)
    assert found.startswith('["passed", "landlock+seccomp+')
    assert found.endswith(", true]")


def test_the_strongest_candidates_have_every_layer_that_works_and_the_last_is_limits_alone() -> None:
    first, *_ = candidates(frozenset(Layer))
    tiers = [plan.tier for plan in first]
    assert tiers[:2] == ["namespaces+landlock+seccomp+rlimits", "root_namespaces+landlock+seccomp+rlimits"]
    assert tiers[-1] == "rlimits"


def test_with_namespaces_no_candidate_has_roots_other_user() -> None:
    plans = [plan for plans in candidates(frozenset(Layer)) for plan in plans]
    assert not [plan.tier for plan in plans if plan.has_namespaces and Layer.USER in plan.layers]
    assert any(Layer.USER in plan.layers for plan in plans)


def test_where_nothing_works_limits_are_left() -> None:
    assert {plan for plans in candidates(frozenset()) for plan in plans} == {RLIMITS_ONLY}


def test_the_plans_that_are_found_begin_with_one_of_every_layer_that_works_together() -> None:
    plans = available_plans()
    assert plans[-1] == RLIMITS_ONLY
    assert len(set(plans)) == len(plans)
    assert all(plan.layers - {Layer.RLIMITS} <= layers_that_work() for plan in plans)


def test_the_outermost_closed_folder_on_the_way_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "closed/inner"
    inner.mkdir(parents=True)
    assert closed_folder(str(inner)) == ""
    monkeypatch.setattr(os, "access", lambda path, _: not str(path).startswith(str(tmp_path / "closed")))
    assert closed_folder(str(inner / "file")) == str(tmp_path / "closed")
