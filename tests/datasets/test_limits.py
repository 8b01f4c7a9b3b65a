"""Limits are read however the problem setter wrote them."""

import pytest

from taco_stream.datasets.limits import parse_bytes, parse_seconds
from taco_stream.datasets.rows import RowError, Value


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
        ("0 seconds", None),
    ],
)
def test_time_limit(value: Value, seconds: float | None) -> None:
    assert parse_seconds(value) == seconds


@pytest.mark.parametrize(
    "value", [-3, -0.5, "-3", "- 2 seconds", "abc seconds", "3 apples", float("-inf"), 1e308, int(400 * "9"), 400 * "9"]
)
def test_what_cannot_be_a_time_limit_is_refused(value: Value) -> None:
    with pytest.raises(RowError, match="is not a time"):
        parse_seconds(value)


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
        (1e308, 1 << 50),
        (int(400 * "9"), 1 << 50),
    ],
)
def test_memory_limit(value: Value, size: int | None) -> None:
    assert parse_bytes(value) == size
