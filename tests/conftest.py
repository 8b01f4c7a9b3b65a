"""Fixtures every test may use."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says more about the machine than about the example.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# A suite started by `nohup` or in the background of a script ignores these, and so would every run that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Hundreds of tests start an interpreter, each of which would otherwise compile the package anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

TESTS = Path(__file__).parent

SLOW = (
    "commands/test_audit.py",
    "commands/test_doctor.py",
    "commands/test_evaluate_run.py",
    "commands/test_log.py",
    "commands/test_watch.py",
    "commands/test_growth.py",
    "demo",
    "engine/local",
    "engine/worker/test_core.py",
    "engine/worker/test_fallback.py",
    "engine/worker/test_fixed_decode.py",
    "engine/worker/test_layer_masks.py",
    "engine/worker/test_weights.py",
    "evaluator/hostile",
    "evaluator/sandbox",
    "evaluator/test_asserted_program.py",
    "evaluator/test_differential.py",
    "evaluator/test_failure_order.py",
    "evaluator/test_load.py",
    "evaluator/test_pool.py",
    "evaluator/test_same_verdict.py",
    "evaluator/test_tricks.py",
    "report/test_page_in_a_browser.py",
    "rewards/test_shared_evaluators.py",
    "rewards/test_verl.py",
    "service/test_serve.py",
    "test_bad_input.py",
    "test_chaos.py",
    "test_cli.py",
    "test_documents.py",
    "test_interrupts.py",
    "test_without_torch.py",
)
"""Files and folders that start models, sandboxes or whole runs; `make test-fast` leaves them out."""

LOOPS = {
    "asyncio": ("asyncio", {"use_uvloop": False}),
    "uvloop": ("asyncio", {"use_uvloop": True}),
}


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The event loop that async tests run on: the command line's."""
    return LOOPS["uvloop"]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One process more than cores: a quarter of the suite's time on the clock is waiting for clocks."""
    return len(os.sched_getaffinity(0)) + 1


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs the tests marked `both_loops` on the standard library's loop as well."""
    if metafunc.definition.get_closest_marker("both_loops") is not None:
        metafunc.parametrize("anyio_backend", LOOPS.values(), ids=LOOPS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests that `make test-fast` leaves out."""
    for item in items:
        path = item.path.relative_to(TESTS)
        if any(path.is_relative_to(slow) for slow in SLOW):
            item.add_marker("slow")
