"""The evaluator of a cluster: the verdicts of one machine, whichever nodes come and go."""

import json
from collections import Counter

import anyio
import pytest
from cluster.in_process import InProcessActor, InProcessCluster, in_process_cluster, until

from taco_stream import __version__
from taco_stream.cluster import actors, members
from taco_stream.cluster import evaluator as cluster_evaluator
from taco_stream.cluster.evaluator import ClusterEvaluator
from taco_stream.cluster.protocol import Programs, decode
from taco_stream.errors import EvaluatorError
from taco_stream.evaluator.settings import EvaluatorSettings
from taco_stream.events import ClusterEvent, EvaluatorEvent, NodeJoined
from taco_stream.types import ComparisonMode, Problem, Status

pytestmark = pytest.mark.anyio

SETTINGS = EvaluatorSettings(unsafe_no_sandbox=True)
ECHO = "print(input())"


@pytest.fixture(autouse=True)
def look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(members, "AGAIN_SECONDS", 0.1)


def problem(number: int = 0) -> Problem:
    tests = json.dumps({"inputs": [f"{number}\n"], "outputs": [f"{number}\n"]})
    return Problem(problem_id=f"p/{number}", position=number, question="", tests=tests)


def evaluators(cluster: InProcessCluster) -> list[InProcessActor]:
    return [actor for _, actor in cluster.actors]


async def test_a_node_that_leaves_loses_no_verdict_and_one_that_joins_judges() -> None:
    statuses: Counter[Status] = Counter()

    async def judge(number: int) -> None:
        program = ECHO if number % 2 else "print('no')"
        verdicts = await opened.judge_all_modes(problem(number % 5), f"{program}  # {number}")
        statuses[verdicts[ComparisonMode.STRICT].status] += 1

    async with in_process_cluster(2) as cluster, ClusterEvaluator(cluster, SETTINGS) as opened:
        async with anyio.create_task_group() as tasks:
            for number in range(200):
                tasks.start_soon(judge, number)
            await until(lambda: statuses.total() >= 20)
            cluster.leave(cluster.alive[0])
            joined = cluster.join()
        assert any(node == joined and "submit" in actor.calls for node, actor in cluster.actors)
    assert statuses == {Status.PASSED: 100, Status.WRONG_ANSWER: 100}


async def test_the_tests_of_a_problem_are_sent_to_a_node_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: Counter[str] = Counter()
    forgotten: list[int] = []
    async with in_process_cluster(1) as cluster, ClusterEvaluator(cluster, SETTINGS) as opened:
        target = evaluators(cluster)[0].target
        submit = target.submit

        async def watched(programs: bytes) -> bytes:
            batch = decode(programs, Programs)
            sent.update(each.problem_id for each in batch.problems.values())
            forgotten.extend(batch.forgotten)
            return await submit(programs)

        target.submit = watched
        monkeypatch.setattr(cluster_evaluator, "PROBLEMS_KEPT", 2)
        for number in (0, 1, 0, 1, 2, 1, 0):
            verdicts = await opened.judge_all_modes(problem(number), ECHO)
            assert verdicts[ComparisonMode.STRICT].status is Status.PASSED
    assert sent == {"p/0": 2, "p/1": 1, "p/2": 1}
    assert len(forgotten) == 2


async def test_it_grows_and_shrinks_with_the_cluster() -> None:
    async with in_process_cluster(1, cores=1) as cluster, ClusterEvaluator(cluster, SETTINGS) as opened:
        assert opened.concurrency == cluster_evaluator.PER_WORKER
        node = cluster.join()
        await until(lambda: opened.statistics().workers == 2)
        assert opened.concurrency == 2 * cluster_evaluator.PER_WORKER
        assert opened.sandbox_tier
        cluster.leave(node)
        await until(lambda: opened.statistics().workers == 1)


