"""How often the 95 % interval of a difference between two runs holds the truth, beside the percentile bootstrap's.

    python bench/paired_coverage.py [--draws 1000] [--seed 1] [--out bench/results/FILE.json]

A population of pairs has, for every problem, the chance of success of each run. Of each, problem sets of several sizes
are drawn, every problem is sampled in both runs, and the differences of pass@k go to `difference_interval` and to the
percentile bootstrap (1,000 resamples of the problems). The truth is the mean over a million problems. A cell is the
percentage of sets whose interval holds it, and the intervals' mean width in points.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from taco_stream.metrics import pass_at_k
from taco_stream.report.run_comparison import difference_interval

SIZES = (10, 50, 200)
MANY = 1_000_000

Chances = NDArray[np.float64]


def better_logits(size: int, dice: np.random.Generator) -> tuple[Chances, Chances]:
    """Chances beta(.3, .7); the second run's log odds are higher by 0.3 on average and vary by 0.7."""
    first = dice.beta(0.3, 0.7, size)
    odds = np.log((first + 1e-9) / (1 - first + 1e-9)) + dice.normal(0.3, 0.7, size)
    return first, 1 / (1 + np.exp(-odds))


def few_flips(size: int, dice: np.random.Generator) -> tuple[Chances, Chances]:
    """Chances 0 or 1, and 3 % of the problems are the other in the second run."""
    first = (dice.random(size) < 0.3).astype(np.float64)
    return first, np.where(dice.random(size) < 0.03, 1 - first, first)


def hard_problems(size: int, dice: np.random.Generator) -> tuple[Chances, Chances]:
    """Chances beta(.1, 1.9), some 5 %; three tenths of the second run's are drawn anew."""
    first = dice.beta(0.1, 1.9, size)
    return first, 0.7 * first + 0.3 * dice.beta(0.1, 1.9, size)


def same_model(size: int, dice: np.random.Generator) -> tuple[Chances, Chances]:
    """Chances beta(.3, .7), the same in both runs."""
    first = dice.beta(0.3, 0.7, size)
    return first, first


class Pairs(NamedTuple):
    """How the problems of a population come, and how each is sampled."""

    draw: Callable[[int, np.random.Generator], tuple[Chances, Chances]]
    samples: int
    k: int

    def __str__(self) -> str:
        return f"{self.draw.__name__}, {self.samples} samples, pass@{self.k}"

    def true_difference(self, dice: np.random.Generator) -> float:
        """The mean difference of pass@k over very many problems."""
        first, second = self.draw(MANY, dice)
        return float(np.mean((1 - first) ** self.k - (1 - second) ** self.k))

    def differences(self, size: int, dice: np.random.Generator) -> Chances:
        """The estimated differences of so many problems."""
        estimates = np.array([pass_at_k(self.samples, passed, self.k) for passed in range(self.samples + 1)])
        first, second = (estimates[dice.binomial(self.samples, chances)] for chances in self.draw(size, dice))
        return second - first


POPULATIONS = [
    Pairs(draw, samples, k)
    for draw in (better_logits, few_flips, hard_problems, same_model)
    for samples, k in ((1, 1), (10, 1), (20, 10))
]


def bootstrap_interval(differences: Chances, dice: np.random.Generator) -> tuple[float, float]:
    """The percentile bootstrap over problems."""
    size = len(differences)
    means = dice.multinomial(size, np.full(size, 1 / size), size=1000) @ differences / size
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def measure(pairs: Pairs, size: int, draws: int, dice: np.random.Generator) -> dict[str, dict[str, float]]:
    """Coverage in percent and mean width in points, of both intervals."""
    truth = pairs.true_difference(dice)
    intervals: dict[str, list[tuple[float, float]]] = {"ours": [], "bootstrap": []}
    for _ in range(draws):
        differences = pairs.differences(size, dice)
        intervals["ours"].append(difference_interval(differences.tolist()))
        intervals["bootstrap"].append(bootstrap_interval(differences, dice))
    return {
        name: {
            "covered": round(100 * sum(low <= truth <= high for low, high in found) / draws, 1),
            "width": round(100 * sum(high - low for low, high in found) / draws, 1),
        }
        for name, found in intervals.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    table: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    for number, pairs in enumerate(POPULATIONS):
        dice = np.random.default_rng([arguments.seed, number])
        table[str(pairs)] = {}
        for size in SIZES:
            cell = table[str(pairs)][str(size)] = measure(pairs, size, arguments.draws, dice)
            print(f"{pairs!s:40} {size:4} {cell}", flush=True)
    if arguments.out:
        figures = {"draws": arguments.draws, "seed": arguments.seed, "pairs": table}
        arguments.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
