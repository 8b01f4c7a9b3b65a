"""How long `taco-stream --help` takes: median wall seconds of fresh interpreters, and whether torch was imported.

python bench/startup.py [--repeats 20]
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    repeats = arguments.repeats
    code = "import sys; sys.argv = ['taco-stream', '--help']\nfrom taco_stream.cli import main\nmain()"
    ours = [seconds([sys.executable, "-m", "taco_stream", "--help"]) for _ in range(repeats)]
    bare = [seconds([sys.executable, "-c", "pass"]) for _ in range(repeats)]
    probe = f"import atexit, sys\natexit.register(lambda: print('torch' in sys.modules, file=sys.stderr))\n{code}"
    imported = subprocess.run([sys.executable, "-c", probe], check=False, capture_output=True, text=True).stderr.strip()
    print(
        f"taco-stream --help: median {statistics.median(ours):.3f} s over {repeats} starts "
        f"(a bare interpreter: {statistics.median(bare):.3f} s); torch imported: {imported}"
    )
    if arguments.out:
        figures = {"help_seconds": statistics.median(ours), "bare_seconds": statistics.median(bare)}
        arguments.out.write_text(json.dumps(figures) + "\n", encoding="utf-8")


def seconds(command: list[str]) -> float:
    started_at = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started_at


if __name__ == "__main__":
    main()
