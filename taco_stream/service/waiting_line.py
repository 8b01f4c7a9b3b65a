"""Who is admitted, who is next, and who is too late: the decisions of the service, without a clock or a loop.

Work waits in a line of its client, and the lines take turns, so that one client's thousand programs do not hold up
another's first. Admission is bounded twice: by how many may wait, which bounds memory, and by how long the new work
would wait, which is found out before it waits. The prediction is the number of programs whose turn comes sooner, times
the exponentially weighted mean of the seconds that a program holds one of the places, divided by the places.

Work with a deadline is not begun if it would probably not be done in time. Otherwise a service with too much to do
would spend itself on answers that nobody waits for any longer.
"""

import math
from collections import OrderedDict
from collections.abc import Hashable
from enum import Enum, auto
from typing import NamedTuple

WEIGHT = 0.1
"""The weight of the newest program in the mean: about the last twenty count."""

MAX_RETRY_SECONDS = 60
"""Nobody is sent away for longer: by then the prediction is worth nothing."""


class TicketState(Enum):
    """How far admitted work has come."""

    WAITING = auto()
    RUNNING = auto()
    LATE = auto()  # its turn came when it could no longer be done in time
    DONE = auto()  # finished, or withdrawn


class Ticket:
    """One program that was admitted."""

    __slots__ = ("began_at", "client", "deadline", "latest_start", "state")

    def __init__(self, client: Hashable, deadline: float, latest_start: float) -> None:
        self.client = client
        self.deadline = deadline
        self.latest_start = latest_start
        self.began_at = 0.0
        self.state = TicketState.WAITING


class NotAdmitted(NamedTuple):
    """Work that is not admitted, and when to ask again."""

    reason: str
    retry_seconds: int


class WaitingLine:
    """The programs that were admitted; times are of any one clock, in seconds.

    `places` programs run at once. Unless its caller is patient, work is admitted only if at most `max_waiting` programs
    then wait, and the first of it within `max_wait_seconds`.
    """

    def __init__(self, *, places: int, max_waiting: int, max_wait_seconds: float) -> None:
        self.places = places
        self.max_waiting = max_waiting
        self.max_wait_seconds = max_wait_seconds
        self.waiting = self.running = 0
        self.mean_seconds = 0.0
        """How long a program holds a place; 0 until the first has done so."""
        self.finished = self.refused = self.late = self.withdrawn = 0
        self._lines: OrderedDict[Hashable, OrderedDict[Ticket, None]] = OrderedDict()
        self._depths: list[int] = []
        """How many lines have more than 0, 1, … programs: what makes a prediction cheap with thousands of lines."""

    def admit(
        self, client: Hashable, count: int, now: float, *, deadline: float = math.inf, is_patient: bool = False
    ) -> list[Ticket] | NotAdmitted:
        """Tickets for `count` programs, or none at all.

        With a deadline all of them have to be done by then, as far as that can be predicted. A patient caller rather
        waits in vain than being refused.
        """
        # Capped, or a mean that is longer than the whole time would rule out every program that could lower it.
        latest_start = deadline - min(self.mean_seconds, (deadline - now) / 4) if deadline < math.inf else deadline
        if not is_patient:
            refusal = self._refuse(client, count, now, deadline=deadline, latest_start=latest_start)
            if refusal is not None:
                self.refused += count
                return refusal
        tickets = [Ticket(client, deadline, latest_start) for _ in range(count)]
        for ticket in tickets:
            line = self._lines.setdefault(client, OrderedDict())
            if len(line) == len(self._depths):
                self._depths.append(0)
            self._depths[len(line)] += 1
            line[ticket] = None
        self.waiting += count
        return tickets

    def take_turns(self, now: float) -> list[Ticket]:
        """The programs whose turn it is: those that are to be begun, and those that are too late."""
        taken = []
        while self._lines and self.running < self.places:
            client, line = next(iter(self._lines.items()))
            self._lines.move_to_end(client)
            ticket = next(iter(line))
            self._remove(ticket)
            taken.append(ticket)
            if now > ticket.latest_start:
                ticket.state = TicketState.LATE
                self.late += 1
            else:
                ticket.state = TicketState.RUNNING
                ticket.began_at = now
                self.running += 1
        return taken

    def leave(self, ticket: Ticket, now: float, *, is_finished: bool) -> None:
        """Gives up a program's place in its line, or among those that run. Does nothing the second time."""
        if ticket.state in (TicketState.WAITING, TicketState.RUNNING):
            self.finished += is_finished
            self.late += not is_finished and now >= ticket.deadline
            self.withdrawn += not is_finished and now < ticket.deadline
        if ticket.state is TicketState.WAITING:
            self._remove(ticket)
        elif ticket.state is TicketState.RUNNING:
            self.running -= 1
            seconds = now - ticket.began_at
            # One that was cut short would have taken longer than it did: that counts only if it says something.
            if is_finished or seconds > self.mean_seconds:
                weight = WEIGHT if self.mean_seconds else 1.0
                self.mean_seconds += weight * (seconds - self.mean_seconds)
        ticket.state = TicketState.DONE

    def predict_wait(self, client: Hashable, count: int = 1) -> float:
        """How many seconds the last of `count` more programs of the client would wait."""
        own = len(self._lines.get(client, ()))
        before = sum(self._depths[: own + count]) + count - 1
        return max(0, before + self.running - self.places + 1) * self.mean_seconds / self.places

    def _refuse(
        self, client: Hashable, count: int, now: float, *, deadline: float, latest_start: float
    ) -> NotAdmitted | None:
        room = self.max_waiting - self.waiting + max(0, self.places - self.running - self.waiting)
        if count > room:
            seconds = (count - room) * self.mean_seconds / self.places
            reason = f"{self.waiting} programs are waiting, and at most {self.max_waiting} may"
            return NotAdmitted(reason, _retry_seconds(seconds))
        wait = self.predict_wait(client, count if deadline < math.inf else 1)
        seconds_late = now + wait - min(now + self.max_wait_seconds, latest_start)
        if seconds_late > 0:
            return NotAdmitted(f"it would be about {wait:.0f} s until a program is begun", _retry_seconds(seconds_late))
        return None

    def _remove(self, ticket: Ticket) -> None:
        line = self._lines[ticket.client]
        del line[ticket]
        self._depths[len(line)] -= 1
        if not self._depths[-1]:
            self._depths.pop()
        if not line:
            del self._lines[ticket.client]
        self.waiting -= 1


def _retry_seconds(seconds: float) -> int:
    return min(max(1, math.ceil(seconds)), MAX_RETRY_SECONDS)
