"""Draws inputs for the embedded model's exercises: lines of standard input, or the arguments of a call."""

from collections.abc import Callable, Mapping
from random import Random

WORDS = (
    *("apple", "level", "river", "banana", "stone", "radar", "window", "garden", "noon", "paper", "orange", "kayak"),
    *("summer", "bottle", "little", "yellow", "green", "basket", "letter", "queen", "island", "mirror", "cat", "tree"),
)
BRACKETS = ("(())", "()()", "(()", "())(", "(()())", ")(", "((()))", "()(()")
WORD_PAIRS = ("'tea', 'eat'", "'stone', 'notes'", "'cat', 'car'", "'aab', 'abb'")


def _numbers(random: Random, low: int, high: int) -> list[int]:
    return [random.randint(low, high) for _ in range(random.randint(3, 6))]


def _list(random: Random, low: int, high: int) -> str:
    return _with_count(_numbers(random, low, high))


def _different_numbers(random: Random, low: int, high: int) -> str:
    return _with_count(random.sample(range(low, high), random.randint(3, 6)))


def _with_count(numbers: list[int]) -> str:
    return f"{len(numbers)}\n{' '.join(map(str, numbers))}"


def _line(random: Random) -> str:
    return " ".join(random.choice(WORDS) for _ in range(random.randint(2, 5)))


DRAWS: Mapping[str, Callable[[Random, int, int], str]] = {
    "list": _list,
    "different_numbers": _different_numbers,
    "number": lambda random, low, high: str(random.randint(low, high)),
    "pair": lambda random, low, high: f"{random.randint(low, high)} {random.randint(low, high)}",
    "word": lambda random, _low, _high: random.choice(WORDS),
    "line": lambda random, _low, _high: _line(random),
    "brackets": lambda random, _low, _high: random.choice(BRACKETS),
    "numbers": lambda random, low, high: repr(_numbers(random, low, high)),
    "numbers_and_limit": lambda random, low, high: f"{_numbers(random, low, high)}, {random.randint(3, 15)}",
    "two_words": lambda random, _low, _high: random.choice(WORD_PAIRS),
    "word_and_count": lambda random, _low, _high: f"{random.choice(WORDS)!r}, {random.randint(1, 4)}",
    "text": lambda random, _low, _high: repr(_line(random)),
}
"""How an input of a kind is drawn; the numbers in it, if it has any, lie between the two given."""
