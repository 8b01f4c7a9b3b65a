"""A problem as programs are judged on it: its tests, and under which limits, by which rule and with which checker."""

import functools
import hashlib

import msgspec

from taco_stream.evaluator.protocol import Limits
from taco_stream.evaluator.settings import EvaluatorSettings, checker_of, limits_of
from taco_stream.types import Problem, SpecialJudge


class JudgedProblem(msgspec.Struct, frozen=True, kw_only=True):
    """What a verdict depends on beside the program. `checker` is the text of the problem's own, where it has one."""

    problem_id: str
    tests: str
    special_judge: SpecialJudge
    checker: str | None
    limits: Limits

    @property
    def digest(self) -> bytes:
        """Tells apart whatever changes a verdict; the problem's name does not."""
        parts = (_digest_of(self.tests), self.special_judge, self.checker, self.limits)
        return hashlib.blake2b(msgspec.msgpack.encode(parts), digest_size=20).digest()


def judged_problem(problem: Problem, settings: EvaluatorSettings) -> JudgedProblem:
    """The problem as it is judged under the settings. Raises `EvaluatorError` where its checker cannot be read."""
    return JudgedProblem(
        problem_id=problem.problem_id,
        tests=problem.tests,
        special_judge=problem.special_judge,
        checker=checker_of(problem, settings),
        limits=limits_of(problem, settings),
    )


@functools.lru_cache(maxsize=8)
def _digest_of(tests: str) -> bytes:
    """Kept, for tests may be megabytes long, and every program asks for it."""
    return hashlib.blake2b(tests.encode("utf-8", "surrogatepass"), digest_size=20).digest()
