"""Plug-ins: engines, datasets and export formats of other distributions, found by entry point.

A distribution names a callable under one of the groups of `PlugInKind`:

    [project.entry-points."taco_stream.datasets"]
    mybench = "my_package.taco:problems"

A plug-in is looked up if its name is unknown here, never before, and imported when it is used: one that is broken or
slow to import costs those who do not use it nothing. It cannot take the place of anything that taco-stream has itself.
"""

import importlib.metadata
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

from taco_stream.errors import TacoStreamError, UsageError

Item = TypeVar("Item")


class PlugInKind(StrEnum):
    """What a plug-in adds; the values are the groups of its entry points."""

    ENGINE = "taco_stream.engines"
    DATASET = "taco_stream.datasets"
    FORMAT = "taco_stream.formats"


class PlugIn(NamedTuple):
    """One plug-in and the distribution that it comes from, as `NAME VERSION`."""

    kind: PlugInKind
    entry: importlib.metadata.EntryPoint
    distribution: str

    def call(self, *arguments: Any, **named: Any) -> Any:
        """What the plug-in returns.

        Raises `UsageError` that names the distribution if it cannot be imported or fails; errors of taco-stream's own
        kinds are the plug-in's to raise.
        """
        try:
            function = self.entry.load()
            return function(*arguments, **named)
        except TacoStreamError:
            raise
        except Exception as error:  # another's code
            raise self._failed(error) from error

    def watch(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items that a plug-in yields, with its failures as in `call`."""
        try:
            yield from items
        except TacoStreamError:
            raise
        except Exception as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> UsageError:
        return UsageError(f"the plug-in {self.entry.name} of {self.distribution} failed: {error!r}")


def find_plug_in(kind: PlugInKind, name: str) -> PlugIn | None:
    """The plug-in of that name, not imported yet. Raises `UsageError` if several distributions have one."""
    found = [each for each in list_plug_ins(kind) if each.entry.name == name]
    if len({each.distribution for each in found}) > 1:
        names = " and ".join(sorted(each.distribution for each in found))
        raise UsageError(f"the plug-in {name} is in {names}: uninstall all but one")
    return found[0] if found else None


def list_plug_ins(*kinds: PlugInKind) -> list[PlugIn]:
    """Those installed, of all kinds if none is named. Reads the metadata of every distribution, and imports nothing."""
    found = []
    for kind in kinds or PlugInKind:
        for entry in importlib.metadata.entry_points(group=kind):
            distribution = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown distribution"
            found.append(PlugIn(kind, entry, distribution))
    return found
