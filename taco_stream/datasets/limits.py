"""Time and memory limits as problem setters write them."""

import math
import re

from taco_stream.datasets.rows import RowError, Value

_QUANTITY = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*([a-zA-Z]*)")

_NEGATIVE = re.compile(r"\s*-")
_MEANT = re.compile(r"[1-9]|^\D*\b(?:ms|sec|second|minute|min)", re.IGNORECASE)
"""A number or a unit in a text of which no limit could be read, but was meant to be."""

_MAX_SECONDS = 86_400
_MAX_BYTES = 1 << 50
"""More than any machine has, and few enough for the kernel's counters."""

_SECONDS = {"": 1.0, "s": 1.0, "sec": 1.0, "secs": 1.0, "second": 1.0, "seconds": 1.0}
_SECONDS |= {"ms": 1e-3, "millisecond": 1e-3, "milliseconds": 1e-3, "m": 60.0, "min": 60.0, "minutes": 60.0}

_BYTES = {"b": 1, "byte": 1, "bytes": 1, "k": 1 << 10, "kb": 1 << 10, "kib": 1 << 10}
_BYTES |= {"kilobyte": 1 << 10, "kilobytes": 1 << 10}
_BYTES |= dict.fromkeys(("", "m", "mb", "mib", "megabyte", "megabytes"), 1 << 20)
_BYTES |= dict.fromkeys(("g", "gb", "gib", "gigabyte", "gigabytes"), 1 << 30)


def parse_seconds(value: Value) -> float | None:
    """Seconds of `2`, `"2.0 s"`, `"500 ms"`, `"1 - 2 seconds"` (the larger); None if no limit is stated.

    Raises `RowError` if the text is not a time: a negative number, more than a day, a unit alone, or a number of
    something else.
    """
    seconds = _largest(value, _SECONDS)
    if isinstance(value, str):
        is_wrong = bool(_NEGATIVE.match(value) or (seconds is None and _MEANT.search(value)))
    else:
        is_wrong = isinstance(value, int | float) and value < 0
    if is_wrong or (seconds or 0) > _MAX_SECONDS:
        raise RowError(f"the time limit is {value!r}, which is not a time")
    return seconds


def parse_bytes(value: Value) -> int | None:
    """Bytes of `256` (megabytes, of 2**20 as judges count), `"256 megabytes"`, `"65536 KB"`; None without a limit."""
    limit = _largest(value, {name: float(size) for name, size in _BYTES.items()})
    return None if limit is None else int(min(limit, _MAX_BYTES))


def _largest(value: Value, units: dict[str, float]) -> float | None:
    """The largest quantity named; a number without a unit takes the next one's, or the plain number's unit."""
    if isinstance(value, bool | bytes) or value is None:
        return None
    if isinstance(value, int | float):
        # An integer may have any number of digits, and a float cannot hold more than 308.
        limit = min(value, 10**18) * units[""]
    else:
        # "1 - 2 seconds": the number without a unit takes that of the next.
        found = [(float(number), unit.lower()) for number, unit in _QUANTITY.findall(value)]
        common = next((unit for _, unit in reversed(found) if unit in units), "")
        limit = max((number * units.get(unit or common, math.nan) for number, unit in found), default=math.nan)
    return limit if math.isfinite(limit) and limit > 0 else None
