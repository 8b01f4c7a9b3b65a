"""The engine of a cluster: a local engine on each GPU of each node, or on each node if the cluster has no GPU.

Who runs: this in the driver's event loop, and `NodeEngine` actors, which `members` keeps. Requests are cut into chunks
of one prompt and up to 32 samples. A member is offered the next chunk when its engine has taken the one before, which
an engine does when it has room: nodes take work by demand.

Promised: a sample is owed by one member, from the moment that its chunk is sent until its completion is here. What a
lost member owed goes to the next that wants work, and comes out the same, because a sample depends on (seed, problem,
index) alone. A chunk that `MAX_LOSSES` members were lost with is answered as an error. A member is asked for more
completions when the caller has taken most of those that are here, so a caller who stops taking stops all nodes.

Not covered: nodes with different accelerators or libraries may round differently, as two single machines may.
"""

import math
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Self

import anyio
import msgspec
from anyio.abc import ObjectReceiveStream, ObjectSendStream
from anyio.streams.memory import MemoryObjectReceiveStream

from taco_stream.cluster.actors import NodeEngine
from taco_stream.cluster.members import ActorPlace, Member, Members, NoMembersError
from taco_stream.cluster.nodes import Cluster, Node, NodeUnfitError
from taco_stream.cluster.protocol import MAX_REPORTED, EngineBlueprint, Generated, encode
from taco_stream.engine.local.worker_handle import SAMPLES_PER_CHUNK, Chunk, add
from taco_stream.errors import EngineError, ModelError
from taco_stream.events import ClusterEvent, EngineEvent
from taco_stream.statistics import EngineStatistics
from taco_stream.types import Completion, Request, SampleKey

MAX_LOSSES = 3
"""How many members may be lost with a chunk: one may go for reasons of its own, and three hardly do."""


class ClusterEngine(anyio.AsyncContextManagerMixin):
    """Generates on the nodes of a cluster, on each with an engine that is made from the blueprint."""

    def __init__(
        self,
        cluster: Cluster,
        blueprint: EngineBlueprint,
        *,
        events: ObjectSendStream[EngineEvent | ClusterEvent] | None = None,
    ) -> None:
        self._events = events
        self._members = Members(
            cluster,
            NodeEngine,
            lambda _: blueprint,
            find_places=engine_places,
            role="engine",
            report=self._send_event,
        )
        self._draining = anyio.Event()
        self._statistics: dict[Member, EngineStatistics] = {}
        self._samples_finished = 0

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        """A first node has loaded the model. Entering raises `ModelError` if none can."""
        try:
            async with self._members.kept():
                yield self
        except NoMembersError as error:
            raise ModelError(str(error)) from None

    async def run(self, requests: ObjectReceiveStream[Request], completions: ObjectSendStream[Completion]) -> None:
        """Generates every sample of every request. Raises `EngineError` after handing over what was generated."""
        offer, offered = anyio.create_memory_object_stream[Chunk](0)  # no buffer: demand pulls
        books, done = Books(), anyio.Event()

        async def attend(give_back: Callable[[Member], None]) -> None:
            try:
                await self._members.attend(partial(self._serve, offered=offered, books=books), give_back, done)
            except NoMembersError as error:
                books.failure = str(error)
                books.notify()

        async with requests, offer, offered, completions, anyio.create_task_group() as tasks:

            def give_back(member: Member) -> None:
                for chunk in books.take_back(member):
                    chunk.deaths += 1
                    if chunk.deaths == MAX_LOSSES:
                        books.finish(chunk.failed(f"{MAX_LOSSES} nodes were lost while they generated this"))
                    else:
                        tasks.start_soon(offer.send, chunk)

            tasks.start_soon(self._accept, requests, offer, books)
            tasks.start_soon(self._answer_as_cancelled, offered, books)
            async with anyio.create_task_group() as attending:
                attending.start_soon(attend, give_back)
                await self._hand_over(completions, books)
                if books.failure is None:
                    # A member to which nothing more is offered ends its run, and has then been attended to.
                    done.set()
                    offer.close()
            tasks.cancel_scope.cancel()
        if books.failure is not None:
            raise EngineError(books.failure)

    def drain(self) -> None:
        """Starts no further sample: those decoding are finished, those waiting come back as `cancelled`."""
        self._draining.set()

    def statistics(self) -> EngineStatistics:
        """The sum of the members' last reports; of those that are lost, what they had done."""
        present = set(self._members.present)
        total = EngineStatistics()
        for member, figures in self._statistics.items():
            lost = {} if member in present else {"rows_busy": 0, "rows_total": 0, "samples_waiting": 0}
            total = add(total, msgspec.structs.replace(figures, **lost))
        return msgspec.structs.replace(total, samples_finished=self._samples_finished)

    async def _accept(
        self, requests: ObjectReceiveStream[Request], offer: ObjectSendStream[Chunk], books: "Books"
    ) -> None:
        """Cuts requests into chunks and offers each to whichever member wants one next."""
        async for request in requests:
            arrived_at = time.monotonic()
            for start in range(0, len(request.sample_indices), SAMPLES_PER_CHUNK):
                indices = request.sample_indices[start : start + SAMPLES_PER_CHUNK]
                books.unanswered += len(indices)
                await offer.send(Chunk(request, arrived_at, set(indices)))
        books.is_fed = True
        books.notify()

    async def _answer_as_cancelled(self, offered: ObjectReceiveStream[Chunk], books: "Books") -> None:
        """Answers what is offered once the engine is drained: there may be no member to do it."""
        await self._draining.wait()
        async for chunk in offered:
            books.finish(chunk.cancelled())

    async def _hand_over(self, completions: ObjectSendStream[Completion], books: "Books") -> None:
        """Passes completions on until the caller has all that it will get."""
        while not books.is_settled:
            if not books.finished:
                await books.changed.wait()
                continue
            await completions.send(books.finished[0])
            books.finished.popleft()
            books.notify()

    async def _serve(self, member: Member, *, offered: MemoryObjectReceiveStream[Chunk], books: "Books") -> None:
        """Has a member generate until nothing is offered any more and it has answered everything."""
        async with offered.clone() as chunks, anyio.create_task_group() as tasks:
            await member.call("begin")
            tasks.start_soon(self._feed, member, chunks, books)
            tasks.start_soon(self._relay_drain, member)
            await self._collect(member, books)
            tasks.cancel_scope.cancel()

    async def _feed(self, member: Member, chunks: MemoryObjectReceiveStream[Chunk], books: "Books") -> None:
        async for chunk in chunks:
            books.lend(member, chunk)
            await member.call("feed", encode(chunk.rest()), seconds=math.inf)  # returns when there is room for it
        await member.call("end")

    async def _relay_drain(self, member: Member) -> None:
        await self._draining.wait()
        await member.call("drain")

    async def _collect(self, member: Member, books: "Books") -> None:
        while True:
            report = await member.ask("take", Generated)
            self._statistics[member] = report.statistics
            for event in report.events:
                await self._send_event(event)
            for completion in report.completions:
                self._samples_finished += books.answer(member, completion)
            if report.failure is not None or (report.has_ended and books.owes(member)):
                raise NodeUnfitError(report.failure or "its engine has ended with samples unanswered")
            if report.has_ended:
                return
            while len(books.finished) > MAX_REPORTED:
                await books.changed.wait()

    async def _send_event(self, event: EngineEvent | ClusterEvent) -> None:
        if self._events is not None:
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):  # nobody reads any more
                await self._events.send(event)


