"""How one problem is judged: its tests, and under which limits, by which rule and with which checker."""

import hashlib

import msgspec

from taco_stream.evaluator.protocol import Limits
from taco_stream.evaluator.settings import EvaluatorSettings, limits_per_test, read_checker
from taco_stream.types import Problem, SpecialJudge


class JudgeSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a verdict depends on, except the program.

    `checker` is the text of the problem's own checker, if it has one. `digest` is of everything but the problem's name.
    """

    problem_id: str
    tests: str
    special_judge: SpecialJudge
    checker: str | None
    limits: Limits
    digest: bytes


def judge_spec(problem: Problem, settings: EvaluatorSettings, limits: Limits | None = None) -> JudgeSpec:
    """How the problem is judged under the settings, or under limits of the caller's.

    Reads a file and hashes tests of any length, so it is for a thread. Raises `EvaluatorError` if the checker cannot be
    read.
    """
    checker, limits = read_checker(problem, settings), limits or limits_per_test(problem, settings)
    parts = (problem.tests.encode("utf-8", "surrogatepass"), problem.special_judge, checker, limits)
    return JudgeSpec(
        problem_id=problem.problem_id,
        tests=problem.tests,
        special_judge=problem.special_judge,
        checker=checker,
        limits=limits,
        digest=hashlib.blake2b(msgspec.msgpack.encode(parts), digest_size=20).digest(),
    )
