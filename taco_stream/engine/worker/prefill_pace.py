"""How fast prompts are computed beside rows that decode. Pure: costs come in as seconds, no clock is read here."""

from taco_stream.engine.worker.scheduler import Step

ROWS_PER_TILE = 16
"""A forward over a number of tokens not met before costs a CPU about 12 ms once, for kernels are made for it: steps
with chunks are filled up to multiples of the matrix unit's size, so that few numbers are ever met."""


class PrefillPace:
    """How many prompt tokens a step may compute so that decoding is hardly held up.

    Where all slots decode, a step with a chunk should take `STRETCH` times one without; where few do, a longer step
    costs little and fills the others sooner, so the rest of it grows as the share that decodes shrinks. Both costs are
    taken from measured steps, so the pace adapts to any device and model. `halve` is for memory that a chunk did not
    fit into.
    """

    STRETCH = 1.5
    STEPS_BESIDE = 16
    SMOOTHING = 0.2
    DECODE_SMOOTHING = 0.5

    def __init__(self, largest: int, smallest: int) -> None:
        self.largest = largest
        self._smallest = min(smallest, largest)
        self._decode_seconds = 0.0
        self._token_seconds = 0.0
        self._steps_beside = 0

    def tokens(self, decoding: int, slots: int) -> int:
        """The budget of the next step, in which `decoding` of `slots` rows decode; all of it if none does."""
        if not decoding or not self._decode_seconds or self._smallest == self.largest:
            return self.largest
        if self._steps_beside >= self.STEPS_BESIDE:
            # Decoding alone grows dearer too: unless it is measured again, that is taken for the price of a prompt.
            return 0
        affordable = 0.0
        if self._token_seconds:
            affordable = (self.STRETCH - 1) * slots / decoding * self._decode_seconds / self._token_seconds
        budget = min(self.largest, int(affordable))
        filled = (decoding + budget) // ROWS_PER_TILE * ROWS_PER_TILE - decoding
        return max(self._smallest, filled)

    def observe(self, step: Step, seconds: float) -> None:
        """Learns from a step that took `seconds`."""
        tokens = sum(len(chunk.tokens) for chunk in step.chunks)
        if step.decoding and not tokens:
            self._steps_beside = 0
            weight = self.DECODE_SMOOTHING if self._decode_seconds else 1.0
            self._decode_seconds += weight * (seconds - self._decode_seconds)
        elif tokens:
            self._steps_beside += 1
            known = self._token_seconds
            own = max(seconds - (self._decode_seconds if step.decoding else 0.0), 0.1 * seconds) / tokens
            if not known:
                self._token_seconds = own
            elif own > known:
                # A cost that grows, as it does with the prompt behind it, is believed at once: smoothed, one step in
                # ten took over twice as long as without. No more than twofold, for one slow step says little.
                self._token_seconds = min(own, 2 * known)
            else:
                self._token_seconds = known + self.SMOOTHING * (own - known)

    def halve(self) -> bool:
        """Halves the largest chunk; False if it is the smallest already."""
        if self.largest <= self._smallest:
            return False
        self.largest = max(self._smallest, self.largest // 2)
        return True
