"""Reads pickles as data: lists, tuples, dictionaries by text, texts, numbers, booleans and None, and nothing else.

open-instruct's datasets hold tests as `base64(zlib(pickle.dumps(tests)))`. A pickle is a program for a machine with a
stack and a memo; `pickle.loads` runs it, and lets it import and call anything. An `Unpickler` that refuses to import is
still no reader for strangers: it allocates the memory that a length in front of a value asks for, and the memo up to
any index. So this is a machine of its own, with only those instructions that `pickle.dumps` writes for plain values.

Promised: it imports and calls nothing, and it takes time and memory proportional to the pickle's length. A value of
`n` bytes is read only if there are `n` bytes left; instructions are counted, because one of a single byte makes an
object of fifty; and nothing recurses, however deep the values are nested (which is why a tuple is no key: its hash
does).

Not promised: that a value is small when written out. The memo lets one list stand in another twice, that one in a third
twice, and so on, so callers look at values of known depth only, or count what they copy.

Instructions and protocols: CPython's `Lib/pickletools.py`. Protocols 2 to 5, of which Python has written 2 or later by
default since 3.0.
"""

import struct
from collections.abc import Callable
from typing import Any, Final

MAX_INSTRUCTIONS = 2_000_000
"""Ten thousand tests take about 100,000. So many take about a second, and an empty list each 112 MB."""


GLOBAL = "the pickle names a class or a function (a global); only plain values are read, and nothing is imported"


class PickleError(ValueError):
    """The bytes are not a pickle of plain values; the message is one sentence."""


def read_pickle(data: bytes) -> Any:
    """The value in a pickle of protocol 2 to 5. Raises `PickleError` if it is not plain, broken, or too large."""
    machine = _Machine(data)
    try:
        return machine.run()
    except PickleError:
        raise
    # What broken pickles do to it: a stack or a memo without the value, a key without one, a text that is not UTF-8.
    except (IndexError, KeyError, ValueError) as error:
        raise PickleError(f"the pickle is broken: {type(error).__name__}: {error}") from error


_MARK: Final = object()
_STOP: Final = ord(b".")


