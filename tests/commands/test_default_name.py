"""What a session makes of its settings."""

from pathlib import Path

import pytest

from taco_stream.commands.run import DEMO_PRESET, default_name
from taco_stream.run.settings import RunSettings


def test_the_same_command_finds_its_own_run_again() -> None:
    assert default_name(RunSettings()) == default_name(RunSettings.from_values(workers=3, samples=99, batch_size=4))


@pytest.mark.parametrize("changed", [{"temperature": 0.9}, {"seed": 1}, {"model": "other"}, {"limit": 3}])
def test_a_run_with_other_results_has_another_name(changed: dict[str, object]) -> None:
    assert default_name(RunSettings()) != default_name(RunSettings.from_values(**changed))


@pytest.mark.parametrize("model", ["./models/x", "/abs/model", "org/name", "a:b"])
def test_a_run_is_named_by_one_folder(model: str) -> None:
    assert "/" not in default_name(RunSettings.from_values(model=model))


def test_the_run_of_the_readme_is_the_demo() -> None:
    """Its name has a digest of all settings, so a README of other settings shows another run."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    assert f"new run runs/{default_name(RunSettings.resolve({}, DEMO_PRESET, {}))}\n" in readme
