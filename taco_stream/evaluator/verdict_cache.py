"""Verdicts of programs that have been judged before: in memory for one run, and in a file between runs if asked.

The key is a digest of everything that a verdict depends on: the program's text, the problem as it is judged, which
tests are run in which order, the versions of this package and of Python, and the sandbox tier. All comparison modes are
kept. Infrastructure errors never are. Those that depend on the machine (time and memory limits, violations of the
sandbox) are kept in memory, so that identical samples have one verdict, and never in the file.

The file is an SQLite database, `verdicts.sqlite` in the folder named; several processes may use it at once. It is a
cache: losing it, or the newest part of it, costs time and nothing else. So it is not synced, and if it cannot be
used any longer (a full disk, say) it is closed, `trouble` says why, and the run goes on without.
"""

import hashlib
import platform
import sqlite3
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import msgspec

from taco_stream import __version__
from taco_stream.errors import UsageError
from taco_stream.evaluator.judge_spec import JudgeSpec
from taco_stream.evaluator.protocol import Sweep
from taco_stream.types import ComparisonMode, Status, Verdict

KEPT_IN_MEMORY = 4096
"""Verdicts kept in memory: the samples of the few problems that are in flight, a few hundred bytes each."""

LOCKED_SECONDS = 1.0
"""How long another process may hold the file, with this one's event loop waiting."""

OF_THIS_MACHINE = frozenset({Status.TIME_LIMIT, Status.MEMORY_LIMIT, Status.SANDBOX_VIOLATION})

Verdicts = Mapping[ComparisonMode, Verdict]


class VerdictCache:
    """Finds and keeps verdicts. `trouble` is why the file had to be closed, empty while it serves or none was asked."""

    def __init__(self, folder: Path | None = None) -> None:
        self.trouble = ""
        self._recent: OrderedDict[bytes, Verdicts] = OrderedDict()
        self._decoder = msgspec.msgpack.Decoder(dict[ComparisonMode, Verdict])
        self._database = None if folder is None else _open_database(folder)

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def find(self, key: bytes) -> Verdicts | None:
        """The verdicts kept under `key`, None if there are none."""
        if (recent := self._recent.get(key)) is not None:
            self._recent.move_to_end(key)
            return recent
        if self._database is None:
            return None
        try:
            row = self._database.execute("select verdicts from verdicts where key = ?", (key,)).fetchone()
            return None if row is None else self._decoder.decode(row[0])
        except (sqlite3.Error, msgspec.DecodeError) as error:
            self._do_without(error)
            return None

    def keep(self, key: bytes, verdicts: Verdicts) -> None:
        """Keeps verdicts, unless one of them is the evaluator's own failure."""
        statuses = {verdict.status for verdict in verdicts.values()}
        if Status.INFRASTRUCTURE_ERROR in statuses:
            return
        self._recent[key] = verdicts
        while len(self._recent) > KEPT_IN_MEMORY:
            self._recent.popitem(last=False)
        if self._database is None or statuses & OF_THIS_MACHINE:
            return
        try:
            body = msgspec.msgpack.encode(verdicts)
            self._database.execute("insert or replace into verdicts values (?, ?)", (key, body))
        except sqlite3.Error as error:
            self._do_without(error)

    def _do_without(self, error: Exception) -> None:
        self.trouble = f"the verdict cache is not used any longer: {error}"
        self.close()


def cache_key(problem: JudgeSpec, program: str, *, sweep: Sweep, tier: str) -> bytes:
    """The digest of everything that a verdict depends on."""
    parts = (problem.digest, program, sweep, __version__, platform.python_version(), tier)
    return hashlib.blake2b(msgspec.msgpack.encode(parts), digest_size=20).digest()


def _open_database(folder: Path) -> sqlite3.Connection:
    path = folder / "verdicts.sqlite"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(path, timeout=LOCKED_SECONDS, isolation_level=None, check_same_thread=False)
        # Readers of a write-ahead log do not wait for the writer, and the other way round. Not synced: after a crash of
        # the machine the newest verdicts may be gone, which costs judging them again.
        database.execute("pragma journal_mode = wal")
        database.execute("pragma synchronous = off")
        database.execute("create table if not exists verdicts (key blob primary key, verdicts blob) without rowid")
    except (OSError, sqlite3.Error) as error:
        raise UsageError(f"the verdict cache {path} cannot be used: {error}") from error
    return database
