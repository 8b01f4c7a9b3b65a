"""What the run directory costs: writing, opening again, and the memory for it, at the size of TACO's test split.

    python bench/store.py [--problems 1000] [--samples 200]

Writes a completion and a record for every sample in batches of 64 as the pipeline does, then opens the directory in a
fresh process and says how long that took and how much memory it needed over a process that opens an empty one.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import anyio

from taco_stream.store.manifest import Manifest
from taco_stream.store.run_directory import open_run
from taco_stream.types import ComparisonMode, Completion, ExtractionMethod, FinishReason, Record, Status, Verdict

BATCH = 64
TEXT = "n = int(input())\nprint(sum(int(word) for word in input().split()) - n)\n" * 14  # about 1 KB
MANIFEST = Manifest(results={}, settings={}, sandbox_tier="", versions={}, hardware={}, git_commit=None, created_at=0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--reopen", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.reopen:
        anyio.run(reopen, arguments.reopen)
        return
    with tempfile.TemporaryDirectory() as folder:
        full, empty = Path(folder) / "full", Path(folder) / "empty"
        empty.mkdir()
        seconds = anyio.run(write, full, arguments.problems, arguments.samples)
        samples = arguments.problems * arguments.samples
        size = sum(path.stat().st_size for path in full.iterdir())
        print(f"wrote {samples:,} completions and records, {size / 2**20:,.0f} MiB: {seconds:.1f} s, "
              f"{samples / seconds:,.0f} samples/s")  # fmt: skip
        before, after = opened(empty), opened(full)
        print(f"opened again in {after['seconds']:.2f} s with {after['peak_mib'] - before['peak_mib']:.1f} MiB more "
              f"than an empty one ({before['peak_mib']:.0f} MiB)")  # fmt: skip


async def write(path: Path, problems: int, samples: int) -> float:
    started_at = time.perf_counter()
    async with open_run(path, MANIFEST) as run:
        keys = [(f"taco/{number}", index) for number in range(problems) for index in range(samples)]
        for start in range(0, len(keys), BATCH):
            batch = keys[start : start + BATCH]
            await run.append([completion(*key) for key in batch] + [record(*key) for key in batch])
    return time.perf_counter() - started_at


async def reopen(path: Path) -> None:
    started_at = time.perf_counter()
    async with open_run(path, MANIFEST):
        seconds = time.perf_counter() - started_at
    # Not getrusage: its peak starts with that of the process which forked this one.
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    (peak_kib,) = (int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
    print(json.dumps({"seconds": seconds, "peak_mib": peak_kib / 1024}))


def opened(path: Path) -> dict[str, float]:
    done = subprocess.run([sys.executable, __file__, "--reopen", path], check=True, capture_output=True, text=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def completion(problem_id: str, sample_index: int) -> Completion:
    return Completion(
        problem_id=problem_id, sample_index=sample_index, text=TEXT, finish_reason=FinishReason.STOP, engine="bench"
    )


def record(problem_id: str, sample_index: int) -> Record:
    return Record(
        problem_id=problem_id,
        sample_index=sample_index,
        program=TEXT,
        extraction=ExtractionMethod.WHOLE_TEXT,
        finish_reason=FinishReason.STOP,
        verdicts=dict.fromkeys(ComparisonMode, Verdict(status=Status.WRONG_ANSWER, failed_test=3, tests_run=4)),
    )


if __name__ == "__main__":
    main()
