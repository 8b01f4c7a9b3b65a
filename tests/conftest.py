"""Fixtures every test may use."""

import pytest

LOOPS = {
    "asyncio": ("asyncio", {"use_uvloop": False}),
    "uvloop": ("asyncio", {"use_uvloop": True}),
}


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The event loop that async tests run on: the command line's."""
    return LOOPS["uvloop"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs the tests marked `both_loops` on the standard library's loop as well."""
    if metafunc.definition.get_closest_marker("both_loops") is not None:
        metafunc.parametrize("anyio_backend", LOOPS.values(), ids=LOOPS)
