"""Each worker sees one device, whatever its parent sees and however that is written."""

import os
from typing import Any

import anyio
import pytest
import torch

from taco_stream.engine.local.worker_handle import WorkerHandle
from taco_stream.engine.protocol import Load
from taco_stream.engine.visible_devices import VARIABLE, device_environment
from taco_stream.engine.worker.__main__ import _with_one_device
from taco_stream.engine.worker.checkpoint import choose_device
from taco_stream.errors import ModelError, UsageError

UUIDS = "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6, MIG-e86cb44a-6756-30fd-8d59-3cd6ef8b0a7a"


@pytest.mark.parametrize(
    ("device", "inherited", "shown"),
    [
        ("cuda", None, "0"),
        ("cuda:0", None, "0"),
        ("cuda:3", None, "3"),
        ("cuda:1", "4,6", "6"),
        ("cuda", " 5 ,2", "5"),
        ("cuda:0", UUIDS, "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"),
        ("cuda:1", UUIDS, "MIG-e86cb44a-6756-30fd-8d59-3cd6ef8b0a7a"),
        ("cpu", "0,1", ""),
        ("cpu", None, ""),
        ("auto", "0,1", "0,1"),
        ("auto", None, None),
        ("abacus", None, None),
    ],
)
def test_a_worker_sees_its_own_device_alone(device: str, inherited: str | None, shown: str | None) -> None:
    environment = {"PATH": "/bin"} | ({} if inherited is None else {VARIABLE: inherited})
    assert device_environment(device, environment) == {"PATH": "/bin"} | ({} if shown is None else {VARIABLE: shown})


@pytest.mark.parametrize(("inherited", "count"), [("", 0), ("3", 1), ("0,-1,2", 1), ("-1", 0), ("4,,5", 1)])
def test_a_device_that_the_environment_hides_does_not_exist(inherited: str, count: int) -> None:
    with pytest.raises(UsageError, match=f"cuda:1 does not exist: {VARIABLE} shows {count} devices"):
        device_environment("cuda:1", {VARIABLE: inherited})


def test_auto_settles_on_the_first_device_of_those_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker does it itself, before the driver has read the environment."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setenv(VARIABLE, "5,6,7")
    load, devices = _with_one_device(Load(model="m", device="auto"))
    assert (load.device, load.sees_one_device, devices, os.environ[VARIABLE]) == ("cuda:0", True, 3, "5")


def test_a_device_by_any_number_is_the_first_that_a_worker_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert choose_device("cuda:6", sees_one_device=True) == torch.device("cuda", 0)
    with pytest.raises(UsageError, match="cuda:6 does not exist: torch sees 1 CUDA devices"):
        choose_device("cuda:6")


@pytest.mark.anyio
async def test_a_workers_process_is_started_with_its_device_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    started: dict[str, Any] = {}

    async def open_process(command: list[str], **settings: Any) -> None:
        started.update(settings, command=command)
        raise OSError("no more processes")

    monkeypatch.setattr(anyio, "open_process", open_process)
    monkeypatch.setenv(VARIABLE, "GPU-a,GPU-b")
    with pytest.raises(ModelError, match="no worker can be started: no more processes"):
        await WorkerHandle(Load(model="m", device="cuda:1")).prepare()
    assert started["env"][VARIABLE] == "GPU-b"
    assert "-P" in started["command"]
