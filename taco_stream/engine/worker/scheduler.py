"""Decides which sample holds which slot, and plans every step. Pure: no torch, no clock, no input or output.

A *sample* is one completion being generated. It starts from a *prefix*: the prompt, or, after a preemption, the prompt
and the tokens it had. All samples of a prompt share one prefix, which is computed once. A *slot* is one row of the
key-value cache. A slot remembers which prefix it holds even after its sample has left, because a sample only ever
writes behind its prefix; so

* the first sample of a prompt takes a free slot, where the prompt is computed in chunks beside the decoding rows;
* the others take free slots as they come, into which the prefix is copied from any slot that holds it;
* a slot whose last sample had the same prompt needs no copy at all;
* a prompt that begins like another, as all do behind the same examples, is computed from where they part. If the other
  is being computed just now, it waits until their common part is there.

Every step has a plan of its own, so samples join at any step and a finished one leaves at once. Order is first come,
first served and prompt by prompt. Finding a prefix gone (its slots were given to others) costs computing it again,
never a wrong result: where samples go after `preempt_all` is the same code.

A plan may be made before the tokens of the plan before it are known (on CUDA they are read one step late). The counts
that decide what comes next therefore count *planned* tokens; a token that comes for a sample that has left is ignored.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from taco_stream.types import Request

SHARED_TOKENS = 16
"""Prompts that have fewer in common share nothing: computing these costs about as little as copying them."""


@dataclass(eq=False, slots=True)
class Sample:
    """One completion being generated.

    `limit` is how many tokens it may have: what was asked for, or the room left. `planned` counts tokens that exist or
    are in flight.
    """

    request: Request
    sample_index: int
    ticket: int
    prompt: tuple[int, ...]
    limit: int
    tokens: list[int] = field(default_factory=list)
    planned: int = 0
    slot: int | None = None


@dataclass(eq=False, slots=True)
class _Prefix:
    """Tokens that samples start from, and those of them that wait for a slot."""

    tokens: tuple[int, ...]
    waiting: deque[Sample]


@dataclass(eq=False, slots=True)
class _Slot:
    """One cache row. `computed` tokens of `prefix` stand in it; `length` counts those behind it too.

    The sample had `begun_with` tokens when it took the slot: those in its prefix behind the prompt.
    """

    prefix: _Prefix | None = None
    computed: int = 0
    length: int = 0
    sample: Sample | None = None
    begun_with: int = 0

    def holds(self, prefix: _Prefix) -> bool:
        return self.prefix is prefix and self.computed == len(prefix.tokens)


class Copy(NamedTuple):
    """The first `length` positions of slot `source` are copied to slot `target`; all of its prefix if `is_whole`."""

    source: int
    target: int
    length: int
    is_whole: bool


class PrefillChunk(NamedTuple):
    """`tokens` are computed into the sample's slot from position `start`; the prefix is complete then if `is_last`."""

    sample: Sample
    slot: int
    start: int
    tokens: Sequence[int]
    is_last: bool


class BatchRow(NamedTuple):
    """A sample that gets its token number `token_index` in this step.

    A decoding row feeds its previous token at `position` of `slot`; for a beginning row, whose token is drawn from the
    logits that its prefix left in the slot, `position` is the prefix's length.
    """

    sample: Sample
    slot: int
    position: int
    token_index: int


