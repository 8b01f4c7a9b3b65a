"""How often a 95 % interval holds the truth, by number of problems and kind of problem set.

    python bench/coverage.py [--draws 2000] [--seed 1] [--out bench/results/FILE.json]

A population of problems has chances of success drawn from a beta distribution (or one chance for all and one sample
each, which makes every score 0 or 1). Of each, problem sets of several sizes are drawn, each problem is sampled, and
its pass@k estimated as a run does it; the true mean pass@k is known exactly. A cell is the percentage of sets whose
interval holds it. With 2,000 draws a cell is uncertain by 0.5 (one standard error, at 95).
"""

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from taco_stream.metrics import mean_estimate, pass_at_k

SIZES = (5, 10, 20, 50, 200, 1000)


class Population(NamedTuple):
    """Problems whose chances of success are beta distributed, or all `a` where `b` is None."""

    a: float
    b: float | None
    samples: int = 1
    k: int = 1

    def __str__(self) -> str:
        kind = f"coin {self.a}" if self.b is None else f"beta({self.a}, {self.b})"
        return f"{kind}, {self.samples} samples, pass@{self.k}"

    @property
    def mean(self) -> float:
        """The mean of pass@k over all problems of the kind."""
        if self.b is None:
            return self.a
        return 1 - math.prod((self.b + index) / (self.a + self.b + index) for index in range(self.k))

    def draw(self, size: int, dice: np.random.Generator) -> list[float]:
        """The estimated pass@k of so many problems."""
        chances = self.a if self.b is None else dice.beta(self.a, self.b, size)
        estimates = [pass_at_k(self.samples, passed, self.k) for passed in range(self.samples + 1)]
        return [estimates[passed] for passed in dice.binomial(self.samples, chances, size)]


COINS = [Population(chance, None) for chance in (0.03, 0.1, 0.3, 0.5, 0.9, 0.97)]
BETAS = [
    Population(a, b, samples, k)
    for a, b in ((0.3, 0.7), (0.1, 0.9), (0.5, 0.5), (2.0, 2.0), (5.0, 5.0))
    for samples, k in ((10, 1), (10, 10), (200, 1), (200, 10))
]


def covered(population: Population, size: int, draws: int, dice: np.random.Generator) -> float:
    """The percentage of problem sets whose interval holds the truth."""
    held = 0
    for _ in range(draws):
        estimate = mean_estimate(population.draw(size, dice))
        held += estimate.low <= population.mean <= estimate.high
    return 100 * held / draws


def rows(draws: int, seed: int) -> Iterator[tuple[Population, list[float]]]:
    """A row for every population, a cell for every size; a row is the same whichever others are asked for."""
    for number, population in enumerate(COINS + BETAS):
        dice = np.random.default_rng([seed, number])
        yield population, [round(covered(population, size, draws, dice), 1) for size in SIZES]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    print(f"{'problems':40}" + "".join(f"{size:>7}" for size in SIZES))
    table = {}
    for population, cells in rows(arguments.draws, arguments.seed):
        print(f"{population!s:40}" + "".join(f"{cell:7.1f}" for cell in cells), flush=True)
        table[str(population)] = dict(zip(map(str, SIZES), cells, strict=True))
    if arguments.out:
        figures = {"draws": arguments.draws, "seed": arguments.seed, "percent_covered": table}
        arguments.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
