"""How many requests a server is sent at once: a limit that is found while it is used. A pure state machine.

A server says what it can take in one of two ways. One refuses (status 429, 503 or 529): the limit falls to what it had
accepted, and to 0.7 of itself at most every two seconds, so that a burst of refusals counts once. The other queues
without end: there the throughput says it. If a limit that has grown by a fifth gained less than a twentieth of tokens
per second over a round, it goes back to its former value and stays there for a while, then tries again.

Growth is by one for every sample that finishes (the limit doubles in the time of one sample) until the first refusal,
then by one for as many samples as the limit. It grows only while at least 0.8 of it is in use: a limit that nobody
needed says nothing about the server. Times are of any monotonic clock, and are passed in.
"""

GROWS_IN_USE = 0.8
SHRINK = 0.7
CALM_SECONDS = 2.0
ROUND_SECONDS = 10.0
NOTABLE_GROWTH = 1.2
NOTABLE_GAIN = 1.05
FIRST_HOLD_SECONDS, LONGEST_HOLD_SECONDS = 30.0, 600.0


class ConcurrencyLimit:
    """The limit of one server, and how much of it is in use."""

    def __init__(self, now: float, *, start: int = 32, ceiling: int = 1024) -> None:
        self._limit = float(min(start, ceiling))
        self._ceiling = ceiling
        self.busy = 0
        self._refusals = 0  # since something was accepted
        self._is_slow_start = True
        self._calm_until = now
        self._hold_until = now
        self._hold_seconds = FIRST_HOLD_SECONDS
        self._reference: tuple[float, float] | None = None  # limit and tokens per second of a round before
        self._was_in_use = True  # throughout the round
        self._begin_round(now)

    @property
    def limit(self) -> int:
        """How many requests may be in flight."""
        return int(self._limit)

    @property
    def room(self) -> int:
        """How many more requests may be sent now."""
        return max(0, self.limit - self.busy)

    @property
    def refusals(self) -> int:
        """How many requests were refused since one was completed."""
        return self._refusals

    def send(self) -> None:
        """A request is in flight."""
        self.busy += 1

    def complete(self, now: float, tokens: int) -> None:
        """A request came back with a sample of so many tokens."""
        was_in_use = self.busy >= GROWS_IN_USE * self.limit
        self.busy -= 1
        self._refusals = 0
        self._samples += 1
        self._tokens += tokens
        self._was_in_use = self._was_in_use and was_in_use
        if was_in_use and now >= max(self._calm_until, self._hold_until):
            self._limit = min(self._ceiling, self._limit + (1 if self._is_slow_start else 1 / self._limit))
        if now - self._round_began >= ROUND_SECONDS and self._samples >= self._round_limit:
            self._end_round(now)

    def fail(self) -> None:
        """A request came back without a sample, for a reason that says nothing about load."""
        self.busy -= 1

    def refuse(self, now: float) -> bool:
        """A request was refused; whether this is the first refusal of a burst."""
        self.busy -= 1
        self._refusals += 1
        is_first = now >= self._calm_until
        if is_first:
            self._limit *= SHRINK
            self._calm_until = now + CALM_SECONDS
            self._is_slow_start = False
            self._reference = None
            self._begin_round(now)
        self._limit = max(1.0, min(self._limit, self.busy))
        return is_first

    def restart(self, now: float) -> None:
        """The server was away: what its throughput was says nothing about the one that is back."""
        self._refusals = 0
        self._reference = None
        self._hold_until = now
        self._begin_round(now)

    def _begin_round(self, now: float) -> None:
        self._round_began, self._round_limit = now, self._limit
        self._samples = self._tokens = 0
        self._was_in_use = True

    def _end_round(self, now: float) -> None:
        """Compares the round's throughput with that at a smaller limit. A round that lacked work decides nothing."""
        throughput, reference = self._tokens / (now - self._round_began), self._reference
        if self._was_in_use:
            if reference is not None and self._limit >= NOTABLE_GROWTH * reference[0]:
                if throughput < NOTABLE_GAIN * reference[1]:
                    self._limit = reference[0]
                    self._hold_until = now + self._hold_seconds
                    self._hold_seconds = min(LONGEST_HOLD_SECONDS, 2 * self._hold_seconds)
                else:
                    self._hold_seconds = FIRST_HOLD_SECONDS
                    self._reference = (self._limit, throughput)
            elif reference is None or self._limit == reference[0]:
                self._reference = (self._limit, throughput)
        self._begin_round(now)
