"""How busy the servers were: the sums behind `EngineStatistics`. Pure; times are passed in."""

from collections.abc import Iterable

from taco_stream.engine.server.answer import Answered
from taco_stream.engine.server.fleet import ServerState
from taco_stream.statistics import EngineStatistics


class Occupancy:
    """Requests in flight of those that could be, over time, and what came of them. Rows are requests in flight."""

    def __init__(self, now: float) -> None:
        self.samples_finished = self.restarts = 0
        self._prompt_tokens = self._completion_tokens = 0
        self._busy_seconds = self._row_seconds = self._available = 0.0
        self._observed_at = now

    def observe(self, now: float, servers: Iterable[ServerState]) -> None:
        """Books the time since the last observation as what the servers are now: called before each change."""
        seconds, self._observed_at = now - self._observed_at, now
        busy = total = 0
        for server in servers:
            busy += server.limit.busy
            total += server.limit.limit
        if busy:
            self._busy_seconds += seconds
            self._row_seconds += seconds * busy
            self._available += seconds * max(busy, total)

    def count(self, answered: Answered, *, is_first: bool) -> None:
        """Counts a sample's tokens, and its prompt's if it is the first of its prompt."""
        self._prompt_tokens += answered.prompt_tokens if is_first else 0
        self._completion_tokens += answered.completion_tokens

    def statistics(self, servers: Iterable[ServerState], *, waiting: int) -> EngineStatistics:
        """The sums, and the servers as they are: those that are down have no rows."""
        limits = [server.limit for server in servers if server.is_up or server.limit.busy]
        return EngineStatistics(
            rows_busy=sum(limit.busy for limit in limits),
            rows_total=sum(limit.limit for limit in limits),
            samples_waiting=waiting,
            samples_finished=self.samples_finished,
            prompt_tokens=self._prompt_tokens,
            completion_tokens=self._completion_tokens,
            busy_seconds=self._busy_seconds,
            row_seconds=self._row_seconds,
            row_seconds_available=self._available,
            restarts=self.restarts,
        )