class Step(NamedTuple):
    """What to compute, in this order: copies, one forward over `decoding` and `chunks`, then a token for every row."""

    copies: tuple[Copy, ...]
    chunks: tuple[PrefillChunk, ...]
    decoding: tuple[BatchRow, ...]
    beginning: tuple[BatchRow, ...]

    @property
    def rows(self) -> tuple[BatchRow, ...]:
        """The rows that get a token, in the order of the tokens returned."""
        return self.decoding + self.beginning

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to compute."""
        return not (self.chunks or self.decoding or self.beginning)


class _Shared(NamedTuple):
    """`length` tokens of a prefix that `slot` holds; or more are computed just now (`is_coming`)."""

    slot: int
    length: int
    is_coming: bool


class Scheduler:
    """The slots and who waits for them."""

    def __init__(self, slots: int, *, cut: int = 1, whole_prompts: bool = False) -> None:
        """Prompts share their beginnings up to a multiple of `cut` tokens, as where all are cut at these places.

        With `whole_prompts` each is computed at once from its first token, and a step's first however long it is.
        """
        self._cut = cut
        self._whole_prompts = whole_prompts
        self._slots = [_Slot() for _ in range(slots)]
        self._queue: deque[_Prefix] = deque()
        # Kept, for a step of a GPU is short beside walks over a thousand slots.
        self._busy = 0
        self._unfinished: set[int] = set()  # slots with a sample whose prefix is not computed to its end

    @property
    def slots(self) -> int:
        """How many samples can decode at once."""
        return len(self._slots)

    @property
    def busy(self) -> int:
        """How many slots hold a sample."""
        return self._busy

    @property
    def decoding(self) -> int:
        """How many samples get a token in the next step, whatever is prefilled beside them."""
        return sum(self._is_decoding(index) for index in range(self.slots))

    @property
    def is_decoding(self) -> bool:
        """Whether any sample does."""
        return any(self._is_decoding(index) for index in range(self.slots))

    @property
    def is_prefilling(self) -> bool:
        """Whether a prompt in a slot is not computed to its end."""
        return bool(self._unfinished)

    @property
    def waiting(self) -> int:
        """How many samples have no slot."""
        return sum(len(prefix.waiting) for prefix in self._queue)

    @property
    def is_idle(self) -> bool:
        """Whether no sample is left."""
        return not self._queue and not self._busy

    def samples(self) -> Iterator[Sample]:
        """All samples, those in slots first."""
        yield from [slot.sample for slot in self._slots if slot.sample is not None]
        for prefix in self._queue:
            yield from list(prefix.waiting)

    def add(self, samples: Sequence[Sample]) -> None:
        """Queues new samples of one prompt, together with those of the same prompt that still wait."""
        prefix = self._find_prefix(samples[0].prompt)
        if not prefix.waiting:
            self._queue.append(prefix)
        prefix.waiting.extend(samples)

    def plan(self, prefill_tokens: int, prompts: int | None = None) -> Step:
        """Gives free slots away and lays out the next step, which prefills at most `prefill_tokens` tokens.

        With `prompts` given, a step prefills chunks of at most that many prompts.
        """
        copies = self._admit(prefill_tokens)
        chunks = self._prefill(prefill_tokens, prompts)
        decoding: list[BatchRow] = []
        beginning: list[BatchRow] = []
        for index, slot in enumerate(self._slots):
            sample = slot.sample
            # Not by `_is_decoding`: a call for each of a thousand slots takes longer than the rest of this.
            if sample is None or index in self._unfinished or sample.planned >= sample.limit:
                continue
            row = BatchRow(sample, index, slot.length, sample.planned)
            # A sample that was preempted begins once more, with the tokens that it had in its prefix.
            if sample.planned > slot.begun_with:
                decoding.append(row)
                # The first token comes from the prefix's logits: only those after it feed a token, which takes a place.
                slot.length += 1
            else:
                beginning.append(row)
            sample.planned += 1
        return Step(tuple(copies), tuple(chunks), tuple(decoding), tuple(beginning))

    def record(self, step: Step, tokens: Iterable[int]) -> list[Sample]:
        """Appends one token to the sample of every row of `step`; the samples that got one, without those that left."""
        grown: list[Sample] = []
        for row, token in zip(step.rows, tokens, strict=True):
            # Else it has left, or was preempted, after the step had been launched.
            if row.sample.slot == row.slot:
                row.sample.tokens.append(token)
                grown.append(row.sample)
        return grown

    def finish(self, sample: Sample) -> None:
        """The sample leaves; its slot is free from the next step on."""
        if sample.slot is not None:
            self._slots[sample.slot].sample = None
            self._unfinished.discard(sample.slot)
            self._busy -= 1
            sample.slot = None
            return
        for prefix in self._queue:
            if sample in prefix.waiting:
                prefix.waiting.remove(sample)
        self._forget_served()

    def preempt_all(self, slots: int) -> None:
        """Sends every sample back to the front of the queue and goes on with `slots` empty slots.

        A sample that has tokens resumes from the prompt and those tokens. Tokens in flight must have been recorded.
        """
        samples = [slot.sample for slot in self._slots if slot.sample is not None]
        self._slots = [_Slot() for _ in range(slots)]
        self._busy = 0
        self._unfinished.clear()
        # Backwards, each to the front, so that the oldest ends up first: who came first is served first again.
        for sample in sorted(samples, key=_order, reverse=True):
            sample.slot = None
            sample.planned = len(sample.tokens)
            if sample.tokens:
                self._queue.appendleft(_Prefix((*sample.prompt, *sample.tokens), deque([sample])))
                continue
            prefix = self._find_prefix(sample.prompt)
            if not prefix.waiting:
                self._queue.appendleft(prefix)
            prefix.waiting.appendleft(sample)

    def not_started(self) -> list[Sample]:
        """The samples that wait and have no token yet."""
        return [sample for prefix in self._queue for sample in prefix.waiting if not sample.tokens]

    def _find_prefix(self, tokens: tuple[int, ...]) -> _Prefix:
        held = (slot.prefix for slot in self._slots if slot.prefix is not None)
        known = (prefix for prefix in (*self._queue, *held) if prefix.tokens == tokens)
        return next(known, None) or _Prefix(tokens, deque())

    def _admit(self, prefill_tokens: int) -> list[Copy]:
        """Hands free slots to waiting samples: those whose prefix is held begin now, the first of others prefill."""
        copies: list[Copy] = []
        if not self._queue or self._busy == self.slots:
            return copies
        free = [index for index, slot in enumerate(self._slots) if slot.sample is None]
        # No prompt is given a slot before there is budget to compute it: its slot would decode nothing meanwhile.
        unplanned = prefill_tokens - sum(self._missing(self._slots[index]) for index in self._unfinished)
        reserved = 0
        for prefix in list(self._queue):
            if len(free) <= reserved:
                break
            source = next((index for index, slot in enumerate(self._slots) if slot.holds(prefix)), None)
            if source is not None:
                while prefix.waiting and len(free) > reserved:
                    target = self._take(free, prefix)
                    if not self._slots[target].holds(prefix):
                        copies.append(Copy(source, target, len(prefix.tokens), is_whole=True))
                    self._place(prefix, target, len(prefix.tokens))
                continue
            is_in_progress = any(slot.prefix is prefix and slot.sample is not None for slot in self._slots)
            if not is_in_progress and unplanned > 0:
                shared = self._find_shared(prefix)
                # A beginning that another slot is just computing is waited for: copying it costs far less.
                if not shared.is_coming:
                    target = self._take(free, prefix)
                    if shared.length and shared.slot != target:
                        copies.append(Copy(shared.slot, target, shared.length, is_whole=False))
                    unplanned -= len(prefix.tokens) - shared.length
                    self._place(prefix, target, shared.length)
            reserved += len(prefix.waiting)  # their prefix is on its way: slots are kept for them
        self._forget_served()
        return copies

    def _find_shared(self, prefix: _Prefix) -> _Shared:
        """The slot that holds the most of the prefix's first tokens, all of them but the last at most."""
        common: dict[_Prefix, int] = {}
        best, length, coming = 0, 0, 0
        if self._whole_prompts:
            return _Shared(best, length, is_coming=False)
        for index, slot in enumerate(self._slots):
            if slot.prefix is None:
                continue
            # Many slots hold one prefix. The last token is left out: its logits are needed, so it has to be computed.
            if slot.prefix not in common:
                common[slot.prefix] = common_length(slot.prefix.tokens, prefix.tokens[:-1])
            held = min(common[slot.prefix], slot.computed)
            if held > length:
                best, length = index, held
            if index in self._unfinished:
                coming = max(coming, common[slot.prefix])
        length, coming = (tokens - tokens % self._cut for tokens in (length, coming))
        return _Shared(best, length if length >= SHARED_TOKENS else 0, coming - length >= SHARED_TOKENS)

    def _take(self, free: list[int], prefix: _Prefix) -> int:
        """The best free slot: one that holds the prefix, else the lowest whose prefix nobody waits for."""

        def cost(index: int) -> tuple[bool, bool, int]:
            held = self._slots[index].prefix
            return (not self._slots[index].holds(prefix), bool(held and held.waiting), index)

        index = min(free, key=cost)
        free.remove(index)
        return index

    def _place(self, prefix: _Prefix, index: int, computed: int) -> None:
        sample = prefix.waiting.popleft()
        sample.slot = index
        self._slots[index] = _Slot(prefix, computed, computed, sample, len(prefix.tokens) - len(sample.prompt))
        self._busy += 1
        if computed < len(prefix.tokens):
            self._unfinished.add(index)

    def _prefill(self, tokens: int, prompts: int | None) -> list[PrefillChunk]:
        """Chunks of the prefixes in progress, oldest sample first, until the budget is spent."""
        chunks: list[PrefillChunk] = []

        def arrival(index: int) -> tuple[int, int]:
            sample = self._slots[index].sample
            return _order(sample) if sample else (0, 0)

        for index in sorted(self._unfinished, key=arrival):
            slot = self._slots[index]
            size = self._missing(slot) if self._whole_prompts else min(tokens, self._missing(slot))
            if tokens <= 0 or (chunks and size > tokens) or (prompts is not None and len(chunks) >= prompts):
                break
            assert slot.prefix is not None
            assert slot.sample is not None
            start = slot.computed
            slot.computed = slot.length = start + size
            tokens -= size
            is_last = not self._missing(slot)
            if is_last:
                self._unfinished.remove(index)
            chunks.append(PrefillChunk(slot.sample, index, start, slot.prefix.tokens[start : start + size], is_last))
        return chunks

    def _is_decoding(self, index: int) -> bool:
        sample = self._slots[index].sample
        return sample is not None and index not in self._unfinished and sample.planned < sample.limit

    def _missing(self, slot: _Slot) -> int:
        return len(slot.prefix.tokens) - slot.computed if slot.prefix else 0

    def _forget_served(self) -> None:
        self._queue = deque(prefix for prefix in self._queue if prefix.waiting)


def _order(sample: Sample) -> tuple[int, int]:
    return (sample.ticket, sample.sample_index)


def common_length(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens both begin with."""
    # By bisection over slices: comparing tuples is a loop in C, comparing tokens one in Python.
    same, differing = 0, min(len(first), len(second)) + 1
    while differing - same > 1:
        middle = (same + differing) // 2
        if first[same:middle] == second[same:middle]:
            same = middle
        else:
            differing = middle
    return same
