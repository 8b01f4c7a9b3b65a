"""What `gpu.py` measures: one function for each of its parts, in the process that may be killed."""

import gc
import random
import statistics
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import torch
import transformers
from gpu import Measurement, Setup
from random_core import add, decode_all_rows, make_core, run_all
from random_models import SHAPES, letters, make_model
from rivals import Sample, Spread, continuous_batching, count_tokens, make_workload, static_batches

from taco_stream.engine.worker.core import EngineCore
from taco_stream.engine.worker.model_runner import Launched
from taco_stream.engine.worker.scheduler import Step
from taco_stream.events import EngineEvent

NANO_SEQUENCES = 256
PROVEN_SAMPLES = 16
WARM_UP_STEPS = 8


class Rule(NamedTuple):
    """How far greedy tokens may be from eager attention's, given the same text before them.

    No token's logit may be short of the largest by more than `shortfall`, as a share of the largest's magnitude, and at
    least the share `identical` of the tokens has to be the very one that is largest.
    """

    shortfall: float
    identical: float


PROOFS = {"float32": Rule(1e-3, 0.99), "bfloat16": Rule(0.03, 0.75), "float16": Rule(0.02, 0.9)}
"""Sums in another order differ by float32's rounding, which decides almost never. Of logits near 11, bfloat16's are
0.06 apart, and random weights put the two largest of 150,000 half a unit apart: rounding decides now and then. On a CPU
in bfloat16: 31M 0.989 identical, the worst short by 0.014; 0.5B 0.9 and 0.006 (40 tokens)."""


def measure(setup: Setup, measurement: Measurement) -> dict[str, Any]:
    """The figures of one measurement. Raises whatever torch, transformers and the engine do."""
    parts = {
        "roofs": measure_roofs,
        "proof": prove,
        "decode": measure_decoding,
        "profile": profile_steps,
        "nano": measure_nano,
        "rivals": measure_rivals,
    }
    if setup.device.startswith("cuda"):
        torch.cuda.set_device(setup.device)
    else:
        torch.set_num_threads(1)  # threads that wait for each other on shared cores take ten times as long
    if measurement.part != "decode":
        KEPT.clear()
    forget()
    return parts[measurement.part](setup, measurement)


def measure_roofs(setup: Setup, measurement: Measurement) -> dict[str, Any]:
    """What the device is, how fast it copies within its memory, and how fast it multiplies."""
    is_cuda = setup.device.startswith("cuda")
    return {
        "commit": current_commit(),
        "device": torch.cuda.get_device_name(setup.device) if is_cuda else "CPU",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "cudnn": torch.backends.cudnn.version(),
        "copy_bytes_per_second": copy_speed(setup.device),
        "operations_per_second": multiplication_speed(setup.device, measurement.dtype),
    }


