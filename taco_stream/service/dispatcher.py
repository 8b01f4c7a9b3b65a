"""Lets work wait for its turn, hands it to the evaluator and takes it back: the shell around `waiting_line`.

Each program that was admitted has a task of its caller's, in `carry_out`, which sleeps until its turn. Whoever gives up
a place looks who is next and wakes them; nothing else drives the line. The evaluator is given as many programs as it
does well to have at once, so what waits, waits here.

Promised: whatever happens to a caller's task, its places are given up when it leaves `admitted`, and a program that is
cancelled while it runs is ended by the evaluator. A failure of the evaluator is a result with that status.
"""

import math
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Protocol

import anyio
import msgspec

from taco_stream.errors import EvaluatorError
from taco_stream.evaluator.protocol import Limits
from taco_stream.service.waiting_line import NotAdmitted, Ticket, TicketState, WaitingLine
from taco_stream.service.wire import JudgeWork, Result, Work
from taco_stream.statistics import EvaluatorStatistics
from taco_stream.types import ComparisonMode, ExecutionResult, Problem, Status, Verdict


class ServedEvaluator(Protocol):
    """The part of the evaluator that the service uses."""

    @property
    def concurrency(self) -> int:
        """How many programs it does well to have at once."""
        ...

    async def judge(
        self,
        problem: Problem,
        program: str,
        *,
        mode: ComparisonMode | None = None,
        limits: Limits | None = None,
        full_results: bool | None = None,
    ) -> Verdict:
        """The verdict on one program."""
        ...

    async def execute(self, program: str, stdin: bytes, limits: Limits) -> ExecutionResult:
        """What a program does with a standard input."""
        ...

    def statistics(self) -> EvaluatorStatistics:
        """The evaluator as it is now."""
        ...


class ServiceStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """A glance at the service, in programs: `waiting` for their turn, and `running` in the evaluator.

    Counters are since its start. Refused programs were told to come back, late ones could not be done in time, and
    withdrawn ones have lost their caller or were left at the service's end. `program_seconds` is the weighted mean of
    the time that one holds its place, and `wait_seconds` what a new caller's program would wait.
    """

    waiting: int
    running: int
    finished: int
    refused: int
    late: int
    withdrawn: int
    program_seconds: float
    wait_seconds: float


class RefusedError(Exception):
    """Work was not admitted: the reason, and in how many seconds to come back."""

    def __init__(self, refusal: NotAdmitted) -> None:
        super().__init__(refusal.reason)
        self.retry_seconds = refusal.retry_seconds


CLOSING = NotAdmitted("the service is about to end", 5)


class Dispatcher:
    """The programs of all callers on their way through one evaluator."""

    def __init__(self, evaluator: ServedEvaluator, *, max_waiting: int, max_wait_seconds: float) -> None:
        self._evaluator = evaluator
        self._line = WaitingLine(
            places=evaluator.concurrency, max_waiting=max_waiting, max_wait_seconds=max_wait_seconds
        )
        self._turns: dict[Ticket, anyio.Event] = {}
        self._scopes: set[anyio.CancelScope] = set()
        self._is_idle = anyio.Event()
        self._callers = 0
        self.is_closing = False
        self._has_ended = False

    @property
    def max_waiting(self) -> int:
        """How many programs may wait, and so how many one request may have."""
        return self._line.max_waiting

    @contextmanager
    def admitted(
        self, client: Hashable, count: int, *, deadline: float = math.inf, is_patient: bool = False
    ) -> Iterator[list[Ticket]]:
        """Tickets for `count` programs, whose places are given up in the end. Raises `RefusedError` if there are none.

        The deadline is a time of `anyio.current_time`.
        """
        if self.is_closing:
            raise RefusedError(CLOSING)
        tickets = self._line.admit(client, count, anyio.current_time(), deadline=deadline, is_patient=is_patient)
        if isinstance(tickets, NotAdmitted):
            raise RefusedError(tickets)
        self._turns |= {ticket: anyio.Event() for ticket in tickets}
        self._callers += 1
        self._wake_next()
        try:
            yield tickets
        finally:
            self._callers -= 1
            for ticket in tickets:
                self._leave(ticket, is_finished=False)
            if not self._callers:
                self._is_idle.set()

    async def carry_out(self, ticket: Ticket, work: Work) -> Result | None:
        """The result of one admitted program, None if there is none by its deadline or the service's end."""
        with anyio.CancelScope(deadline=ticket.deadline) as scope:
            self._scopes.add(scope)
            is_finished = False
            try:
                if self._has_ended:
                    return None
                await self._turns[ticket].wait()
                if ticket.state is TicketState.LATE:
                    return None
                result = await self._ask(work)
                is_finished = True
                return result
            finally:
                self._scopes.discard(scope)
                self._leave(ticket, is_finished=is_finished)
        return None

    async def close(self, seconds: float) -> None:
        """Admits nothing more, and waits until all callers have left; those that have not by then get no result."""
        self.is_closing = True
        self._is_idle = anyio.Event()
        if self._callers:
            with anyio.move_on_after(seconds):
                await self._is_idle.wait()
        self._has_ended = True
        for scope in self._scopes:
            scope.cancel()

    def statistics(self) -> ServiceStatistics:
        """The service as it is now."""
        line = self._line
        return ServiceStatistics(
            waiting=line.waiting,
            running=line.running,
            finished=line.finished,
            refused=line.refused,
            late=line.late,
            withdrawn=line.withdrawn,
            program_seconds=line.mean_seconds,
            wait_seconds=line.predict_wait(client=None),
        )

    async def _ask(self, work: Work) -> Result:
        try:
            if isinstance(work, JudgeWork):
                return await self._evaluator.judge(
                    work.problem, work.program, mode=work.mode, limits=work.limits, full_results=work.full_results
                )
            return await self._evaluator.execute(work.program, work.stdin, work.limits)
        except EvaluatorError as error:
            # Its workers do not start again, or a checker is unreadable: trouble of this machine, not of the program.
            kind = Verdict if isinstance(work, JudgeWork) else ExecutionResult
            return kind(status=Status.INFRASTRUCTURE_ERROR, detail=str(error))

    def _leave(self, ticket: Ticket, *, is_finished: bool) -> None:
        if self._turns.pop(ticket, None) is not None:
            self._line.leave(ticket, anyio.current_time(), is_finished=is_finished)
            self._wake_next()

    def _wake_next(self) -> None:
        for ticket in self._line.take_turns(anyio.current_time()):
            self._turns[ticket].set()
