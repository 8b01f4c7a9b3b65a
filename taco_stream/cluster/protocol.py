"""What the driver and the actors tell each other: MessagePack of the structs below, as arguments and results of calls.

An actor's blueprint alone travels as an object, which the cluster pickles, for settings are made from flags and not
decoded. Both sides are ours, and no message of a judged program's making is among them.

An actor is greeted once (`start`), and then asked again and again for finished items (`take`), which waits for
something to report, `REPORT_SECONDS` at the longest, so that an actor from which nothing comes is known to be gone.
"""

from typing import Any

import msgspec

from taco_stream.engine.scripted import Script
from taco_stream.engine.settings import ModelSettings
from taco_stream.errors import NOT_DECODED
from taco_stream.events import EngineEvent, EvaluatorEvent
from taco_stream.statistics import EngineStatistics, EvaluatorStatistics
from taco_stream.types import ComparisonMode, Completion, Problem, Verdict

REPORT_SECONDS = 1.0
"""The longest that `take` waits."""

LINGER_SECONDS = 0.05
"""How long `take` waits for more once there is something: a call costs the driver half a millisecond, and so would each
sample if it was reported alone."""

MAX_REPORTED = 256
"""Completions or verdicts in one answer: a few hundred KB."""


class ModelBlueprint(msgspec.Struct, frozen=True, tag="model"):
    """A local engine; with evaluators beside it, it leaves them cores."""

    settings: ModelSettings
    is_judged: bool


class ScriptBlueprint(msgspec.Struct, frozen=True, tag="script"):
    """A scripted engine."""

    script: Script


EngineBlueprint = ModelBlueprint | ScriptBlueprint


class Greeting(msgspec.Struct, frozen=True, kw_only=True, tag="greeting"):
    """An actor is ready. An engine confines nothing. `versions` are its node's, as a manifest has them."""

    workers: int = 1
    sandbox_tier: str = ""
    versions: dict[str, str] = {}


class Refusal(msgspec.Struct, frozen=True, tag="refusal"):
    """An actor cannot be used, and another one on its node could not be either."""

    reason: str


Welcome = Greeting | Refusal


class Generated(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine has finished since it was asked last; `failure` says why it cannot go on."""

    completions: tuple[Completion, ...]
    statistics: EngineStatistics
    events: tuple[EngineEvent, ...]
    has_ended: bool
    failure: str | None = None


class NumberedProgram(msgspec.Struct, frozen=True):
    """A program to judge; `problem` is the number under which its problem was sent."""

    ticket: int
    problem: int
    text: str


class Programs(msgspec.Struct, frozen=True, kw_only=True):
    """Programs to judge, the problems of them that the actor does not have, and those that it may forget afterwards."""

    problems: dict[int, Problem]
    programs: tuple[NumberedProgram, ...]
    forgotten: tuple[int, ...]


class NumberedVerdicts(msgspec.Struct, frozen=True):
    """The verdicts on the program with this ticket."""

    ticket: int
    verdicts: dict[ComparisonMode, Verdict]


class JudgedPrograms(msgspec.Struct, frozen=True, kw_only=True):
    """What an evaluator has finished since it was asked last; `failure` says why it cannot go on."""

    verdicts: tuple[NumberedVerdicts, ...]
    statistics: EvaluatorStatistics
    events: tuple[EvaluatorEvent, ...]
    failure: str | None = None


def encode(message: object) -> bytes:
    """The message as MessagePack."""
    return msgspec.msgpack.encode(message)


def decode(data: bytes, kind: Any) -> Any:
    """The message in the bytes. Raises `ValueError` if they are none: the node has another version, or is broken."""
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except NOT_DECODED as error:
        raise ValueError(f"a node sent what cannot be read: {error}") from error