class Books:
    """The samples of a run that are not with the caller yet: owed by some member, offered to all, or finished."""

    def __init__(self) -> None:
        self.is_fed = False
        """Whether all requests are here."""
        self.unanswered = 0
        self.finished: deque[Completion] = deque()
        self.failure: str | None = None
        self.changed = anyio.Event()
        self._owed: dict[Member, dict[SampleKey, Chunk]] = {}

    @property
    def is_settled(self) -> bool:
        """Whether the caller has everything that it will get."""
        return not self.finished and (self.failure is not None or (self.is_fed and self.unanswered == 0))

    def owes(self, member: Member) -> bool:
        """Whether a member has not answered everything."""
        return bool(self._owed.get(member))

    def lend(self, member: Member, chunk: Chunk) -> None:
        """Notes that the member owes the chunk."""
        owed = self._owed.setdefault(member, {})
        owed.update({SampleKey(chunk.request.problem_id, index): chunk for index in chunk.unanswered})

    def answer(self, member: Member, completion: Completion) -> bool:
        """Takes a completion in; False for one that the member does not owe."""
        chunk = self._owed.get(member, {}).pop(completion.key, None)
        if chunk is None:
            return False
        chunk.unanswered.discard(completion.sample_index)
        self.finish([completion])
        return True

    def take_back(self, member: Member) -> list[Chunk]:
        """The chunks with samples that the member still owed, which it does no longer."""
        return list(dict.fromkeys(self._owed.pop(member, {}).values()))

    def finish(self, completions: list[Completion]) -> None:
        """Puts completions on their way to the caller."""
        self.unanswered -= len(completions)
        self.finished.extend(completions)
        self.notify()

    def notify(self) -> None:
        """Wakes those who wait for a change."""
        changed, self.changed = self.changed, anyio.Event()
        changed.set()


def engine_places(nodes: list[Node]) -> list[ActorPlace]:
    """One for each GPU; one for each node if the cluster has no GPU."""
    places = [ActorPlace(node, number, gpus=1) for node in nodes for number in range(node.gpus)]
    return places or [ActorPlace(node) for node in nodes]
