"""Statistics as a page of Prometheus' text format: every number in a struct, with what it is of as labels.

The name of a figure is that of its field behind those of the structs around it. All are given out as gauges, though
some only rise.
"""

from collections.abc import Iterator
from itertools import chain

import msgspec

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def render(prefix: str, statistics: msgspec.Struct) -> str:
    """The page: every number in the statistics, each name behind the prefix."""
    families: dict[str, list[str]] = {}
    for name, labels, value in _figures(prefix, statistics):
        quoted = ",".join(f'{label}="{_escape(text)}"' for label, text in labels.items())
        line = f"{name}{{{quoted}}} {value!r}" if quoted else f"{name} {value!r}"
        # The lines of a metric have to follow each other, and come device by device.
        families.setdefault(name, [f"# TYPE {name} gauge"]).append(line)
    return "\n".join([*chain.from_iterable(families.values()), ""])


def _figures(prefix: str, struct: msgspec.Struct) -> Iterator[tuple[str, dict[str, str], float]]:
    for field in struct.__struct_fields__:
        name, value = f"{prefix}_{field}", getattr(struct, field)
        match value:
            case bool() | int() | float():
                yield name, {}, float(value)
            case msgspec.Struct():
                yield from _figures(name, value)
            case dict():
                yield from ((name, {"process": kind}, float(each)) for kind, each in value.items())
            case tuple():
                for index, device in enumerate(value):
                    for each, labels, figure in _figures(name.removesuffix("s"), device):
                        yield each, {"device": str(index), **labels}, figure
            case _:  # a text, or not known yet
                pass


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
