"""Runs every hostile program through an evaluator and reports, as JSON, what happened and what is left.

A process of its own (`python -m hostile.suite`), so that a breach harms no test runner, and so that one user's suite can
be started by another. The process makes itself the reaper of all its descendants' orphans: whatever outlives the
evaluator is its child and is counted. The tier is the one that `TACO_STREAM_SANDBOX` names, or the strongest. With the
argument `brief`, programs that run until the clock stops them are left out.
"""

import contextlib
import ctypes
import json
import os
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

import anyio
import msgspec

from hostile.program import HostileProgram, On
from hostile.programs import PROGRAMS
from hostile.side_by_side import PAIRS
from hostile.world import World, opened_world
from taco_stream.datasets import eval_plus, human_eval
from taco_stream.evaluator.pool import Evaluator, EvaluatorSettings
from taco_stream.statistics import EvaluatorStatistics
from taco_stream.types import Problem, Status, Verdict

PR_SET_CHILD_SUBREAPER = 36

SETTINGS = EvaluatorSettings(
    workers=2,
    time_limit_seconds=1.0,
    time_limit_factor=0.5,
    wall_multiple=1.0,
    memory_limit=512,
    output_limit_bytes=1 << 20,
)

RIGHT = "print(sum(map(int, input().split())))\n"


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What happened: verdicts by program (and by pair, the striking one first), and what the suite left behind."""

    tier: str
    user: int
    verdicts: dict[str, Verdict]
    pairs: dict[str, tuple[Verdict, Verdict]]
    health: list[Status]
    statistics: EvaluatorStatistics
    processes_left: list[str]
    changes: list[str]


def main() -> None:
    """Prints the report."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    os.environ["TACO_STREAM_HOSTILE_SECRET_TOKEN"] = "to be seen by no program"
    with opened_world() as world:
        report = anyio.run(judge_all, world, programs(brief=sys.argv[1:] == ["brief"]))
    sys.stdout.buffer.write(msgspec.json.encode(report))


def programs(*, brief: bool) -> list[HostileProgram]:
    """The programs of a run."""
    return [each for each in PROGRAMS if not (brief and each.waits)]


async def judge_all(world: World, programs: Sequence[HostileProgram]) -> Report:
    """Runs all programs, then the pairs, then programs that ask whether the evaluator is still well."""
    problems = make_problems(world)
    async with Evaluator(SETTINGS) as evaluator:
        verdicts = await evaluator.judge_batch([(problems[each.problem], each.text) for each in programs])
        pairs = [await evaluator.judge_batch(_items(problems, pair.striking, pair.neighbour)) for pair in PAIRS]
        health = [(await evaluator.judge(problems[On.SUM], RIGHT + f"# {number}")).status for number in range(4)]
        statistics, tier = evaluator.statistics(), evaluator.sandbox_tier
    return Report(
        tier=tier,
        user=os.getuid(),
        verdicts={each.name: verdict for each, verdict in zip(programs, verdicts, strict=True)},
        pairs={pair.name: (both[0], both[1]) for pair, both in zip(PAIRS, pairs, strict=True)},
        health=health,
        statistics=statistics,
        processes_left=processes_left(),
        changes=world.changes(),
    )


def _items(problems: dict[On, Problem], *programs: HostileProgram) -> list[tuple[Problem, str]]:
    return [(problems[each.problem], each.text) for each in programs]


def make_problems(world: World) -> dict[On, Problem]:
    """The problems, with a secret that is new in every run."""
    secret = f"secret-{secrets.token_hex(16)}"
    tests = {
        On.SUM: {"inputs": ["1 2\n", "3 4\n"], "outputs": ["3\n", "7\n"]},
        On.SECRET: {"inputs": ["\n"], "outputs": [secret]},
        On.SECRET_CALL: {"inputs": [[]], "outputs": [[secret]], "fn_name": "answer"},
        On.ATTACK: {"inputs": [world.described() + "\n"], "outputs": ["held\n"]},
    }
    rows = {
        "prompt": "def answer(given):\n",
        "entry_point": "answer",
        "canonical_solution": f"    return {secret!r}\n",
    }
    asserted = {"task_id": "asserted", "test": f"def check(candidate):\n    assert candidate(1) == {secret!r}\n"}
    compared = {"task_id": "compared", "base_input": "[[1]]", "plus_input": "[[2]]"}
    coded = {
        On.ASSERTED: human_eval.ADAPTER.parse_problem(rows | asserted, 0),
        On.COMPARED: eval_plus.ADAPTER.parse_problem(rows | compared, 0),
    }
    return coded | {
        kind: Problem(
            problem_id=kind,
            position=position,
            question="",
            tests=json.dumps(text),
            fn_name="answer" if kind is On.SECRET_CALL else None,
        )
        for position, (kind, text) in enumerate(tests.items())
    }


def processes_left() -> list[str]:
    """The command lines of this process's living children, adopted ones among them."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode() or child for child in children]


if __name__ == "__main__":
    main()
