"""The evaluator for programs that are not asynchronous: a reward function, a notebook, a script.

The event loop runs in a thread of its own, so this works even if another loop is already running. Any number of threads
may call `judge_batch` at once; they share the workers.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from anyio.from_thread import BlockingPortal, start_blocking_portal

from taco_stream.evaluator.pool import Evaluator, EvaluatorSettings
from taco_stream.types import Problem, Verdict


@contextmanager
def open_evaluator(settings: EvaluatorSettings = EvaluatorSettings()) -> Iterator["BlockingEvaluator"]:  # noqa: B008
    """An evaluator whose workers live until the context ends. Raises `EvaluatorError` if they do not start."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(Evaluator(settings)) as evaluator:
        yield BlockingEvaluator(portal, evaluator)


class BlockingEvaluator:
    """Judges programs and waits for the verdicts."""

    def __init__(self, portal: BlockingPortal, evaluator: Evaluator) -> None:
        self._portal = portal
        self._evaluator = evaluator

    def judge(self, problem: Problem, program: str) -> Verdict:
        """The verdict on one program under the mode of the settings."""
        return self._portal.call(self._evaluator.judge, problem, program)

    def judge_batch(self, items: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        """The verdicts on many programs, judged at once, in their order."""
        return self._portal.call(self._evaluator.judge_batch, items)
