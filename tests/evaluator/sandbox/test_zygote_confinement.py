"""A zygote under each plan: what one test leaves is gone for the next, and nothing outlives the worker."""

import contextlib
import errno
import fcntl
import os
import select
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from taco_stream.evaluator.execution import Execution, Zygote, ZygoteError
from taco_stream.evaluator.protocol import Limits
from taco_stream.evaluator.sandbox.confine import can_make_files
from taco_stream.evaluator.sandbox.plan import RLIMITS_ONLY, SandboxPlan
from taco_stream.evaluator.sandbox.probe import FORCED_TIER, available_plans
from taco_stream.evaluator.sandbox.scratch import ScratchFolder

LIMITS = Limits(cpu_seconds=2, wall_seconds=10, memory_bytes=1 << 30, output_bytes=1 << 20)
SECONDS = 90
"""No wait takes this long but on a machine that is busy with something else."""


@pytest.fixture(params=available_plans(), ids=lambda plan: plan.tier)
def zygote(request: pytest.FixtureRequest) -> Iterator[Zygote]:
    opened = Zygote(request.param)
    yield opened
    opened.close()


def run(zygote: Zygote, text: str, *, given: bytes = b"", file_io: bool = False) -> Execution:
    with zygote.program([textwrap.dedent(text)], LIMITS) as program:
        return program.run(given, LIMITS, file_io=file_io)


def test_what_a_test_wrote_is_gone_for_the_next(zygote: Zygote) -> None:
    if not can_make_files(zygote.plan):
        pytest.skip("under this plan no test can make a file")
    assert run(zygote, "open('left', 'w').write('x')").status == 0
    assert run(zygote, "import os; print(os.listdir('.'))").output == b"[]\n"


def test_a_program_that_works_on_files_finds_its_input_and_its_output_is_taken(zygote: Zygote) -> None:
    text = "open('output.txt', 'w').write(open('input.txt').read().upper())"
    assert [run(zygote, text, given=given, file_io=True).output for given in (b"one", b"two")] == [b"ONE", b"TWO"]


def test_the_input_file_is_there_only_for_programs_that_work_on_files(zygote: Zygote) -> None:
    run(zygote, "open('output.txt', 'w').write('x')", given=b"x", file_io=True)
    assert run(zygote, "import os; print(os.path.exists('input.txt'))").output == b"False\n"


def test_standard_input_can_be_opened_by_its_device(zygote: Zygote) -> None:
    assert run(zygote, "print(open('/dev/stdin').read())", given=b"by device").output == b"by device\n"


def test_programs_see_no_module_of_the_sandbox(zygote: Zygote) -> None:
    text = (
        "import sys; print([name for name in sys.modules if 'taco' in name], any('taco' in path for path in sys.path))"
    )
    assert run(zygote, text).output.startswith(b"[] ")


def test_numpy_works(zygote: Zygote) -> None:
    pytest.importorskip("numpy")
    assert run(zygote, "import numpy; print(numpy.linalg.inv(numpy.eye(2)).sum())").output == b"2.0\n"


def test_a_scratch_folder_outside_is_gone_with_the_zygote(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    opened = Zygote(RLIMITS_ONLY)
    assert len(list(tmp_path.iterdir())) == 1
    opened.close()
    assert list(tmp_path.iterdir()) == []


def test_a_program_process_that_is_killed_is_no_fault_of_the_program() -> None:
    opened = Zygote(RLIMITS_ONLY)
    with (
        opened.program(["import os, time; os.kill(os.getppid(), 9); time.sleep(100)"], LIMITS) as program,
        pytest.raises(ZygoteError),
    ):
        program.run(b"", LIMITS)
    opened.close()


WORKER = """
import sys
from taco_stream.evaluator.execution import Zygote
from taco_stream.evaluator.protocol import Limits
from taco_stream.evaluator.sandbox.probe import probe
limits = Limits(cpu_seconds=100, wall_seconds=100, memory_bytes=1 << 30, output_bytes=1 << 20)
with Zygote(probe()).program(["import time; time.sleep(100)"], limits) as program:
    print("running", flush=True)
    program.run(b"", limits)
"""


def descendants(process: int) -> list[int]:
    """The process numbers below a process, as seen from outside; none below one that has just ended."""
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [below for child in map(int, children) for below in (child, *descendants(child))]


def kill_worker(plan: SandboxPlan, temporary: str) -> list[int]:
    """Kills a worker while it runs a test, and returns handles of the processes that were below it."""
    environment = os.environ | {FORCED_TIER: plan.tier, "TMPDIR": temporary}
    worker = subprocess.Popen([sys.executable, "-c", WORKER], stdout=subprocess.PIPE, env=environment)
    assert worker.stdout is not None
    assert worker.stdout.readline() == b"running\n"
    handles = []
    for process in descendants(worker.pid):
        with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile, as short-lived probes do
            handles.append(os.pidfd_open(process))
    assert handles
    worker.kill()
    worker.communicate(timeout=SECONDS)
    return handles


def have_ended(handles: list[int]) -> bool:
    """Waits for the end of every process; whether all have ended."""
    ended = [bool(select.select([handle], [], [], SECONDS)[0]) for handle in handles]
    for handle in handles:
        os.close(handle)
    return all(ended)


@pytest.mark.parametrize("plan", available_plans(), ids=lambda plan: plan.tier)
def test_nothing_outlives_a_killed_worker(plan: SandboxPlan) -> None:
    assert have_ended(kill_worker(plan, tempfile.gettempdir()))


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder of one's own that every user can enter, as a zygote's may have to."""
    with tempfile.TemporaryDirectory(prefix="taco-stream-test-") as folder:
        os.chmod(folder, 0o755)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


@pytest.mark.parametrize(
    "plan", [plan for plan in available_plans() if not plan.has_namespaces], ids=lambda plan: plan.tier
)
def test_the_next_zygote_removes_the_scratch_folder_of_a_killed_worker(plan: SandboxPlan, temporary: Path) -> None:
    assert have_ended(kill_worker(plan, str(temporary)))
    (abandoned,) = temporary.iterdir()
    opened = Zygote(plan)
    left = list(temporary.iterdir())
    opened.close()
    assert len(left) == 1
    assert abandoned not in left


def test_a_scratch_folder_in_use_is_not_taken_for_an_abandoned_one(temporary: Path) -> None:
    first, second = ScratchFolder(), ScratchFolder()
    assert {str(path) for path in temporary.iterdir()} == {first.path, second.path}
    first.close()
    second.close()
    assert list(temporary.iterdir()) == []


def test_a_scratch_folder_of_somebody_else_stays(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = temporary / "taco-stream-scratch.foreign"
    foreign.mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: foreign.stat().st_uid + 1)
    with contextlib.closing(ScratchFolder()):
        assert foreign.exists()


def test_without_locks_a_scratch_folder_is_made_and_none_is_removed(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (temporary / "taco-stream-scratch.old").mkdir()

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with contextlib.closing(ScratchFolder()):
        assert len(list(temporary.iterdir())) == 2
