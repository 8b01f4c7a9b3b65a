"""`--reuse`: samples of another run are taken over if they are those that this run would generate, and no others."""

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from taco_stream.commands.run import start
from taco_stream.errors import NoRunError, RunMismatchError, UsageError
from taco_stream.run.settings import RunSettings
from taco_stream.types import Completion


@pytest.fixture
def dataset(tmp_path: Path) -> str:
    row = {"question": "Print 3.", "input_output": json.dumps({"inputs": [""], "outputs": ["3\n"]})}
    path = tmp_path / "problems.jsonl"
    path.write_text("".join(json.dumps({"task_id": f"p{number}", **row}) + "\n" for number in range(4)))
    return str(path)


def generate(path: Path, dataset: str, **settings: Any) -> list[Completion]:
    given = {"dataset": dataset, "engine": "scripted", "samples": 3, **settings}
    assert start(RunSettings.from_values(**given), path, is_judged=False, is_quiet=True) == 0
    lines = (path / "completions.jsonl").read_bytes().splitlines()
    return [msgspec.json.decode(line, type=Completion) for line in lines]


def test_what_the_other_run_has_is_taken_over_and_the_rest_is_generated(tmp_path: Path, dataset: str) -> None:
    generate(tmp_path / "one", dataset, ids=("p1", "p3"), samples=2)
    two = generate(tmp_path / "two", dataset, samples=3, limit=3, reuse=str(tmp_path / "one"))
    assert len({completion.key for completion in two}) == len(two) == 9
    reused = {completion.key for completion in two if completion.reused_from == str(tmp_path / "one")}
    assert reused == {("p1", 0), ("p1", 1)}
    # Copied, so that it is needed no more; and the name of the run that generated it stays.
    shutil.rmtree(tmp_path / "one")
    assert len(generate(tmp_path / "two", dataset, samples=4, limit=3, reuse=str(tmp_path / "one"))) == 12
    three = generate(tmp_path / "three", dataset, limit=3, reuse=str(tmp_path / "two"))
    assert {each.reused_from for each in three} == {str(tmp_path / "one"), str(tmp_path / "two")}
    events = (tmp_path / "three" / "events.jsonl").read_text().splitlines()
    assert json.loads(events[-1])["statistics"]["reused"] == 9


@pytest.mark.parametrize(
    "settings",
    [
        {"seed": 7},
        {"temperature": 0.3},
        {"model": "other"},
        {"prompt": "chat"},
        {"max_new_tokens": 3},
        {"stop": ("x",)},
    ],
)
def test_a_run_of_other_samples_is_refused_by_name(tmp_path: Path, dataset: str, settings: dict[str, Any]) -> None:
    generate(tmp_path / "one", dataset)
    (name,) = settings
    with pytest.raises(RunMismatchError, match=f"cannot be reused: it was made with {name} "):
        generate(tmp_path / "two", dataset, reuse=str(tmp_path / "one"), **settings)
    assert not (tmp_path / "two").exists()


def test_a_dataset_of_another_content_is_refused(tmp_path: Path, dataset: str) -> None:
    generate(tmp_path / "one", dataset)
    Path(dataset).write_text(Path(dataset).read_text().replace("Print 3", "Print three"))
    with pytest.raises(RunMismatchError, match="dataset_fingerprint"):
        generate(tmp_path / "two", dataset, reuse=str(tmp_path / "one"))


def test_how_programs_are_judged_does_not_matter(tmp_path: Path, dataset: str) -> None:
    generate(tmp_path / "one", dataset)
    two = generate(tmp_path / "two", dataset, reuse=str(tmp_path / "one"), time_limit_factor=5.0, join_blocks=True)
    assert all(completion.reused_from for completion in two)


def test_errors_are_generated_anew(tmp_path: Path, dataset: str) -> None:
    script = tmp_path / "script.toml"
    script.write_text("error_every = 4\n")
    generate(tmp_path / "one", dataset, engine=f"scripted:{script}")
    two = generate(tmp_path / "two", dataset, engine=f"scripted:{script}", reuse=str(tmp_path / "one"))
    assert len(two) == 12
    assert sum(not completion.reused_from for completion in two) == 3


def test_a_run_that_is_not_there_and_the_run_itself_are_refused(tmp_path: Path, dataset: str) -> None:
    with pytest.raises(NoRunError):
        generate(tmp_path / "two", dataset, reuse=str(tmp_path / "one"))
    with pytest.raises(UsageError, match="names the run itself"):
        generate(tmp_path / "two", dataset, reuse=str(tmp_path / "two"))
