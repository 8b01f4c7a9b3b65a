"""Our engine around a model with random weights in memory, and a workload asked of it; no worker, no pipe."""

import time
from collections.abc import Sequence
from typing import Any

import torch
from random_models import Shape, make_tokenizer, tokens_text
from rivals import TEMPERATURE, TOP_P, Sample, count_tokens

from taco_stream.engine.protocol import Load
from taco_stream.engine.worker import load as loading
from taco_stream.engine.worker.admission import EventSink
from taco_stream.engine.worker.checkpoint import Checkpoint
from taco_stream.engine.worker.core import EngineCore
from taco_stream.types import Request, SamplingParameters, TextPrompt

WARM_UP_TOKENS = 24


def make_core(
    shape: Shape,
    model: Any,
    workload: Sequence[Sample],
    rows: int,
    *,
    device: str,
    emit: EventSink = lambda _: None,
    as_on_cuda: bool | None = None,
) -> EngineCore:
    """An engine with `rows` slots, long enough for the workload."""
    longest = max(len(sample.prompt) + sample.length for sample in workload)
    checkpoint = Checkpoint(
        model=model,
        tokenizer=make_tokenizer(shape),
        device=torch.device(device),
        end_tokens=frozenset(),
        context_length=-(-longest // 256) * 256,
    )
    load = Load(model="random", device=device, batch_size=rows, context_length=checkpoint.context_length, dtype="auto")
    return loading.start_slots(load, checkpoint, emit, as_on_cuda)


def add(core: EngineCore, workload: Sequence[Sample], temperature: float = TEMPERATURE, top_p: float = TOP_P) -> None:
    """Asks for every sample, the samples of a prompt together."""
    problems: dict[int, list[Sample]] = {}
    for sample in workload:
        problems.setdefault(sample.problem, []).append(sample)
    for ticket, samples in enumerate(problems.values()):
        sampling = SamplingParameters(
            max_new_tokens=samples[0].length, temperature=temperature, top_p=top_p, stop=("\nQUESTION",)
        )
        request = Request(
            problem_id=str(samples[0].problem),
            prompt=TextPrompt(tokens_text(samples[0].prompt)),
            sample_indices=tuple(sample.index for sample in samples),
            sampling=sampling,
        )
        core.add(ticket, request, time.monotonic())


def run_all(
    core: EngineCore, workload: Sequence[Sample], temperature: float = TEMPERATURE, top_p: float = TOP_P
) -> float:
    """Generates a workload; the seconds it took."""
    started_at = time.perf_counter()
    add(core, workload, temperature, top_p)
    finished = []
    while not core.is_idle:
        finished += core.step()
    finished += core.step()
    seconds = time.perf_counter() - started_at
    generated = sum(one.completion.completion_tokens for one in finished)
    if generated != count_tokens(workload):
        errors = {one.completion.error for one in finished}
        raise RuntimeError(f"generated {generated} tokens of {count_tokens(workload)}: {errors}")
    return seconds


def decode_all_rows(core: EngineCore, workload: Sequence[Sample], temperature: float = TEMPERATURE) -> None:
    """Asks for a workload of as many samples as the core has rows, and steps until all of them decode."""
    begun_with = core.statistics().completion_tokens
    add(core, workload, temperature)
    while core.statistics().completion_tokens - begun_with < len(workload) * WARM_UP_TOKENS:
        core.step()
