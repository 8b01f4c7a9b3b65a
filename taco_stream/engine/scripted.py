"""The scripted engine: a fake with set texts, delays and faults.

It takes a model's place in tests of everything around it, and shows the cost of the rest of a run when generation takes
a known time. It ships with the package because the tests of a program that embeds taco-stream need it too.
"""

import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
import msgspec
from anyio.abc import ObjectReceiveStream, ObjectSendStream

from taco_stream.errors import NOT_DECODED, EngineError, UsageError
from taco_stream.readable_file import read_small_file
from taco_stream.statistics import EngineStatistics
from taco_stream.types import Completion, FinishReason, Request


class Script(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The engine's behaviour.

    Sample i of a problem has the text `texts[i % len(texts)]` and takes `seconds`; `rows` samples run at once. Every
    `error_every`-th finished sample is an error completion, and after `fail_after` completions the engine itself fails.
    """

    texts: tuple[str, ...] = ("print(input())\n",)
    seconds: float = 0.0
    rows: int = 8
    error_every: int | None = None
    fail_after: int | None = None


def read_script(path: Path) -> Script:
    """Reads a script from TOML. Raises `UsageError` that names the file."""
    try:
        return msgspec.toml.decode(read_small_file(path), type=Script)
    except (OSError, *NOT_DECODED) as error:
        raise UsageError(f"the script {path} cannot be used: {error}") from error


class ScriptedEngine:
    """Plays a `Script`."""

    def __init__(self, script: Script = Script()) -> None:  # noqa: B008 (immutable)
        self._script = script
        self._draining = False
        self._failed = False
        self._busy = 0
        self._finished = 0
        self._tokens = 0
        self._row_seconds = self._busy_seconds = 0.0
        self._counted_at = time.monotonic()

    @property
    def identity(self) -> str:
        """Always `scripted`."""
        return "scripted"

    async def __aenter__(self) -> Self:
        """Nothing needs to be started."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing needs to be stopped."""

    async def run(self, requests: ObjectReceiveStream[Request], completions: ObjectSendStream[Completion]) -> None:
        """Plays the script for every sample. Raises `EngineError` if the script says so."""
        # No buffer: a sample leaves the request only when a row takes it.
        feed, waiting = anyio.create_memory_object_stream[tuple[Request, int]](0)
        async with requests, completions, anyio.create_task_group() as rows:
            for _ in range(self._script.rows):
                rows.start_soon(self._row, waiting.clone(), completions)
            waiting.close()
            # Broken when every row has left: the script failed.
            with suppress(anyio.BrokenResourceError):
                async with feed:
                    async for request in requests:
                        for sample_index in request.sample_indices:
                            await feed.send((request, sample_index))
        if self._failed:
            raise EngineError(f"the scripted engine failed after {self._script.fail_after} completions, as scripted")

    def drain(self) -> None:
        """Samples that have not started come back as cancelled."""
        self._draining = True

    def statistics(self) -> EngineStatistics:
        """The rows as they are now; every character counts as a token."""
        self._count_seconds()
        return EngineStatistics(
            rows_busy=self._busy,
            rows_total=self._script.rows,
            samples_finished=self._finished,
            completion_tokens=self._tokens,
            busy_seconds=self._busy_seconds,
            row_seconds=self._row_seconds,
            row_seconds_available=self._busy_seconds * self._script.rows,
        )

    def _count_seconds(self) -> None:
        """Counts the time since the last count for each row that is busy; called before their number changes."""
        now = time.monotonic()
        seconds, self._counted_at = now - self._counted_at, now
        self._row_seconds += self._busy * seconds
        self._busy_seconds += seconds if self._busy else 0.0

    async def _row(
        self, waiting: ObjectReceiveStream[tuple[Request, int]], completions: ObjectSendStream[Completion]
    ) -> None:
        async with waiting:
            async for request, sample_index in waiting:
                await completions.send(await self._play(request, sample_index))
                self._failed = self._failed or self._finished == self._script.fail_after
                if self._failed:
                    return

    async def _play(self, request: Request, sample_index: int) -> Completion:
        if self._draining:
            return Completion(
                problem_id=request.problem_id, sample_index=sample_index, text="", finish_reason=FinishReason.CANCELLED
            )
        started_at = time.monotonic()
        self._count_seconds()
        self._busy += 1
        try:
            await anyio.sleep(self._script.seconds)
        finally:
            self._count_seconds()
            self._busy -= 1
        seconds = time.monotonic() - started_at
        self._finished += 1
        text = self._script.texts[sample_index % len(self._script.texts)]
        failed = self._script.error_every is not None and self._finished % self._script.error_every == 0
        self._tokens += len(text)
        return Completion(
            problem_id=request.problem_id,
            sample_index=sample_index,
            text="" if failed else text,
            finish_reason=FinishReason.ERROR if failed else FinishReason.STOP,
            completion_tokens=0 if failed else len(text),
            seed=request.seed,
            engine=self.identity,
            generate_seconds=seconds,
            finished_at=time.time(),
            error="an error completion, as scripted" if failed else None,
        )
