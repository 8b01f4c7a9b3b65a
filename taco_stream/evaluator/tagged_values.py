"""Python values as JSON that keeps their types apart: a test's arguments and its returned value.

`None`, truth values and texts are themselves; everything else is an object with one key that names its type: an
integer is `{"i": "0x7"}`, a float `{"f": "0x1.8p+0"}` (exact), a list `{"list": […]}`, a dictionary `{"dict": [[key,
value], …]}`. The value that comes back from a test is the program's to forge, so it is rebuilt from plain types and
nothing else.

Values of other types that Python finds equal to plain ones are written as those: a `Fraction`, a `Decimal` and a
`complex` exactly; numpy's scalars, and its arrays of one element, as their content (a `float32` as the float that it
is exactly, which is numpy 1's rule); whatever is registered as an integer or a rational, such as sympy's; mappings, and
`UserList` and `UserString`. No type has to be the real one: a program that forges one returns no
more than the plain value that it could have returned as well.

The standard library only: this is part of every zygote.
"""

from collections import UserList, UserString
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from numbers import Rational
from typing import Any

MAX_DEPTH = 200


def tagged(value: Any, depth: int = 0) -> Any:
    """A value as JSON that keeps Python's types apart; one that equals no plain value is named by its type alone.

    Raises `RecursionError` if it is nested deeper than `MAX_DEPTH`.
    """
    # A limit of our own, the same under any recursion limit that the program has set.
    if depth > MAX_DEPTH:
        raise RecursionError("the returned value is nested too deeply")
    kind = type(value)
    if value is None or kind in (bool, str):
        return value
    # As text: JSON's numbers lose digits in other readers, and cannot be infinite. Hexadecimal floats are exact, and
    # hexadecimal integers are read in linear time: of a million decimal digits, Python makes an integer in 4 s.
    if kind is int:
        return {"i": hex(value)}
    if kind is float:
        return {"f": value.hex()}
    if kind in (list, tuple, set, frozenset):
        return {kind.__name__: [tagged(each, depth + 1) for each in value]}
    if kind is dict:
        return {"dict": [[tagged(key, depth + 1), tagged(each, depth + 1)] for key, each in value.items()]}
    for base, plain in BASES.items():
        if isinstance(value, base):
            return tagged(plain(value), depth + 1)
    if kind is complex:
        return {"complex": [value.real.hex(), value.imag.hex()]}
    return _tagged_other(value, depth + 1)


BASES: dict[type, Callable[[Any], Any]] = {
    int: int.__int__,
    float: float.__float__,
    str: str.__str__,
    list: lambda value: list(list.__iter__(value)),
    tuple: lambda value: tuple(tuple.__iter__(value)),
    set: lambda value: set(set.__iter__(value)),
    frozenset: lambda value: frozenset(frozenset.__iter__(value)),
    dict: lambda value: dict(dict.items(value)),
}
"""Conversions of a derived type's value to the plain type, bypassing the derived type's methods."""


def _tagged_other(value: Any, depth: int) -> Any:
    """The same for a value of none of the plain types."""
    kind = type(value)
    if isinstance(value, Rational):
        numerator, denominator = int(value.numerator), int(value.denominator)
        return {"i": hex(numerator)} if denominator == 1 else {"fraction": [hex(numerator), hex(denominator)]}
    if isinstance(value, Decimal):
        return {"decimal": Decimal.__str__(value)}
    if kind.__module__.partition(".")[0] == "numpy" and value.size == 1:
        content = value.tolist()
        return tagged(float(content) if type(content) is kind else content, depth)  # a `longdouble` holds itself
    if isinstance(value, Mapping):
        return tagged({key: value[key] for key in value}, depth)
    if isinstance(value, (UserList, UserString)):
        return tagged(value.data, depth)
    return {"other": kind.__name__}


def untagged(value: Any) -> Any:
    """The plain value that `tagged` wrote. Raises `ValueError` if it cannot have written that."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if not isinstance(value, dict):
        raise ValueError("a number or list without its type")
    ((kind, content),) = value.items()
    if kind == "i":
        return int(content, 16)
    if kind == "f":
        return float.fromhex(content)
    if kind == "dict":
        return {hashable(untagged(key)): untagged(each) for key, each in content}
    if kind in ("list", "tuple"):
        return {"list": list, "tuple": tuple}[kind](map(untagged, content))
    if kind in ("set", "frozenset"):
        return {hashable(untagged(each)) for each in content}
    if kind in ("fraction", "decimal", "complex"):
        return _number(kind, content)
    raise ValueError(f"a value of type {content} is not a plain value")


def _number(kind: str, content: Any) -> Fraction | Decimal | complex:
    try:
        if kind == "fraction":
            return Fraction(*(int(digits, 16) for digits in content))
        if kind == "complex":
            return complex(*map(float.fromhex, content))
        number = Decimal(content)
    except ArithmeticError as error:
        raise ValueError(f"not a number: {error!r}") from error
    if number.is_snan():  # comparing it raises, where Python's own comparisons of NaN are False
        raise ValueError("a signalling NaN cannot be compared")
    return number


def hashable(value: Any) -> Any:
    """A key or element of a set in hashable form: a forged list counts as a tuple."""
    return tuple(map(hashable, value)) if isinstance(value, (list, tuple)) else value
