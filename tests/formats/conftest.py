"""Fixtures of the tests of formats."""

import json
from pathlib import Path
from typing import Any

import pytest
from foreign_files import RECORDS, Write, write_run

from taco_stream.store.run_directory import RunFiles


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes JSON lines, or one JSON value under a name that ends in `.json`."""

    def write(*lines: Any, name: str = "file.jsonl") -> Path:
        path = tmp_path / name
        path.write_text(
            json.dumps(lines[0]) if name.endswith(".json") else "".join(json.dumps(e) + "\n" for e in lines)
        )
        return path

    return write


@pytest.fixture
async def run(tmp_path: Path) -> RunFiles:
    """A run of six samples of three problems."""
    return await write_run(tmp_path / "run", RECORDS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the files of one module's examples, which replace each other."""
    return tmp_path_factory.mktemp("files")
