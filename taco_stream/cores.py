"""How many processor cores this process may use, and how generating and judging share them."""

import os


def available_cores() -> int:
    """The cores that the system lets this process run on; on systems that do not say, all of the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def generating_cores(*, is_judged: bool) -> int:
    """The cores to generate with on a CPU: all of them, or half where programs are judged on them at the same time.

    A model's threads wait for each other several hundred times in a step. One of them that has to share its core holds
    up all, so more threads than are free make generating slower, not faster (`bench/LOG.md`).
    """
    return max(1, available_cores() // 2) if is_judged else available_cores()
