"""Pickles as data: plain values come back, and nothing else is read, run or allocated."""

import os
import pickle
import struct
import subprocess
import sys
import tracemalloc
from collections import OrderedDict
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taco_stream.service.pickled_data import MAX_INSTRUCTIONS, PickleError, read_pickle

texts = st.text(st.characters(), max_size=300)  # surrogates too: Python's texts may have them
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
plain = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(texts, inner, max_size=4)
        | st.lists(inner, max_size=5).map(tuple)
        | inner.map(lambda value: [value, value])  # the second is a recall from the memo
    ),
)


@given(plain, st.integers(2, 5))
def test_plain_values_come_back(value: Any, protocol: int) -> None:
    assert read_pickle(pickle.dumps(value, protocol)) == value


def test_large_values_come_back() -> None:
    value = ["x" * 70_000, 1 << 5_000, -(1 << 5_000), ["z"] * 3_000, {str(n): n for n in range(3_000)}]
    for protocol in range(2, 6):
        assert read_pickle(pickle.dumps(value, protocol)) == value


@given(st.binary(max_size=60), st.integers(2, 5))
def test_arbitrary_bytes_are_a_value_or_an_error(rest: bytes, protocol: int) -> None:
    with suppress(PickleError):
        read_pickle(b"\x80" + bytes([protocol]) + rest)


@given(plain, st.data())
def test_a_pickle_that_is_cut_is_an_error(value: Any, data: st.DataObject) -> None:
    whole = pickle.dumps(value)
    with pytest.raises(PickleError):
        read_pickle(whole[: data.draw(st.integers(0, len(whole) - 1))])


class Calls:
    """Pickled, a call of `os.system`."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch /tmp/must-not-exist",)


class State:
    """Pickled, an instance with a state."""

    def __init__(self) -> None:
        self.a = 1


@pytest.mark.parametrize("value", [Calls(), State(), Decimal(1), OrderedDict(a=1), os.system, State, {1, 2}, 1j, b"x"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_whatever_is_named_is_refused(value: Any, protocol: int) -> None:
    with pytest.raises(PickleError, match=r"a global|has the instruction"):
        read_pickle(pickle.dumps([value], protocol))


@pytest.mark.parametrize(
    "hostile",
    [
        b"\x80\x04cos\nsystem\n.",
        b"\x80\x04ios\nsystem\n.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
        b"\x80\x04N)R.",
        b"\x80\x04N}b.",
        b"\x80\x04(N)o.",
        b"\x80\x04N)\x81.",
        b"\x80\x04\x82\x01.",
        b"\x80\x04\x84\x01\x00\x00\x00.",
        b"\x80\x04NQ.",
        b"\x80\x04P0\n.",
    ],
)
def test_every_instruction_that_imports_or_calls_is_refused(hostile: bytes) -> None:
    with pytest.raises(PickleError, match="a global"):
        read_pickle(hostile)


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"\x80",
        b"\x80\x04",
        b"\x80\x04.",
        b"\x80\x04(.",
        b"\x80\x04NN.",
        b"\x80\x04N.N",
        b"\x80\x00N.",
        b"(lp0\n.",  # protocol 0
        b"\x80\x04a.",
        b"\x80\x04]a.",
        b"\x80\x04NNa.",
        b"\x80\x04](a.",
        b"\x80\x04]NNe.",
        b"\x80\x04}(NNu.",
        b"\x80\x04}(\x8c\x01au.",
        b"\x80\x04}N\x8c\x01a\x86Ns.",  # a tuple is not a key
        b"\x80\x04}K\x01Ns.",  # nor a number
        b"\x80\x04N\x86.",
        b"\x80\x04(N\x86.",
        b"\x80\x04t.",
        b"\x80\x04\x94.",
        b"\x80\x04h\x00.",
        b"\x80\x04\x8c\x01\xff.",
        b"\x80\x04\x8b\xff\xff\xff\xff.",  # a negative length
    ],
)
def test_broken_pickles_are_errors(broken: bytes) -> None:
    with pytest.raises(PickleError):
        read_pickle(broken)


@pytest.mark.parametrize(
    "greedy",
    [
        b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"x.",  # bytes of an exabyte
        b"\x80\x04\x8d" + struct.pack("<Q", 1 << 40) + b"x.",
        b"\x80\x04\x8b" + struct.pack("<i", 0x7FFFFFFF) + b"x.",  # an integer of two gigabytes
        b"\x80\x04X" + struct.pack("<I", 0xFFFFFFFF) + b"x.",
        b"\x80\x04\x96" + struct.pack("<Q", 1 << 40) + b"x.",  # a bytearray
        b"\x80\x04Nr\xff\xff\xff\xff0.",  # a memo of four billion places
        b"\x80\x04\x95" + b"\xff" * 8 + b"x.",  # a frame
    ],
)
def test_what_a_pickle_announces_is_not_allocated(greedy: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(PickleError):
            read_pickle(greedy)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("instruction", [b"]", b"N\x94", b"(", b"\x94"])
def test_instructions_are_counted(instruction: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_INSTRUCTIONS <= 2_000_000
    monkeypatch.setattr("taco_stream.service.pickled_data.MAX_INSTRUCTIONS", 2_000)
    with pytest.raises(PickleError, match="more than 2,000 instructions"):
        read_pickle(b"\x80\x04N" + instruction * 2_000)


DEEP = """
import resource
from taco_stream.service.pickled_data import read_pickle
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
for nest in (b"\\x85", b"\\x85\\x94"):
    value = read_pickle(b"\\x80\\x04)" + nest * 200_000 + b".")
    depth = 0
    while value:
        value, depth = value[0], depth + 1
    print(depth)
"""


def test_deep_nesting_overflows_nothing() -> None:
    """In a process of its own, which an overflow would end."""
    done = subprocess.run([sys.executable, "-c", DEEP], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.split()) == (0, ["200000", "200000"]), done.stderr[-500:]


def test_a_recursive_list_is_read() -> None:
    """What callers do with it is their business; they look at a known depth only."""
    value: list[Any] = []
    value.append(value)
    read = read_pickle(pickle.dumps(value))
    assert read[0] is read
