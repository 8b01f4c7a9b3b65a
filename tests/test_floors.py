"""The layout holds: imports run strictly downhill, and what must stay light stays light."""

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import taco_stream

PACKAGE = Path(taco_stream.__file__).parent

FLOORS: dict[str, int] = {
    room: floor
    for floor, rooms in enumerate(
        (
            ("types", "errors", "statistics", "machine", "hub_access", "readable_file"),
            (
                "workers",
                "background",
                "device_gauges",
                "terminal",
                "settings",
                "extraction",
                "sample_set",
                "events",
                "exposition",
                "plug_ins",
            ),
            ("prompting", "metrics"),
            ("datasets", "engine", "evaluator", "store", "demo"),
            ("report", "formats", "run", "cluster", "audit", "doctor", "rewards", "trackers", "service"),
            ("commands", "harnesses"),
            ("cli", "notebook"),
            ("__main__",),
        )
    )
    for room in rooms
}


def name_room(path: Path) -> str:
    """The first part of a module's name below the package: the room it stands in."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_modules(path: Path) -> set[str]:
    """The names of all modules that a file imports, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_downhill(path: Path) -> None:
    """A module imports only its own room and rooms on lower floors."""
    room = name_room(path)
    assert room in FLOORS, f"{room} has no floor: give it one here and in docs/design/architecture.md"
    for name in imported_modules(path):
        parts = name.split(".")
        if parts[0] != "taco_stream" or len(parts) == 1 or parts[1] == "__version__":
            continue
        target = parts[1]
        assert target == room or FLOORS[target] < FLOORS[room], f"{path.name} imports {name}, which is not downhill"


def test_the_floors_are_those_of_the_architecture_page() -> None:
    text = (PACKAGE.parent / "docs" / "design" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d) \| ([^|]*) \|", text, re.M)
    documented = {room: int(floor) for floor, rooms in rows for room in re.findall(r"`(\w+)/?`", rooms)}
    assert documented == {room: floor for room, floor in FLOORS.items() if room != "__main__"}


def test_a_run_sees_engines_only_through_the_protocol() -> None:
    """The stages and the view know `engine.base`; concrete engines are built by commands."""
    for path in MODULES:
        if name_room(path) == "run":
            engines = {name for name in imported_modules(path) if name.startswith("taco_stream.engine.")}
            assert {name.split(".")[2] for name in engines} <= {"base", "settings"}, path


def test_a_run_sees_the_evaluator_only_through_its_seam() -> None:
    """Any `Judge` will do; of the evaluator the stages and the view know only how it is configured."""
    for path in MODULES:
        if name_room(path) == "run":
            evaluators = {name for name in imported_modules(path) if name.startswith("taco_stream.evaluator.")}
            assert {name.split(".")[2] for name in evaluators} <= {"settings"}, path


IN_EVERY_ROOM = {"__init__.py", "__main__.py", "engine.py", "protocol.py", "settings.py", "worker_handle.py"}
"""Files that are the same idea in each room that has one; the architecture page says so."""


def test_no_two_files_bear_one_name() -> None:
    names = Counter(path.name for path in MODULES if path.name not in IN_EVERY_ROOM)
    assert [name for name, count in names.items() if count > 1] == []


def test_no_two_classes_bear_one_name() -> None:
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in MODULES)
    names = Counter(node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    assert [name for name, count in names.items() if count > 1] == []


WITH_TORCH = ("engine/worker/", "demo/train.py", "doctor/readings.py")
"""Where torch may be imported: in generation workers, and in two scripts that are interpreters of their own."""


def test_torch_is_imported_only_where_a_process_has_it() -> None:
    heavy = {"torch", "transformers", "safetensors", "peft", "torchao"}
    files = {
        str(path.relative_to(PACKAGE))
        for path in MODULES
        if heavy & {name.split(".")[0] for name in imported_modules(path)}
    }
    assert "engine/worker/model_runner.py" in files
    assert {file for file in files if not file.startswith(WITH_TORCH)} == set()


def test_parent_and_worker_share_their_protocol_and_nothing_else() -> None:
    """Nothing outside imports from `engine/worker/`, but for the command that shows a rendered prompt."""
    for path in MODULES:
        names = imported_modules(path)
        if path.is_relative_to(PACKAGE / "engine" / "worker"):
            assert not {name for name in names if name.startswith("taco_stream.engine.local")}, path
        elif path != PACKAGE / "commands" / "prompt.py":
            assert not {name for name in names if name.startswith("taco_stream.engine.worker")}, path


FORBIDDEN = {
    "taco_stream.cli": {"torch", "transformers", "numpy", "pyarrow", "huggingface_hub"},
    "taco_stream.engine.local.engine": {"torch", "transformers"},
    "taco_stream.engine.server.engine": {"torch", "transformers", "aiohttp"},
    "taco_stream.engine.server.answer": {"torch", "anyio", "aiohttp"},
    "taco_stream.engine.server.concurrency": {"torch", "anyio", "aiohttp"},
    "taco_stream.engine.server.fleet": {"torch", "anyio", "aiohttp"},
    "taco_stream.engine.worker.scheduler": {"torch", "transformers", "anyio"},
    "taco_stream.evaluator.worker": {"torch", "anyio", "numpy"},
    "taco_stream.evaluator.zygote": {"torch", "anyio", "numpy"},
    "taco_stream.service.dispatcher": {"torch", "starlette", "uvicorn"},
    "taco_stream.service.waiting_line": {"torch", "anyio", "starlette"},
}


@pytest.mark.parametrize("module", FORBIDDEN)
def test_light_modules_stay_light(module: str) -> None:
    """Importing the module in a fresh interpreter loads none of the heavy libraries it must do without."""
    code = f"import {module}, sys; print(*sorted({FORBIDDEN[module]!r} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.split() == []
