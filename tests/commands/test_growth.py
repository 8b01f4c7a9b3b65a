"""A run grows: a later start may take more problems, and none less."""

import json
from pathlib import Path

import pytest

from taco_stream.commands.run import left_out, start
from taco_stream.datasets.settings import DatasetSettings
from taco_stream.errors import RunMismatchError
from taco_stream.run.settings import RunSettings

DIFFICULTIES = ("EASY", "HARD", "EASY", "MEDIUM", "HARD", "EASY")


@pytest.fixture
def dataset(tmp_path: Path) -> str:
    rows = [
        {
            "task_id": f"p{number}",
            "question": "Print 3.",
            "input_output": json.dumps({"inputs": [""], "outputs": ["3\n"]}),
            "solutions": json.dumps(["print(3)", "print(4)", "print(5)"]),
            "difficulty": difficulty,
        }
        for number, difficulty in enumerate(DIFFICULTIES)
    ]
    path = tmp_path / "problems.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def missing(dataset: str, before: dict[str, object], now: dict[str, object]) -> list[str]:
    results = RunSettings.from_values(dataset=dataset, **before).results()
    return left_out(DatasetSettings(dataset=dataset, **now), results)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({"limit": 2}, {"limit": 3}),
        ({"limit": 2}, {}),
        ({"difficulty": ("easy",)}, {"difficulty": ("HARD", "EASY")}),
        ({"ids": ("p1",)}, {"ids": ("p4", "p1")}),
        ({"ids": ("p1",)}, {"difficulty": ("HARD",)}),
        ({"shard": "1/2"}, {}),
        ({"shuffle": 3, "limit": 4}, {}),
        ({"difficulty": ("HARD",), "limit": 1}, {"limit": 2}),
    ],
)
def test_a_wider_selection_leaves_out_nothing(dataset: str, before: dict[str, object], now: dict[str, object]) -> None:
    assert missing(dataset, before, now) == []


@pytest.mark.parametrize(
    ("before", "now", "left"),
    [
        ({"limit": 3}, {"limit": 2}, ["p2"]),
        ({}, {"difficulty": ("EASY",)}, ["p1", "p3", "p4"]),
        ({"difficulty": ("HARD",), "limit": 2}, {"limit": 2}, ["p4"]),
        ({"shard": "0/2"}, {"shard": "1/2"}, ["p0", "p2", "p4"]),
    ],
)
def test_what_another_selection_leaves_out_is_named(
    dataset: str, before: dict[str, object], now: dict[str, object], left: list[str]
) -> None:
    assert missing(dataset, before, now) == left


def run(path: Path, dataset: str, **settings: object) -> int:
    values = {"workers": 1, "engine": "replay", "dataset": dataset, **settings}
    return start(RunSettings.from_values(**values), path)


def judged(path: Path) -> list[tuple[str, int]]:
    lines = (path / "results.jsonl").read_text().splitlines()
    return [(line["problem_id"], line["sample_index"]) for line in map(json.loads, lines)]


def test_a_run_grows_in_problems_and_keeps_what_it_has(
    tmp_path: Path, dataset: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run"
    assert run(path, dataset, limit=2, samples=3) == 0
    before = (path / "results.jsonl").read_bytes()
    with pytest.raises(RunMismatchError, match=r"limit 2, this start has 1, which leaves out p1: a run may only take"):
        run(path, dataset, limit=1, samples=3)
    with pytest.raises(RunMismatchError, match="seed 0, this start has 1: use the old value"):
        run(path, dataset, limit=4, samples=3, seed=1)
    capsys.readouterr()
    assert run(path, dataset, limit=4, samples=2) == 0
    assert (path / "results.jsonl").read_bytes().startswith(before)
    expected = {"p0": 3, "p1": 3, "p2": 2, "p3": 2}
    assert sorted(judged(path)) == [(name, index) for name, samples in expected.items() for index in range(samples)]
    printed = capsys.readouterr()
    assert "2 problems have fewer samples than the others: p2, p3" in printed.out
    assert "up to 3 samples of a problem, more than the 2 asked for: all are reported" in printed.err
    with pytest.raises(RunMismatchError, match="limit 4, this start has 2, which leaves out p2, p3"):
        run(path, dataset, limit=2, samples=3)
