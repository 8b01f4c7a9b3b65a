"""Addresses of Ray clusters that cannot be used: said at once, and before ray is asked."""

import socket
import sys
from types import ModuleType

import pytest

from taco_stream.cluster import ray_cluster
from taco_stream.cluster.ray_cluster import check_reachable, connected
from taco_stream.errors import UsageError


@pytest.fixture
def with_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if ray was installed."""
    monkeypatch.setattr(ray_cluster.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'taco-stream\[ray\]'"), connected("local"):
        pass


@pytest.mark.parametrize(
    ("address", "complaint"),
    [
        ("ray://head:10001", "Ray's client is not supported"),
        ("head", "it is auto, local or HOST:PORT"),
        ("head:port", "it is auto, local or HOST:PORT"),
        ("localhost:1", "no Ray cluster can be reached at localhost:1: "),
        ("localhost:99999", "no Ray cluster can be reached at localhost:99999"),
    ],
)
def test_an_address_that_is_none_is_a_usage_error(with_ray: None, address: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint), connected(address):
        pass


def test_an_environment_that_names_a_dead_cluster_is_a_usage_error(
    with_ray: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "localhost:1")
    with pytest.raises(UsageError, match="localhost:1"), connected("auto"):
        pass


def test_a_port_that_is_listened_at_is_reachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        check_reachable(f"127.0.0.1:{server.getsockname()[1]}")
