"""What a run's gauges cost: the processor time of the parent of a run that only waits.

    python bench/gauges.py [--seconds 30]

A scripted engine takes a second for each sample, so the parent does little but look at the stages and at the processes
of the run, and write gauges. Beside it, each part alone, many times over.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio
from loop import MANIFEST, task

from taco_stream.engine.scripted import Script, ScriptedEngine
from taco_stream.evaluator.pool import Evaluator
from taco_stream.machine import read_process_tree
from taco_stream.run.pipeline import GAUGE_SECONDS, TICK_SECONDS, Pipeline
from taco_stream.run.prometheus import render
from taco_stream.store.run_directory import open_run

ENOUGH = 0.3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        anyio.run(partial(measure, Path(folder) / "run", arguments.seconds), backend_options={"use_uvloop": True})


async def measure(path: Path, seconds: float) -> None:
    engine = ScriptedEngine(Script(texts=("print(1)\n",), seconds=1.0, rows=1))
    async with Evaluator() as evaluator, open_run(path, MANIFEST) as directory:
        pipeline = Pipeline(task(1, round(seconds)), engine=engine, evaluator=evaluator, store=directory)
        began = time.process_time()
        await pipeline.run()
        spent = time.process_time() - began
        print(f"all of a run that waits {seconds:g} s: {100 * spent / seconds:.3f} % of a core")
        parts: dict[str, tuple[Callable[[], object], float]] = {
            "a look at the stages": (lambda: pipeline._observe(0.0), TICK_SECONDS),
            "a look at the processes": (read_process_tree, GAUGE_SECONDS),
            "the statistics": (pipeline.statistics, GAUGE_SECONDS),
            "a page for Prometheus": (lambda: render(pipeline.statistics()), 15.0),
        }
        for name, (part, every) in parts.items():
            cost = processor_seconds(part)
            print(f"{name}: {1e6 * cost:.0f} µs, every {every:g} s: {100 * cost / every:.4f} % of a core")


def processor_seconds(part: Callable[[], object]) -> float:
    """Of one call."""
    calls, began = 0, time.process_time()
    while time.process_time() - began < ENOUGH:
        part()
        calls += 1
    return (time.process_time() - began) / calls


if __name__ == "__main__":
    main()
