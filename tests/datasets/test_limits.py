"""Limits are read however the problem setter wrote them."""

import pytest

from taco_stream.datasets.limits import parse_bytes, parse_seconds
from taco_stream.datasets.rows import Value


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (2, 2.0),
        (0.5, 0.5),
        ("2 seconds", 2.0),
        ("2.0 s", 2.0),
        ("1 second", 1.0),
        ("1.5", 1.5),
        ("500 ms", 0.5),
        ("0.5 - 1 seconds", 1.0),
        ("500 - 1000 ms", 1.0),
        ("2s", 2.0),
        ("", None),
        ("none stated", None),
        (None, None),
        (0, None),
        (float("nan"), None),
        (True, None),
        ("3 apples", None),
    ],
)
def test_time_limit(value: Value, seconds: float | None) -> None:
    assert parse_seconds(value) == seconds


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (256, 256 << 20),
        ("256 megabytes", 256 << 20),
        ("256.0 megabytes", 256 << 20),
        ("65536 KB", 64 << 20),
        ("65536K", 64 << 20),
        ("1 GB", 1 << 30),
        ("128 MiB", 128 << 20),
        ("null", None),
        (None, None),
        (-1, None),
    ],
)
def test_memory_limit(value: Value, size: int | None) -> None:
    assert parse_bytes(value) == size
