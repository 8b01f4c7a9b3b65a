"""Each layer does its part alone, as seen from inside a throw-away interpreter that has entered it."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ordinary_user import NOBODY, as_user

import taco_stream
from taco_stream.evaluator.sandbox.confine import enter_zygote
from taco_stream.evaluator.sandbox.plan import RLIMITS_ONLY, Layer
from taco_stream.evaluator.sandbox.probe import available_plans, layers_that_work

PACKAGE_PARENT = Path(taco_stream.__file__).resolve().parents[1]

ENTER = """
import sys
sys.path.insert(0, sys.argv[1])
from taco_stream.evaluator.sandbox.confine import enter_zygote
from taco_stream.evaluator.sandbox.plan import SandboxPlan
import errno, os, socket, ctypes
enter_zygote(SandboxPlan.from_tier(sys.argv[2]), sys.argv[3], "")
def outcome(action):
    try:
        return str(action())
    except OSError as error:
        return errno.errorcode[error.errno]
"""


@pytest.fixture
def scratch() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        yield folder


def inside(layer: Layer | str, action: str, scratch: str) -> str:
    """What `action`, an expression, comes to in an interpreter under the layer: its value or its error's name."""
    text = f"{ENTER}\nos.write(1, outcome(lambda: {action}).encode())"
    command = [sys.executable, "-I", "-S", "-c", text, str(PACKAGE_PARENT), str(layer), scratch]
    done = subprocess.run(command, capture_output=True, timeout=550, check=True)
    return done.stdout.decode()


def needs(layer: Layer) -> None:
    if layer not in layers_that_work():
        pytest.skip(f"this machine does not offer {layer}")


def test_landlock_hides_files_outside_the_library(scratch: str) -> None:
    needs(Layer.LANDLOCK)
    assert inside(Layer.LANDLOCK, "open('/etc/passwd').read()", scratch) == "EACCES"


def test_landlock_leaves_the_library_readable_and_not_writable(scratch: str) -> None:
    needs(Layer.LANDLOCK)
    assert inside(Layer.LANDLOCK, "len(open(os.__file__).read()) > 1000", scratch) == "True"
    assert inside(Layer.LANDLOCK, "open(os.__file__, 'a')", scratch) == "EACCES"


def test_landlock_executes_nothing(scratch: str) -> None:
    needs(Layer.LANDLOCK)
    assert inside(Layer.LANDLOCK, "os.execv('/bin/true', ['true'])", scratch) == "EACCES"


def test_seccomp_refuses_sockets(scratch: str) -> None:
    needs(Layer.SECCOMP)
    assert inside(Layer.SECCOMP, "socket.socket()", scratch) == "EPERM"


def test_seccomp_takes_every_capability_with_it(scratch: str) -> None:
    needs(Layer.SECCOMP)
    action = (
        "[line.split()[1] for line in open('/proc/self/status') if line.startswith(('CapEff', 'CapPrm', 'CapBnd'))]"
    )
    found = inside(Layer.SECCOMP, action, scratch)
    assert found.count("0000000000000000") == (3 if os.getuid() == 0 else 2), found


@pytest.mark.parametrize("layer", [Layer.NAMESPACES, Layer.ROOT_NAMESPACES])
@pytest.mark.parametrize(
    ("action", "outcome"),
    [
        ("open('/etc/passwd').read()", "ENOENT"),
        ("os.listdir('/etc')", "['ld.so.cache']"),
        ("os.listdir('/home')", "ENOENT"),
        ("os.getpid()", "1"),
        ("[name for _, name in socket.if_nameindex()]", "['lo']"),
        ("socket.create_connection(('127.0.0.1', 9), 1)", "ENETUNREACH"),
        ("open('/written', 'w')", "EROFS"),
        ("os.mkdir('/dev/made')", "EROFS"),
        ("bool(os.statvfs(os.path.dirname(os.__file__)).f_flag & os.ST_RDONLY)", "True"),
        ("open('written', 'w').write('four')", "4"),
        ("os.getcwd()", "/scratch"),
        ("[name for name in os.listdir('/proc') if name.isdigit()]", "['1']"),
    ],
)
def test_namespaces_show_a_world_of_their_own(layer: Layer, action: str, outcome: str, scratch: str) -> None:
    needs(layer)
    assert inside(layer, action, scratch) == outcome


def test_root_is_someone_else_in_its_namespaces(scratch: str) -> None:
    needs(Layer.NAMESPACES)
    if os.getuid() != 0:
        pytest.skip("an ordinary user stays who it is")
    assert int(inside(Layer.NAMESPACES, "os.getuid()", scratch)) > 1_000_000


def test_the_strongest_plan_is_under_every_layer_s_rule(scratch: str) -> None:
    plan = available_plans()[0]
    if not plan.meets_floor:
        pytest.skip(f"this machine offers only {plan.tier}")
    assert inside(plan.tier, "socket.socket()", scratch) == "EPERM"
    assert inside(plan.tier, "open('/etc/passwd').read()", scratch) in ("ENOENT", "EACCES")


def test_a_scratch_folder_with_files_in_it_is_refused_before_anything_is_done_to_it(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    owner = tmp_path.stat().st_uid
    with pytest.raises(ValueError, match="is not empty"):
        enter_zygote(RLIMITS_ONLY, str(tmp_path), "")
    assert ((tmp_path / "precious").read_text(), tmp_path.stat().st_uid) == ("kept", owner)


def test_an_ordinary_user_gets_a_sandbox_above_the_floor() -> None:
    if os.getuid() != 0:
        pytest.skip("this is an ordinary user, whose sandbox the other tests show")
    if not available_plans()[0].meets_floor:
        pytest.skip("this machine offers no sandbox above the floor")
    text = "from taco_stream.evaluator.sandbox.probe import available_plans; print(available_plans()[0].meets_floor)"
    command = [*as_user(NOBODY), sys.executable, "-B", "-c", text]
    assert subprocess.run(command, capture_output=True, timeout=550, check=True, text=True).stdout == "True\n"
