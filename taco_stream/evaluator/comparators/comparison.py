"""The comparison modes that accept the output of one execution.

One call answers for all modes, so that a returned value is decoded once. The output is the program's to choose:
whatever cannot be decoded or compared is not the expected output, and no exception leaves this module because of it.
How long the comparison takes, and how much memory, is bounded only by the size of both sides (a set of integers that
all hash alike takes time by its square), so `comparer` does the large ones in a process that may die.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec

from taco_stream.evaluator.comparators import eval_plus_rule, official, spj, strict
from taco_stream.evaluator.tagged_values import untagged
from taco_stream.types import ComparisonMode, SpecialJudge

Modes = Sequence[ComparisonMode]


def accepting_modes_of_output(output: bytes, expected: str, judge: SpecialJudge, modes: Modes) -> list[ComparisonMode]:
    """The modes under which a text on standard output is right. Bytes that are not UTF-8 are right under none."""
    try:
        text = output.decode()
    except UnicodeDecodeError:
        return []
    return [mode for mode in modes if _accepts(output_rule(mode, judge), text, expected)]


def accepting_modes_of_value(
    result: bytes,
    expected: Any,
    judge: SpecialJudge,
    modes: Modes,
    *,
    is_wrapped: bool,
    rule: eval_plus_rule.Rule | None = None,
) -> list[ComparisonMode]:
    """The modes under which a returned value, as `tagged_values` writes it, is right.

    `is_wrapped` says that the expected value is wrapped in a list of one. `official` does not ask: there either reading
    counts. If the problem has a `rule` of its own, it holds in every mode.
    """
    try:
        value = untagged(msgspec.json.decode(result))
    except Exception:  # whatever the program wrote in place of a value
        return []
    if rule is not None:
        return list(modes) if _accepts(partial(eval_plus_rule.same_value, rule=rule), value, expected) else []
    answer = expected[0] if is_wrapped else expected
    return [
        mode
        for mode in modes
        if _accepts(value_rule(mode, judge), value, expected if mode is ComparisonMode.OFFICIAL else answer)
    ]


def output_rule(mode: ComparisonMode, judge: SpecialJudge) -> Callable[[str, str], bool]:
    """A mode's rule for printed output."""
    if mode is ComparisonMode.SPJ:
        return partial(spj.same_output, judge=judge)
    return official.same_output if mode is ComparisonMode.OFFICIAL else strict.same_output


def value_rule(mode: ComparisonMode, judge: SpecialJudge) -> Callable[[Any, Any], bool]:
    """A mode's rule for returned values."""
    if mode is ComparisonMode.SPJ:
        return partial(spj.same_value, judge=judge)
    return official.same_value if mode is ComparisonMode.OFFICIAL else strict.same_value


def _accepts(rule: Callable[[Any, Any], bool], written: Any, expected: Any) -> bool:
    try:
        return rule(written, expected)
    except Exception:
        # Too large a number for a float, too deep a list, and whatever else a program may return to break the judge:
        # none of it is the expected value.
        return False
