"""What our engine is measured against, and on what: a workload and the other ways to generate it.

Every way generates exactly `length` tokens for every sample: the models have no end token, and `length` is each
sample's `max_new_tokens`. A function here returns what that cost; it expects a model that is warm.
"""

import os
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

TEMPERATURE, TOP_P = 0.2, 0.95


class Sample(NamedTuple):
    """One completion to generate."""

    problem: int
    index: int
    prompt: tuple[int, ...]
    length: int


class Spread(NamedTuple):
    """From the least to the most, both included."""

    least: int
    most: int

    def at(self, share: float) -> int:
        """The value at a share of the way on a logarithmic scale."""
        return round(self.least * (self.most / self.least) ** share)


class Cost(NamedTuple):
    """What generating took: on the clock, and in processor time, which others on the machine disturb little.

    `core_seconds` is of this process and all below it, some of which poll. `busiest_seconds` is of the one among them
    that worked most: with one thread per process, no quieter machine would have made the wall time less.
    """

    wall_seconds: float
    core_seconds: float
    busiest_seconds: float


class Stopwatch:
    """Runs from when it is made."""

    def __init__(self) -> None:
        self._started_at, self._cores = time.perf_counter(), core_seconds()

    def read(self) -> Cost:
        """The cost so far."""
        wall = time.perf_counter() - self._started_at
        spent = [seconds - self._cores.get(pid, 0.0) for pid, seconds in core_seconds().items()]
        return Cost(wall, sum(spent), max(spent))


def core_seconds() -> dict[int, float]:
    """Processor time of this process and those below it that are alive, by process id."""
    parents, ticks = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        pid = int(path.parent.name)
        parents[pid], ticks[pid] = int(fields[1]), int(fields[11]) + int(fields[12])
    family = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return {pid: ticks[pid] / os.sysconf("SC_CLK_TCK") for pid in family}


def make_workload(
    *, samples: int, samples_per_prompt: int, alphabet: Sequence[int], prompts: Spread, lengths: Spread, seed: int = 0
) -> list[Sample]:
    """Samples in prompt-major order; lengths of completions spread geometrically, in random order of prompts."""
    chooser = random.Random(seed)
    count = max(1, samples // samples_per_prompt)
    spread = [lengths.at(rank / max(1, count - 1)) for rank in range(count)]
    chooser.shuffle(spread)
    workload = []
    for problem, length in enumerate(spread):
        size = prompts.at(chooser.random())
        prompt = tuple(chooser.choices(alphabet, k=size))
        workload += [Sample(problem, index, prompt, length) for index in range(samples_per_prompt)]
    return workload


def count_tokens(workload: Sequence[Sample]) -> int:
    """Tokens to generate."""
    return sum(sample.length for sample in workload)


def one_at_a_time(model: Any, workload: Sequence[Sample]) -> Cost:
    """`generate`, one prompt and one sample at a time, as the original does."""
    return static_batches(model, workload, 1)


def static_batches(model: Any, workload: Sequence[Sample], rows: int) -> Cost:
    """`generate` on left-padded batches of `rows` samples, each batch until its longest sample is finished."""
    import torch

    stopwatch = Stopwatch()
    for first in range(0, len(workload), rows):
        batch = workload[first : first + rows]
        width = max(len(sample.prompt) for sample in batch)
        tokens = [[0] * (width - len(sample.prompt)) + list(sample.prompt) for sample in batch]
        mask = [[0] * (width - len(sample.prompt)) + [1] * len(sample.prompt) for sample in batch]
        model.generate(
            input_ids=torch.tensor(tokens, device=model.device),
            attention_mask=torch.tensor(mask, device=model.device),
            generation_config=generation_config(max(sample.length for sample in batch)),
        )
    synchronize(model)
    return stopwatch.read()


def continuous_batching(model: Any, workload: Sequence[Sample], rows: int) -> Cost:
    """transformers' continuous batching, `rows` requests at a time, every sample a request of its own."""
    from transformers import ContinuousBatchingConfig

    page = 256  # tokens of a page by default; the setting is block_size in 5.17 and page_size in 5.23
    longest = max(len(sample.prompt) + sample.length for sample in workload)
    is_on_cpu = model.device.type == "cpu"  # elsewhere it sizes itself
    config = ContinuousBatchingConfig(
        max_requests_per_batch=rows,
        num_blocks=rows * (-(-longest // page) + 1) if is_on_cpu else None,
        max_batch_tokens=max(512, rows) if is_on_cpu else None,
    )
    with model.continuous_batching_context_manager(
        generation_config=generation_config(max(sample.length for sample in workload)),
        continuous_batching_config=config,
        timeout=5,
    ) as manager:
        stopwatch = Stopwatch()
        for sample in workload:
            manager.add_request(list(sample.prompt), max_new_tokens=sample.length, eos_token_id=-1)
        done = generated = 0
        while done < len(workload):
            result = manager.get_result(timeout=1)
            if result is not None and result.is_finished():
                done += 1
                generated += len(result.generated_tokens)
            elif result is None and not manager.is_running():
                raise RuntimeError(f"continuous batching stopped after {done} of {len(workload)} samples")
        cost = stopwatch.read()
    if generated != count_tokens(workload):
        raise RuntimeError(f"continuous batching generated {generated} tokens of {count_tokens(workload)}")
    return cost


def vllm_engine(model: str, workload: Sequence[Sample], rows: int, dtype: str) -> Cost:
    """vLLM's offline engine on a model folder, `rows` sequences at a time."""
    from vllm import LLM, SamplingParams  # type: ignore[import-not-found]

    longest = max(len(sample.prompt) + sample.length for sample in workload)
    engine = LLM(model=model, dtype=dtype, max_num_seqs=rows, max_model_len=longest + 16, skip_tokenizer_init=True)

    def generate(samples: Sequence[Sample]) -> int:
        parameters = [
            SamplingParams(
                temperature=TEMPERATURE, top_p=TOP_P, max_tokens=sample.length, ignore_eos=True, detokenize=False
            )
            for sample in samples
        ]
        prompts = [{"prompt_token_ids": list(sample.prompt)} for sample in samples]
        outputs = engine.generate(prompts, parameters, use_tqdm=False)
        return sum(len(output.outputs[0].token_ids) for output in outputs)

    generate([sample._replace(length=8) for sample in workload[:2]])
    stopwatch = Stopwatch()
    generated = generate(workload)
    cost = stopwatch.read()
    if generated != count_tokens(workload):
        raise RuntimeError(f"vLLM generated {generated} tokens of {count_tokens(workload)}")
    return cost


def generation_config(length: int) -> Any:
    """transformers' settings for sampling exactly `length` tokens."""
    from transformers import GenerationConfig

    return GenerationConfig(
        max_new_tokens=length,
        do_sample=True,
        temperature=TEMPERATURE,
        top_p=TOP_P,
        top_k=0,
        pad_token_id=0,
        eos_token_id=None,
    )


def synchronize(model: Any) -> None:
    """Waits for a GPU to finish."""
    import torch

    if model.device.type == "cuda":
        torch.cuda.synchronize()
