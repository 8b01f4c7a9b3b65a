"""Whether load decides verdicts: programs near their CPU limit, judged idle and beside busy processes.

    python bench/load.py [--busy 20] [--programs 12] [--runs 1] [--out bench/results/load.json]

Each busy process has a session of its own, as other people's work has: the kernel shares the cores out among sessions
first. The programs need 1.5 s of a CPU limit of 2 s; some that need 2.6 s and some that sleep must fail all the same.
Prints the verdicts of both kinds of run and how long the loaded one took.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import anyio

from taco_stream import Evaluator, EvaluatorSettings, Problem

BURN = "import time\nwhile time.process_time() < {seconds}: pass\nprint(input())\n# {number}"
PROBLEM = Problem(
    problem_id="p",
    position=0,
    question="",
    tests=json.dumps({"inputs": ["1"], "outputs": ["1"]}),
    time_limit_seconds=1.0,
)


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Keeps the cores busy with processes in sessions of their own."""
    with ExitStack() as running:
        for _ in range(count):
            command = [sys.executable, "-I", "-S", "-c", "while True: pass"]
            running.callback(running.enter_context(subprocess.Popen(command, start_new_session=True)).kill)
        yield


async def verdicts(programs: int, offset: int) -> dict[str, Counter[str]]:
    """The statuses of each kind of program."""
    kinds = {
        "needs 1.5 s of 2 s": [BURN.format(seconds=1.5, number=offset + each) for each in range(programs)],
        "needs 2.6 s of 2 s": [BURN.format(seconds=2.6, number=offset + each) for each in range(2)],
        "sleeps": [f"import time; time.sleep(1000)\n# {offset}"],
    }
    async with Evaluator(EvaluatorSettings()) as evaluator:
        found = {}
        for kind, texts in kinds.items():
            judged = await evaluator.judge_batch([(PROBLEM, text) for text in texts])
            found[kind] = Counter(each.status.value for each in judged)
        return found


def main() -> None:
    """Judges idle and loaded, and prints both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--busy", type=int, default=20)
    parser.add_argument("--programs", type=int, default=12)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    result: dict[str, object] = {"machine": f"{os.cpu_count()} cores, {platform.release()}", "busy": asked.busy}
    result["idle"] = anyio.run(verdicts, asked.programs, 0)
    print("idle:", result["idle"])
    loaded = []
    for run in range(asked.runs):
        with busy_processes(asked.busy):
            time.sleep(2)  # until they have their cores
            started_at = time.monotonic()
            found = anyio.run(verdicts, asked.programs, 1000 * (run + 1))
        loaded.append(found)
        print(f"beside {asked.busy} busy processes: {found} in {time.monotonic() - started_at:.0f} s")
    result["loaded"] = loaded
    if asked.out:
        asked.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