async def test_a_program_that_nodes_are_lost_with_is_the_evaluators_failure() -> None:
    async with in_process_cluster(1) as cluster, ClusterEvaluator(cluster, SETTINGS) as opened:

        async def lose_each() -> None:
            for number in range(cluster_evaluator.MAX_LOSSES):
                await until(lambda number=number: len(cluster.actors) > number)
                await until(lambda: "submit" in evaluators(cluster)[-1].calls)
                evaluators(cluster)[-1].kill()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lose_each)
            verdicts = await opened.judge_all_modes(problem(), "import time; time.sleep(1000)")
    verdict = verdicts[ComparisonMode.STRICT]
    assert verdict.status is Status.INFRASTRUCTURE_ERROR
    assert verdict.detail == "3 nodes were lost while they judged this program"


async def test_a_node_below_the_floor_of_the_sandbox_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TACO_STREAM_SANDBOX", "rlimits")
    async with in_process_cluster(1) as cluster:
        with pytest.raises(EvaluatorError, match=r"node-1: programs cannot be confined here"):
            async with ClusterEvaluator(cluster, EvaluatorSettings()):
                pass


async def test_a_node_is_recorded_with_its_tier_and_versions() -> None:
    outbound, inbound = anyio.create_memory_object_stream[EvaluatorEvent | ClusterEvent](10)
    async with (
        outbound,
        inbound,
        in_process_cluster(1) as cluster,
        ClusterEvaluator(cluster, SETTINGS, events=outbound) as opened,
    ):
        joined = await inbound.receive()
        assert isinstance(joined, NodeJoined)
        assert (joined.workers, joined.sandbox_tier) == (1, opened.sandbox_tier)
        assert joined.versions["taco-stream"] == __version__


async def test_an_error_that_nobody_expected_at_the_start_refuses_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no descriptor is left")

    monkeypatch.setattr(actors, "Evaluator", fail)
    async with in_process_cluster(1) as cluster:
        with pytest.raises(EvaluatorError, match="start failed there: no descriptor is left"):
            async with ClusterEvaluator(cluster, SETTINGS):
                pass
        cluster.actors.clear()  # nothing lives there that could be stopped


async def test_an_error_that_nobody_expected_while_judging_refuses_the_node_and_others_judge(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise OSError("no memory is left")

    async with in_process_cluster(1) as cluster, ClusterEvaluator(cluster, SETTINGS) as opened:
        monkeypatch.setattr(evaluators(cluster)[0].target._evaluator, "judge_all_modes", fail)
        cluster.join()
        await until(lambda: opened.statistics().workers == 2)
        async with anyio.create_task_group() as tasks:
            for number in range(8):
                tasks.start_soon(opened.judge_all_modes, problem(number), ECHO)
        assert opened.statistics().workers == 1


async def test_a_node_that_must_not_judge_is_refused() -> None:
    async with in_process_cluster(1) as cluster:
        settings = EvaluatorSettings(unsafe_no_sandbox=True, checkers_folder="/nowhere/checkers")
        with pytest.raises(EvaluatorError, match=r"node-1: the folder of checkers /nowhere/checkers does not exist"):
            async with ClusterEvaluator(cluster, settings):
                pass


async def test_whoever_waits_is_told_when_no_node_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "PATIENCE_SECONDS", 0.3)
    async with in_process_cluster(1) as cluster, ClusterEvaluator(cluster, SETTINGS) as opened:
        async with anyio.create_task_group() as tasks:

            async def leave() -> None:
                await until(lambda: "submit" in evaluators(cluster)[0].calls)
                cluster.leave(cluster.alive[0])

            tasks.start_soon(leave)
            with pytest.raises(EvaluatorError, match="no node of the cluster could be used for 0"):
                await opened.judge_all_modes(problem(), "import time; time.sleep(1000)")
        with pytest.raises(EvaluatorError, match="no node of the cluster"):
            await opened.judge_all_modes(problem(), ECHO)
