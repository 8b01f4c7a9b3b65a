"""The libraries that the local engine computes with, which an installation that only judges does without."""

import importlib.util

from taco_stream.errors import UsageError

LIBRARIES = ("torch", "transformers")


def missing_libraries() -> list[str]:
    """The libraries that are not installed. Imports none."""
    return [name for name in LIBRARIES if importlib.util.find_spec(name) is None]


def check_libraries() -> None:
    """Raises `UsageError` if a library is not installed."""
    if missing := missing_libraries():
        verb = "is" if len(missing) == 1 else "are"
        raise UsageError(
            f"a model needs {' and '.join(LIBRARIES)}, and {' and '.join(missing)} {verb} not installed: "
            "pip install 'taco-stream[local]'"
        )
