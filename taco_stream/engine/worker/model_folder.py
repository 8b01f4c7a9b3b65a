"""Where a model is: a folder on this machine, or an id on the hub."""

from pathlib import Path

from taco_stream.errors import UsageError
from taco_stream.hub_access import use_cache_alone_if_unreachable


def model_place(model: str) -> str:
    """The model's folder, or its id on the hub. Raises `UsageError` for a folder that is not there."""
    path = Path(model).expanduser()
    looks_local = path.is_absolute() or model.startswith((".", "~")) or model.count("/") > 1
    if path.is_dir():
        return str(path)
    if looks_local:
        raise UsageError(f"there is no model folder {model}")
    use_cache_alone_if_unreachable()
    return model
