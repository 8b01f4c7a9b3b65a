"""Cores: what this process may use, and how generating and judging share it."""

import os

import pytest

from taco_stream.cores import available_cores, generating_cores


def test_only_cores_that_this_process_may_run_on_count() -> None:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert available_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize(("cores", "alone", "beside"), [(1, 1, 1), (2, 2, 1), (3, 3, 1), (16, 16, 8)])
def test_judging_is_left_half_of_the_cores(
    monkeypatch: pytest.MonkeyPatch, cores: int, alone: int, beside: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    assert generating_cores(is_judged=False) == alone
    assert generating_cores(is_judged=True) == beside