class _Machine:
    """The stack, the memo, and how far the pickle has been read."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        if self._data[:1] != b"\x80" or self._data[1:2] not in (b"\x02", b"\x03", b"\x04", b"\x05"):
            raise PickleError("the data is not a pickle of protocol 2 to 5")
        for _ in range(MAX_INSTRUCTIONS):
            if (code := self._take(1)[0]) == _STOP:
                return self._result()
            instruction = _INSTRUCTIONS.get(code)
            if instruction is None:
                raise PickleError(GLOBAL if code in _NAMING else f"the pickle has the instruction {bytes([code])!r}")
            instruction(self)
        raise PickleError(f"the pickle has more than {MAX_INSTRUCTIONS:,} instructions")

    def _result(self) -> Any:
        value = self._stack.pop()
        if self._stack or value is _MARK or self._at != len(self._data):
            raise PickleError("the pickle is broken: something is left over at its end")
        return value

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def read_number(self, layout: struct.Struct) -> Any:
        return layout.unpack(self._take(layout.size))[0]

    def read_text(self, length: struct.Struct) -> None:
        # As `pickle` decodes it: a lone surrogate is possible in a text of Python.
        self.push(self._take(self.read_number(length)).decode("utf-8", "surrogatepass"))

    def read_integer(self, length: struct.Struct) -> None:
        self.push(int.from_bytes(self._take(self.read_number(length)), "little", signed=True))

    def skip_frame(self) -> None:
        """A frame groups instructions for readers of files; its length says nothing that is needed here."""
        self.read_number(_UINT64)

    def skip_protocol(self) -> None:
        self._take(1)

    def push_mark(self) -> None:
        self.push(_MARK)

    def push_tuple(self, size: int) -> None:
        items = self._stack[len(self._stack) - size :]
        if len(items) < size or _MARK in items:
            raise PickleError("the pickle is broken: a tuple lacks values")
        del self._stack[len(self._stack) - size :]
        self.push(tuple(items))

    def push_marked_tuple(self) -> None:
        self.push(tuple(self._above_mark()))

    def append(self) -> None:
        value = self._pop()
        self._top(list).append(value)

    def appends(self) -> None:
        values = self._above_mark()
        self._top(list).extend(values)

    def set_item(self) -> None:
        value, key = self._pop(), self._pop()
        self._set([key], [value])

    def set_items(self) -> None:
        values = self._above_mark()
        self._set(values[::2], values[1::2])

    def remember(self, index: int | None = None) -> None:
        self._memo[len(self._memo) if index is None else index] = self._stack[-1]

    def recall(self, index: int) -> None:
        self.push(self._memo[index])

    def _take(self, count: int) -> bytes:
        end = self._at + count
        # A negative length would read again what has been read.
        if count < 0 or end > len(self._data):
            raise PickleError("the pickle is broken: it ends within a value")
        taken, self._at = self._data[self._at : end], end
        return taken

    def _set(self, keys: list[Any], values: list[Any]) -> None:
        # A deep tuple's hash would overflow the stack of C, and numbers can be chosen to collide.
        if not all(type(key) is str for key in keys):
            raise PickleError("the pickle has a dictionary with keys that are not texts")
        self._top(dict).update(zip(keys, values, strict=True))

    def _pop(self) -> Any:
        value = self._stack.pop()
        if value is _MARK:
            raise PickleError("the pickle is broken: a value is missing")
        return value

    def _top(self, kind: type) -> Any:
        if type(self._stack[-1]) is not kind:
            raise PickleError(f"the pickle is broken: it adds to something that is not a {kind.__name__}")
        return self._stack[-1]

    def _above_mark(self) -> list[Any]:
        start = len(self._stack) - 1
        while self._stack[start] is not _MARK:
            start -= 1
            if start < 0:
                raise PickleError("the pickle is broken: a mark is missing")
        values = self._stack[start + 1 :]
        del self._stack[start:]
        return values


_UINT8, _UINT16, _UINT32, _UINT64 = (struct.Struct(f"<{letter}") for letter in "BHIQ")
_INT32, _FLOAT = struct.Struct("<i"), struct.Struct(">d")

_INSTRUCTIONS: dict[int, Callable[[_Machine], None]] = {
    code[0]: instruction
    for code, instruction in {
        b"\x80": _Machine.skip_protocol,
        b"\x95": _Machine.skip_frame,
        b"(": _Machine.push_mark,
        b"N": lambda machine: machine.push(None),
        b"\x88": lambda machine: machine.push(True),
        b"\x89": lambda machine: machine.push(False),
        b"K": lambda machine: machine.push(machine.read_number(_UINT8)),
        b"M": lambda machine: machine.push(machine.read_number(_UINT16)),
        b"J": lambda machine: machine.push(machine.read_number(_INT32)),
        b"\x8a": lambda machine: machine.read_integer(_UINT8),
        b"\x8b": lambda machine: machine.read_integer(_INT32),
        b"G": lambda machine: machine.push(machine.read_number(_FLOAT)),
        b"\x8c": lambda machine: machine.read_text(_UINT8),
        b"X": lambda machine: machine.read_text(_UINT32),
        b"\x8d": lambda machine: machine.read_text(_UINT64),
        b"]": lambda machine: machine.push([]),
        b"a": _Machine.append,
        b"e": _Machine.appends,
        b"}": lambda machine: machine.push({}),
        b"s": _Machine.set_item,
        b"u": _Machine.set_items,
        b")": lambda machine: machine.push(()),
        b"\x85": lambda machine: machine.push_tuple(1),
        b"\x86": lambda machine: machine.push_tuple(2),
        b"\x87": lambda machine: machine.push_tuple(3),
        b"t": _Machine.push_marked_tuple,
        b"\x94": _Machine.remember,
        b"q": lambda machine: machine.remember(machine.read_number(_UINT8)),
        b"r": lambda machine: machine.remember(machine.read_number(_UINT32)),
        b"h": lambda machine: machine.recall(machine.read_number(_UINT8)),
        b"j": lambda machine: machine.recall(machine.read_number(_UINT32)),
    }.items()
}

_NAMING = b"cio\x81\x82\x83\x84\x92\x93RbPQ"
"""Instructions that import, call, or hand over to the application."""
