"""TACO as a task of the real inspect_ai, answered by its mock model."""

import importlib.util
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from taco_stream.datasets.open import open_dataset
from taco_stream.errors import UsageError

TESTS = json.dumps({"inputs": ["2", "3"], "outputs": ["4", "6"]})


def test_the_entry_point_names_the_module_of_the_task() -> None:
    """Read from the project: an editable installation may be older than it."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    ((name, module),) = project["entry-points"]["inspect_ai"].items()
    assert name == "taco_stream"  # the prefix of the task's name
    assert importlib.util.find_spec(module) is not None


def evaluate(dataset: str, answers: list[str], tmp_path: Path, **options: Any) -> Any:
    inspect_ai = pytest.importorskip("inspect_ai", reason="the extra `inspect` is not installed")
    from inspect_ai.model import ModelOutput, ModelUsage, get_model

    outputs = [ModelOutput.from_content("mockllm/model", answer) for answer in answers]
    for output in outputs:
        output.usage = ModelUsage()  # else the model counts tokens, for which it would download a tokenizer
    model = get_model("mockllm/model", custom_outputs=outputs)
    arguments = {"dataset": dataset}
    options |= {"max_samples": 1, "display": "none", "log_dir": str(tmp_path / "logs")}
    (log,) = inspect_ai.eval("taco_stream/taco", model=model, task_args=arguments, **options)
    return log


def metrics(log: Any) -> dict[str, float]:
    assert log.status == "success", log.error
    return {name: metric.value for score in log.results.scores for name, metric in score.metrics.items()}


def test_answers_are_scored_and_grouped_by_difficulty(tmp_path: Path) -> None:
    problems = list(open_dataset("demo"))
    right = [f"```python\n{json.loads(problem.solutions)[0]}\n```" for problem in problems]
    answers = [answer if number % 2 else "no program" for number, answer in enumerate(right)]
    log = evaluate("demo", answers, tmp_path)
    found = metrics(log)
    assert found["accuracy"] == pytest.approx(len(problems) // 2 / len(problems))
    assert {problem.difficulty for problem in problems} <= found.keys()
    score = log.samples[1].scores["taco_verdict"]
    assert score.value == "C"
    assert score.answer.strip() == json.loads(problems[1].solutions)[0].strip()


@pytest.mark.parametrize("difficulty", ["MEDIUM_HARD", "medium hard"])
def test_a_difficulty_is_named_as_everywhere(difficulty: str) -> None:
    pytest.importorskip("inspect_ai", reason="the extra `inspect` is not installed")
    from taco_stream.harnesses.inspect_task import taco

    chosen = taco("demo", difficulty=difficulty).dataset
    assert len(chosen) == sum(problem.difficulty == "MEDIUM_HARD" for problem in open_dataset("demo"))


def test_a_difficulty_that_no_problem_has_is_refused() -> None:
    pytest.importorskip("inspect_ai", reason="the extra `inspect` is not installed")
    from taco_stream.harnesses.inspect_task import taco

    with pytest.raises(UsageError, match="no problem of the difficulty 'esy'"):
        taco("demo", difficulty="esy")


def test_epochs_make_pass_at_k(tmp_path: Path) -> None:
    (tmp_path / "two.jsonl").write_text(json.dumps({"id": "double", "question": "?", "input_output": TESTS}) + "\n")
    answers = ["```python\nprint(2 * int(input()))\n```", "```python\nprint(4)\n```"]
    log = evaluate(str(tmp_path / "two.jsonl"), answers, tmp_path, epochs=2)
    assert metrics(log)["accuracy"] == 0.5


def test_the_log_is_read_back(tmp_path: Path) -> None:
    """`taco-stream evaluate LOG` judges its answers again."""
    from taco_stream.formats.formats import read_completions

    (tmp_path / "one.jsonl").write_text(json.dumps({"id": "double", "question": "?", "input_output": TESTS}) + "\n")
    log = evaluate(str(tmp_path / "one.jsonl"), ["```python\nprint(4)\n```"], tmp_path)
    path = Path(log.location.removeprefix("file://"))
    assert [(each.problem_id, each.text) for each in read_completions(path)] == [("double", "```python\nprint(4)\n```")]
