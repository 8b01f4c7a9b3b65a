"""A generation worker that is ready at once: its process, frames and loop are the real ones, its model is a script.

An interpreter with this folder on its path that starts as a generation worker finds, in place of torch and of what
loads a model, the few names of them that the loop uses. So the decisions of the parent (restarts, draining, admission)
are tested with real processes in a tenth of the time, most of which would go into imports. The same loop with a real
model is tested in `test_real_workers.py`, and a real core without a process in `engine/worker`.

A token takes a millisecond, and a sample as many tokens as it may have. Its text depends on nothing but its seed, problem
and index. `PROMPT` bytes are the longest prompt that leaves room for all new tokens.
"""

import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from types import ModuleType, SimpleNamespace

SLOTS = 4
PROMPT = 200


def install() -> None:
    """Puts the script where the worker's main module imports from."""
    torch = ModuleType("torch")
    torch.cuda = SimpleNamespace(device_count=lambda: 0)  # type: ignore[attr-defined]
    load = ModuleType("taco_stream.engine.worker.load")
    load.start = start  # type: ignore[attr-defined]
    sys.modules |= {"torch": torch, load.__name__: load}


def start(load: object, emit: Callable[[object], None]) -> tuple[object, object]:
    """A core and what it reports; a model by one of two names cannot be had."""
    from taco_stream.engine.protocol import Finished, Ready
    from taco_stream.errors import ModelError, UsageError
    from taco_stream.events import PromptTooLong
    from taco_stream.statistics import EngineStatistics
    from taco_stream.types import Completion, FinishReason

    if load.model == "missing":
        raise UsageError("there is no model folder missing")
    if load.model == "broken":
        raise ModelError("the model broken cannot be loaded")

    class Core:
        def __init__(self) -> None:
            self.waiting: deque[tuple] = deque()  # ticket, request, index and the tokens that it has so far
            self.decoding: list[tuple] = []
            self.given_up: list[Finished] = []
            self.is_draining = False
            self.samples_finished = 0

        @property
        def is_idle(self) -> bool:
            return not self.waiting and not self.decoding

        def add(self, ticket: int, request: object, arrived_at: float) -> None:
            if request.problem_id == "poison":
                os.kill(os.getpid(), signal.SIGSEGV)
            length = len(request.prompt.text)
            if length > PROMPT:
                given = {"prompt_tokens": length, "context_length": 0, "new_tokens_wanted": 0, "new_tokens_left": 0}
                emit(PromptTooLong(message="too long", problem_id=request.problem_id, **given))
            self.waiting += ((ticket, request, index, [0]) for index in request.sample_indices)
            if self.is_draining:
                self.drain()

        def cancel(self, tickets: frozenset[int]) -> None:
            for queue in (self.waiting, self.decoding):
                for sample in [sample for sample in queue if sample[0] in tickets]:
                    queue.remove(sample)
                    self.given_up.append(self.answer(sample, FinishReason.CANCELLED))

        def withdraw(self, ticket: int, sample_indices: frozenset[int]) -> None:
            for sample in [each for each in self.waiting if each[0] == ticket and each[2] in sample_indices]:
                self.waiting.remove(sample)
                self.given_up.append(self.answer(sample, FinishReason.CANCELLED))

        def drain(self) -> None:
            self.is_draining = True
            while self.waiting:
                self.given_up.append(self.answer(self.waiting.popleft(), FinishReason.CANCELLED))

        def step(self) -> list[Finished]:
            while self.waiting and len(self.decoding) < SLOTS:
                self.decoding.append(self.waiting.popleft())
            if self.decoding:
                time.sleep(0.001)
            for sample in self.decoding:
                sample[3][0] += 1
            ended = [sample for sample in self.decoding if sample[3][0] >= sample[1].sampling.max_new_tokens]
            self.decoding = [sample for sample in self.decoding if sample not in ended]
            self.samples_finished += len(ended)
            finished = self.given_up + [self.answer(sample, FinishReason.LENGTH) for sample in ended]
            self.given_up = []
            return finished

        def statistics(self) -> EngineStatistics:
            return EngineStatistics(
                rows_busy=len(self.decoding),
                rows_total=SLOTS,
                samples_waiting=len(self.waiting),
                samples_finished=self.samples_finished,
            )

        def answer(self, sample: tuple, reason: FinishReason) -> Finished:
            ticket, request, index, tokens = sample
            text = f"{request.seed} {request.problem_id} {index}" if reason is FinishReason.LENGTH else ""
            completion = Completion(
                problem_id=request.problem_id,
                sample_index=index,
                text=text,
                finish_reason=reason,
                completion_tokens=tokens[0],
                seed=request.seed,
            )
            return Finished(ticket, completion)

    ready = Ready(device="cpu", devices=1, dtype="float32", slots=SLOTS, context_length=4096)
    return Core(), ready


if "taco_stream.engine.worker" in sys.orig_argv:
    install()
