"""Tests whose expected values are returned by a reference solution (EvalPlus).

The solution is run once for each problem that a worker has, on all inputs, in a zygote that never executes a judged
program, and its answers stay in the worker. After that these are ordinary tests that call a function, compared by
EvalPlus' rule (`comparators.eval_plus_rule`). It takes the limits of as many tests as there are inputs.
"""

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from taco_stream.evaluator.comparators.eval_plus_rule import Rule
from taco_stream.evaluator.protocol import Limits
from taco_stream.evaluator.tagged_values import untagged

ANSWERS = "taco_stream_answers"

_ANSWERS = """

def {name}(*inputs):
    return [{entry_point}(*each) for each in inputs]
"""


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """A reference solution as the datasets write it, which defines `entry_point`, and how to compare with it."""

    entry_point: str
    text: str
    rule: Rule

    @property
    def asked_text(self) -> str:
        """Code whose function `ANSWERS` returns the answers for all inputs that it is given."""
        return self.text + _ANSWERS.format(name=ANSWERS, entry_point=self.entry_point)


def reference_limits(count: int, limits: Limits) -> Limits:
    """The solution's limits for so many inputs."""
    cpu_seconds, wall_seconds = count * limits.cpu_seconds, count * limits.wall_seconds
    return msgspec.structs.replace(limits, cpu_seconds=cpu_seconds, wall_seconds=wall_seconds)


def all_inputs(givens: Sequence[bytes]) -> bytes:
    """The arguments of many calls, each as JSON of a tagged list, as those of one call."""
    return b'{"list": [' + b", ".join(givens) + b"]}"


def decode_answers(result: bytes, count: int) -> list[Any]:
    """The answers that came back. Raises `ValueError` if they are not as many plain values."""
    answers = untagged(json.loads(result))
    if not isinstance(answers, list) or len(answers) != count:
        raise ValueError("these are not the answers for all inputs")
    return answers
