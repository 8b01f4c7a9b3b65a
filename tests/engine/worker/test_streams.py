"""What the CUDA path asks of `torch.cuda`, seen by a stand-in, since few machines have a second device, or any."""

import warnings
from typing import Any, NamedTuple

import pytest
import torch

from taco_stream.engine.worker.fixed_decode import _waiting_is_an_error
from taco_stream.engine.worker.model_runner import ModelRunner
from taco_stream.engine.worker.scheduler import Step


class Stream(NamedTuple):
    device: torch.device


class Event:
    """Recorded, without a stream, on the current device's; which is the first, since nobody chooses another."""

    def __init__(self) -> None:
        self.stream: Stream | None = None

    def record(self, stream: Stream | None = None) -> None:
        self.stream = stream or current_stream()


def current_stream(device: torch.device | None = None) -> Stream:
    return Stream(device or torch.device("cuda", 0))


class OnSecondDevice(torch.Tensor):
    """A tensor that says that it is on `cuda:1`."""

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return torch.device("cuda", 1)


def test_tokens_have_arrived_when_the_device_that_sent_them_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = torch.empty

    def unpinned(*shape: Any, pin_memory: bool = False, **settings: Any) -> torch.Tensor:
        return empty(*shape, **settings)

    monkeypatch.setattr(torch, "empty", unpinned)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", current_stream)
    tokens = torch.tensor([5, 7]).as_subclass(OnSecondDevice)
    runner = ModelRunner.__new__(ModelRunner)  # one that is made whole allocates on its device
    launched = runner._send(Step([], [], [], []), [tokens])
    assert isinstance(launched.arrival, Event)
    assert launched.arrival.stream == Stream(torch.device("cuda", 1))


def test_warnings_of_a_mode_of_torchs_do_not_end_a_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[str] = []

    def set_mode(mode: str) -> None:
        if not modes:
            warnings.warn("Synchronization debug mode is a prototype feature", stacklevel=2)
        modes.append(mode)

    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", set_mode)
    with _waiting_is_an_error():
        assert modes == ["error"]
    assert modes == ["error", "default"]
