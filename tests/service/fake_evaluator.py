"""An evaluator that runs nothing: programs finish when the test says so, or at once."""

import anyio

from taco_stream.errors import EvaluatorError
from taco_stream.evaluator.protocol import Limits
from taco_stream.service.wire import JudgeWork
from taco_stream.statistics import EvaluatorStatistics
from taco_stream.types import ComparisonMode, ExecutionResult, Problem, Status, Verdict

SUM_TESTS = '{"inputs": ["1 2\\n", "3 4\\n"], "outputs": ["3\\n", "7\\n"]}'
SUM = Problem(problem_id="sum", position=0, question="", tests=SUM_TESTS, time_limit_seconds=1.0)


def judge_work(program: str) -> JudgeWork:
    return JudgeWork(problem=SUM, program=program)


class FakeEvaluator:
    """A `ServedEvaluator`. `error` is raised by every call; otherwise programs run until `finish` is called."""

    def __init__(self, *, concurrency: int, error: EvaluatorError | None = None, at_once: bool = False) -> None:
        self.concurrency = concurrency
        self.sandbox_tier = "fake"
        self.running: dict[str, anyio.Event] = {}
        self.cancelled: list[str] = []
        self.judged: list[str] = []
        self._error = error
        self._at_once = at_once

    async def judge(
        self,
        problem: Problem,
        program: str,
        *,
        mode: ComparisonMode | None = None,
        limits: Limits | None = None,
        full_results: bool | None = None,
    ) -> Verdict:
        await self._run(program)
        return Verdict(status=Status.PASSED, tests_run=2, tests_total=2)

    async def execute(self, program: str, stdin: bytes, limits: Limits) -> ExecutionResult:
        await self._run(program)
        return ExecutionResult(status=Status.PASSED, exit_code=0, stdout=stdin)

    def statistics(self) -> EvaluatorStatistics:
        return EvaluatorStatistics(judged=len(self.judged))

    def finish(self, program: str) -> None:
        self.running[program].set()

    async def _run(self, program: str) -> None:
        if self._error is not None:
            raise self._error
        ending = self.running[program] = anyio.Event()
        if self._at_once:
            ending.set()
        try:
            await ending.wait()
        except BaseException:
            self.cancelled.append(program)
            raise
        finally:
            del self.running[program]
        self.judged.append(program)