def current_commit() -> str | None:
    """None if the working tree came without its history."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def copy_speed(device: str) -> float:
    """Bytes read and written per second by a large copy within the device's memory, the median of several."""
    size = (1 << 31) if device.startswith("cuda") else (1 << 26)
    source = torch.empty(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / median_seconds(lambda: target.copy_(source), device)


def multiplication_speed(device: str, dtype: str) -> float:
    """Additions and multiplications per second of a large matrix product, the median of several."""
    size = 8192 if device.startswith("cuda") else 512
    left, right = (torch.randn(size, size, device=device).to(getattr(torch, dtype)) for _ in range(2))
    product = torch.empty_like(left)
    return 2 * size**3 / median_seconds(lambda: torch.mm(left, right, out=product), device)


def median_seconds(run: Callable[[], object], device: str) -> float:
    taken = []
    for _ in range(12):
        synchronize(device)
        started_at = time.perf_counter()
        run()
        synchronize(device)
        taken.append(time.perf_counter() - started_at)
    return statistics.median(taken[2:])


def prove(setup: Setup, measurement: Measurement) -> dict[str, Any]:
    """Compares greedy tokens of our core with eager attention's logits, by `PROOFS`."""
    shape, rule = SHAPES[measurement.shape], PROOFS[measurement.dtype]
    workload = make_workload(
        samples=PROVEN_SAMPLES,
        samples_per_prompt=2,
        alphabet=letters(),
        prompts=Spread(max(1, setup.prompt // 8), setup.prompt),
        lengths=Spread(setup.length // 4, setup.length),
    )
    events: list[EngineEvent] = []
    model = make_model(shape, dtype=measurement.dtype, device=setup.device)
    core = open_core(setup, measurement, model, workload, events)
    watched = watch(core)
    run_all(core, workload, temperature=0.0)
    captured = captured_shapes(core)
    tokens = watched.tokens
    del core, model, watched
    forget()
    # Made again, from the same seed: what the engine did to the first one's weights and attention is proven, too.
    model = make_model(shape, dtype=measurement.dtype, device=setup.device)
    model.set_attn_implementation("eager")
    shortfalls: list[float] = []
    for sample in workload:
        read = tokens[str(sample.problem), sample.index]
        drawn = torch.tensor([read[index] for index in range(sample.length)], device=setup.device)
        text = torch.tensor([*sample.prompt, *drawn.tolist()[:-1]], device=setup.device)
        with torch.inference_mode():
            logits = model(input_ids=text[None], use_cache=False, logits_to_keep=sample.length).logits[0].float()
        largest = logits.amax(-1)
        own = logits.gather(1, drawn[:, None])[:, 0]
        shortfalls += ((largest - own) / largest.abs()).tolist()
    identical = sum(shortfall == 0 for shortfall in shortfalls) / len(shortfalls)
    worst = max(shortfalls)
    return {
        # "not … >" would let NaN pass.
        "is_right": worst <= rule.shortfall and identical >= rule.identical,
        "rule": rule._asdict(),
        "tokens": len(shortfalls),
        "identical": identical,
        "worst_shortfall": worst,
        "captured_shapes": captured,
        "events": as_records(events),
    }


def measure_decoding(setup: Setup, measurement: Measurement) -> dict[str, Any]:
    """Our core while every row decodes, and what it took to get there."""
    rows, shape = measurement.rows, SHAPES[measurement.shape]
    reset_peak(setup.device)
    kept = keep_core(setup, measurement)
    core, watched = kept.core, kept.watched
    # Another for each measurement: slots remember the prompts of the one before.
    workload = fill_rows(
        setup, measurement, seed=round(1000 * measurement.temperature) + measurement.samples_per_prompt
    )
    rows = len(workload)  # whole prompts
    watched.forget()
    started_at = time.perf_counter()
    add(core, workload, measurement.temperature)
    while not watched.steps or watched.steps[-1].decoding < rows:
        if core.is_idle:
            raise RuntimeError(f"{rows} rows never decoded at once; give --lengths longer completions")
        core.step()
    for _ in range(WARM_UP_STEPS):
        core.step()
    synchronize(setup.device)
    beginning = {
        "seconds_until_all_rows_decode": time.perf_counter() - started_at,
        "prompt_tokens_computed": sum(step.prompt_tokens for step in watched.steps),
        "prompt_steps_seconds": sum(step.computing() for step in watched.steps if step.prompt_tokens),
        "prefixes_copied": sum(step.copies for step in watched.steps),
    }

    generated = [len(tokens) for tokens in watched.tokens.values()]
    steps = setup.length - max(generated) - 4  # none ends before, tokens in flight included
    if steps < WARM_UP_STEPS:
        raise RuntimeError(f"only {steps} steps are left once all rows decode; give --lengths longer completions")
    watched.forget()
    walls: list[float] = []
    started_at = time.perf_counter()
    for _ in range(steps):
        step_at = time.perf_counter()
        core.step()
        walls.append(time.perf_counter() - step_at)
    synchronize(setup.device)
    seconds = time.perf_counter() - started_at
    if {step.decoding for step in watched.steps} != {rows} or len(watched.steps) != steps:
        raise RuntimeError("not every row decoded in every step that was timed")
    positions = setup.prompt + statistics.mean(generated) + steps / 2
    figures = {
        "rows": rows,
        "tokens_per_second": rows * steps / seconds,
        "steps": steps,
        **watched.milliseconds(walls),
        **beginning,
        "step_weight_bytes": kept.weight_bytes,
        "step_parameters": kept.parameters,
        "step_cache_bytes": rows * positions * shape.key_value_numbers * kept.item_bytes,
        "captured_shapes": captured_shapes(core),
        "events": as_records(kept.events),
    }
    core.cancel(frozenset(range(len(workload))))
    while not core.is_idle:
        core.step()
    core.step()
    figures["copy_milliseconds_per_prefix"] = copy_milliseconds(core, setup)
    return figures | peak(setup.device)


class Kept(NamedTuple):
    """A core that the measurements of one number of rows share, and so its captured shapes."""

    core: EngineCore
    events: list[EngineEvent]
    watched: "WatchedRunner"
    weight_bytes: int
    parameters: int
    item_bytes: int


KEPT: dict[Measurement, Kept] = {}


def keep_core(setup: Setup, measurement: Measurement) -> Kept:
    key = replace(measurement, samples_per_prompt=0, temperature=0.0)
    if key not in KEPT:
        KEPT.clear()
        forget()
        model = make_model(SHAPES[key.shape], dtype=key.dtype, device=setup.device)
        embedding = model.get_input_embeddings().weight  # of which a step looks up a few rows
        read = [parameter for parameter in model.parameters() if parameter is not embedding]
        weight_bytes, parameters = sum(each.nbytes for each in read), sum(each.numel() for each in read)
        events: list[EngineEvent] = []
        longest = [Sample(0, 0, (0,) * setup.prompt, setup.length)]
        core = open_core(setup, key, model, longest, events)
        KEPT[key] = Kept(core, events, watch(core), weight_bytes, parameters, model.dtype.itemsize)
    return KEPT[key]


def measure_rivals(setup: Setup, measurement: Measurement) -> dict[str, Any]:
    """One way's tokens per second, from prompts to the last token."""
    rows, events = measurement.rows, list[EngineEvent]()
    workload = fill_rows(setup, measurement)
    reset_peak(setup.device)
    model = make_model(SHAPES[measurement.shape], dtype=measurement.dtype, device=setup.device)
    if measurement.way == "ours":
        core = open_core(setup, measurement, model, workload, events)
        warm_up(core, workload)
        seconds = run_all(core, workload)
    else:
        generate = {"static_batches": static_batches, "continuous_batching": continuous_batching}[measurement.way]
        generate(model, [sample._replace(length=4) for sample in workload[:2]], rows)
        seconds = generate(model, workload, rows).wall_seconds
    figures = {"tokens_per_second": count_tokens(workload) / seconds, "events": as_records(events)}
    return figures | peak(setup.device)


def measure_nano(setup: Setup, measurement: Measurement) -> dict[str, Any]:
    """nano-vllm's workload, from prompts to the last token."""
    workload = nano_workload(1024 if measurement.shape != "tiny" else 110)
    events: list[EngineEvent] = []
    reset_peak(setup.device)
    model = make_model(SHAPES[measurement.shape], dtype=measurement.dtype, device=setup.device)
    core = open_core(setup, measurement, model, workload, events)
    warm_up(core, workload)
    seconds = run_all(core, workload, measurement.temperature, top_p=1.0)
    tokens = count_tokens(workload)
    return {
        "output_tokens": tokens,
        "tokens_per_second": tokens / seconds,
        "captured_shapes": captured_shapes(core),
        "events": as_records(events),
    } | peak(setup.device)


def nano_workload(longest: int) -> list[Sample]:
    """The lengths of GeeeekExplorer/nano-vllm `bench.py`, drawn in its order from its seed; the tokens are letters."""
    chooser = random.Random(0)
    alphabet = letters()
    prompts = []
    for _ in range(NANO_SEQUENCES):
        size = chooser.randint(100, longest)
        prompts.append(tuple(alphabet[chooser.randint(0, 10000) % len(alphabet)] for _ in range(size)))
    return [Sample(rank, 0, prompt, chooser.randint(100, longest)) for rank, prompt in enumerate(prompts)]


def profile_steps(setup: Setup, measurement: Measurement) -> dict[str, Any]:
    """Two tables of torch's profiler, by the device's time and by the host's, in files beside the results."""
    workload = fill_rows(setup, measurement)
    model = make_model(SHAPES[measurement.shape], dtype=measurement.dtype, device=setup.device)
    core = open_core(setup, measurement, model, workload, [])
    decode_all_rows(core, workload)
    with torch.profiler.profile() as profiler:
        for _ in range(min(50, setup.length // 4)):
            core.step()
        synchronize(setup.device)
    files = []
    by_device = "self_cuda_time_total" if setup.device.startswith("cuda") else "self_cpu_time_total"
    for name, sort_by in (("device", by_device), ("host", "self_cpu_time_total")):
        table = profiler.key_averages().table(sort_by=sort_by, row_limit=30, max_name_column_width=70)
        path = setup.out / f"profile-{measurement.shape}-{measurement.rows}-{name}.txt"
        path.write_text(table, encoding="utf-8")
        files.append(path.name)
    return {"files": files}


def fill_rows(setup: Setup, measurement: Measurement, seed: int = 0) -> list[Sample]:
    """Samples of one length for all rows, of whole prompts."""
    return make_workload(
        samples=measurement.rows,
        samples_per_prompt=min(measurement.samples_per_prompt, measurement.rows),
        alphabet=letters(),
        prompts=Spread(setup.prompt, setup.prompt),
        lengths=Spread(setup.length, setup.length),
        seed=seed,
    )


def open_core(
    setup: Setup, measurement: Measurement, model: Any, workload: Sequence[Sample], events: list[EngineEvent]
) -> EngineCore:
    """A core on the path that CUDA takes, on a CPU too."""
    return make_core(
        SHAPES[measurement.shape],
        model,
        workload,
        measurement.rows or len(workload),
        device=setup.device,
        emit=events.append,
        as_on_cuda=True,
    )


def warm_up(core: EngineCore, workload: Sequence[Sample]) -> None:
    """Lets every batch size be met once, and so captured: all rows begin, and end one prompt after another."""
    # Other prompts of the same lengths: what is timed is not to find its own in the slots.
    backwards = [sample._replace(prompt=sample.prompt[::-1]) for sample in workload]
    run_all(core, [sample._replace(length=min(sample.length, 4 + sample.problem)) for sample in backwards])


@dataclass
class WatchedStep:
    """One step: what it was, the seconds that launching it and waiting for its tokens took, and when it began and ended
    on the device, if that is not the host."""

    prompt_tokens: int
    copies: int
    decoding: int
    launching: float
    began: Any = None
    ended: Any = None
    waiting: float = 0.0

    def computing(self) -> float:
        """Seconds of the device, which must have ended the step."""
        return self.began.elapsed_time(self.ended) / 1e3 if self.began else self.launching


class WatchedLaunch(NamedTuple):
    """What the core knows of a launched step."""

    launched: Launched
    watched: WatchedStep
    tokens: dict[tuple[str, int], dict[int, int]]

    @property
    def step(self) -> Step:
        return self.launched.step

    def read(self) -> list[int]:
        started_at = time.perf_counter()
        tokens = self.launched.read()
        self.watched.waiting = time.perf_counter() - started_at
        for row, token in zip(self.step.rows, tokens, strict=True):
            self.tokens[row.sample.request.problem_id, row.sample.sample_index][row.token_index] = token
        return tokens


class WatchedRunner:
    """The model runner of a core, and what went through it; every other use of it is passed on.

    `tokens` are by problem, sample and place.
    """

    def __init__(self, runner: Any) -> None:
        self._runner = runner
        self._is_cuda = runner._device.type == "cuda"
        self.forget()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runner, name)

    def forget(self) -> None:
        self.steps: list[WatchedStep] = []
        self.tokens: dict[tuple[str, int], dict[int, int]] = defaultdict(dict)

    def launch(self, step: Step) -> WatchedLaunch:
        prompt_tokens = sum(len(chunk.tokens) for chunk in step.chunks)
        began, ended = (torch.cuda.Event(enable_timing=True) if self._is_cuda else None for _ in range(2))
        started_at = time.perf_counter()
        if began:
            began.record()
        launched = self._runner.launch(step)
        if ended:
            ended.record()
        launching = time.perf_counter() - started_at
        watched = WatchedStep(prompt_tokens, len(step.copies), len(step.decoding), launching, began, ended)
        self.steps.append(watched)
        return WatchedLaunch(launched, watched, self.tokens)

    def milliseconds(self, walls: Sequence[float]) -> dict[str, float | None]:
        """Medians over the steps, which took `walls` seconds each from one turn of the host to the next.

        The host plans and records (`host`) and launches; then it waits for the step before. On a CPU launching is
        computing.
        """
        hosts = [wall - step.launching - step.waiting for wall, step in zip(walls, self.steps, strict=True)]

        def median(seconds: Iterable[float]) -> float:
            return round(1e3 * statistics.median(seconds), 4)

        return {
            "step_milliseconds": median(walls),
            "host_milliseconds": median(hosts),
            "launch_milliseconds": median(step.launching for step in self.steps),
            "wait_milliseconds": median(step.waiting for step in self.steps),
            "device_milliseconds": median(step.computing() for step in self.steps) if self._is_cuda else None,
        }


def watch(core: EngineCore) -> WatchedRunner:
    watched = WatchedRunner(core.runner)
    core.runner = watched  # type: ignore[assignment]
    return watched


def captured_shapes(core: EngineCore) -> list[tuple[int, int, bool]]:
    """The rows and keys of each shape that was met, and whether it is a graph."""
    shapes = core.runner._fixed._shapes  # type: ignore[union-attr]
    return [(rows, keys, shape.graph is not None) for (rows, keys), shape in shapes.items()]


def copy_milliseconds(core: EngineCore, setup: Setup) -> float:
    """What copying one prompt from slot to slot takes, device and host together."""
    cache = core.runner._attention.cache
    assert cache is not None
    with torch.inference_mode():
        return 1e3 * median_seconds(lambda: cache.copy(0, 1, setup.prompt), setup.device)


def as_records(events: Sequence[EngineEvent]) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = msgspec.to_builtins(events)
    return records


def reset_peak(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)


def peak(device: str) -> dict[str, int | None]:
    """The most memory that was in use since `reset_peak`, and that torch held with it."""
    is_cuda = device.startswith("cuda")
    return {
        "peak_bytes": torch.cuda.max_memory_allocated(device) if is_cuda else None,
        "peak_reserved_bytes": torch.cuda.max_memory_reserved(device) if is_cuda else None,
    }


def forget() -> None:
    """Gives back what the last measurement held: models and cores refer to themselves."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def synchronize(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
