"""Without a connection the hub is asked once, and for seconds."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from huggingface_hub import constants

from taco_stream import hub_access
from taco_stream.datasets import hub
from taco_stream.engine.worker import model_folder
from taco_stream.errors import DatasetError


@pytest.fixture(autouse=True)
def online(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    hub_access.use_cache_alone_if_unreachable.cache_clear()
    yield
    hub_access.use_cache_alone_if_unreachable.cache_clear()


def is_offline_with(address: str, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(constants, "ENDPOINT", address)
    hub_access.use_cache_alone_if_unreachable()
    return constants.HF_HUB_OFFLINE


def test_a_hub_that_answers_is_used_whatever_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:  # answers 501
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert not is_offline_with(f"http://127.0.0.1:{server.server_port}", monkeypatch)
        server.shutdown()


def test_an_address_that_refuses_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and does not listen
        assert is_offline_with(f"http://127.0.0.1:{unused.getsockname()[1]}", monkeypatch)


def test_an_address_that_is_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_access, "SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert is_offline_with(f"http://127.0.0.1:{silent.getsockname()[1]}", monkeypatch)


def test_models_and_datasets_are_looked_for_in_the_cache_then(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def unreachable() -> None:
        asked.append("asked")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    for module in (hub, model_folder):
        monkeypatch.setattr(module, "use_cache_alone_if_unreachable", unreachable)
    assert model_folder.model_place("no/such-model") == "no/such-model"
    with pytest.raises(DatasetError, match=r"^no/such-set is not in the local cache and the hub cannot be reached"):
        hub.fetch(hub.HubReference("no/such-set"), "test")
    assert asked == ["asked", "asked"]
