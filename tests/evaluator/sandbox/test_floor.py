"""The evaluator does not run hostile programs below the floor unless it is told to."""

import pytest

from taco_stream.errors import EvaluatorError
from taco_stream.evaluator.pool import Evaluator, EvaluatorSettings
from taco_stream.evaluator.sandbox.plan import SandboxPlan
from taco_stream.evaluator.sandbox.probe import FORCED_TIER, available_plans, probe
from taco_stream.types import Problem, Status

PROBLEM = Problem(problem_id="p", position=0, question="", tests='{"inputs": ["1"], "outputs": ["1"]}')


@pytest.mark.parametrize(
    ("tier", "lacks"),
    [
        ("rlimits", "seccomp and Landlock or namespaces"),
        ("seccomp+rlimits", "Landlock or namespaces"),
        ("landlock+rlimits", "seccomp"),
        ("user+landlock+rlimits", "seccomp"),
        ("landlock+seccomp+rlimits", ""),
        ("namespaces+seccomp+rlimits", ""),
        ("root_namespaces+seccomp+rlimits", ""),
    ],
)
def test_the_floor_is_seccomp_with_landlock_or_namespaces(tier: str, lacks: str) -> None:
    plan = SandboxPlan.from_tier(tier)
    assert (plan.lacks, plan.meets_floor, plan.tier) == (lacks, not lacks, tier)


def test_a_tier_of_no_known_layer_is_refused() -> None:
    with pytest.raises(ValueError, match="hope"):
        SandboxPlan.from_tier("hope+rlimits")


def test_the_environment_forces_a_weaker_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FORCED_TIER, "rlimits")
    assert probe().tier == "rlimits"


def test_the_strongest_available_plan_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FORCED_TIER, raising=False)
    assert probe() == available_plans()[0]
    assert available_plans()[-1].tier == "rlimits"


@pytest.mark.anyio
async def test_below_the_floor_the_evaluator_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FORCED_TIER, "rlimits")
    with pytest.raises(EvaluatorError, match=r"lacks seccomp and Landlock or namespaces; .*--unsafe-no-sandbox"):
        async with Evaluator(EvaluatorSettings(workers=1)):
            pass


@pytest.mark.anyio
async def test_below_the_floor_the_evaluator_starts_when_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FORCED_TIER, "rlimits")
    async with Evaluator(EvaluatorSettings(workers=1, unsafe_no_sandbox=True)) as evaluator:
        verdict = await evaluator.judge(PROBLEM, "print(input())")
    assert (verdict.status, verdict.sandbox_tier) == (Status.PASSED, "rlimits")


@pytest.mark.anyio
async def test_every_verdict_names_the_tier(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = available_plans()[0]
    if not plan.meets_floor:
        pytest.skip(f"this machine offers only {plan.tier}")
    monkeypatch.delenv(FORCED_TIER, raising=False)
    async with Evaluator(EvaluatorSettings(workers=1)) as evaluator:
        verdicts = [await evaluator.judge(PROBLEM, text) for text in ("print(input())", "1/0", "def")]
    assert {verdict.sandbox_tier for verdict in verdicts} == {plan.tier}
