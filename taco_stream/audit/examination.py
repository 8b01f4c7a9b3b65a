"""An audit: judges the reference solutions of each problem and records the finding.

Who runs: one task reads problems, one more than there are evaluator workers each take a problem through all its
solutions, one after the other, and append the findings. A problem is in memory only while one of them has it, so a
dataset may be of any size; only its line is kept.

Promised: a finding for each problem that had none. Cancelling ends an audit at once: problems that were under way then
are judged again by the next start with the same file, and nothing that was appended is lost.

A row that cannot be read is a finding like any other and does not end the audit.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta

import anyio
import msgspec
from anyio import to_thread
from anyio.abc import ObjectReceiveStream, ObjectSendStream

from taco_stream.audit.findings import (
    LONGER,
    Conclusion,
    Finding,
    FollowUp,
    Trial,
    classify,
    count_refusals,
    follow_up,
    pick_evenly,
)
from taco_stream.audit.ledger import Audited, Ledger, Rules
from taco_stream.datasets.rows import BadRow
from taco_stream.datasets.solutions import read_solutions
from taco_stream.errors import NOT_DECODED, NoProblemError
from taco_stream.evaluator.pool import Evaluator, EvaluatorSettings
from taco_stream.evaluator.problem_tests import TestsError, parse_tests
from taco_stream.evaluator.protocol import Limits, Tests
from taco_stream.evaluator.settings import limits_per_test
from taco_stream.types import Problem


class Audit:
    """One start of an audit. `bad_rows` is the list to which `problems` adds the rows that it cannot read.

    `expected` is the number of problems, for the line that says how far the audit is; None until it is known.
    """

    def __init__(
        self, evaluator: Evaluator, asked: EvaluatorSettings, rules: Rules, ledger: Ledger, bad_rows: list[BadRow]
    ) -> None:
        self._bad_rows = bad_rows
        self._evaluator = evaluator
        self._asked = asked
        self._rules = rules
        self._ledger = ledger
        self.expected: int | None = None
        self._started_at = time.monotonic()

    async def run(self, problems: Iterator[Problem]) -> None:
        """Audits the problems that have no finding yet."""
        # No buffer: a problem waits for a task that takes it, so no more of them are in memory than there are tasks.
        outbound, inbound = anyio.create_memory_object_stream[Problem](0)
        async with anyio.create_task_group() as examining, inbound:
            examining.start_soon(self._read, problems, outbound)
            for _ in range(self._evaluator.statistics().workers + 1):  # the next problem is there when a worker is free
                examining.start_soon(self._examine_each, inbound.clone())

    async def _read(self, problems: Iterator[Problem], outbound: ObjectSendStream[Problem]) -> None:
        async with outbound:
            try:
                # Bad rows are met by the reading thread, and recorded here, in the event loop.
                while (problem := await to_thread.run_sync(next, problems, None)) is not None:
                    await self._note_bad_rows()
                    if not self._ledger.is_finished(problem.problem_id):
                        await outbound.send(problem)
            except NoProblemError:
                if not self._bad_rows:
                    raise  # else no row can be read, which is the finding
            await self._note_bad_rows()

    async def _note_bad_rows(self) -> None:
        while self._bad_rows:
            row = self._bad_rows.pop()
            if not self._ledger.is_finished(row.location):
                finding = Finding.BROKEN
                await self._ledger.append(
                    Audited(
                        problem_id=row.location, finding=finding, exclude=True, rules=self._rules, detail=row.reason
                    )
                )

    async def _examine_each(self, inbound: ObjectReceiveStream[Problem]) -> None:
        async with inbound:
            async for problem in inbound:
                await self._ledger.append(await self.examine(problem))

    async def examine(self, problem: Problem) -> Audited:
        """The finding on one problem, from its reference solutions."""
        try:
            solutions = read_solutions(problem)
        except NOT_DECODED as error:
            return await self._without_solutions(problem, f"the solutions cannot be read: {error}")
        if not solutions:
            return await self._without_solutions(problem, "")
        # One after the other: other problems keep the other workers busy, and these have their tests already.
        trials = [
            Trial(number, await self._evaluator.judge_all_modes(problem, solutions[number]))
            for number in pick_evenly(len(solutions), self._rules.solutions)
        ]
        if not any(trial.is_judged for trial in trials) and (reason := await self._broken(problem)):
            return self._audited(problem, Conclusion(Finding.BROKEN, reason), solutions=len(solutions))
        trials = [await self._followed_up(trial, trials, problem, solutions[trial.number]) for trial in trials]
        conclusion = classify(trials, self._rules.mode, limits_per_test(problem, self._asked).cpu_seconds)
        return self._audited(problem, conclusion, trials, solutions=len(solutions))

    async def _without_solutions(self, problem: Problem, detail: str) -> Audited:
        if reason := await self._broken(problem):
            return self._audited(problem, Conclusion(Finding.BROKEN, reason))
        return self._audited(problem, Conclusion(Finding.NO_SOLUTIONS, detail))

    def _audited(
        self, problem: Problem, conclusion: Conclusion, trials: Sequence[Trial] = (), *, solutions: int = 0
    ) -> Audited:
        mode = self._rules.mode
        slowest = (trial.verdict(mode).peak_cpu_seconds for trial in trials if trial.passes(mode))
        return Audited(
            problem_id=problem.problem_id,
            finding=conclusion.finding,
            exclude=conclusion.finding.is_excluded,
            rules=self._rules,
            detail=conclusion.detail,
            source=problem.source,
            solutions=solutions,
            judged=len(trials),
            rates=count_refusals(trials),
            infrastructure_errors=sum(not trial.is_judged for trial in trials),
            peak_cpu_seconds=max(slowest, default=0.0),
            time_limit_seconds=limits_per_test(problem, self._asked).cpu_seconds,
        )

    async def _followed_up(self, trial: Trial, trials: list[Trial], problem: Problem, program: str) -> Trial:
        match follow_up(trial, trials, self._rules.mode):
            case FollowUp.AGAIN:
                return trial._replace(again=await self._evaluator.judge_all_modes(problem, program, use_cache=False))
            case FollowUp.LONGER:
                seconds = LONGER * (problem.time_limit_seconds or self._asked.time_limit_seconds)
                patient = msgspec.structs.replace(problem, time_limit_seconds=seconds)
                return trial._replace(longer=await self._evaluator.judge_all_modes(patient, program))
            case FollowUp.NONE:
                return trial

    async def _broken(self, problem: Problem) -> str:
        """Why the tests cannot be run; empty if they can."""
        return await to_thread.run_sync(broken_tests, problem, limits_per_test(problem, self._asked))

    def so_far(self) -> str:
        """How far the audit is, as a line."""
        audited = self._ledger.audited
        seconds = time.monotonic() - self._started_at
        counts = Counter(each.finding for each in audited.values())
        statistics = self._evaluator.statistics()
        new = len(audited) - self._ledger.resumed
        parts = [
            str(timedelta(seconds=round(seconds))),
            f"audited {len(audited):,}" + (f"/{self.expected:,}" if self.expected else ""),
            *(f"{finding} {counts[finding]:,}" for finding in Finding if counts[finding]),
            f"workers {statistics.busy}/{statistics.workers}",
        ]
        if self.expected and new > 0:
            left = max(0, self.expected - len(audited)) * seconds / new
            parts.append(f"{timedelta(seconds=round(left))} left")
        return "  ".join(parts)


def broken_tests(problem: Problem, limits: Limits) -> str:
    """Why no worker can run the problem's tests; empty if one can."""
    # As a worker would read them, which is the only reading that counts.
    message = Tests(
        key=0,
        problem_id=problem.problem_id,
        tests=problem.tests,
        limits=limits,
        special_judge=problem.special_judge,
    )
    try:
        parse_tests(message)
    except (TestsError, RecursionError) as error:
        return str(error)
    return ""
