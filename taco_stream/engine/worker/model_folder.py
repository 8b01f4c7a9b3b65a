"""Where a model is: a folder on this machine, or an id on the hub."""

from pathlib import Path

from taco_stream.errors import ModelError


def model_place(model: str) -> str:
    """The model's folder, or its id on the hub. Raises `ModelError` for a folder that is not there."""
    path = Path(model).expanduser()
    looks_local = path.is_absolute() or model.startswith((".", "~")) or model.count("/") > 1
    if looks_local and not path.is_dir():
        raise ModelError(f"there is no model folder {model}")
    return str(path) if path.is_dir() else model
