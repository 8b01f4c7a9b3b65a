"""How much memory and time reading a published-size Arrow file takes.

Makes a file in the stream format and the columns of `BAAI/TACO`'s test split (1,000 rows in one record batch, several
hundred megabytes), then reads it in a fresh interpreter: seconds from the call to the first problem and to the last,
and resident memory before, at the first problem, and at its peak. A naive reader (`pyarrow`'s own, all rows as Python
values) does the same in another interpreter, for comparison.

    python bench/dataset_memory.py [--megabytes 480] [--keep FILE]
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow

COLUMNS = ("question", "solutions", "starter_code", "input_output", "difficulty", "raw_tags", "name", "source", "tags")
COLUMNS += ("skill_types", "url", "Expected Auxiliary Space", "time_limit", "date", "picture_num", "memory_limit")

READER = """
import sys, time
from pathlib import Path

def megabytes(field):
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024

import pyarrow
{imports}
before = megabytes("VmRSS")
start = time.perf_counter()
first = None
count = 0
for row in {rows}:
    if first is None:
        first = time.perf_counter() - start
        at_first = megabytes("VmRSS")
    count += 1
total = time.perf_counter() - start
print(f"{{count}} {{first:.4f}} {{total:.3f}} {{before:.1f}} {{at_first:.1f}} {{megabytes('VmHWM'):.1f}}")
"""

OURS = READER.format(imports="from taco_stream.datasets.open import open_dataset", rows="open_dataset(sys.argv[1])")
NAIVE = READER.format(imports="", rows="pyarrow.ipc.open_stream(sys.argv[1]).read_all().to_pylist()")


def main() -> None:
    """Makes the file, reads it both ways, prints one line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=480)
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.keep or Path(folder) / "data-00000-of-00001.arrow"
        make(path, arguments.megabytes << 20)
        print(f"{path.stat().st_size / 2**20:,.0f} MiB, 1,000 problems, largest row {LARGEST_SHARE:.0%} of the file")
        report("taco_stream", OURS, path)
        report("read_all", NAIVE, path)


LARGEST_SHARE = 0.02


def make(path: Path, size: int) -> None:
    """Writes 1,000 rows of about `size` bytes together, test sizes skewed as TACO's are."""
    randomness = random.Random(0)
    weights = [randomness.paretovariate(1.2) for _ in range(1000)]
    largest = size * LARGEST_SHARE
    scale = size / sum(weights)
    for _ in range(20):  # cutting the largest off leaves less than `size`: the others make up for it
        scale *= size / sum(min(weight * scale, largest) for weight in weights)
    sizes = [int(min(weight * scale, largest)) for weight in weights]
    rows = [make_row(number, length, randomness) for number, length in enumerate(sizes)]
    schema = pyarrow.schema([(name, pyarrow.string()) for name in COLUMNS])
    with pyarrow.ipc.new_stream(str(path), schema) as writer:
        writer.write_batch(pyarrow.RecordBatch.from_pylist(rows, schema=schema))


def make_row(number: int, size: int, randomness: random.Random) -> dict[str, str]:
    """A row whose tests take about nine tenths of `size`, its solutions the rest."""
    test = " ".join(str(randomness.randrange(10**6)) for _ in range(300)) + "\n"
    count = max(1, int(size * 0.9) // (len(test) + 12))
    return {
        "question": "Sort the numbers.",
        "solutions": json.dumps(["print(*sorted(map(int, input().split())))  # " + "x" * max(0, size // 10)]),
        "starter_code": "",
        "input_output": json.dumps({"inputs": [test] * count, "outputs": ["1\n"] * count}),
        "difficulty": "EASY",
        "raw_tags": "[]",
        "name": str(number),
        "source": "made",
        "tags": "['Sorting']",
        "skill_types": "['Sorting']",
        "time_limit": "2.0 seconds",
        "memory_limit": "256.0 megabytes",
    }


def report(name: str, code: str, path: Path) -> None:
    """Runs a reader in an interpreter of its own and prints what it measured."""
    output = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True).stdout
    count, first, total, before, at_first, peak = output.split()
    print(
        f"{name:<12} {count} problems: first after {first} s, last after {total} s; "
        f"resident MiB {before} before, {at_first} at the first, {peak} at most"
    )


if __name__ == "__main__":
    main()
