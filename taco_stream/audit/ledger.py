"""The file an audit writes: a line of JSON for each problem, appended as soon as the problem is finished.

One process writes, which holds a lock on the file itself (`store.lock`). A line is written whole and brought to the
disk before the next, so a kill can only tear the last one; the next start cuts that off and continues with the problems
that have no line. A problem on which the evaluator failed is judged again and gets a second line: of a problem's lines
the last one counts.

Every line repeats the rules it was found under; a start under other rules is refused, for its lines would not compare.
"""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import anyio
import msgspec

from taco_stream.audit.findings import Finding, Rate
from taco_stream.errors import UsageError
from taco_stream.store.journal import Journal, read_values, repair
from taco_stream.store.lock import lock_file
from taco_stream.types import ComparisonMode

FIRST_BYTES = b'{"problem_id":'
"""How every ledger begins; nothing is cut off a file that begins otherwise."""


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that findings depend on."""

    dataset: str
    split: str
    mode: ComparisonMode
    solutions: int
    time_limit_factor: float
    memory_limit_bytes: int
    full_results: bool
    special_judges: str | None
    checkers_folder: str | None


class Audited(msgspec.Struct, frozen=True, kw_only=True):
    """The finding on one problem, a line of the ledger.

    `problem_id` is the row's place (`FILE:12`) if the row cannot be read. `exclude` is what
    `run --exclude` goes by. `solutions` counts those the problem has, `judged` those that were audited, `rates` what
    each mode refused of them. `peak_cpu_seconds` is the slowest test of a solution that passes, `time_limit_seconds`
    the CPU time that a test may take.
    """

    problem_id: str
    finding: Finding
    exclude: bool
    rules: Rules
    detail: str = ""
    source: str = ""
    solutions: int = 0
    judged: int = 0
    rates: Mapping[ComparisonMode, Rate] = {}
    infrastructure_errors: int = 0
    peak_cpu_seconds: float = 0.0
    time_limit_seconds: float = 0.0


class Ledger:
    """The findings so far, by problem, in memory and in a file if there is one. Made by `open_ledger`."""

    def __init__(self, path: Path | None) -> None:
        self.audited: dict[str, Audited] = {} if path is None else _read(path)
        self.resumed = len(self.audited)
        self._journal = None if path is None else Journal(path)
        self._writing = anyio.Lock()

    def is_finished(self, problem_id: str) -> bool:
        """Whether the problem need not be judged: it has been, and the evaluator did not fail."""
        audited = self.audited.get(problem_id)
        return audited is not None and not audited.infrastructure_errors

    async def append(self, audited: Audited) -> None:
        """Adds the finding on a problem; on return its line is on disk. Finishes also when cancelled."""
        # A line that is cancelled half way would be torn in the middle of the file.
        with anyio.CancelScope(shield=True):
            if self._journal is not None:
                async with self._writing:
                    await self._journal.append([audited])
                    await self._journal.sync()
            self.audited[audited.problem_id] = audited

    async def open(self) -> None:
        if self._journal is not None:
            await self._journal.open()

    async def close(self) -> None:
        if self._journal is not None:
            await self._journal.close()


@asynccontextmanager
async def open_ledger(path: Path | None, rules: Rules) -> AsyncIterator[Ledger]:
    """The ledger at `path`, whose torn last line is cut off, or one in memory alone.

    Raises `UsageError` if the file is not a ledger, is in use or was written under other rules.
    """
    with ExitStack() as held:
        if path is not None:
            try:
                held.callback(os.close, lock_file(path))
            except BlockingIOError as error:
                raise UsageError(
                    f"--out {path} is being written by another audit: wait for it or name another file"
                ) from error
            except OSError as error:
                raise UsageError(f"--out {path} cannot be written: {error.strerror}") from error
        ledger = Ledger(path)
        _check_rules(ledger, rules, path)
        await ledger.open()
        try:
            yield ledger
        finally:
            with anyio.CancelScope(shield=True):
                await ledger.close()


def _read(path: Path) -> dict[str, Audited]:
    with path.open("rb") as file:
        head = file.read(len(FIRST_BYTES))
    # Before `repair`, which would cut the end off a file that somebody named by mistake.
    if not FIRST_BYTES.startswith(head):
        raise UsageError(f"--out {path} is a file that no audit wrote: name another file")
    repair(path)
    return {audited.problem_id: audited for audited in read_values(path, Audited)}


def _check_rules(ledger: Ledger, rules: Rules, path: Path | None) -> None:
    for audited in ledger.audited.values():
        for name in Rules.__struct_fields__:
            before, now = getattr(audited.rules, name), getattr(rules, name)
            if before != now:
                raise UsageError(f"--out {path} was written with {name} {before}, not {now}: name another file")
