"""Each worker sees one device, whatever its parent sees and however that is written."""

import pytest

from taco_stream.engine.visible_devices import VARIABLE, environment_of
from taco_stream.errors import UsageError

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
    assert environment_of(device, environment) == {"PATH": "/bin"} | ({} if shown is None else {VARIABLE: shown})


@pytest.mark.parametrize(("inherited", "count"), [("", 0), ("3", 1), ("0,-1,2", 1), ("-1", 0), ("4,,5", 1)])
def test_a_device_that_the_environment_hides_does_not_exist(inherited: str, count: int) -> None:
    with pytest.raises(UsageError, match=f"cuda:1 does not exist: {VARIABLE} shows {count} devices"):
        environment_of("cuda:1", {VARIABLE: inherited})
