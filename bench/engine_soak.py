"""Whether the engine's memory stays flat: many short samples of a tiny model, resident memory meanwhile.

    python bench/engine_soak.py [--samples 100000] [--rows 64] [--out bench/results/engine_soak.json]

Prompts and lengths differ; some samples end by a stop string, others by their length. The last tenth of the run must
not hold more than a tenth over what the second tenth held: exit status 1 where it does.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from evaluator_soak import children, resident
from random_models import SHAPES, letters, save_model, tokens_text

from taco_stream.engine.local.engine import LocalEngine
from taco_stream.engine.settings import ModelSettings
from taco_stream.types import Request, SamplingParameters, TextPrompt

SAMPLES_PER_PROMPT = 20
READINGS = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    started_at = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        save_model(Path(folder), SHAPES["tiny"], dtype="float32")
        gauges = asyncio.run(soak(folder, arguments.samples, arguments.rows))
    tenth = len(gauges) // 10
    grew = {}
    for name in gauges[0]:
        early = statistics.median(gauge[name] for gauge in gauges[tenth : 2 * tenth])
        late = statistics.median(gauge[name] for gauge in gauges[-tenth:])
        grew[name] = {"early_bytes": early, "late_bytes": late, "ratio": late / early}
        print(f"{name}: {early / 1e6:.1f} MB early, {late / 1e6:.1f} MB late, {late / early:.3f} times")
    print(f"{arguments.samples} samples in {time.perf_counter() - started_at:.0f} s")
    if arguments.out:
        result = {"samples": arguments.samples, "rows": arguments.rows, "memory": grew}
        arguments.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    sys.exit(1 if any(each["ratio"] > 1.1 for each in grew.values()) else 0)


async def soak(folder: str, samples: int, rows: int) -> list[dict[str, int]]:
    """Generates, and reads the resident memory of this process and of the worker on the way."""
    gauges = []
    settings = ModelSettings(model=folder, devices="cpu", batch_size=rows, threads=1)
    async with (
        LocalEngine(settings, context_length=128) as engine,
        engine.generate(requests(samples)) as completions,
    ):
        count = 0
        async for completion in completions:
            if completion.error:
                raise RuntimeError(completion.error)
            count += 1
            if count % (samples // READINGS) == 0:
                gauges.append(memory())
    if count != samples:
        raise RuntimeError(f"{count} completions of {samples}")
    return gauges


def requests(samples: int) -> Iterator[Request]:
    """Requests of twenty samples each, all different."""
    dice = random.Random(0)
    for number in range(samples // SAMPLES_PER_PROMPT):
        prompt = tuple(dice.choice(letters()) for _ in range(dice.randrange(4, 40)))
        yield Request(
            problem_id=str(number),
            prompt=TextPrompt(tokens_text(prompt)),
            sample_indices=tuple(range(SAMPLES_PER_PROMPT)),
            sampling=SamplingParameters(max_new_tokens=dice.randrange(1, 16), temperature=1.0, stop=("a", "zz")),
        )


def memory() -> dict[str, int]:
    """Resident bytes of this process and of its workers."""
    return {"parent": resident(os.getpid()), "workers": sum(resident(worker) for worker in children(os.getpid()))}


if __name__ == "__main__":
    main()
