"""Which CUDA devices a worker sees: its own and no other.

A library that asks for the current device, or for all of them, then gets the right one: an event that is recorded
without naming a stream, say, is recorded on the current device's, and on another device than the worker's that stream
is idle, so the event has happened before the worker's copies have. Knows no torch.
"""

import itertools
from collections.abc import Mapping

from taco_stream.errors import UsageError

VARIABLE = "CUDA_VISIBLE_DEVICES"
"""Read by the driver when a process first uses it: a list of numbers, of names such as GPU-8932f937-…, or of MIG-…."""


def device_environment(device: str, inherited: Mapping[str, str]) -> dict[str, str]:
    """The environment in which a process sees `device` alone: `cpu`, `cuda` or `cuda:N`. Other names change nothing.

    `N` counts the devices that the inherited environment shows. Raises `UsageError` if it shows no such device.
    """
    kind, _, number = device.partition(":")
    if kind == "cpu":
        return {**inherited, VARIABLE: ""}
    if kind != "cuda" or not (number or "0").isdecimal():
        return dict(inherited)
    index = int(number or "0")
    if VARIABLE not in inherited:
        return {**inherited, VARIABLE: str(index)}
    names = [name.strip() for name in inherited[VARIABLE].split(",")]
    # The driver stops at the first entry that is not a device, for which -1 is customary.
    shown = list(itertools.takewhile(lambda name: name and not name.startswith("-"), names))
    if index >= len(shown):
        raise UsageError(f"the device {device} does not exist: {VARIABLE} shows {len(shown)} devices")
    return {**inherited, VARIABLE: shown[index]}
