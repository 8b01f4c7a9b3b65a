"""The evaluator for programs that are not asynchronous: a reward function, a notebook, a script.

The event loop runs in a thread of its own, so this works even if another loop is already running. Any number of threads
may call `judge_batch` at once; they share the workers. A process that was forked has no such thread, and is refused.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial

from anyio.from_thread import BlockingPortal, start_blocking_portal

from taco_stream.errors import EvaluatorError
from taco_stream.evaluator.pool import Evaluator, EvaluatorSettings
from taco_stream.evaluator.protocol import Limits
from taco_stream.types import ComparisonMode, ExecutionResult, Problem, Verdict


@contextmanager
def open_evaluator(settings: EvaluatorSettings = EvaluatorSettings()) -> Iterator["BlockingEvaluator"]:  # noqa: B008
    """An evaluator whose workers live until the context ends. Raises `EvaluatorError` if they do not start."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(Evaluator(settings)) as evaluator:
        blocking = BlockingEvaluator(portal, evaluator)
        try:
            yield blocking
        finally:
            blocking.close()


class BlockingEvaluator:
    """Judges programs and waits for the verdicts. Raises `EvaluatorError` once its context has ended."""

    def __init__(self, portal: BlockingPortal, evaluator: Evaluator) -> None:
        self._portal = portal
        self._evaluator = evaluator
        self._is_closed = False
        self._process_id = os.getpid()

    @property
    def settings(self) -> EvaluatorSettings:
        """How programs are run and which verdict counts."""
        return self._evaluator.settings

    def close(self) -> None:
        """Accepts no more programs. Leaving the context does this, and ends the workers."""
        self._is_closed = True

    def judge(
        self,
        problem: Problem,
        program: str,
        *,
        mode: ComparisonMode | None = None,
        limits: Limits | None = None,
        full_results: bool | None = None,
    ) -> Verdict:
        """The verdict on one program. What is None is as the settings and the problem have it.

        Raises `UsageError` for `limits` that no test can be run under.
        """
        judge = partial(self._evaluator.judge, mode=mode, limits=limits, full_results=full_results)
        return self._open_portal().call(judge, problem, program)

    def execute(self, program: str, stdin: bytes, limits: Limits) -> ExecutionResult:
        """What a program does with a standard input: `Evaluator.execute`."""
        return self._open_portal().call(self._evaluator.execute, program, stdin, limits)

    def judge_batch(self, items: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        """The verdicts on many programs, judged at once, in their order."""
        return self.submit_batch(items).result()

    def submit_batch(self, items: Sequence[tuple[Problem, str]]) -> "Future[list[Verdict]]":
        """Begins to judge many programs; the future of what `judge_batch` returns. Cancelling it ends the judging."""
        return self._open_portal().start_task_soon(self._evaluator.judge_batch, items)

    def _open_portal(self) -> BlockingPortal:
        if self._is_closed:
            raise EvaluatorError("the evaluator is closed: judge within `with open_evaluator(…) as evaluator:`")
        if os.getpid() != self._process_id:
            raise EvaluatorError("the evaluator was opened before this process was forked: open one in each process")
        return self._portal
