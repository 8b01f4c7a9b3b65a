"""What may be imported from `taco_stream`: it exists, it is light, type checkers see it, and the reference is true."""

import ast
import importlib
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import taco_stream

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "transformers", "numpy", "pyarrow", "huggingface_hub"}


def loaded_by(code: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after the code."""
    script = f"import sys\n{code}\nprint(*sys.modules)"
    return set(
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    )


def test_importing_the_package_loads_none_of_its_modules() -> None:
    loaded = loaded_by("import taco_stream")
    assert {name for name in loaded if name.startswith("taco_stream.")} == set()
    assert not loaded & {*HEAVY, "anyio", "msgspec"}


def test_importing_every_public_name_loads_nothing_heavy() -> None:
    loaded = loaded_by("from taco_stream import *\nLocalEngine, open_dataset, Evaluator")
    assert loaded & HEAVY == set()


@pytest.mark.parametrize("name", taco_stream.__all__)
def test_a_public_name_is_defined_where_the_table_says(name: str) -> None:
    value = getattr(taco_stream, name)
    assert value is getattr(importlib.import_module(taco_stream._HOMES[name]), name)
    assert getattr(value, "__module__", taco_stream._HOMES[name]) in (taco_stream._HOMES[name], "types", "typing")


def test_type_checkers_are_shown_the_same_names() -> None:
    tree = ast.parse(Path(taco_stream.__file__).read_text(encoding="utf-8"))
    shown = {
        alias.asname: node.module
        for block in tree.body
        if isinstance(block, ast.If)
        for node in ast.walk(block)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert shown == taco_stream._HOMES


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'taco_stream' has no attribute 'Scheduler'"):
        taco_stream.Scheduler  # noqa: B018


def test_dir_lists_the_public_names() -> None:
    assert set(taco_stream.__all__) <= set(dir(taco_stream))


def test_the_reference_is_what_the_docstrings_say() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "make_api.py"))["reference"]()
    assert (ROOT / "docs" / "api.md").read_text(encoding="utf-8") == made, "stale: run python docs/make_api.py"


def test_no_public_class_or_function_is_without_a_docstring() -> None:
    for name in set(taco_stream.__all__) - {"Prompt"}:
        assert getattr(taco_stream, name).__doc__, name


@pytest.mark.parametrize(
    "path",
    [ROOT / "README.md", *(each for each in sorted((ROOT / "docs").rglob("*.*")) if not each.name.startswith("make_"))],
    ids=lambda path: path.name,
)
def test_the_documents_import_only_what_is_public(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "from taco_stream." not in text
    assert "import taco_stream." not in text
