"""The evaluator of a cluster: an ordinary evaluator on each node, given programs by demand.

Who runs: this in the driver's event loop, and `NodeEvaluator` actors, which `members` keeps. Programs wait in one line.
A member takes up to `MAX_BATCH` at a time, as long as it has fewer than `PER_WORKER` for each of its workers, and first
those of problems that it has: it is sent the tests of a problem once, which may be megabytes, and judges identical
programs once.

Promised: one verdict for each call, and the same as on one machine. Programs that a lost member had not
answered go back to the head of the line. A program that `MAX_LOSSES` members were lost with is the evaluator's failure,
not the program's.
"""

from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Self

import anyio
import msgspec
from anyio.abc import ObjectSendStream

from taco_stream.background import in_background
from taco_stream.cluster.actors import NodeEvaluator
from taco_stream.cluster.members import ActorPlace, Member, Members, NoMembersError
from taco_stream.cluster.nodes import Cluster, Node, NodeUnfitError
from taco_stream.cluster.protocol import JudgedPrograms, NumberedProgram, Programs, encode
from taco_stream.errors import EvaluatorError
from taco_stream.evaluator.settings import EvaluatorSettings
from taco_stream.events import ClusterEvent, EvaluatorEvent
from taco_stream.statistics import EvaluatorStatistics
from taco_stream.types import ComparisonMode, Problem, Status, Verdict

MAX_BATCH = 64
"""Programs sent at once: a call costs the driver half a millisecond, and a program a few KB."""

PER_WORKER = 4
"""Programs that a member has for each worker: one is judged, and others are there while more are on their way."""

PROBLEMS_KEPT = 64
"""Problems whose tests a member keeps."""

MAX_LOSSES = 3
"""How many members may be lost with a program: one may go for reasons of its own, and three hardly do."""


@dataclass(eq=False)
class PendingProgram:
    """A program that a caller waits for."""

    problem: Problem
    program: str
    losses: int = 0
    verdicts: Mapping[ComparisonMode, Verdict] | None = None
    failure: str | None = None
    settled: anyio.Event = field(default_factory=anyio.Event)


@dataclass(eq=False)
class Account:
    """What a member has: judgements by ticket, and the numbers of the problems that it keeps, oldest first."""

    under_way: dict[int, PendingProgram] = field(default_factory=dict)
    problems: OrderedDict[Problem, int] = field(default_factory=OrderedDict)
    statistics: EvaluatorStatistics = field(default_factory=EvaluatorStatistics)


