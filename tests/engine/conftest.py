"""Tiny models on disk, one folder per architecture and session."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from engine.tiny_models import save_model

# Two threads that wait for each other on a busy machine take many times as long as one.
torch.set_num_threads(1)

ModelFolder = Callable[[str], Path]


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> ModelFolder:
    """The folder of a tiny random model of an architecture."""
    folders: dict[str, Path] = {}

    def folder(architecture: str) -> Path:
        if architecture not in folders:
            folders[architecture] = save_model(tmp_path_factory.mktemp(architecture), architecture)
        return folders[architecture]

    return folder
