"""A real Ray cluster on this machine: a head and two nodes, as processes.

Takes a minute and 750 MiB, and ray, which the project's environment does not have: `pip install ray` and
`pytest -m ray` run it.
"""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import anyio
import pytest
from cluster.in_process import until
from engine import test_contract as contract

from taco_stream.cluster.engine import ClusterEngine
from taco_stream.cluster.evaluator import ClusterEvaluator
from taco_stream.cluster.protocol import ScriptBlueprint
from taco_stream.cluster.ray_cluster import RayCluster, connected
from taco_stream.engine.base import Engine
from taco_stream.engine.scripted import Script
from taco_stream.engine.stream import completions
from taco_stream.evaluator.settings import EvaluatorSettings
from taco_stream.types import ComparisonMode, Problem, Request, SamplingParameters, Status, TextPrompt

pytestmark = [
    pytest.mark.ray,
    pytest.mark.anyio,
    pytest.mark.timeout(900),
    pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed"),
    pytest.mark.filterwarnings("ignore"),  # Ray's own
]

STORE_BYTES = 80 << 20
DETECTION_SECONDS = 10.0
"""Ray is told below to look for a dead node every second, and to believe it the third time."""


class Nodes:
    """The cluster, and the nodes that tests add and take away."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "object_store_memory": STORE_BYTES, "include_dashboard": False}
        self.cluster: Any = Cluster(initialize_head=True, head_node_args=head)
        self.nodes = [self.add(), self.add()]

    @property
    def address(self) -> str:
        """Where a driver connects."""
        address: str = self.cluster.address
        return address

    def add(self) -> Any:
        """Starts a node with one core. In the main thread: it sets signal handlers."""
        return self.cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)

    def remove(self, node: Any) -> None:
        """Kills a node."""
        self.cluster.remove_node(node, allow_graceful=False)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    os.environ |= {
        "RAY_health_check_period_ms": "1000",
        "RAY_health_check_failure_threshold": "3",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    before = signal.getsignal(signal.SIGTERM)
    nodes = Nodes()
    yield nodes
    nodes.cluster.shutdown()
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def ray_cluster(nodes: Nodes) -> Iterator[RayCluster]:
    with connected(nodes.address) as cluster:
        yield cluster


def requests(problems: int, samples: int) -> list[Request]:
    return [
        Request(
            problem_id=f"problem/{number}",
            prompt=TextPrompt("say"),
            sample_indices=tuple(range(samples)),
            sampling=SamplingParameters(),
            seed=0,
        )
        for number in range(problems)
    ]


def processes_with(word: str) -> list[str]:
    """The command lines of this machine's processes that have a word in them."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_text().replace("\0", " "))
        except OSError:
            continue
    return [line for line in lines if word in line]


CONTRACT = [
    contract.test_every_sample_asked_for_completes_exactly_once,
    contract.test_an_error_says_why,
    contract.test_no_requests_end_at_once,
    contract.test_drained_samples_still_complete_exactly_once,
    contract.test_a_full_outbound_stream_is_waited_for,
    contract.test_cancellation_leaves_nothing_running,
    contract.test_statistics_count_what_was_finished,
    contract.test_any_engine_can_be_iterated_and_left,
]


@pytest.mark.parametrize("check", CONTRACT)
async def test_the_contract_of_all_engines_holds(
    check: Callable[[Engine], Awaitable[None]], ray_cluster: RayCluster
) -> None:
    await check(ClusterEngine(ray_cluster, ScriptBlueprint(contract.SCRIPT)))


async def test_a_node_removed_in_mid_run_loses_and_repeats_nothing_and_an_added_one_works(
    nodes: Nodes, ray_cluster: RayCluster
) -> None:
    counted: Counter[object] = Counter()
    script = ScriptBlueprint(Script(seconds=0.2, rows=4))
    async with ClusterEngine(ray_cluster, script) as engine:
        await until(lambda: engine.statistics().rows_total == 0 and len(engine._members.present) == 2)
        async with completions(engine, requests(10, 40)) as stream:
            started_at = anyio.current_time()
            async for completion in stream:
                counted[completion.key] += 1
                if counted.total() == 60:
                    await anyio.to_thread.run_sync(nodes.remove, nodes.nodes.pop(0))
                if counted.total() == 120:
                    nodes.nodes.append(nodes.add())
            seconds = anyio.current_time() - started_at
        assert len(engine._members.present) == 2
    assert len(counted) == counted.total() == 400
    one_node_alone = 400 * 0.2 / 4
    assert seconds < one_node_alone + DETECTION_SECONDS


async def test_verdicts_are_those_of_one_machine_while_a_node_is_lost(nodes: Nodes, ray_cluster: RayCluster) -> None:
    tests = json.dumps({"inputs": ["1\n", "2\n"], "outputs": ["1\n", "2\n"]})
    problem = Problem(problem_id="p", position=0, question="", tests=tests)
    statuses: Counter[Status] = Counter()

    async def judge(number: int) -> None:
        program = "print(input())" if number % 2 else "print(3)"
        verdicts = await evaluator.judge_all_modes(problem, f"{program}  # {number}")
        statuses[verdicts[ComparisonMode.STRICT].status] += 1

    async with ClusterEvaluator(ray_cluster, EvaluatorSettings(unsafe_no_sandbox=True)) as evaluator:
        await until(lambda: evaluator.statistics().workers == 2)
        async with anyio.create_task_group() as tasks:
            for number in range(200):
                tasks.start_soon(judge, number)
            await until(lambda: statuses.total() >= 20)
            await anyio.to_thread.run_sync(nodes.remove, nodes.nodes.pop(0))
        nodes.nodes.append(nodes.add())
    assert statuses == {Status.PASSED: 100, Status.WRONG_ANSWER: 100}
    with anyio.fail_after(60):
        await until(lambda: processes_with("taco_stream.evaluator.worker") == [])


async def test_the_command_runs_the_demo_on_the_cluster_as_on_one_machine(nodes: Nodes, tmp_path: Path) -> None:
    async def command(*arguments: str) -> None:
        completed = await anyio.run_process(
            [sys.executable, "-m", "taco_stream", *arguments],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert completed.returncode == 0, completed.stderr.decode()

    written = []
    for name, flags in (("here", []), ("there", ["--ray", nodes.address])):
        await command("run", str(tmp_path / name), "--samples", "2", *flags)
        await command("export", str(tmp_path / name))
        files = ("generations.json", "taco_results.json", "taco_metrics.json")
        written.append([(tmp_path / name / file).read_bytes() for file in files])
    assert written[0] == written[1]
    events = (tmp_path / "there" / "events.jsonl").read_text()
    assert events.count('"node_joined"') >= 2
