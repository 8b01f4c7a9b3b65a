"""The seam between HTTP and formats: the work that a request asks for, and routes that speak another tool's format.

Everything here is a value. A format's module parses bodies and writes replies, and runs nothing itself.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec

from taco_stream.evaluator.protocol import Limits
from taco_stream.types import ComparisonMode, ExecutionResult, Problem, Verdict

MAX_TESTS = 10_000
"""Tests of one problem, in any format: many times what datasets have."""


Body = TypeVar("Body")


def decode_body(body: bytes, kind: type[Body]) -> Body:
    """A body of JSON as a value of `kind`. Raises msgspec's errors, and `ValueError` if it is not JSON."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        # Python's own writer writes NaN, which tests may have, and halves of characters, which a model may.
        return msgspec.convert(json.loads(body), kind)


class JudgeWork(msgspec.Struct, frozen=True, kw_only=True):
    """A program to judge: the arguments of `Evaluator.judge`."""

    problem: Problem
    program: str
    mode: ComparisonMode | None = None
    limits: Limits | None = None
    full_results: bool | None = None


class ExecuteWork(msgspec.Struct, frozen=True, kw_only=True):
    """A program to execute: the arguments of `Evaluator.execute`."""

    program: str
    stdin: bytes
    limits: Limits


Work = JudgeWork | ExecuteWork
Result = Verdict | ExecutionResult
"""Of a `JudgeWork` and of an `ExecuteWork`."""


class WireRequest(NamedTuple):
    """A request in another tool's format.

    After `deadline_seconds`, counted from its arrival, its caller no longer listens: the work is done by then or
    dropped. `context` is for the format's own `reply`.
    """

    work: tuple[Work, ...]
    deadline_seconds: float | None = None
    context: Any = None


class WireReply(NamedTuple):
    """An answer: a body to be encoded as JSON, and an HTTP status."""

    body: Any
    status: int = 200


class WireRoute(NamedTuple):
    """A path to POST to, in another tool's format.

    `parse` is called in a thread if the body is large, and always if it `is_slow`: a small body may hold a lot. It
    raises `UsageError` for a body that it does not understand, which is answered with 400. `reply` is given the results
    in the order of the work, those on which the evaluator failed included. Refusals have the body `{"detail": …}`.

    Callers of a patient route are not told to come back later: their work waits until the deadline, and is then
    answered with 504. Others are answered with 503 and `Retry-After` at once if the work would not be done in time.
    """

    path: str
    parse: Callable[[bytes], WireRequest]
    reply: Callable[[WireRequest, Sequence[Result]], WireReply]
    is_patient: bool = False
    is_slow: bool = False