class ClusterEvaluator(anyio.AsyncContextManagerMixin):
    """Judges programs on the nodes of a cluster, a run's `Judge`."""

    def __init__(
        self,
        cluster: Cluster,
        settings: EvaluatorSettings = EvaluatorSettings(),  # noqa: B008 (immutable)
        *,
        events: ObjectSendStream[EvaluatorEvent | ClusterEvent] | None = None,
    ) -> None:
        self._settings = settings
        self._events = events
        self._members = Members(
            cluster,
            NodeEvaluator,
            lambda place: msgspec.structs.replace(settings, workers=place.cores),
            find_places=self._find_places,
            role="evaluator",
            report=self._send_event,
        )
        self._accounts: dict[Member, Account] = {}
        self._waiting: deque[PendingProgram] = deque()
        self._changed = anyio.Event()
        self._numbers = 0
        self._failure: str | None = None

    @property
    def sandbox_tier(self) -> str:
        """How programs are confined on the nodes there are: one tier, or all that differ."""
        return " or ".join(sorted({member.greeting.sandbox_tier for member in self._members.present}))

    @property
    def concurrency(self) -> int:
        """How many programs keep every worker busy."""
        return PER_WORKER * max(1, sum(member.greeting.workers for member in self._members.present))

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        """A first node judges. Entering raises `EvaluatorError` if none can."""
        try:
            async with self._members.kept(), in_background(self._attend):
                yield self
        except NoMembersError as error:
            raise EvaluatorError(str(error)) from None

    async def judge_all_modes(self, problem: Problem, program: str) -> Mapping[ComparisonMode, Verdict]:
        """The verdicts on one program under every mode. Raises `EvaluatorError` if no node is left."""
        if self._failure is not None:
            raise EvaluatorError(self._failure)
        judgement = PendingProgram(problem, program)
        self._waiting.append(judgement)
        self._notify()
        try:
            await judgement.settled.wait()
        finally:
            if not judgement.settled.is_set():  # the caller has gone
                with suppress(ValueError):
                    self._waiting.remove(judgement)
        if judgement.verdicts is None:
            assert judgement.failure is not None
            raise EvaluatorError(judgement.failure)
        return judgement.verdicts

    def statistics(self) -> EvaluatorStatistics:
        """The sum of the members' last reports; of those that are lost, what they had done."""
        present = set(self._members.present)
        total = dict.fromkeys(EvaluatorStatistics.__struct_fields__, 0)
        for member, account in self._accounts.items():
            for name in total:
                if member in present or name not in ("workers", "busy", "waiting"):
                    total[name] += getattr(account.statistics, name)
        workers = sum(member.greeting.workers for member in present)
        return EvaluatorStatistics(**(total | {"workers": workers, "waiting": total["waiting"] + len(self._waiting)}))

    async def _attend(self) -> None:
        try:
            await self._members.attend(self._serve, self._give_back, anyio.Event())
        except NoMembersError as error:
            self._failure = str(error)
            while self._waiting:
                self._settle(self._waiting.popleft(), failure=self._failure)

    async def _serve(self, member: Member) -> None:
        account = self._accounts[member] = Account()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._feed, member, account)
            await self._collect(member, account)

    async def _feed(self, member: Member, account: Account) -> None:
        room = max(MAX_BATCH, PER_WORKER * member.greeting.workers)
        while True:
            wanted = min(MAX_BATCH, room - len(account.under_way))
            if wanted <= 0 or not self._waiting:
                await self._changed.wait()
                continue
            batch = self._take(account, wanted)
            await member.call("submit", encode(self._write(batch, account)))

    async def _collect(self, member: Member, account: Account) -> None:
        while True:
            report = await member.ask("take", JudgedPrograms)
            account.statistics = report.statistics
            for event in report.events:
                await self._send_event(event)
            for each in report.verdicts:
                self._settle(account.under_way.pop(each.ticket), verdicts=each.verdicts)
            if report.failure is not None:
                raise NodeUnfitError(report.failure)
            if report.verdicts:
                self._notify()

    def _take(self, account: Account, wanted: int) -> dict[int, PendingProgram]:
        """Takes judgements out of the line, those of problems that the member has first."""
        known = [each for each in self._waiting if each.problem in account.problems][:wanted]
        others = [each for each in self._waiting if each.problem not in account.problems][: wanted - len(known)]
        batch: dict[int, PendingProgram] = {}
        for judgement in known + others:
            self._waiting.remove(judgement)
            self._numbers += 1
            batch[self._numbers] = judgement
        account.under_way.update(batch)
        return batch

    def _write(self, batch: dict[int, PendingProgram], account: Account) -> Programs:
        """The message with a batch, the problems in it that the member does not have, and those that it forgets."""
        sent: dict[int, Problem] = {}
        for judgement in batch.values():
            if judgement.problem not in account.problems:
                self._numbers += 1
                account.problems[judgement.problem] = self._numbers
                sent[self._numbers] = judgement.problem
            account.problems.move_to_end(judgement.problem)
        programs = [
            NumberedProgram(ticket, account.problems[each.problem], each.program) for ticket, each in batch.items()
        ]
        surplus = max(0, len(account.problems) - PROBLEMS_KEPT)
        forgotten = [account.problems.popitem(last=False)[1] for _ in range(surplus)]
        return Programs(problems=sent, programs=tuple(programs), forgotten=tuple(forgotten))

    def _give_back(self, member: Member) -> None:
        account = self._accounts[member]
        for judgement in reversed(account.under_way.values()):
            judgement.losses += 1
            if judgement.losses == MAX_LOSSES:
                detail = f"{MAX_LOSSES} nodes were lost while they judged this program"
                verdict = Verdict(status=Status.INFRASTRUCTURE_ERROR, detail=detail, sandbox_tier=self.sandbox_tier)
                self._settle(judgement, verdicts=dict.fromkeys(ComparisonMode, verdict))
            else:
                self._waiting.appendleft(judgement)
        account.under_way.clear()
        account.problems.clear()
        self._notify()

    def _settle(
        self,
        judgement: PendingProgram,
        *,
        verdicts: Mapping[ComparisonMode, Verdict] | None = None,
        failure: str | None = None,
    ) -> None:
        judgement.verdicts, judgement.failure = verdicts, failure
        judgement.settled.set()

    def _find_places(self, nodes: list[Node]) -> list[ActorPlace]:
        """One on each node with a core: it reserves the cores of its workers."""
        workers = self._settings.workers
        return [ActorPlace(node, cores=min(workers or node.cores, node.cores)) for node in nodes if node.cores]

    def _notify(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    async def _send_event(self, event: EvaluatorEvent | ClusterEvent) -> None:
        if self._events is not None:
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):  # nobody reads any more
                await self._events.send(event)
