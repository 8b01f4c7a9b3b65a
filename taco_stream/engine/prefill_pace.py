"""How fast prompts are computed beside rows that decode. Pure: costs come in as seconds, no clock is read here."""

from taco_stream.engine.scheduler import Step


class PrefillPace:
    """How many prompt tokens a step may compute so that those who decode hardly notice.

    Where all slots decode, a step with a chunk should take `STRETCH` times one without; where few do, a longer step
    costs little and fills the others sooner, so the rest of it grows as the share that decodes shrinks. Both costs are
    taken from measured steps, so the pace finds itself on any device and for any model. A cost that grows, as a token's
    does with the prompt behind it, is believed at once, one that shrinks only bit by bit: smoothed both ways, one step
    in ten took over twice as long as without. `halve` is for memory that a chunk did not fit into.
    """

    STRETCH = 1.5
    SMOOTHING = 0.2

    def __init__(self, largest: int, smallest: int) -> None:
        self.largest = largest
        self._smallest = min(smallest, largest)
        self._decode_seconds = 0.0
        self._token_seconds = 0.0

    def tokens(self, decoding_share: float) -> int:
        """The budget of the next step, of whose slots this share decodes; all of it where none does."""
        if not decoding_share or not self._decode_seconds:
            return self.largest
        if not self._token_seconds:
            return self._smallest
        affordable = (self.STRETCH - 1) / decoding_share * self._decode_seconds / self._token_seconds
        return max(self._smallest, min(self.largest, int(affordable)))

    def observe(self, step: Step, seconds: float) -> None:
        """Learns from a step that took `seconds`."""
        tokens = sum(len(chunk.tokens) for chunk in step.chunks)
        if step.decoding and not tokens:
            self._decode_seconds += self._weight(self._decode_seconds) * (seconds - self._decode_seconds)
        elif tokens:
            own = max(seconds - (self._decode_seconds if step.decoding else 0.0), 0.1 * seconds) / tokens
            weight = 1.0 if own > self._token_seconds else self.SMOOTHING
            self._token_seconds += weight * (own - self._token_seconds)

    def halve(self) -> bool:
        """Halves the largest chunk; False where it is the smallest already."""
        if self.largest <= self._smallest:
            return False
        self.largest = max(self._smallest, self.largest // 2)
        return True

    def _weight(self, known: float) -> float:
        return self.SMOOTHING if known else 1.0
