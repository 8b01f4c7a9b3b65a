"""Kills the demo run at random moments, again and again, and compares its end with an undisturbed run's.

    python bench/chaos.py [--kills 20] [--seed 0]

Each start is `taco-stream run` on the embedded demo; `kill -9` goes to its whole process group. Checked: no completion
that was on disk is lost or generated again, every sample is there once at the end, and every aggregate (scores, splits,
statuses, finish reasons) equals the undisturbed run's. Exit status 1 where one of these fails.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

AGGREGATES = ("pass_at_k", "by_difficulty", "by_skill", "statuses", "finish_reasons", "extractions")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(chaos(Path(folder), arguments.kills, random.Random(arguments.seed)))


def chaos(folder: Path, kills: int, dice: random.Random) -> int:
    undisturbed, disturbed = folder / "undisturbed", folder / "disturbed"
    started_at = time.monotonic()
    subprocess.run(command(undisturbed), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seconds = time.monotonic() - started_at
    print(f"undisturbed: {seconds:.0f} s")
    safe: dict[tuple[str, int], str] = {}
    delivered = 0
    for number in range(kills):
        # Every fourth kill meets the start, whatever it is doing; the others come after some progress, soon enough
        # that the run lasts for all of them.
        at_start = number % 4 == 3
        moment = dice.uniform(0, 6) if at_start else dice.uniform(0, seconds / kills / 2)
        if not killed_after(moment, disturbed, wait_for_progress=not at_start):
            print(f"complete after {number} kills")
            break
        delivered += 1
        found = completions(disturbed)
        lost = [key for key, text in safe.items() if found.get(key) != text]
        print(f"kill {number + 1}: {len(found)} completions on disk, {len(lost)} lost or changed", flush=True)
        if lost:
            return 1
        safe = found
    last = subprocess.run(command(disturbed), check=False, stdout=subprocess.DEVNULL)
    lines = Counter(read_key(line) for line in (disturbed / "results.jsonl").open(encoding="utf-8"))
    same_text = all(completions(disturbed)[key] == text for key, text in safe.items())
    repeated = sum(count - 1 for count in lines.values())
    equal = aggregates(disturbed) == aggregates(undisturbed)
    print(
        f"{delivered} kills; {len(lines)} samples judged, {repeated} twice; earlier completions kept: {same_text}; "
        f"aggregates equal to the undisturbed run's: {equal}; exit code {last.returncode}"
    )
    complete = lines.keys() == completions(undisturbed).keys()
    return 0 if equal and same_text and complete and not repeated and last.returncode == 0 else 1


def command(run: Path) -> list[str]:
    return [sys.executable, "-m", "taco_stream", "run", str(run)]


def killed_after(seconds: float, run: Path, *, wait_for_progress: bool) -> bool:
    """Starts or resumes the run and kills its process group `seconds` after its start, or after its first progress.

    Returns whether it was still running.
    """
    path = run / "completions.jsonl"
    before = path.stat().st_size if path.exists() else 0
    process = subprocess.Popen(
        command(run), start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while wait_for_progress and process.poll() is None and not (path.exists() and path.stat().st_size > before):
        time.sleep(0.01)
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


def completions(run: Path) -> dict[tuple[str, int], str]:
    """The text of every whole line of completions.jsonl; fails where a key stands twice."""
    path = run / "completions.jsonl"
    whole = path.read_bytes().rpartition(b"\n")[0].splitlines() if path.exists() else []
    found = {}
    for line in whole:
        assert read_key(line) not in found, f"{read_key(line)} was generated twice"
        found[read_key(line)] = json.loads(line)["text"]
    return found


def read_key(line: str | bytes) -> tuple[str, int]:
    values = json.loads(line)
    return values["problem_id"], values["sample_index"]


def aggregates(run: Path) -> dict:
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    return {name: summary[name] for name in AGGREGATES}


if __name__ == "__main__":
    main()
