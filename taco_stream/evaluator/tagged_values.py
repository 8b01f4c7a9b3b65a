"""Python values as JSON that keeps their types apart: arguments on their way into a test, and what it returns.

`None`, truth values and texts are themselves; everything else is an object with one key that names its type: an
integer is `{"i": "7"}`, a float `{"f": "0x1.8p+0"}` (exact), a list `{"list": […]}`, a dictionary `{"dict": [[key,
value], …]}`. What comes back from a test is the program's to forge, so it is rebuilt from plain types and nothing else.

The standard library only: this is part of every zygote.
"""

from typing import Any


def tagged(value: Any, depth: int = 0) -> Any:
    """A value as JSON that keeps Python's types apart; what is no plain value is named by its type alone."""
    if depth > 200:
        raise RecursionError("the returned value is nested too deeply")
    kind = type(value)
    if value is None or kind in (bool, str):
        return value
    if kind is int:
        return {"i": str(value)}
    if kind is float:
        return {"f": value.hex()}
    if kind in (list, tuple, set, frozenset):
        return {kind.__name__: [tagged(each, depth + 1) for each in value]}
    if kind is dict:
        return {"dict": [[tagged(key, depth + 1), tagged(each, depth + 1)] for key, each in value.items()]}
    for base in (int, float, str, list, tuple, set, frozenset, dict):
        if isinstance(value, base):
            return tagged(base(value), depth + 1)  # type: ignore[arg-type]
    return {"other": kind.__name__}


def untagged(value: Any) -> Any:
    """The plain value that `tagged` wrote. Raises `ValueError` if it cannot have written that."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if not isinstance(value, dict):
        raise ValueError("a number or list without its type")
    ((kind, content),) = value.items()
    if kind == "i":
        return int(content)
    if kind == "f":
        return float.fromhex(content)
    if kind == "dict":
        return {hashable(untagged(key)): untagged(each) for key, each in content}
    if kind in ("list", "tuple"):
        return {"list": list, "tuple": tuple}[kind](map(untagged, content))
    if kind in ("set", "frozenset"):
        return {hashable(untagged(each)) for each in content}
    raise ValueError(f"a value of type {content} is no plain value")


def hashable(value: Any) -> Any:
    """A key or element of a set as it can stand there: a forged list counts as a tuple."""
    return tuple(map(hashable, value)) if isinstance(value, (list, tuple)) else value
