"""The command that runs all benchmarks: what it makes of their figures."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def run_all() -> ModuleType:
    spec = importlib.util.spec_from_file_location("run_all", ROOT / "bench" / "run_all.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def figure(value: float, *, lower: bool = True, noise: float = 0.0) -> dict:
    return {"value": value, "unit": "s", "is_better_if_lower": lower, "noise": noise, "script": "x.py"}


def test_what_got_worse_is_named_the_worst_first(run_all: ModuleType) -> None:
    before = {"start": figure(1.0), "speed": figure(100.0, lower=False), "same": figure(5.0), "better": figure(2.0)}
    now = {"start": figure(1.2), "speed": figure(50.0, lower=False), "same": figure(5.5), "better": figure(1.0)}
    assert [line.partition(":")[0] for line in run_all.compare(before, now, 0.15)] == ["speed", "start"]
    assert run_all.compare(before, now, 0.15)[1] == "start: 1 s before, 1.2 now (x.py)"


def test_what_is_within_the_noise_or_new_is_not_named(run_all: ModuleType) -> None:
    before = {"memory": figure(-0.1, noise=5.0)}
    assert run_all.compare(before, {"memory": figure(3.0, noise=5.0), "new": figure(1.0)}, 0.15) == []
    assert run_all.compare(before, {"memory": figure(6.0, noise=5.0)}, 0.15) != []


def test_the_table_takes_the_place_of_the_last_one(run_all: ModuleType) -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    once = run_all.with_table(page, "| a |")
    assert run_all.with_table(once, "| b |") == run_all.with_table(page, "| b |")
    assert "| a |" in once
    with pytest.raises(ValueError, match="begin"):
        run_all.with_table("nothing", "| a |")


def test_every_script_takes_the_arguments_that_it_is_given(run_all: ModuleType) -> None:
    for script in run_all.SCRIPTS:
        text = (ROOT / "bench" / script.name).read_text(encoding="utf-8")
        given = {word for each in script.arguments if each for word in each.split() if word.startswith("--")}
        assert all(f'"{flag}"' in text for flag in {*given, "--out"}), script.name


def test_a_machine_has_a_file_name(run_all: ModuleType) -> None:
    machine = {"processor": "Intel(R) Xeon(R) Processor @ 2.20GHz", "cores": "2"}
    assert run_all.machine_name(machine) == "intel-xeon-2-20ghz-2-cores"
