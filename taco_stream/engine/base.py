"""The protocol of an engine: all that the pipeline and the command line see of generation.

An engine is an asynchronous context manager. Entering it starts whatever it needs (worker processes, a model); leaving
it stops that, whatever happened. In between, `run` is a stage: requests in, completions out.

The contract, held by one test suite that runs against every engine (`tests/engine/test_contract.py`):

* exactly one completion for every sample asked for, in any order; a sample that cannot be generated yields one whose
  finish reason is `error`, a sample given up by `drain` one that is `cancelled`; its `engine` names the engine, the
  model and whatever else changes the samples;
* a full `completions` stream stops admission and is waited for: nothing is dropped;
* `run` returns when `requests` is closed and every sample has been sent, and closes its sending end;
* if the engine itself fails, everything already generated is sent first, then `EngineError` is raised.
"""

from types import TracebackType
from typing import Protocol, Self

from anyio.abc import ObjectReceiveStream, ObjectSendStream

from taco_stream.statistics import EngineStatistics
from taco_stream.types import Completion, Request


class Engine(Protocol):
    """Turns requests into completions."""

    async def __aenter__(self) -> Self:
        """Starts the engine. Raises `ModelError` or `UsageError` if it cannot."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> bool | None:
        """Stops the engine and waits, for a bounded time, until nothing of it is left."""
        ...

    async def run(self, requests: ObjectReceiveStream[Request], completions: ObjectSendStream[Completion]) -> None:
        """Generates every sample of every request. Raises `EngineError` after handing over the completions so far."""
        ...

    def drain(self) -> None:
        """Starts no further sample: those decoding are finished, those waiting come back as `cancelled`."""
        ...

    def statistics(self) -> EngineStatistics:
        """The engine as it is now."""
        ...
