"""The command `view`: a page over the runs of a folder, live while they are written.

Requests are answered in threads, one at a time for each run. A run is read on when it is asked for, and no more often
than a tenth of the time: a large one is shown a little later rather than read all the time.
"""

import socket
import threading
import time
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Generic, TypeVar

from taco_stream.commands.compare import compare_directories
from taco_stream.commands.report import read_run
from taco_stream.commands.runs import read_runs
from taco_stream.commands.stories import RunStories
from taco_stream.errors import UsageError
from taco_stream.report.compared_runs import ComparedRuns
from taco_stream.report.page_data import ListedRun, Listing, RunPage
from taco_stream.report.run_reader import RunReader
from taco_stream.report.sample import ProblemStory, SampleStory
from taco_stream.store.run_directory import MANIFEST, run_name
from taco_stream.terminal import stderr_console

HOST = "127.0.0.1"
SHARE_OF_TIME = 0.1
"""How much of the time may go into reading one run again and again."""

FRESH_SECONDS = 0.5
"""How old an answer may be at least: several parts of a page that come together are read once."""

T = TypeVar("T")


def serve(folder: Path, *, port: int, opens_browser: bool) -> None:
    """Serves the page until interrupted, at the port or, if another program has it, at a free one.

    Raises `UsageError` if it is not a folder, or if the packages of the extra `view` are missing.
    """
    try:
        import uvicorn

        from taco_stream.report.page_server import build_app
    except ImportError as error:
        raise UsageError(
            f"view needs the package {str(error.name).partition('.')[0]}: pip install 'taco-stream[view]'"
        ) from error
    served = RunsOfFolder(folder)
    served.runs()
    with _listen(port) as listening:
        address = f"http://{HOST}:{listening.getsockname()[1]}/"
        print(address, flush=True)
        stderr_console().print("on this machine alone; Ctrl-C ends it")
        if opens_browser:
            webbrowser.open(address)
        config = uvicorn.Config(build_app(served), log_level="warning", lifespan="off", timeout_graceful_shutdown=1)
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listening])


def _listen(port: int) -> socket.socket:
    """A socket that listens on this machine alone."""
    for attempt in (port, 0):
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, attempt))
            listening.listen()  # who reads the address may come before the server is ready
        except OSError:
            listening.close()
        else:
            return listening
    raise UsageError(f"no port of {HOST} can be listened on")


class RunsOfFolder:
    """The runs in a folder, or the one that the folder is; its answers are those of `page_server.ServedRuns`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opened: dict[str, _OpenedRun] = {}
        self._lock = threading.Lock()
        self._listing = _Paced(self._read_listing)
        self._compared: dict[tuple[str, str], _Paced[ComparedRuns]] = {}
        self._comparing = threading.Lock()

    def runs(self) -> Listing:
        """The runs as they are on disk, the one written last first. Raises `UsageError` if it is not a folder."""
        with self._lock:
            return self._listing.value()

    def run(self, name: str) -> RunPage | None:
        """The page of one run."""
        run = self._open(name)
        return run.page() if run else None

    def problem(self, name: str, problem_id: str) -> ProblemStory | None:
        """One problem, with its question if the dataset can be read."""
        run = self._open(name)
        return run.problem(problem_id) if run else None

    def sample(self, name: str, problem_id: str, sample_index: int) -> SampleStory | None:
        """One sample, with its failing test if the dataset can be read."""
        run = self._open(name)
        return run.sample(problem_id, sample_index) if run else None

    def compare(self, baseline: str, candidate: str) -> ComparedRuns | None:
        """The candidate against the baseline. Raises `UsageError` if they have nothing in common."""
        first, second = self._path(baseline), self._path(candidate)
        if first is None or second is None:
            return None
        with self._comparing:
            pair = (baseline, candidate)
            if pair not in self._compared:
                self._compared.clear()  # one is looked at
                self._compared[pair] = _Paced(lambda: compare_directories([first, second]))
            return self._compared[pair].value()

    def _path(self, name: str) -> Path | None:
        """The run directory of that name among those that there are: a name from a request is not made into a path."""
        is_one = (self._folder / MANIFEST).exists()
        folders = [self._folder] if is_one else [each for each in self._folder.iterdir() if each.is_dir()]
        return next((path for path in folders if run_name(path) == name), None)

    def _open(self, name: str) -> "_OpenedRun | None":
        path = self._path(name)
        if path is None:
            return None
        with self._lock:
            if name not in self._opened:
                self._opened[name] = _OpenedRun(path, name)
            return self._opened[name]

    def _read_listing(self) -> Listing:
        listed = read_runs(self._folder)
        runs = [
            ListedRun(
                name=run_name(Path(run.path)),
                title=f"{run.model} on {run.dataset}",
                state=run.state,
                samples=run.samples,
                samples_expected=run.samples_expected,
                k=run.k,
                score=run.score,
                created_at=run.created_at,
                written_at=run.written_at,
            )
            for run in listed.runs
        ]
        broken = [ListedRun(name=run_name(Path(each.path)), error=each.reason) for each in listed.unreadable]
        return Listing(folder=str(self._folder.resolve()), runs=runs + broken)


class _OpenedRun:
    """A run that is shown. Raises `StoreError` if it cannot be read."""

    def __init__(self, path: Path, name: str) -> None:
        self._lock = threading.Lock()  # requests come in several threads, and a reader is for one
        self._name = name
        settings = read_run(path, None, ())[1]
        stories = RunStories(path)
        self._reader = RunReader(path, mode=settings.evaluator.mode, ks=settings.samples.k, dataset=stories)
        self._page = _Paced(self._read_page)

    def page(self) -> RunPage:
        with self._lock:
            return self._page.value()

    def problem(self, problem_id: str) -> ProblemStory | None:
        with self._lock:
            self._page.value()  # reads new lines: the page may already list the problem
            return self._reader.problem(problem_id)

    def sample(self, problem_id: str, sample_index: int) -> SampleStory | None:
        with self._lock:
            self._page.value()
            return self._reader.sample(problem_id, sample_index)

    def _read_page(self) -> RunPage:
        self._reader.refresh()
        return self._reader.page(self._name)


class _Paced(Generic[T]):
    """A value that is made again when it is asked for, as far as its making takes a tenth of the time at most."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: T | None = None
        self._stale_at = 0.0

    def value(self) -> T:
        """The value, new or made a short time ago."""
        began_at = time.monotonic()
        if self._made is None or began_at >= self._stale_at:
            self._made = self._make()
            now = time.monotonic()
            self._stale_at = now + max(FRESH_SECONDS, (now - began_at) / SHARE_OF_TIME)
        return self._made
