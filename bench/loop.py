"""What the run itself costs for each sample: feed, journal, extract, cache, record, write.

    python bench/loop.py [--problems 100] [--samples 200] [--rounds 3] [--profile] [--out results/loop.json]
    python bench/loop.py --problems 1000 --samples 1000 --rounds 1 --reopen

A scripted engine answers at once, always with the same text of about 1 KB, so the evaluator runs one program for each
problem and finds all others in its cache. Counts the processor time of the parent process, which the load of the
machine hardly changes, over the whole pipeline; the engine's share is measured apart, with nobody behind it. Says how
much memory the parent grew from a tenth of the samples to the end. With `--reopen` the finished run is opened again in
a fresh process, as a resume does.
"""

import argparse
import cProfile
import json
import pstats
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import anyio

from taco_stream.engine.scripted import Script, ScriptedEngine
from taco_stream.evaluator.pool import Evaluator
from taco_stream.evaluator.settings import EvaluatorSettings
from taco_stream.extraction import extract_base
from taco_stream.machine import PAGE_BYTES, hardware
from taco_stream.metrics import Tally
from taco_stream.run.pipeline import Pipeline, entry_stream
from taco_stream.run.task import Task
from taco_stream.store.manifest import Manifest
from taco_stream.store.run_directory import RunDirectory, open_run
from taco_stream.types import Completion, Problem, Request, SamplingParameters, TextPrompt

TEXT = "n = int(input())\nprint(sum(map(int, input().split())))\n" + "# reads the numbers and adds them up\n" * 26
MANIFEST = Manifest(results={}, settings={}, sandbox_tier="", versions={}, hardware={}, git_commit=None, created_at=0.0)
ROWS = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=100)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", action="store_true", help="print where the time goes, by cProfile")
    parser.add_argument("--reopen", action="store_true", help="open the last run again")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only-open", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only_open:
        anyio.run(reopen, arguments.only_open)
        return
    count = arguments.problems * arguments.samples
    rounds = []
    for _ in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "run"
            work = partial(measure, path, arguments.problems, arguments.samples, profiled=arguments.profile)
            rounds.append(anyio.run(work, backend_options={"use_uvloop": True}))
            if arguments.reopen:
                rounds[-1] |= reopened(path)
        print({name: round(value, 2) for name, value in rounds[-1].items()}, flush=True)
    median = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    result = {"hardware": hardware(), "samples": count, "median": median, "rounds": rounds}
    print(f"{count:,} samples: {median['microseconds_per_sample']:.1f} µs of the parent's processor time for each, "
          f"{median['engine_microseconds']:.1f} more in the scripted engine")  # fmt: skip
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


async def measure(path: Path, problems: int, samples: int, *, profiled: bool) -> dict[str, float]:
    """Figures of one run of the pipeline."""
    engine_alone = await measure_engine(problems, samples)
    async with Evaluator(EvaluatorSettings(workers=1)) as evaluator, open_run(path, MANIFEST) as directory:
        watch = MemoryWatch(directory, problems * samples)
        pipeline = Pipeline(
            task(problems, samples),
            engine=ScriptedEngine(Script(texts=(TEXT,), rows=ROWS)),
            evaluator=evaluator,
            store=watch,
            tally=Tally(),
            entries=entry_stream(),
        )
        profile = cProfile.Profile()
        began, began_at = time.process_time(), time.monotonic()
        if profiled:
            profile.enable()
        await pipeline.run()
        profile.disable()
        seconds, wall = time.process_time() - began, time.monotonic() - began_at
        seen = pipeline.statistics()
        assert seen.judged == problems * samples, seen
        assert evaluator.statistics().cache_hits == problems * (samples - 1), evaluator.statistics()
    if profiled:
        pstats.Stats(profile).sort_stats("tottime").print_stats(45)
    return {
        "microseconds_per_sample": 1e6 * seconds / (problems * samples) - engine_alone,
        "engine_microseconds": engine_alone,
        "samples_per_wall_second": problems * samples / wall,
        "mib_grown": watch.grown_bytes() / 2**20,
        "mib_peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


async def measure_engine(problems: int, samples: int) -> float:
    """Microseconds of processor time that the engine itself takes for a sample, handed to somebody who drops it."""
    asked, requests = anyio.create_memory_object_stream[Request](1)
    finished, completions = anyio.create_memory_object_stream[Completion](16)
    asking = task(problems, samples)

    async def ask() -> None:
        async with asked:
            for problem in asking.problems():
                await asked.send(asking.request(problem, asking.sample_indices(problem)))

    async def drop() -> None:
        async with completions:
            async for _ in completions:
                pass

    began = time.process_time()
    async with ScriptedEngine(Script(texts=(TEXT,), rows=ROWS)) as engine, anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        tasks.start_soon(drop)
        await engine.run(requests, finished)
    return 1e6 * (time.process_time() - began) / (problems * samples)


def task(problems: int, samples: int) -> Task:
    def each() -> Iterator[Problem]:
        for number in range(problems):
            tests = json.dumps({"inputs": [f"2\n1 {number}\n"], "outputs": [f"{1 + number}\n"]})
            yield Problem(problem_id=f"taco/{number}", position=number, question="Add them up.", tests=tests)

    return Task(
        problems=each,
        sample_indices=lambda _: range(samples),
        prompt=lambda problem: TextPrompt(problem.question),
        extract=lambda completion, _: extract_base(completion.text, ("\nQUESTION", "\n---", "\nANSWER")),
        sampling=SamplingParameters(),
    )


class MemoryWatch:
    """A store that notes how large this process is when a tenth of the entries have been written, and at the end."""

    def __init__(self, directory: RunDirectory, samples: int) -> None:
        self._directory = directory
        self._tenth, self._seen = 2 * samples // 10, 0
        self._then = 0
        self.is_generated, self.unjudged = directory.is_generated, directory.unjudged

    async def append(self, entries: Sequence) -> None:
        await self._directory.append(entries)
        self._seen += len(entries)
        if not self._then and self._seen >= self._tenth:
            self._then = resident_bytes()

    def grown_bytes(self) -> int:
        return resident_bytes() - self._then


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE_BYTES


def reopened(path: Path) -> dict[str, float]:
    done = subprocess.run([sys.executable, __file__, "--only-open", path], check=True, capture_output=True, text=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


async def reopen(path: Path) -> None:
    """Opens a run for writing and counts its records, as a resume does before anything else can happen."""
    began, began_at = time.process_time(), time.monotonic()
    async with open_run(path, MANIFEST):
        seconds, wall = time.process_time() - began, time.monotonic() - began_at
    print(json.dumps({"reopen_cpu_seconds": seconds, "reopen_wall_seconds": wall}))


if __name__ == "__main__":
    main()
